// What series were, for as long as it is kept: in memory, compressed.
//
//   newest points   gorilla.ts, a block for each series, or whole points (those that a number does not say all of, and late ones)
//   older ones      arena.ts, in chunks; a series knows its newest chunk, and each chunk the one before
//
// H1. Exact: every point that was added comes out as it was, until its slab goes.
// H2. Slabs go by age and by bytes, oldest first; what went is known (`lostUntilNs`, `lostSequence`).
// H3. A series is known by its number while it is live or has a point here.
import { grown } from "../columns.ts";
import type { DescribedSeries } from "../live-series.ts";
import { Arena, type Chunk, ChunkKind, type Stretch } from "./arena.ts";
import { ChunkReader, type ReadableChunk, type TickPoint } from "./chunk-reader.ts";
import { OpenPoints } from "./open-points.ts";
import { SeriesNumbers } from "./series-numbers.ts";
import { Ticks } from "./ticks.ts";
import { Turns } from "./turns.ts";
import type { PastPoint } from "./whole-point.ts";

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

const SLAB_BYTES = 1024 * 1024;
const IDS_MIN = 64;
/** What a series that is not live any more keeps in memory, or so. */
const SERIES_BYTES = 1024;
const EVERYTHING: PointRange = { fromNs: -(2n ** 63n), toNs: 2n ** 63n };

export class History {
  readonly ticks: Ticks;
  /** Of whoever reads much of it. */
  readonly turns = new Turns();
  /** Points at or before it may be missing; Unix ns. */
  lostUntilNs = -(2n ** 63n);
  /** The same by the record that they came in. */
  lostSequence = 0;
  readonly #options: HistoryOptions;
  readonly #arena: Arena;
  readonly #numbers = new SeriesNumbers();
  readonly #open: OpenPoints;
  readonly #chunks: ChunkReader;
  /** Place of the newest chunk of each series. */
  #newest = new Float64Array(IDS_MIN);
  /** The highest in a chunk. */
  #sealedTicks = new Float64Array(IDS_MIN);

  constructor(options: HistoryOptions, firstTick = 0) {
    this.#options = options;
    this.#arena = new Arena({ slabBytes: options.slabBytes ?? SLAB_BYTES });
    this.ticks = new Ticks(firstTick);
    this.#open = new OpenPoints(this.ticks, (chunk, body) => this.#store(chunk, body));
    this.#chunks = new ChunkReader(this.ticks);
  }

  get bytes(): number {
    return this.#arena.bytes + this.#open.bytes + this.ticks.bytes + SERIES_BYTES * this.#numbers.size;
  }

  /** Bytes of what is compressed and full. */
  get chunkBytes(): number {
    return this.#arena.bytes;
  }

  get size(): number {
    return this.#numbers.size;
  }

  find(key: string): number | undefined {
    return this.#numbers.find(key);
  }

  seriesOf(id: number): DescribedSeries | undefined {
    return this.#numbers.seriesOf(id);
  }

  all(): Iterable<[id: number, series: DescribedSeries]> {
    return this.#numbers.all();
  }

  /** Gives a series its number. `wanted`: the one that it had. */
  add(series: DescribedSeries, wanted?: number): number {
    const id = this.#numbers.add(series, wanted);
    while (id >= this.#newest.length) this.#grow();
    this.#open.begin(id);
    this.#newest[id] = 0;
    this.#sealedTicks[id] = -1;
    return id;
  }

  /** A series is described anew. */
  replace(id: number, series: DescribedSeries): void {
    this.#numbers.replace(id, series);
  }

  /** Whether a point of this tick is in a chunk that was there when the history was opened. */
  isSealed(id: number, tick: number): boolean {
    return tick <= this.#sealedTicks[id]!;
  }

  /** Adds a point to a series. Ticks ascend; times need not. */
  append(id: number, tick: number, point: PastPoint): void {
    this.#open.append(id, tick, point);
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
    for (const chunk of this.#chunksIn(id, range)) this.#chunks.decode(chunk, take);
    return isSorted ? found : found.toSorted(byTime);
  }

  /** What chunks that overlap a range hold: at least what is in the range. Undefined: there is none. */
  extent(id: number, range: PointRange): { count: number; oldestNs: bigint; newestNs: bigint } | undefined {
    let count = 0;
    let oldestNs = 2n ** 63n;
    let newestNs = -oldestNs;
    for (const chunk of this.#chunksIn(id, range)) {
      count += chunk.count;
      const oldest = this.#chunks.oldestOf(chunk);
      const newest = this.#chunks.newestOf(chunk);
      if (oldest < oldestNs) oldestNs = oldest;
      if (newest > newestNs) newestNs = newest;
    }
    return count === 0 ? undefined : { count, oldestNs, newestNs };
  }

  /** The two newest points of a series, the older one first. */
  newestTwo(id: number): TickPoint[] {
    const chunks = this.#chunksIn(id, EVERYTHING);
    const newestOf = (chunk: ReadableChunk): bigint => this.#chunks.newestOf(chunk);
    const last = chunks.reduce<ReadableChunk | undefined>(
      (best, each) => (best === undefined || newestOf(each) > newestOf(best) ? each : best),
      undefined,
    );
    const found: TickPoint[] = [];
    if (last !== undefined) this.#chunks.decode(last, (point) => found.push(point));
    return found.toSorted(byTime).slice(-2);
  }

  /**
   * Times and values of the points of a series in a range, in no order where late ones are among them: ns since `seconds`
   * (Unix), and doubles. `visit` is called for each; ends of series are left out.
   */
  numbers(id: number, range: PointRange, seconds: number, visit: (sinceNs: number, value: number) => void): void {
    const from = Number(range.fromNs - BigInt(seconds) * 1_000_000_000n);
    const to = Number(range.toNs - BigInt(seconds) * 1_000_000_000n);
    const take = (since: number, value: number): void => {
      if (since >= from && since < to) visit(since, value);
    };
    for (const chunk of this.#chunksIn(id, range)) this.#chunks.numbers(chunk, seconds, take);
  }

  /** Makes chunks of what a series has beside them. */
  seal(id: number): void {
    this.#open.seal(id);
  }

  /** All numbers of series are below it. */
  get ids(): number {
    return this.#numbers.end;
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
      const { id, kind, lastTick } = chunk;
      this.#newest[id] = place;
      if (lastTick > this.#sealedTicks[id]!) this.#sealedTicks[id] = lastTick;
      if (kind === ChunkKind.GORILLA) this.#open.continue(id, chunk);
    }
  }

  /** Numbers that nobody has are given again. To be called when everything is back. */
  reuseIds(): void {
    this.#numbers.reuse();
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
      const newest = this.#chunks.newestOf(chunk);
      if (newest > this.lostUntilNs) this.lostUntilNs = newest;
      this.lostSequence = Math.max(this.lostSequence, this.ticks.sequence(chunk.lastTick));
    }
  }

  /** H3. */
  #forgetSeries(): void {
    const { isLive } = this.#options;
    for (const [id, series] of this.#numbers.all()) {
      if (this.#arena.isThere(this.#newest[id]!) || !this.#open.isEmpty(id) || isLive(series)) continue;
      this.#numbers.forget(id);
    }
  }

  #dropTicks(): void {
    const first = this.#open.firstTick(this.#numbers.ids());
    this.ticks.dropBefore(Math.min(first, this.ticks.next, this.#arena.firstTick));
  }

  #store(chunk: Chunk, body: Uint8Array): void {
    const { id } = chunk;
    const where = { previous: this.#newest[id]!, nowMs: this.#options.nowMs() };
    this.#newest[id] = this.#arena.add(chunk, body, where);
  }

  #grow(): void {
    const size = 2 * this.#newest.length;
    this.#newest = grown(this.#newest, new Float64Array(size));
    this.#sealedTicks = grown(this.#sealedTicks, new Float64Array(size));
  }

  /** Chunks that may have points in a range, the oldest first. */
  #chunksIn(id: number, range: PointRange): ReadableChunk[] {
    const found: ReadableChunk[] = [];
    const take = (chunk: ReadableChunk): void => {
      if (range.fromTick !== undefined && chunk.lastTick < range.fromTick) return;
      if (range.toTick !== undefined && chunk.firstTick >= range.toTick) return;
      if (this.#chunks.newestOf(chunk) < range.fromNs || this.#chunks.oldestOf(chunk) >= range.toNs) return;
      found.push(chunk);
    };
    for (const chunk of this.#open.chunks(id)) take(chunk);
    for (let place = this.#newest[id]!; place !== 0;) {
      const chunk = this.#arena.read(place);
      if (chunk === undefined) break;
      take(chunk);
      place = chunk.previous;
    }
    return found.toReversed();
  }
}

function isTickIn(tick: number, { fromTick, toTick }: PointRange): boolean {
  return (fromTick === undefined || tick >= fromTick) && (toTick === undefined || tick < toTick);
}

function byTime(a: TickPoint, b: TickPoint): number {
  return a.timestampNs < b.timestampNs ? -1 : a.timestampNs > b.timestampNs ? 1 : 0;
}
