// Sizes and bytes of single fields of protobuf, for encoders written by hand: what is at its default is left out.
import { varintSize, writeVarint, writeVarint64 } from "./wire.ts";

/** Longer text is measured and written by native code; below, its call costs more than the loop. */
const SHORT_TEXT = 48;

/** Halves of a 64-bit value: low, high (all of Node's platforms are little-endian). */
const wide = new BigInt64Array(1);
const halves = new Int32Array(wide.buffer);

export function textSize(text: string): number {
  if (text.length > SHORT_TEXT) return Buffer.byteLength(text);
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return Buffer.byteLength(text);
  }
  return text.length;
}

export function textFieldSize(text: string | undefined): number {
  if (text === undefined || text === "") return 0;
  const size = textSize(text);
  return 1 + varintSize(size) + size;
}

export function writeTextField(bytes: Buffer, at: number, tag: number, text: string | undefined): number {
  if (text === undefined || text === "") return at;
  bytes[at] = tag;
  return writeText(bytes, at + 1, text);
}

/** Length and text. */
export function writeText(bytes: Buffer, start: number, text: string): number {
  const size = textSize(text);
  const at = writeVarint(bytes, start, size);
  // As many bytes as units: it is ASCII.
  if (size > SHORT_TEXT || size !== text.length) return at + bytes.write(text, at, "utf8");
  for (let i = 0; i < size; i++) bytes[at + i] = text.charCodeAt(i);
  return at + size;
}

/** Of a field of 32 bits, never negative here. */
export function narrowFieldSize(value: number | undefined): number {
  return value === undefined || value === 0 ? 0 : 1 + varintSize(value);
}

export function writeNarrow(bytes: Buffer, at: number, tag: number, value: number | undefined): number {
  if (value === undefined || value === 0) return at;
  bytes[at] = tag;
  return writeVarint(bytes, at + 1, value);
}

/** Of a field of 64 bits. */
export function wideFieldSize(value: bigint | undefined): number {
  return value === undefined || value === 0n ? 0 : 1 + wideSize(value);
}

export function writeWide(bytes: Buffer, at: number, tag: number, value: bigint | undefined): number {
  if (value === undefined || value === 0n) return at;
  bytes[at] = tag;
  wide[0] = value;
  return writeVarint64(bytes, at + 1, halves[0]!, halves[1]!);
}

function wideSize(value: bigint): number {
  wide[0] = value;
  const low = halves[0]! >>> 0;
  const high = halves[1]! >>> 0;
  if (high === 0) return varintSize(low);
  // Five bytes take 35 bits: the low half and three of the high one.
  return high < 8 ? 5 : 5 + varintSize(high >>> 3);
}

export function packedSize(values: readonly bigint[] | undefined): number {
  if (values === undefined) return 0;
  let size = 0;
  for (const value of values) size += wideSize(value);
  return size;
}

/** Tag, length and so many bytes; nothing when there are none. */
export function listFieldSize(size: number): number {
  return size === 0 ? 0 : 1 + varintSize(size) + size;
}

export function writePacked(
  bytes: Buffer,
  start: number,
  tag: number,
  values: readonly bigint[] | undefined,
  size: number,
): number {
  if (values === undefined || size === 0) return start;
  bytes[start] = tag;
  let at = writeVarint(bytes, start + 1, size);
  for (const value of values) {
    wide[0] = value;
    at = writeVarint64(bytes, at, halves[0]!, halves[1]!);
  }
  return at;
}
