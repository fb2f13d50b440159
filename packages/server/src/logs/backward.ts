// The newest entries first: pages for consoles.
//
// B1. The log is read in chunks from its end, each forwards, then turned round. What matches of a chunk is held, at most
//     CHUNK_BYTES and one entry: a chunk with more is read again in part.
// B2. `before` is the page token: what lies at or behind it was given or does not match.
// B3. The event loop is held for TURN_MS at a time.
import { type Call, Frames } from "@sluice/rpc";
import type { Clock, EntryRun, GapRun, LogReader, ScanQuery } from "../store/contract.ts";
import { BATCH_BYTES_MAX, type EncodesBatches } from "../stream/batches.ts";
import type { ControlFrames, GapControl, NoticeControl } from "../stream/control.ts";
import { cursorOf, type Resumption } from "../stream/cursor.ts";
import type { FrameFilter } from "../stream/frame-filter.ts";
import { gapError, gapOfCut, gapOfRun } from "../stream/gap.ts";
import { cutRun } from "../stream/manner.ts";
import { nextTurn } from "../stream/turn.ts";
import { sequenceOf } from "./frame-fields.ts";
import type { LogQuery } from "./query.ts";

/** Entries of the index's choice that are looked at in one go, and the bound of what is held of them. */
const CHUNK_ENTRIES_MIN = 64;
const CHUNK_ENTRIES_MAX = 65_536;
const CHUNK_BYTES = 1024 * 1024;
const READ_BYTES = 256 * 1024;
const TURN_MS = 3;
/** How often a reader hears how far a search has come that finds nothing. */
const PROGRESS_MS = 1000;

export interface BackwardOptions {
  readonly reader: LogReader;
  readonly clock: Clock;
  readonly controls: ControlFrames;
  readonly batchControls: ControlFrames;
  readonly encoder: EncodesBatches;
  readonly start: Resumption;
  readonly scanQuery: ScanQuery;
  readonly filter: FrameFilter | undefined;
  readonly notices: readonly NoticeControl[];
}

/** Gives a page, from the newest entry on. */
export async function* readBackwards(query: LogQuery, call: Call, options: BackwardOptions): AsyncGenerator<Frames> {
  const { reader, clock, start, notices, scanQuery, filter } = options;
  const talk = new Talk(query, options);
  for (const notice of notices) yield* talk.notice(notice);
  if (start.cut !== undefined) yield* talk.gap(gapOfCut(reader, start.cut), "older");
  if (query.limit === 0) return;
  // Of an era that was cut, the entry before the cut is the newest that is left.
  let before = start.cut === undefined ? start.after : start.after + 1;
  let remaining = query.limit;
  let toldMs = clock.monotonicMs();
  const scan = { reader, clock, scanQuery, filter, countMax: query.limit, isCancelled: () => call.isEnded };
  for await (const chunk of scanBackwards(before, scan)) {
    const page = firstOf(chunk.items, remaining);
    remaining -= page.entries;
    before = remaining === 0 ? page.oldest : chunk.before;
    yield* talk.items(page.items);
    if (remaining === 0) break;
    const nowMs = clock.monotonicMs();
    if (page.entries > 0) toldMs = nowMs;
    else if (nowMs - toldMs >= PROGRESS_MS && before > reader.first) {
      toldMs = nowMs;
      yield* talk.sync(before);
    }
  }
  yield* talk.sync(before);
}

/** A matching entry, or a hole. */
export type Item = { readonly kind: "entry"; readonly frame: Uint8Array } | GapRun;

export interface BackwardScan {
  readonly reader: LogReader;
  readonly clock: Clock;
  readonly scanQuery: ScanQuery;
  readonly filter: FrameFilter | undefined;
  /** No more are wanted. */
  readonly countMax: number;
  readonly isCancelled: () => boolean;
}

export interface Chunk {
  /** Newest first. */
  readonly items: readonly Item[];
  /** Everything from here on was given, or does not match. */
  readonly before: number;
}

/** Everything before the sequence `before`, newest first, a bounded piece at a time. */
export async function* scanBackwards(before: number, scan: BackwardScan): AsyncGenerator<Chunk> {
  const { reader, filter, scanQuery, countMax, isCancelled } = scan;
  let end = before;
  let count = CHUNK_ENTRIES_MIN;
  while (end > reader.first && !isCancelled()) {
    const wanted = filter === undefined ? Math.min(count, countMax) : count;
    const after = await reader.findTail(wanted, end, scanQuery);
    const items = await readChunk(after, end, scan);
    if (items === undefined) {
      count = Math.max(1, Math.floor(wanted / 4));
      continue;
    }
    end = Math.min(after + 1, end - 1);
    count = Math.min(2 * count, CHUNK_ENTRIES_MAX);
    yield { items: items.reverse(), before: end };
  }
}

/** What matches after `after` and before `before`, oldest first; undefined when it is too much to hold. */
async function readChunk(after: number, before: number, scan: BackwardScan): Promise<Item[] | undefined> {
  const { reader, clock, filter, isCancelled } = scan;
  const items: Item[] = [];
  let bytes = 0;
  let lateMs = clock.monotonicMs() + TURN_MS;
  const reading = reader.scan(after, scan.scanQuery);
  try {
    while (reading.position < before - 1 && !isCancelled()) {
      const run = await reading.next(READ_BYTES);
      if (run === undefined) break;
      if (run.kind === "gap") {
        // Retention is the beginning of the log: nothing older is there.
        if (run.reason !== "retention") items.push({ ...run, last: Math.min(run.last, before - 1) });
        continue;
      }
      const wanted: EntryRun = run.last < before ? run : cutRun(run, before - 1, sequenceOf);
      for (let i = 0; i < wanted.count;) {
        const from = wanted.starts[i]!;
        const to = wanted.starts[i + 1]!;
        const isMatch = filter === undefined || filter.matches(wanted.bytes, from, to);
        if (isMatch === true) {
          bytes += to - from;
          // A copy: a frame must not keep the block alive in which it lies.
          items.push({ kind: "entry", frame: wanted.bytes.slice(from, to) });
          if (bytes > CHUNK_BYTES && items.length > 1) return undefined;
        }
        if (isMatch !== undefined) i++;
        if (clock.monotonicMs() < lateMs) continue;
        await nextTurn();
        if (isCancelled()) return items;
        lateMs = clock.monotonicMs() + TURN_MS;
      }
      reading.release?.();
    }
  } finally {
    reading.close();
  }
  return items;
}

interface Page {
  readonly items: readonly Item[];
  readonly entries: number;
  /** Sequence of its last entry; 0 when it has none. */
  readonly oldest: number;
}

/** The first items, up to so many entries. */
function firstOf(items: readonly Item[], countMax: number): Page {
  let entries = 0;
  let end = 0;
  let oldest: Uint8Array | undefined;
  while (end < items.length && entries < countMax) {
    const item = items[end++]!;
    if (item.kind !== "entry") continue;
    entries++;
    oldest = item.frame;
  }
  return {
    items: items.slice(0, end),
    entries,
    oldest: oldest === undefined ? 0 : sequenceOf(oldest, 0, oldest.length),
  };
}

/** What is said, as the reader wants to hear it: entry by entry or in batches, with controls or without. */
class Talk {
  readonly #reader: LogReader;
  readonly #controls: ControlFrames | undefined;
  readonly #isStrict: boolean;
  readonly #entriesMax: number;
  /** Of batches. */
  readonly #encoder: EncodesBatches | undefined;

  constructor(query: LogQuery, options: BackwardOptions) {
    this.#reader = options.reader;
    this.#encoder = query.batch === undefined ? undefined : options.encoder;
    this.#entriesMax = query.batch?.entriesMax ?? Number.POSITIVE_INFINITY;
    this.#isStrict = query.isStrict;
    const controls = query.batch === undefined ? options.controls : options.batchControls;
    this.#controls = query.hasControls ? controls : undefined;
  }

  *notice(notice: NoticeControl): Generator<Frames> {
    if (this.#controls !== undefined) yield new Frames(this.#controls.notice(notice));
  }

  /** The token of what is older than `before`. */
  *sync(before: number): Generator<Frames> {
    const { first, head } = this.#reader;
    if (before > head.sequence && before > first) return;
    if (this.#controls !== undefined)
      yield new Frames(this.#controls.sync(before <= first ? "" : cursorOf(this.#reader, before)));
  }

  /** @throws CursorExpired, DataLoss for whoever does not hear of gaps */
  *gap(gap: GapControl, next: "older" | GapRun): Generator<Frames> {
    const isRefused = this.#controls === undefined || (this.#isStrict && gap.reason !== "corruption");
    if (!isRefused) {
      yield new Frames(this.#controls.gap(gap));
      return;
    }
    const reader = this.#reader;
    // For whoever reads backwards, "after" is where the entries are older.
    throw gapError(
      reader,
      next === "older"
        ? gap
        : { ...gap, afterCursor: cursorOf(reader, next.last), toCursor: cursorOf(reader, next.first) },
    );
  }

  *items(items: readonly Item[]): Generator<Frames> {
    let frames: Uint8Array[] = [];
    let bytes = 0;
    for (const item of items) {
      const isFull =
        item.kind !== "entry" || frames.length === this.#entriesMax || bytes + item.frame.length > BATCH_BYTES_MAX;
      if (isFull && frames.length > 0) {
        yield this.#pack(frames);
        frames = [];
        bytes = 0;
      }
      if (item.kind === "entry") {
        frames.push(item.frame);
        bytes += item.frame.length;
      } else yield* this.gap(gapOfRun(this.#reader, item), item);
    }
    if (frames.length > 0) yield this.#pack(frames);
  }

  #pack(frames: readonly Uint8Array[]): Frames {
    return new Frames(this.#encoder?.encode(frames) ?? Buffer.concat(frames));
  }
}
