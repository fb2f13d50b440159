// Where a suite finds the engine that it tries.
import type { LogReader, LogWriter } from "../contract.ts";

/** What the suite asks of an engine beyond its defaults. */
export interface LogUnderTestOptions {
  readonly pendingBytesMax?: number;
  readonly applicationsMax?: number;
}

export interface LogUnderTest extends AsyncDisposable {
  readonly writer: LogWriter;
  readonly reader: LogReader;
}

/** A place where a log is kept: opened, closed, opened again. It begins empty; disposing removes what is in it. */
export interface LogPlace extends AsyncDisposable {
  open(options?: LogUnderTestOptions): Promise<LogUnderTest>;
}
