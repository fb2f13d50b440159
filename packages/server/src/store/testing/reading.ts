// Reads a log to its head, as a patient reader does.
import type { GapRun, LogReader, Run, Scan, ScanQuery } from "../contract.ts";
import type { StoredEntry } from "./frames.ts";
import { decodeRun } from "./frames.ts";

export interface ReadThrough {
  readonly entries: readonly StoredEntry[];
  readonly gaps: readonly GapRun[];
  /** Runs of entries and gaps, in the order in which they came. */
  readonly runs: readonly Run[];
}

export interface ReadOptions {
  readonly after?: number;
  readonly query?: ScanQuery;
  readonly maxBytes?: number;
}

/** Everything after a position, up to the head. */
export async function readThrough(reader: LogReader, options: ReadOptions = {}): Promise<ReadThrough> {
  const scan = reader.scan(options.after ?? 0, options.query);
  try {
    return await drain(scan, options.maxBytes);
  } finally {
    scan.close();
  }
}

/** What a scan still gives, up to the head. */
export async function drain(scan: Scan, maxBytes = 4096): Promise<ReadThrough> {
  const runs: Run[] = [];
  for (let run = await scan.next(maxBytes); run !== undefined; run = await scan.next(maxBytes)) runs.push(run);
  return {
    runs,
    entries: runs.flatMap((run) => (run.kind === "entries" ? decodeRun(run) : [])),
    gaps: runs.filter((run) => run.kind === "gap"),
  };
}

/** Sequences of what was read. */
export function sequencesOf({ entries }: ReadThrough): number[] {
  return entries.map(({ sequence }) => sequence);
}

/** Whole numbers from low to high. */
export function range(low: number, high: number): number[] {
  return Array.from({ length: Math.max(0, high - low + 1) }, (_, i) => low + i);
}
