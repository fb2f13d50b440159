// What a reader is told of entries that it does not get: a control for who wants to hear of it, an error for others.
import { CursorExpired, DataLoss, SluiceError } from "../errors.ts";
import type { LogReader } from "../store/contract.ts";
import type { GapControl } from "./control.ts";
import { cursorOf, formatCursor, type Resumption } from "./cursor.ts";

/** A hole: the entries first..last. */
export interface Hole {
  readonly first: number;
  readonly last: number;
  readonly reason: GapControl["reason"];
}

export function gapOfRun(reader: LogReader, gap: Hole): GapControl {
  return {
    afterCursor: cursorOf(reader, gap.first - 1),
    toCursor: cursorOf(reader, gap.last),
    count: gap.last - gap.first + 1,
    reason: gap.reason,
  };
}

/** What the reader saw and is not there any more. */
export function gapOfCut(reader: LogReader, cut: NonNullable<Resumption["cut"]>): GapControl {
  return {
    afterCursor: formatCursor(reader.name, cut.seen),
    toCursor: cursorOf(reader, cut.seen.sequence - cut.count),
    count: cut.count,
    reason: "epoch",
  };
}

/** How a stream ends that may not go on past a gap. */
export function gapError(reader: LogReader, gap: GapControl): SluiceError {
  const metadata = {
    after_cursor: gap.afterCursor,
    cursor: gap.toCursor,
    count: String(gap.count),
    gap_reason: gap.reason.toUpperCase(),
  };
  const what = `Cannot go on after cursor ${gap.afterCursor} of the log "${reader.name}": ${gap.count} entries`;
  const advice = `go on after cursor ${gap.toCursor}`;
  const left = LEFT_OUT[gap.reason];
  if (left !== undefined) {
    const reason = gap.reason.toUpperCase();
    return new SluiceError("out-of-range", `${what} ${left}; ${advice}`, { reason, metadata });
  }
  if (gap.reason === "corruption") return new DataLoss(`${what} do not match their checksum; ${advice}`, metadata);
  return new CursorExpired(`${what} are not there any more (${gap.reason}); ${advice}`, metadata);
}

const LEFT_OUT: Readonly<Partial<Record<GapControl["reason"], string>>> = {
  slow_reader: "were left out because the reader is too slow",
  sampled: "were left out of the sample",
};
