// The newest points of many series, each in a small block of bits: delta-of-delta for when, XOR for what.
// After "Gorilla: A Fast, Scalable, In-Memory Time Series Database" (VLDB 2015, sections 4.1.1 and 4.1.2). What stands for the
// time here is the number of a tick (ticks.ts), whose exact timestamp all its points share.
//
// G1. 64 bits go in and the same come out: any double, any NaN.
// G2. A block never moves and never grows. When it may not hold one more point, its bits are taken and it begins anew.
//
//   first point   64 bits of value; its tick stands beside the block
//   tick          0: as far from the last as that was from the one before; 10, 110, 1110: 3, 5, 9 bits of difference, less
//                 by 3, 15, 255; 1111: 64 bits of difference, two's complement. Short ones, since where many programs write, those
//                 between two ticks of one of them differ by a few each time
//   value         0: as before; 10: the changed bits, where those of the last time lay; 11: 5 bits of how many zeros are in
//                 front, 6 bits of how many bits follow less 1, the bits
import { grown } from "../columns.ts";

/** Bytes of a block: 100 points or so of real metrics. */
export const BLOCK_BYTES = 256;
/** No point takes more: 4 + 64 for its tick, 2 + 5 + 6 + 64 for its value. */
const POINT_BITS_MAX = 145;
const BLOCKS_PER_SLAB = 1024;
const NO_WINDOW = 255;
const TWO_32 = 2 ** 32;

/** Open blocks, by the number of their series. */
export class GorillaBlocks {
  readonly #slabs: Uint8Array[] = [];
  #counts = new Uint16Array(0);
  #bits = new Uint16Array(0);
  #firstTicks = new Float64Array(0);
  #ticks = new Float64Array(0);
  #deltas = new Float64Array(0);
  #highs = new Uint32Array(0);
  #lows = new Uint32Array(0);
  #leading = new Uint8Array(0);
  #trailing = new Uint8Array(0);

  /** What all of them take, used or not. */
  get bytes(): number {
    return this.#slabs.length * BLOCKS_PER_SLAB * BLOCK_BYTES + this.#counts.length * 38;
  }

  count(id: number): number {
    return this.#counts[id] ?? 0;
  }

  firstTick(id: number): number {
    return this.#firstTicks[id]!;
  }

  lastTick(id: number): number {
    return this.#ticks[id]!;
  }

  /** The bytes that hold the points so far; valid until the next one. */
  bytesOf(id: number): Uint8Array {
    const start = (id % BLOCKS_PER_SLAB) * BLOCK_BYTES;
    return this.#slabs[Math.floor(id / BLOCKS_PER_SLAB)]!.subarray(start, start + ((this.#bits[id]! + 7) >>> 3));
  }

  hasRoom(id: number): boolean {
    return (this.#bits[id] ?? 0) + POINT_BITS_MAX <= BLOCK_BYTES * 8;
  }

  /** Begins anew. */
  reset(id: number): void {
    if (this.count(id) > 0) this.bytesOf(id).fill(0);
    this.#counts[id] = 0;
    this.#bits[id] = 0;
  }

  /** Ticks ascend. There must be room. */
  append(id: number, tick: number, high: number, low: number): void {
    if (id >= this.#counts.length) this.#grow(id);
    const slab = (this.#slabs[Math.floor(id / BLOCKS_PER_SLAB)] ??= new Uint8Array(BLOCKS_PER_SLAB * BLOCK_BYTES));
    const base = (id % BLOCKS_PER_SLAB) * BLOCK_BYTES * 8;
    let at = base + this.#bits[id]!;
    if (this.count(id) === 0) {
      this.#firstTicks[id] = tick;
      this.#deltas[id] = 0;
      this.#leading[id] = NO_WINDOW;
      at = putBits(slab, at, high, 32);
      at = putBits(slab, at, low, 32);
    } else {
      const delta = tick - this.#ticks[id]!;
      at = putTick(slab, at, delta - this.#deltas[id]!);
      this.#deltas[id] = delta;
      at = this.#putValue(id, slab, at, (high ^ this.#highs[id]!) >>> 0, (low ^ this.#lows[id]!) >>> 0);
    }
    this.#ticks[id] = tick;
    this.#highs[id] = high;
    this.#lows[id] = low;
    this.#bits[id] = at - base;
    this.#counts[id]!++;
  }

  #putValue(id: number, slab: Uint8Array, start: number, high: number, low: number): number {
    if (high === 0 && low === 0) return putBits(slab, start, 0, 1);
    const leading = Math.min(31, high === 0 ? 32 + Math.clz32(low) : Math.clz32(high));
    const trailing = low === 0 ? 32 + trailingZeros(high) : trailingZeros(low);
    let at = start;
    const isInWindow = leading >= this.#leading[id]! && trailing >= this.#trailing[id]!;
    if (isInWindow) {
      at = putBits(slab, at, 0b10, 2);
    } else {
      this.#leading[id] = leading;
      this.#trailing[id] = trailing;
      at = putBits(slab, at, 0b11, 2);
      at = putBits(slab, at, leading, 5);
      at = putBits(slab, at, 63 - leading - trailing, 6);
    }
    const shift = this.#trailing[id]!;
    const length = 64 - this.#leading[id]! - shift;
    const highPart = shift === 0 ? high : shift >= 32 ? 0 : high >>> shift;
    const lowPart = shift === 0 ? low : shift >= 32 ? high >>> (shift - 32) : (low >>> shift) | (high << (32 - shift));
    if (length > 32) {
      at = putBits(slab, at, highPart, length - 32);
      return putBits(slab, at, lowPart >>> 0, 32);
    }
    return putBits(slab, at, lowPart >>> 0, length);
  }

  #grow(id: number): void {
    const size = Math.max(64, 2 * this.#counts.length, id + 1);
    this.#counts = grown(this.#counts, new Uint16Array(size));
    this.#bits = grown(this.#bits, new Uint16Array(size));
    this.#firstTicks = grown(this.#firstTicks, new Float64Array(size));
    this.#ticks = grown(this.#ticks, new Float64Array(size));
    this.#deltas = grown(this.#deltas, new Float64Array(size));
    this.#highs = grown(this.#highs, new Uint32Array(size));
    this.#lows = grown(this.#lows, new Uint32Array(size));
    this.#leading = grown(this.#leading, new Uint8Array(size));
    this.#trailing = grown(this.#trailing, new Uint8Array(size));
  }
}

/** Reads the points of a block, or of what was taken of one. Used for many. */
export class GorillaReader {
  tick = 0;
  high = 0;
  low = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #left = 0;
  #isFirst = true;
  #delta = 0;
  #leading = 0;
  #trailing = 0;

  open(bytes: Uint8Array, start: number, { count, firstTick }: { count: number; firstTick: number }): void {
    this.#bytes = bytes;
    this.#at = start * 8;
    this.#left = count;
    this.#isFirst = true;
    this.#delta = 0;
    this.tick = firstTick;
  }

  /** False: there is none any more. */
  next(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    if (this.#isFirst) {
      this.#isFirst = false;
      this.high = this.#bitsOf(32);
      this.low = this.#bitsOf(32);
      return true;
    }
    this.#delta += this.#readTick();
    this.tick += this.#delta;
    if (this.#bitsOf(1) === 1) this.#readValue();
    return true;
  }

  #readTick(): number {
    if (this.#bitsOf(1) === 0) return 0;
    if (this.#bitsOf(1) === 0) return this.#bitsOf(3) - 3;
    if (this.#bitsOf(1) === 0) return this.#bitsOf(5) - 15;
    if (this.#bitsOf(1) === 0) return this.#bitsOf(9) - 255;
    const high = this.#bitsOf(32) | 0;
    return high * TWO_32 + this.#bitsOf(32);
  }

  #readValue(): void {
    if (this.#bitsOf(1) === 1) {
      this.#leading = this.#bitsOf(5);
      this.#trailing = 63 - this.#leading - this.#bitsOf(6);
    }
    const shift = this.#trailing;
    const length = 64 - this.#leading - shift;
    const high = length > 32 ? this.#bitsOf(length - 32) : 0;
    const low = this.#bitsOf(Math.min(32, length));
    if (shift === 0) {
      this.high = (this.high ^ high) >>> 0;
      this.low = (this.low ^ low) >>> 0;
    } else if (shift >= 32) {
      this.high = (this.high ^ (low << (shift - 32))) >>> 0;
    } else {
      this.high = (this.high ^ ((high << shift) | (low >>> (32 - shift)))) >>> 0;
      this.low = (this.low ^ (low << shift)) >>> 0;
    }
  }

  /** Up to 32 of them, the highest first. */
  #bitsOf(count: number): number {
    if (count > 25) {
      const high = this.#bitsOf(count - 16);
      return ((high << 16) | this.#bitsOf(16)) >>> 0;
    }
    const bytes = this.#bytes;
    const at = this.#at;
    const from = at >>> 3;
    // Behind the last byte there is nothing, which counts as 0; bits of it are not asked for.
    const window = (bytes[from]! << 24) | (bytes[from + 1]! << 16) | (bytes[from + 2]! << 8) | bytes[from + 3]!;
    this.#at = at + count;
    return count === 0 ? 0 : (window << (at & 7)) >>> (32 - count);
  }
}

function putTick(slab: Uint8Array, at: number, difference: number): number {
  if (difference === 0) return putBits(slab, at, 0, 1);
  if (difference >= -3 && difference <= 4) return putBits(slab, at, (0b10 << 3) | (difference + 3), 5);
  if (difference >= -15 && difference <= 16) return putBits(slab, at, (0b110 << 5) | (difference + 15), 8);
  if (difference >= -255 && difference <= 256) return putBits(slab, at, (0b1110 << 9) | (difference + 255), 13);
  const marked = putBits(slab, at, 0b1111, 4);
  return putBits(slab, putBits(slab, marked, Math.floor(difference / TWO_32) >>> 0, 32), difference >>> 0, 32);
}

/** The lowest `count` bits of the value, up to 32; where they go, the bits are 0. Answers where the next ones go. */
function putBits(slab: Uint8Array, start: number, value: number, count: number): number {
  let at = start;
  let left = count;
  while (left > 0) {
    const room = 8 - (at & 7);
    const taken = left < room ? left : room;
    slab[at >>> 3]! |= ((value >>> (left - taken)) & ((1 << taken) - 1)) << (room - taken);
    at += taken;
    left -= taken;
  }
  return at;
}

function trailingZeros(value: number): number {
  return 31 - Math.clz32(value & -value);
}
