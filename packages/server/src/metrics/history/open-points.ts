// The newest points of each series, which no chunk holds yet: a block of bits, and whole points where a number does not say all
// of a point, or where it is late.
//
// O1. What is full becomes a chunk, and begins anew.
// O2. The values of a block have one scale, one start, and all came as whole numbers or none did: where that changes, the
//     block becomes a chunk.
import { zstdCompressSync } from "node:zlib";
import { grown } from "../columns.ts";
import { type Chunk, ChunkKind } from "./arena.ts";
import { type ReadableChunk, TICK_BYTES } from "./chunk-reader.ts";
import { GorillaBlocks } from "./gorilla.ts";
import { fits, NO_SCALE, scaled, scaleOf } from "./scales.ts";
import type { Ticks } from "./ticks.ts";
import { encodeWhole, isPlain, type PastPoint, STALE_HIGH, STALE_LOW } from "./whole-point.ts";

/** Whole points of one series. */
interface OpenWhole {
  readonly parts: Buffer[];
  bytes: number;
  count: number;
  firstTick: number;
  lastTick: number;
  oldestNs: bigint;
  newestNs: bigint;
}

/** Beyond it whole points become a chunk. */
const WHOLE_BYTES = 16 * 1024;
const COMPRESSED_FROM = 256;
const IDS_MIN = 64;
const COLUMN_BYTES = 11;
const NO_BYTES = Buffer.alloc(0);
/** What only the other kinds of a chunk have. */
const NO_TIMES = { oldestNs: 0n, newestNs: 0n } as const;
const NO_VALUES = { isInt: false, scale: 0, startNs: 0n } as const;

const scratch = new Float64Array(1);
const halves = new Uint32Array(scratch.buffer);

export class OpenPoints {
  readonly #ticks: Ticks;
  readonly #store: (chunk: Chunk, body: Uint8Array) => void;
  readonly #blocks = new GorillaBlocks();
  readonly #wholes = new Map<number, OpenWhole>();
  #wholeBytes = 0;
  /** Of the points in each block (O2). */
  #starts = new BigInt64Array(IDS_MIN);
  #areInts = new Uint8Array(IDS_MIN);
  #scales = new Uint8Array(IDS_MIN);
  /** The scale that all values so far would need; NO_SCALE: there is none. */
  #needs = new Uint8Array(IDS_MIN);

  /** @param store takes what is full */
  constructor(ticks: Ticks, store: (chunk: Chunk, body: Uint8Array) => void) {
    this.#ticks = ticks;
    this.#store = store;
  }

  get bytes(): number {
    return this.#blocks.bytes + this.#wholeBytes + COLUMN_BYTES * this.#starts.length;
  }

  /** A series of this number begins. */
  begin(id: number): void {
    if (id >= this.#starts.length) this.#grow(id);
    this.continue(id, { startNs: 0n, isInt: false });
    this.#scales[id] = 0;
    this.#needs[id] = 0;
  }

  /** Its last points were such. */
  continue(id: number, { startNs, isInt }: Pick<Chunk, "startNs" | "isInt">): void {
    this.#starts[id] = startNs;
    this.#areInts[id] = isInt ? 1 : 0;
  }

  isEmpty(id: number): boolean {
    return this.#blocks.count(id) === 0 && !this.#wholes.has(id);
  }

  /** The lowest tick of all points of these series. */
  firstTick(ids: Iterable<number>): number {
    let first = Infinity;
    for (const id of ids) if (this.#blocks.count(id) > 0) first = Math.min(first, this.#blocks.firstTick(id));
    for (const whole of this.#wholes.values()) first = Math.min(first, whole.firstTick);
    return first;
  }

  /** Adds a point to a series. Ticks ascend; times need not. */
  append(id: number, tick: number, point: PastPoint): void {
    if (this.#isLate(id, tick) || (!isPlain(point) && !point.isStale)) {
      this.#appendWhole(id, tick, point);
      return;
    }
    if (!point.isStale) {
      const isInt = point.intValue === undefined ? 0 : 1;
      if (isInt !== this.#areInts[id] || point.startNs !== this.#starts[id]) {
        this.#sealBlock(id);
        this.#areInts[id] = isInt;
        this.#starts[id] = point.startNs;
      }
      this.#fitScale(id, point.value);
    }
    if (!this.#blocks.hasRoom(id)) this.#sealBlock(id);
    if (point.isStale) {
      this.#blocks.append(id, tick, STALE_HIGH, STALE_LOW);
      return;
    }
    scratch[0] = scaled(point.value, this.#scales[id]!);
    this.#blocks.append(id, tick, halves[1]!, halves[0]!);
  }

  /** Makes chunks of what there is. */
  seal(id: number): void {
    this.#sealBlock(id);
    this.#sealWhole(id);
    // Its next values may fit again.
    if (this.#needs[id] === NO_SCALE) this.#needs[id] = 0;
  }

  /** What there is, to be read until the next point. */
  chunks(id: number): ReadableChunk[] {
    const found: ReadableChunk[] = [];
    const count = this.#blocks.count(id);
    if (count > 0) found.push({ ...this.#blockOf(id, count), bytes: this.#blocks.bytesOf(id), at: 0, length: 0 });
    const whole = this.#wholes.get(id);
    if (whole === undefined) return found;
    const { parts, bytes: length, ...chunk } = whole;
    found.push({ ...chunk, ...NO_VALUES, kind: ChunkKind.WHOLE, bytes: NO_BYTES, parts, at: 0, length });
    return found;
  }

  /** Whether a point of this tick is behind what its series has in its block. */
  #isLate(id: number, tick: number): boolean {
    return this.#blocks.count(id) > 0 && !this.#ticks.isAfter(tick, this.#blocks.lastTick(id));
  }

  #blockOf(id: number, count: number): Omit<Chunk, "id"> {
    return {
      kind: ChunkKind.GORILLA,
      isInt: this.#areInts[id] === 1,
      scale: this.#scales[id]!,
      startNs: this.#starts[id]!,
      count,
      firstTick: this.#blocks.firstTick(id),
      lastTick: this.#blocks.lastTick(id),
      ...NO_TIMES,
    };
  }

  /** O2. */
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
      const times = { oldestNs: timestampNs, newestNs: timestampNs };
      whole = { parts: [], bytes: 0, count: 0, firstTick: tick, lastTick: tick, ...times };
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

  #sealBlock(id: number): void {
    const count = this.#blocks.count(id);
    if (count > 0) this.#store({ id, ...this.#blockOf(id, count) }, this.#blocks.bytesOf(id));
    this.#blocks.reset(id);
  }

  #sealWhole(id: number): void {
    const whole = this.#wholes.get(id);
    if (whole === undefined) return;
    const { parts, bytes, ...chunk } = whole;
    const plain = Buffer.concat(parts);
    const isCompressed = plain.length >= COMPRESSED_FROM;
    const kind = isCompressed ? ChunkKind.WHOLE_ZSTD : ChunkKind.WHOLE;
    this.#store({ id, kind, ...NO_VALUES, ...chunk }, isCompressed ? zstdCompressSync(plain) : plain);
    this.#wholes.delete(id);
    this.#wholeBytes -= bytes;
  }

  #grow(id: number): void {
    const size = Math.max(2 * this.#starts.length, id + 1);
    this.#starts = grown(this.#starts, new BigInt64Array(size));
    this.#areInts = grown(this.#areInts, new Uint8Array(size));
    this.#scales = grown(this.#scales, new Uint8Array(size));
    this.#needs = grown(this.#needs, new Uint8Array(size));
  }
}
