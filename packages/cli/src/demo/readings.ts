// All sources of the demo together: started, counted, and ended as one.
import type { Readable } from "node:stream";
import type { MachineLog } from "./machine-logs.ts";
import { readFile, readStream, type SourceCounts, type SourceOptions } from "./source.ts";

/** The application of what is piped in, unless its lines name one. */
const STDIN_APPLICATION = "stdin";

/** What became of a file's past. */
export type FileOutcome =
  | { readonly kind: "read"; readonly file: MachineLog; readonly counts: SourceCounts }
  | { readonly kind: "failed"; readonly file: MachineLog; readonly reason: string };

export interface Readings {
  /** Resolves when everything that was in the files is in the log; the files are followed on. */
  readonly history: Promise<FileOutcome[]>;
  /** Resolves when all sources have ended: the files by the signal. */
  readonly ended: Promise<void>;
}

export interface ReadingsOptions extends Omit<SourceOptions, "application"> {
  readonly files: readonly MachineLog[];
  /** What is piped in; undefined: nothing is. */
  readonly stdin: Readable | undefined;
  readonly onStdinEnd: (counts: SourceCounts) => void;
  /** A source ended before its time. */
  readonly onFailure: (source: string, reason: string) => void;
}

/** Starts to read everything at once. */
export function startReadings(options: ReadingsOptions): Readings {
  const { files, stdin, onStdinEnd, onFailure } = options;
  const readings = files.map((file) => startFile(file, options));
  const ended = readings.map((each) => each.ended);
  if (stdin !== undefined) {
    const reading = readStream(stdin, { ...options, application: STDIN_APPLICATION });
    ended.push(reading.then(onStdinEnd, (error: unknown) => onFailure(STDIN_APPLICATION, reasonOf(error))));
  }
  return {
    history: Promise.all(readings.map((each) => each.history)),
    ended: Promise.all(ended).then(() => {}),
  };
}

function startFile(
  file: MachineLog,
  options: ReadingsOptions,
): { history: Promise<FileOutcome>; ended: Promise<void> } {
  const { promise: history, resolve } = Promise.withResolvers<FileOutcome>();
  let isHistoryRead = false;
  const onHistory = (counts: SourceCounts): void => {
    isHistoryRead = true;
    resolve({ kind: "read", file, counts: { ...counts } });
  };
  const ended = readFile(file.path, { ...options, application: file.application, onHistory }).then(
    () => resolve({ kind: "failed", file, reason: "stopped before its end" }),
    (error: unknown) => {
      // A failure before that is told with the history.
      if (isHistoryRead) options.onFailure(file.path, reasonOf(error));
      resolve({ kind: "failed", file, reason: reasonOf(error) });
    },
  );
  return { history, ended };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
