// What series were, for as long as it is kept: in memory, compressed.
//
//   newest points   gorilla.ts, a block for each series, or whole points (those that a number does not say all of, and late ones)
//   older ones      arena.ts, in chunks; a series knows its newest chunk, and each chunk the one before
//
// H1. Exact: every point that was added comes out as it was, until its slab goes.
// H2. Slabs go by age and by bytes, oldest first; what went is known (`lostUntilNs`, `lostSequence`).
// H3. A series is known by its number while it is live or has a point here.
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import type { DescribedSeries } from "../series.ts";
import { Arena, type Chunk, ChunkKind, type StoredChunk, type Stretch } from "./arena.ts";
import { GorillaBlocks, GorillaReader } from "./gorilla.ts";
import { fits, NO_SCALE, scaled, scaleOf, unscaled } from "./scales.ts";
import { Ticks } from "./ticks.ts";
import { decodeWhole, encodeWhole, isPlain, type PastPoint, STALE_HIGH, STALE_LOW } from "./whole-point.ts";

export interface HistoryOptions {
  /** So long points are kept. */
  readonly keepMs: number;
  /** What they may take together; beyond it the oldest go sooner. */
  readonly bytesMax: number;
  readonly slabBytes?: number;
  readonly isLive: (series: DescribedSeries) => boolean;
  /** Unix ms. */
  readonly nowMs: () => number;
}

/** Which points. */
export interface PointRange {
  /** Unix ns, inclusive and exclusive. */
  readonly fromNs: bigint;
  readonly toNs: bigint;
  /** Only those of this tick and later ones. */
  readonly fromTick?: number;
  readonly toTick?: number;
}

/** A point, and when it came. */
export interface TickPoint extends PastPoint {
  readonly tick: number;
}

/** Whole points of one series that no chunk holds yet. */
interface OpenWhole {
  readonly parts: Buffer[];
  bytes: number;
  count: number;
  firstTick: number;
  lastTick: number;
  oldestNs: bigint;
  newestNs: bigint;
}

const SLAB_BYTES = 1024 * 1024;
/** Beyond it whole points become a chunk. */
const WHOLE_BYTES = 16 * 1024;
const COMPRESSED_FROM = 256;
/** What a series that is not live any more keeps in memory, or so. */
const SERIES_BYTES = 1024;
const TICK_BYTES = 6;
const NO_BYTES = Buffer.alloc(0);

export class History {
  readonly ticks: Ticks;
  /** Points at or before it may be missing; Unix ns. */
  lostUntilNs = -(2n ** 63n);
  /** The same by the record that they came in. */
  lostSequence = 0;
  readonly #options: HistoryOptions;
  readonly #arena: Arena;
  readonly #blocks = new GorillaBlocks();
  readonly #wholes = new Map<number, OpenWhole>();
  readonly #series: (DescribedSeries | undefined)[] = [];
  readonly #ids = new Map<string, number>();
  readonly #free: number[] = [];
  /** Place of the newest chunk of each series. */
  readonly #newest: number[] = [];
  /** Of the points in each block. */
  readonly #starts: bigint[] = [];
  readonly #areInts: boolean[] = [];
  /** Of the values in each block, and what they all would need. */
  readonly #scales: number[] = [];
  readonly #needs: number[] = [];
  /** The highest in a chunk. */
  readonly #sealedTicks: number[] = [];
  readonly #reader = new GorillaReader();
  #wholeBytes = 0;

  constructor(options: HistoryOptions, firstTick = 0) {
    this.#options = options;
    this.#arena = new Arena({ slabBytes: options.slabBytes ?? SLAB_BYTES });
    this.ticks = new Ticks(firstTick);
  }

  get bytes(): number {
    const series = SERIES_BYTES * this.#ids.size;
    return this.#arena.bytes + this.#blocks.bytes + this.ticks.bytes + this.#wholeBytes + series;
  }

  /** Bytes of what is compressed and full. */
  get chunkBytes(): number {
    return this.#arena.bytes;
  }

  get size(): number {
    return this.#ids.size;
  }

  find(key: string): number | undefined {
    return this.#ids.get(key);
  }

  seriesOf(id: number): DescribedSeries | undefined {
    return this.#series[id];
  }

  *all(): Generator<[id: number, series: DescribedSeries]> {
    for (const id of this.#ids.values()) yield [id, this.#series[id]!];
  }

  /** Gives a series its number. `wanted`: the one that it had. */
  add(series: DescribedSeries, wanted?: number): number {
    const id = wanted ?? this.#free.pop() ?? this.#series.length;
    const before = this.#series[id];
    if (before !== undefined) this.#ids.delete(before.key);
    this.#series[id] = series;
    this.#ids.set(series.key, id);
    this.#newest[id] = 0;
    this.#starts[id] = 0n;
    this.#areInts[id] = false;
    this.#scales[id] = 0;
    this.#needs[id] = 0;
    this.#sealedTicks[id] = -1;
    return id;
  }

  /** A series is described anew. */
  replace(id: number, series: DescribedSeries): void {
    this.#series[id] = series;
  }

  /** Whether a point of this tick is in a chunk that was there when the history was opened. */
  isSealed(id: number, tick: number): boolean {
    return tick <= this.#sealedTicks[id]!;
  }

  /** Whether a point of this tick is behind what its series has in its block. */
  #isLate(id: number, tick: number): boolean {
    return this.#blocks.count(id) > 0 && !this.ticks.isAfter(tick, this.#blocks.lastTick(id));
  }

  /** Adds a point to a series. Ticks ascend; times need not. */
  append(id: number, tick: number, point: PastPoint): void {
    if (this.#isLate(id, tick) || (!isPlain(point) && !point.isStale)) {
      this.#appendWhole(id, tick, point);
      return;
    }
    const isInt = point.isStale ? this.#areInts[id]! : point.intValue !== undefined;
    const startNs = point.isStale ? this.#starts[id]! : point.startNs;
    if (!this.#blocks.hasRoom(id) || isInt !== this.#areInts[id] || startNs !== this.#starts[id]) {
      this.#sealBlock(id);
      this.#areInts[id] = isInt;
      this.#starts[id] = startNs;
    }
    if (!point.isStale) this.#fitScale(id, point.value);
    if (point.isStale) this.#blocks.append(id, tick, STALE_HIGH, STALE_LOW);
    else {
      scratch[0] = scaled(point.value, this.#scales[id]!);
      this.#blocks.append(id, tick, halves[1]!, halves[0]!);
    }
  }

  /** A block has one scale: where that does not fit, the next one begins. */
  #fitScale(id: number, value: number): void {
    const before = this.#scales[id]!;
    if (this.#needs[id] === NO_SCALE || fits(value, before)) return;
    const need = scaleOf(value, before);
    this.#needs[id] = need;
    const scale = need === NO_SCALE ? 0 : need;
    // As they are, a block holds any values.
    if (scale !== before) this.#sealBlock(id);
    this.#scales[id] = scale;
  }

  #appendWhole(id: number, tick: number, point: PastPoint): void {
    let whole = this.#wholes.get(id);
    if (whole === undefined) {
      const { timestampNs } = point;
      whole = {
        parts: [],
        bytes: 0,
        count: 0,
        firstTick: tick,
        lastTick: tick,
        oldestNs: timestampNs,
        newestNs: timestampNs,
      };
      this.#wholes.set(id, whole);
    }
    const body = encodeWhole(point);
    const head = Buffer.allocUnsafe(TICK_BYTES + 4);
    head.writeUInt32LE(body.length, head.writeUIntLE(tick, 0, TICK_BYTES));
    whole.parts.push(head, body);
    whole.bytes += head.length + body.length;
    this.#wholeBytes += head.length + body.length;
    whole.count++;
    whole.lastTick = tick;
    if (point.timestampNs < whole.oldestNs) whole.oldestNs = point.timestampNs;
    if (point.timestampNs > whole.newestNs) whole.newestNs = point.timestampNs;
    if (whole.bytes >= WHOLE_BYTES) this.#sealWhole(id);
  }

  /** The points of a series in a range, by time. */
  points(id: number, range: PointRange): TickPoint[] {
    const found: TickPoint[] = [];
    let isSorted = true;
    const take = (point: TickPoint): void => {
      const { timestampNs, tick } = point;
      if (timestampNs < range.fromNs || timestampNs >= range.toNs || !isTickIn(tick, range)) return;
      const last = found.at(-1);
      if (last !== undefined && last.timestampNs > timestampNs) isSorted = false;
      found.push(point);
    };
    for (const chunk of this.#chunksIn(id, range)) this.#decode(chunk, take);
    return isSorted ? found : found.toSorted(byTime);
  }

  /** What chunks that overlap a range hold: at least what is in the range. Undefined: there is none. */
  extent(id: number, range: PointRange): { count: number; oldestNs: bigint; newestNs: bigint } | undefined {
    let count = 0;
    let oldestNs = 2n ** 63n;
    let newestNs = -oldestNs;
    for (const chunk of this.#chunksIn(id, range)) {
      count += chunk.count;
      const oldest = this.#oldestOf(chunk);
      const newest = this.#newestOf(chunk);
      if (oldest < oldestNs) oldestNs = oldest;
      if (newest > newestNs) newestNs = newest;
    }
    return count === 0 ? undefined : { count, oldestNs, newestNs };
  }

  /** The two newest points of a series, the older one first. */
  newestTwo(id: number): TickPoint[] {
    const chunks = [...this.#chunksIn(id, EVERYTHING)];
    const last = chunks.reduce<ReadableChunk | undefined>(
      (best, each) => (best === undefined || this.#newestOf(each) > this.#newestOf(best) ? each : best),
      undefined,
    );
    const found: TickPoint[] = [];
    if (last !== undefined) this.#decode(last, (point) => found.push(point));
    return found.toSorted(byTime).slice(-2);
  }

  /**
   * Times and values of the points of a series in a range, in no order where late ones are among them: ns since `seconds`
   * (Unix), and doubles. `visit` is called for each; ends of series are left out.
   */
  numbers(id: number, range: PointRange, seconds: number, visit: (sinceNs: number, value: number) => void): void {
    const from = Number(range.fromNs - BigInt(seconds) * 1_000_000_000n);
    const to = Number(range.toNs - BigInt(seconds) * 1_000_000_000n);
    const { ticks } = this;
    const reader = this.#reader;
    for (const chunk of this.#chunksIn(id, range)) {
      if (chunk.kind !== ChunkKind.GORILLA) {
        this.#decode(chunk, ({ tick, value, isStale }) => {
          const since = ticks.since(tick, seconds);
          if (since >= from && since < to && !isStale) visit(since, value);
        });
        continue;
      }
      reader.open(chunk.bytes, chunk.at, chunk);
      while (reader.next()) {
        const since = ticks.since(reader.tick, seconds);
        if (since < from || since >= to) continue;
        if (reader.high === STALE_HIGH && reader.low === STALE_LOW) continue;
        halves[0] = reader.low;
        halves[1] = reader.high;
        visit(since, unscaled(scratch[0]!, chunk.scale));
      }
    }
  }

  /** Makes chunks of what a series has beside them. */
  seal(id: number): void {
    this.#sealBlock(id);
    this.#sealWhole(id);
    // Its next values may fit again.
    if (this.#needs[id] === NO_SCALE) this.#needs[id] = 0;
  }

  get ids(): number {
    return this.#series.length;
  }

  get end(): { readonly slab: number; readonly offset: number } {
    return this.#arena.end;
  }

  since(from: { readonly slab: number; readonly offset: number }): Generator<Stretch> {
    return this.#arena.since(from);
  }

  /** Whether a series has got a chunk behind a place. */
  hasChunkSince(id: number, from: { readonly slab: number; readonly offset: number }): boolean {
    return this.#arena.isBehind(this.#newest[id]!, from);
  }

  /** To be called when all chunks are back: those whose ticks are not there any more go, and what is missing is noted. */
  noteBegin(): void {
    const { ticks } = this;
    while (this.#arena.firstTickOfOldest < ticks.begin) this.#arena.dropOldest();
    if (ticks.begin === 0) return;
    this.lostUntilNs = ticks.timestampNs(ticks.begin) - 1n;
    this.lostSequence = ticks.sequence(ticks.begin) - 1;
  }

  /** Puts back what `since` handed out. */
  restore(stretch: Stretch): void {
    for (const { place, chunk } of this.#arena.restore(stretch)) {
      const { id, kind } = chunk;
      this.#newest[id] = place;
      this.#sealedTicks[id] = Math.max(this.#sealedTicks[id] ?? -1, chunk.lastTick);
      if (kind !== ChunkKind.GORILLA) continue;
      this.#starts[id] = chunk.startNs;
      this.#areInts[id] = chunk.isInt;
    }
  }

  /** Numbers that nobody has are given again. To be called when everything is back. */
  reuseIds(): void {
    for (let id = this.#series.length - 1; id >= 0; id--) if (this.#series[id] === undefined) this.#free.push(id);
  }

  /** H2, H3. */
  expire(): void {
    const { keepMs, bytesMax } = this.#options;
    const nowMs = this.#options.nowMs();
    let hasDropped = false;
    const isDue = (): boolean => {
      const sealedMs = this.#arena.oldestSealedMs;
      return sealedMs !== undefined && (sealedMs < nowMs - keepMs || (this.bytes > bytesMax && this.#arena.slabs > 1));
    };
    while (isDue()) {
      this.#noteLoss();
      this.#arena.dropOldest();
      hasDropped = true;
    }
    if (!hasDropped) return;
    this.#forgetSeries();
    this.#dropTicks();
  }

  #noteLoss(): void {
    for (const chunk of this.#arena.oldest()) {
      const newest = this.#newestOf(chunk);
      if (newest > this.lostUntilNs) this.lostUntilNs = newest;
      this.lostSequence = Math.max(this.lostSequence, this.ticks.sequence(chunk.lastTick));
    }
  }

  /** H3. */
  #forgetSeries(): void {
    const { isLive } = this.#options;
    for (const [key, id] of this.#ids) {
      if (this.#arena.isThere(this.#newest[id]!) || this.#blocks.count(id) > 0 || this.#wholes.has(id)) continue;
      if (isLive(this.#series[id]!)) continue;
      this.#ids.delete(key);
      this.#series[id] = undefined;
      this.#free.push(id);
    }
  }

  #dropTicks(): void {
    let first = Math.min(this.ticks.next, this.#arena.firstTick);
    for (const id of this.#ids.values()) {
      if (this.#blocks.count(id) > 0) first = Math.min(first, this.#blocks.firstTick(id));
    }
    for (const whole of this.#wholes.values()) first = Math.min(first, whole.firstTick);
    this.ticks.dropBefore(first);
  }

  #sealBlock(id: number): void {
    const count = this.#blocks.count(id);
    if (count > 0) {
      const firstTick = this.#blocks.firstTick(id);
      const lastTick = this.#blocks.lastTick(id);
      const times = { firstTick, lastTick, oldestNs: 0n, newestNs: 0n };
      const kind = ChunkKind.GORILLA;
      const startNs = this.#starts[id]!;
      const values = { isInt: this.#areInts[id]!, scale: this.#scales[id]! };
      this.#store({ id, kind, ...values, startNs, count, ...times }, this.#blocks.bytesOf(id));
    }
    this.#blocks.reset(id);
  }

  #sealWhole(id: number): void {
    const whole = this.#wholes.get(id);
    if (whole === undefined) return;
    const { parts, bytes, ...chunk } = whole;
    const plain = Buffer.concat(parts);
    const isCompressed = plain.length >= COMPRESSED_FROM;
    const kind = isCompressed ? ChunkKind.WHOLE_ZSTD : ChunkKind.WHOLE;
    this.#store(
      { id, kind, isInt: false, scale: 0, startNs: 0n, ...chunk },
      isCompressed ? zstdCompressSync(plain) : plain,
    );
    this.#wholes.delete(id);
    this.#wholeBytes -= bytes;
  }

  #store(chunk: Chunk, body: Uint8Array): void {
    const { id } = chunk;
    const where = { previous: this.#newest[id]!, nowMs: this.#options.nowMs() };
    this.#newest[id] = this.#arena.add(chunk, body, where);
  }

  /** Chunks that may have points in a range, the oldest first. */
  #chunksIn(id: number, range: PointRange): ReadableChunk[] {
    const found: ReadableChunk[] = [];
    const take = (chunk: ReadableChunk): void => {
      if (range.fromTick !== undefined && chunk.lastTick < range.fromTick) return;
      if (range.toTick !== undefined && chunk.firstTick >= range.toTick) return;
      if (this.#newestOf(chunk) < range.fromNs || this.#oldestOf(chunk) >= range.toNs) return;
      found.push(chunk);
    };
    const count = this.#blocks.count(id);
    if (count > 0) {
      take({
        kind: ChunkKind.GORILLA,
        isInt: this.#areInts[id]!,
        scale: this.#scales[id]!,
        startNs: this.#starts[id]!,
        count,
        firstTick: this.#blocks.firstTick(id),
        lastTick: this.#blocks.lastTick(id),
        oldestNs: 0n,
        newestNs: 0n,
        bytes: this.#blocks.bytesOf(id),
        at: 0,
        length: 0,
      });
    }
    const whole = this.#wholes.get(id);
    if (whole !== undefined) {
      const { parts, bytes: length, ...chunk } = whole;
      take({
        ...chunk,
        kind: ChunkKind.WHOLE,
        isInt: false,
        scale: 0,
        startNs: 0n,
        bytes: NO_BYTES,
        parts,
        at: 0,
        length,
      });
    }
    for (let place = this.#newest[id]!; place !== 0;) {
      const chunk = this.#arena.read(place);
      if (chunk === undefined) break;
      take(chunk);
      place = chunk.previous;
    }
    return found.toReversed();
  }

  #oldestOf(chunk: ReadableChunk): bigint {
    return chunk.kind === ChunkKind.GORILLA ? this.ticks.timestampNs(chunk.firstTick) : chunk.oldestNs;
  }

  #newestOf(chunk: ReadableChunk): bigint {
    return chunk.kind === ChunkKind.GORILLA ? this.ticks.timestampNs(chunk.lastTick) : chunk.newestNs;
  }

  #decode(chunk: ReadableChunk, visit: (point: TickPoint) => void): void {
    if (chunk.kind === ChunkKind.GORILLA) this.#decodeGorilla(chunk, visit);
    else this.#decodeWhole(chunk, visit);
  }

  #decodeGorilla(chunk: ReadableChunk, visit: (point: TickPoint) => void): void {
    const { startNs, isInt, scale, bytes, at } = chunk;
    const reader = this.#reader;
    reader.open(bytes, at, chunk);
    while (reader.next()) {
      const { tick, high, low } = reader;
      halves[0] = low;
      halves[1] = high;
      const value = unscaled(scratch[0]!, scale);
      const isStale = high === STALE_HIGH && low === STALE_LOW;
      const timestampNs = this.ticks.timestampNs(tick);
      const intValue = isInt && !isStale ? BigInt(value) : undefined;
      visit({ tick, value, intValue, timestampNs, startNs, isStale });
    }
  }

  #decodeWhole({ kind, bytes, at, length, parts }: ReadableChunk, visit: (point: TickPoint) => void): void {
    const stored = parts === undefined ? bytes.subarray(at, at + length) : Buffer.concat(parts);
    const plain =
      kind === ChunkKind.WHOLE_ZSTD
        ? zstdDecompressSync(stored)
        : Buffer.from(stored.buffer, stored.byteOffset, stored.length);
    for (let from = 0; from < plain.length;) {
      const tick = plain.readUIntLE(from, TICK_BYTES);
      const start = from + TICK_BYTES + 4;
      const end = start + plain.readUInt32LE(from + TICK_BYTES);
      visit({ ...decodeWhole(plain.subarray(start, end), this.ticks.timestampNs(tick)), tick });
      from = end;
    }
  }
}

type ReadableChunk = Omit<StoredChunk, "id" | "previous" | "bytes"> & {
  readonly bytes: Uint8Array;
  readonly parts?: readonly Buffer[];
};

const EVERYTHING: PointRange = { fromNs: -(2n ** 63n), toNs: 2n ** 63n };
const scratch = new Float64Array(1);
const halves = new Uint32Array(scratch.buffer);

function isTickIn(tick: number, { fromTick, toTick }: PointRange): boolean {
  return (fromTick === undefined || tick >= fromTick) && (toTick === undefined || tick < toTick);
}

function byTime(a: TickPoint, b: TickPoint): number {
  return a.timestampNs < b.timestampNs ? -1 : a.timestampNs > b.timestampNs ? 1 : 0;
}
