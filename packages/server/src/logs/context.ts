// GetLogContext: the entries around one.
//
// X1. The answer's bytes are bounded: from each side the entries next to the middle are given as far as they fit.
// X2. Entries are copied out of their frames as they are; none is decoded.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type GetLogContextRequest, GetLogContextResponseSchema } from "@sluice/api";
import { Frames } from "@sluice/rpc";
import { InvalidRequest } from "../errors.ts";
import type { Clock, GapRun, LogReader, Scan, ScanQuery } from "../store/contract.ts";
import { encodeBatch } from "../stream/batches.ts";
import { gapMessage } from "../stream/control.ts";
import { parseCursor, resumeAfter } from "../stream/cursor.ts";
import { gapOfRun } from "../stream/gap.ts";
import { type BackwardScan, type Item, scanBackwards } from "./backward.ts";
import { applicationOf } from "./frame-fields.ts";

const COUNT_DEFAULT = 10;
const COUNT_MAX = 1000;
/** Of each side; with an entry of 1 MiB in the middle the answer stays below the 4 MiB that gRPC's clients take. */
const SIDE_BYTES_MAX = 1.25 * 1024 * 1024;
const READ_BYTES = 256 * 1024;

/** Gives the GetLogContextResponse as its frame. @throws InvalidRequest, SluiceError (out-of-range) */
export async function getLogContext(
  request: GetLogContextRequest,
  reader: LogReader,
  options: { readonly clock: Clock; readonly isCancelled: () => boolean },
): Promise<Frames> {
  const counts = parseCounts(request);
  const { after: place, cut } = resumeAfter(reader, parseCursor(reader.name, request.cursor, "cursor"));
  const middle = cut === undefined ? await readEntry(reader, place) : undefined;
  if (middle === undefined && request.sameApplication) return answer([], { index: -1 });
  const scanQuery = request.sameApplication ? queryOfApplication(reader, middle!) : {};
  // Of an era that was cut, the entry before the cut is the newest that is left.
  const olderEnd = cut === undefined ? place : place + 1;
  const countMax = counts.before + 1;
  const older = await readOlder(olderEnd, { ...options, reader, scanQuery, filter: undefined, countMax });
  const newer = await readNewer(reader.scan(place, scanQuery), counts.after + 1);
  return answer([...older.frames.toReversed(), ...(middle === undefined ? [] : [middle]), ...newer.frames], {
    index: middle === undefined ? -1 : older.frames.length,
    hasMoreBefore: older.hasMore,
    hasMoreAfter: newer.hasMore,
    gaps: [...older.gaps.toReversed(), ...newer.gaps].map((gap) => gapMessage(gapOfRun(reader, gap))),
  });
}

function parseCounts(request: GetLogContextRequest): { readonly before: number; readonly after: number } {
  const counts = { before: request.before ?? COUNT_DEFAULT, after: request.after ?? COUNT_DEFAULT };
  const violations = Object.entries(counts)
    .filter(([, count]) => count < 0 || count > COUNT_MAX)
    .map(([field, count]) => ({ field, description: `${count} is not from 0 to ${COUNT_MAX}` }));
  if (violations.length > 0) throw new InvalidRequest("BAD_FIELD", violations);
  return counts;
}

/** The frame of one entry; undefined when it is not there, or damaged. */
async function readEntry(reader: LogReader, sequence: number): Promise<Uint8Array | undefined> {
  if (sequence < reader.first) return undefined;
  const scan = reader.scan(sequence - 1);
  try {
    const run = await scan.next(1);
    if (run?.kind !== "entries" || run.first !== sequence) return undefined;
    return run.bytes.slice(0, run.starts[1]);
  } finally {
    scan.close();
  }
}

function queryOfApplication(reader: LogReader, frame: Uint8Array): ScanQuery {
  return { labels: new Set([reader.findLabel(applicationOf(frame, 0, frame.length))!]) };
}

/** One side: the entries from the middle outwards, and the holes between them. */
class Side {
  readonly frames: Uint8Array[] = [];
  readonly gaps: GapRun[] = [];
  hasMore = false;
  readonly #countMax: number;
  #bytes = 0;

  /** @param countMax one more than are wanted: whether it is there is worth knowing */
  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  /** Takes what comes next. Answers whether it wants more. */
  take(item: Item): boolean {
    if (item.kind === "gap") {
      this.gaps.push(item);
      return true;
    }
    this.#bytes += item.frame.length;
    this.hasMore = this.frames.length + 1 === this.#countMax || this.#bytes > SIDE_BYTES_MAX;
    if (!this.hasMore) this.frames.push(item.frame);
    return !this.hasMore;
  }
}

async function readOlder(before: number, scan: BackwardScan): Promise<Side> {
  const side = new Side(scan.countMax);
  for await (const { items } of scanBackwards(before, scan)) {
    if (!items.every((item) => side.take(item))) break;
  }
  return side;
}

async function readNewer(scan: Scan, countMax: number): Promise<Side> {
  const side = new Side(countMax);
  try {
    for (let isWanted = true; isWanted;) {
      const run = await scan.next(READ_BYTES);
      if (run === undefined) break;
      isWanted =
        run.kind === "gap" ? side.take(run) : takeFrames(side, run.bytes, run.starts.subarray(0, run.count + 1));
    }
  } finally {
    scan.close();
  }
  return side;
}

function takeFrames(side: Side, bytes: Uint8Array, starts: Uint32Array): boolean {
  for (let i = 0; i + 1 < starts.length; i++) {
    if (!side.take({ kind: "entry", frame: bytes.subarray(starts[i], starts[i + 1]) })) return false;
  }
  return true;
}

/** X2. The entries' bytes, and behind them the other fields. */
function answer(frames: readonly Uint8Array[], rest: MessageInitShape<typeof GetLogContextResponseSchema>): Frames {
  return new Frames(
    encodeBatch(frames, toBinary(GetLogContextResponseSchema, create(GetLogContextResponseSchema, rest))),
  );
}
