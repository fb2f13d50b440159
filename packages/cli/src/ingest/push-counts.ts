// What a push has done so far.
import type { JoinCounts } from "./record-joiner.ts";
import type { FoundFormat } from "./read-line.ts";

/** Lines and blank lines together are what `wc -l` counts, but for lines that were cut (`pieces`). */
export interface PushCounts extends JoinCounts {
  /** Made of the lines, joined where they belong together. */
  entries: number;
  /** Of them, answered by the server. */
  acknowledged: number;
  /** Of those: how many the log already had. */
  duplicates: number;
  /** Of those: how many the server refused. */
  rejected: number;
  /** Entries by what their lines were. */
  readonly formats: Partial<Record<FoundFormat, number>>;
  /** Bytes of lines that were answered. */
  bytes: number;
}

export function noCounts(): PushCounts {
  const joined = { lines: 0, blank: 0, pieces: 0, replaced: 0 };
  return { ...joined, entries: 0, acknowledged: 0, duplicates: 0, rejected: 0, formats: {}, bytes: 0 };
}
