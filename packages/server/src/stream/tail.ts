// Finds where the last n entries begin that pass a filter which the index cannot answer.
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import type { LogReader, ScanQuery } from "../store/contract.ts";
import { type FrameFilter, selectFrames } from "./frame-filter.ts";
import { nextTurn } from "./turn.ts";

/** Entries of the index's choice that are looked at in one go, backwards from the head; doubled up to the second. */
const CHUNK_MIN = 4096;
const CHUNK_MAX = 65_536;
/** How long the event loop is held, in ms, and what is read at a time. */
const TURN_MS = 3;
const READ_BYTES = 256 * 1024;

export interface TailOptions {
  /** How many entries are wanted. */
  readonly count: number;
  readonly query: ScanQuery;
  readonly filter: FrameFilter | undefined;
  readonly nowMs: () => number;
  /** Nobody waits for the answer any more. */
  readonly isCancelled: () => boolean;
}

/** The position after which the last `count` entries lie that the query and the filter let through, up to the head. */
export async function findTail(reader: LogReader, options: TailOptions): Promise<number> {
  const { count, query, filter } = options;
  const head = reader.head.sequence;
  if (count === 0) return head;
  if (filter === undefined) return await reader.findTail(count, head + 1, query);
  let missing = count;
  let before = head + 1;
  for (let chunk = CHUNK_MIN; before > reader.first && !options.isCancelled(); chunk = Math.min(2 * chunk, CHUNK_MAX)) {
    const after = await reader.findTail(chunk, before, query);
    const matches = await matchesBetween(reader, after, before, { ...options, filter });
    if (matches.length >= missing) return matches[matches.length - missing]! - 1;
    missing -= matches.length;
    before = Math.min(after + 1, before - 1);
  }
  return reader.first - 1;
}

/** Sequences of the matching entries after `after` and before `before`. */
async function matchesBetween(
  reader: LogReader,
  after: number,
  before: number,
  options: TailOptions & { readonly filter: FrameFilter },
): Promise<number[]> {
  const { query, filter, nowMs, isCancelled } = options;
  const matches: number[] = [];
  const scan = reader.scan(after, query);
  let lateMs = nowMs() + TURN_MS;
  const isLate = (): boolean => nowMs() >= lateMs;
  try {
    while (scan.position < before - 1 && !isCancelled()) {
      const run = await scan.next(READ_BYTES);
      if (run === undefined) break;
      if (run.kind === "gap") continue;
      for (let from = 0; from < run.count;) {
        const selection = selectFrames(run, filter, { from, countMax: Number.POSITIVE_INFINITY, isLate });
        from = selection.next;
        for (const sequence of sequencesIn(selection.bytes, filter)) if (sequence < before) matches.push(sequence);
        if (!isLate()) continue;
        await nextTurn();
        if (isCancelled()) return matches;
        lateMs = nowMs() + TURN_MS;
      }
      scan.release?.();
    }
  } finally {
    scan.close();
  }
  return matches;
}

function* sequencesIn(frames: Uint8Array, filter: FrameFilter): Generator<number> {
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
  for (let start = 0; start < frames.length;) {
    const end = start + FRAME_HEADER_BYTES + view.getUint32(start + 1);
    yield filter.sequenceOf(frames, start, end);
    start = end;
  }
}
