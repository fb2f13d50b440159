// Reads protobuf's wire format in place, stricter than the decoders of any language are, so that what passes here can
// be read by all of them (https://protobuf.dev/programming-guides/encoding/).
//
// W1. No read leaves `pos..end`. What is wrong makes the reader fail for good: `pos` jumps to `end`, every further read
//     answers 0, `hasFailed` stays true. So a loop over fields needs one check, at its end, and no exception.
// W2. Refused although some decoders take it: groups, tags over 5 bytes, field number 0, varints of more than 64 bits.
import { isUtf8 } from "node:buffer";

const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
export const WIRE_BYTES = 2;
const WIRE_FIXED32 = 5;

/** A 64-bit value and its halves: low, high, as machines keep them that Node runs on. */
const signed = new BigInt64Array(1);
const unsigned = new BigUint64Array(signed.buffer);
const halves = new Uint32Array(signed.buffer);

/** A position in bytes that hold one message. Reused for many: `open` starts the next. */
export class WireReader {
  bytes: Uint8Array = new Uint8Array(0);
  pos = 0;
  end = 0;
  hasFailed = false;
  /** The halves of the last 64-bit value, as unsigned 32-bit numbers. */
  low = 0;
  high = 0;

  open(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
    this.hasFailed = false;
  }

  fail(): number {
    this.hasFailed = true;
    this.pos = this.end;
    return 0;
  }

  /** The next tag (field number × 8 + wire type). Call while `pos < end`; 0 after a failure. */
  tag(): number {
    const first = this.bytes[this.pos]!;
    if (first < 0x80 && first >= 8) {
      this.pos++;
      return first;
    }
    return this.#longTag();
  }

  #longTag(): number {
    const start = this.pos;
    this.varint();
    if (this.high !== 0 || this.low < 8 || this.pos - start > 5) return this.fail();
    return this.low;
  }

  /** Reads a varint into `low` and `high`; answers `low`. */
  varint(): number {
    const { bytes, end } = this;
    let pos = this.pos;
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      if (pos >= end) return this.fail();
      const byte = bytes[pos++]!;
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.pos = pos;
        this.high = 0;
        return (this.low = low);
      }
    }
    if (pos >= end) return this.fail();
    const middle = bytes[pos++]!;
    low = (low | ((middle & 0x0f) << 28)) >>> 0;
    let high = (middle & 0x7f) >>> 4;
    if (middle < 0x80) {
      this.pos = pos;
      this.high = high;
      return (this.low = low);
    }
    for (let shift = 3; shift <= 31; shift += 7) {
      if (pos >= end) return this.fail();
      const byte = bytes[pos++]!;
      if (shift === 31 && byte > 1) return this.fail();
      high |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.pos = pos;
        this.high = high >>> 0;
        return (this.low = low);
      }
    }
    return this.fail();
  }

  fixed32(): number {
    const { bytes, pos } = this;
    if (this.end - pos < 4) return this.fail();
    this.pos = pos + 4;
    return (bytes[pos]! | (bytes[pos + 1]! << 8) | (bytes[pos + 2]! << 16) | (bytes[pos + 3]! << 24)) >>> 0;
  }

  /** Reads 8 bytes into `low` and `high`. */
  fixed64(): void {
    this.low = this.fixed32();
    this.high = this.fixed32();
  }

  /** Reads an int64. */
  int64(): bigint {
    this.varint();
    return bigintOf(this.low, this.high);
  }

  /** Reads a uint64. */
  uint64(): bigint {
    this.varint();
    halves[0] = this.low;
    halves[1] = this.high;
    return unsigned[0]!;
  }

  /** Reads a packed list of int64. */
  int64s(): bigint[] {
    return this.#list(true);
  }

  /** Reads a packed list of uint64. */
  uint64s(): bigint[] {
    return this.#list(false);
  }

  #list(isSigned: boolean): bigint[] {
    const outerEnd = this.enter();
    const values: bigint[] = [];
    while (this.pos < this.end) values.push(isSigned ? this.int64() : this.uint64());
    this.leave(outerEnd);
    return values;
  }

  /** Reads a length and answers where that many bytes end; they start at `pos`. The caller moves `pos` there. */
  span(): number {
    const { bytes, pos } = this;
    if (pos < this.end) {
      const first = bytes[pos]!;
      if (first < 0x80) {
        if (first >= this.end - pos) return this.#overrun();
        this.pos = pos + 1;
        return pos + 1 + first;
      }
    }
    const length = this.varint();
    if (this.high !== 0 || length > this.end - this.pos) return this.#overrun();
    return this.pos + length;
  }

  #overrun(): number {
    this.fail();
    return this.end;
  }

  /** Narrows the reader to the message within whose length is next; answers what `leave` takes. */
  enter(): number {
    const outerEnd = this.end;
    this.end = this.span();
    return outerEnd;
  }

  /** Goes on behind the message that `enter` entered, which has been read to its end. */
  leave(outerEnd: number): void {
    this.end = outerEnd;
    if (this.hasFailed) this.pos = outerEnd;
  }

  /** Steps over the value behind a tag. */
  skip(tag: number): void {
    switch (tag & 7) {
      case WIRE_VARINT:
        this.varint();
        return;
      case WIRE_FIXED64:
        this.fixed64();
        return;
      case WIRE_BYTES:
        this.pos = this.span();
        return;
      case WIRE_FIXED32:
        this.fixed32();
        return;
      default:
        this.fail();
    }
  }
}

/** Longer ones are checked by native code; below, its call costs more than the loop. */
const NATIVE_CHECK_BYTES = 128;

/** Whether `bytes[start..end)` is UTF-8. */
export function isText(bytes: Uint8Array, start: number, end: number): boolean {
  let pos = start;
  if (end - start <= NATIVE_CHECK_BYTES) {
    while (pos < end && bytes[pos]! < 0x80) pos++;
    if (pos === end) return true;
  }
  return isUtf8(bytes.subarray(pos, end));
}

/** The signed 64-bit value of two halves as a number; exact below 2^53. */
export function numberOf(low: number, high: number): number {
  return (high | 0) * 0x1_0000_0000 + (low >>> 0);
}

/** The signed 64-bit value of two halves. */
export function bigintOf(low: number, high: number): bigint {
  halves[0] = low;
  halves[1] = high;
  return signed[0]!;
}

/** Writes a varint of an integer from 0 to 2^53 - 1; answers where it ends. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  while (rest > 0x7fff_ffff) {
    bytes[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest > 0x7f) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

/** Writes the varint of a 64-bit value in two halves (10 bytes when it is negative); answers where it ends. */
export function writeVarint64(bytes: Uint8Array, at: number, low: number, high: number): number {
  let lowRest = low >>> 0;
  let highRest = high >>> 0;
  while (highRest !== 0) {
    bytes[at++] = (lowRest & 0x7f) | 0x80;
    lowRest = ((lowRest >>> 7) | (highRest << 25)) >>> 0;
    highRest >>>= 7;
  }
  while (lowRest > 0x7f) {
    bytes[at++] = (lowRest & 0x7f) | 0x80;
    lowRest >>>= 7;
  }
  bytes[at++] = lowRest;
  return at;
}

/** How many bytes `writeVarint` takes. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size++;
  return size;
}
