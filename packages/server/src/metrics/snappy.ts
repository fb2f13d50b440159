// Snappy's block format, both ways: what remote write's bodies are compressed with
// (github.com/google/snappy/blob/main/format_description.txt; not the framing format).
//
// N1. What is decompressed is never larger than it says at its beginning, and that is looked at before memory is taken.
// N2. A copy never reads before the beginning of what was written, and writes nothing beyond the end.
// N3. The compressor works in blocks of 64 KiB, so that its table of places is small and offsets fit into 16 bits.
import { LimitExceeded, SluiceError } from "../errors.ts";

/** Bytes that are no Snappy block. To recover: compress with Snappy's block format. */
export class BadSnappy extends SluiceError {
  override readonly name = "BadSnappy";
  constructor(why: string) {
    super("invalid-argument", `Cannot decompress: ${why}; it must be Snappy's block format`, { reason: "BAD_SNAPPY" });
  }
}

const LITERAL = 0;
const COPY_1 = 1;
const COPY_2 = 2;
/** The smallest block that can hold a copy beside its literals. */
const BLOCK_BYTES = 64 * 1024;
const INPUT_MARGIN = 15;
const TABLE_BITS = 14;
const LENGTH_BYTES_MAX = 5;
/** Of one element. */
const COPY_MAX = 64;

/**
 * The bytes as they were.
 * @throws LimitExceeded when they would be more than `maxBytes`
 * @throws BadSnappy
 */
export function decompressSnappy(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const { size, pos: start } = readSize(bytes);
  if (size > maxBytes) {
    const text = `Cannot decompress ${size} bytes: the limit is ${maxBytes}; send less in one request`;
    throw new LimitExceeded(text, "decompressed bytes");
  }
  const out = Buffer.allocUnsafeSlow(size);
  let written = 0;
  let pos = start;
  while (pos < bytes.length) {
    const tag = bytes[pos++]!;
    const kind = tag & 3;
    if (kind === LITERAL) {
      let length = (tag >>> 2) + 1;
      if (length > 60) {
        const extra = length - 60;
        if (pos + extra > bytes.length) throw new BadSnappy("it ends within a length");
        length = 1;
        for (let i = 0; i < extra; i++) length += bytes[pos++]! * 2 ** (8 * i);
      }
      if (pos + length > bytes.length) throw new BadSnappy("it ends within a literal");
      if (written + length > size) throw new BadSnappy("it holds more than it says");
      out.set(bytes.subarray(pos, pos + length), written);
      pos += length;
      written += length;
      continue;
    }
    const offsetBytes = kind === COPY_1 ? 1 : kind === COPY_2 ? 2 : 4;
    if (pos + offsetBytes > bytes.length) throw new BadSnappy("it ends within a copy");
    const length = kind === COPY_1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    let offset = kind === COPY_1 ? (tag >>> 5) << 8 : 0;
    for (let i = 0; i < offsetBytes; i++) offset += bytes[pos++]! * 2 ** (8 * i);
    if (offset === 0 || offset > written) throw new BadSnappy("a copy is from before the beginning");
    if (written + length > size) throw new BadSnappy("it holds more than it says");
    copyWithin(out, { from: written - offset, to: written, length });
    written += length;
  }
  if (written < size) throw new BadSnappy(`it says ${size} bytes and holds ${written}`);
  return out;
}

/** N2: what is copied may reach into what is being written, and is then repeated. */
function copyWithin(out: Buffer, { from, to, length }: { from: number; to: number; length: number }): void {
  if (to - from >= length) out.copyWithin(to, from, from + length);
  else for (let i = 0; i < length; i++) out[to + i] = out[from + i]!;
}

function readSize(bytes: Uint8Array): { readonly size: number; readonly pos: number } {
  let size = 0;
  for (let i = 0; i < LENGTH_BYTES_MAX; i++) {
    const byte = bytes[i];
    if (byte === undefined) break;
    size += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      if (size > 0xff_ff_ff_ff) break;
      return { size, pos: i + 1 };
    }
  }
  throw new BadSnappy("it begins with no length");
}

/** The bytes compressed; at most a sixth and some bytes more than they are. */
export function compressSnappy(bytes: Uint8Array): Uint8Array {
  const out = Buffer.allocUnsafeSlow(32 + bytes.length + Math.ceil(bytes.length / 6));
  let used = 0;
  let rest = bytes.length;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out[used++] = (rest % 0x80) | 0x80;
  out[used++] = rest;
  const table = new Uint16Array(1 << TABLE_BITS);
  for (let start = 0; start < bytes.length; start += BLOCK_BYTES) {
    const block = bytes.subarray(start, Math.min(bytes.length, start + BLOCK_BYTES));
    table.fill(0);
    used = compressBlock(block, table, out, used);
  }
  return out.subarray(0, used);
}

/** N3. Places with the same four bytes are found by their hash; misses make it look at fewer and fewer. */
function compressBlock(block: Uint8Array, table: Uint16Array, out: Buffer, start: number): number {
  let used = start;
  let literal = 0;
  if (block.length > INPUT_MARGIN) {
    const view = new DataView(block.buffer, block.byteOffset, block.length);
    const last = block.length - INPUT_MARGIN;
    let skip = 32;
    for (let pos = 1; pos < last;) {
      const four = view.getUint32(pos, true);
      const slot = Math.imul(four, 0x1e35a7bd) >>> (32 - TABLE_BITS);
      const candidate = table[slot]!;
      table[slot] = pos;
      if (candidate >= pos || view.getUint32(candidate, true) !== four) {
        pos += skip++ >>> 5;
        continue;
      }
      used = putLiteral(block.subarray(literal, pos), out, used);
      let length = 4;
      while (pos + length < block.length && block[candidate + length] === block[pos + length]) length++;
      used = putCopy(pos - candidate, length, out, used);
      pos += length;
      literal = pos;
      skip = 32;
    }
  }
  return putLiteral(block.subarray(literal), out, used);
}

function putLiteral(bytes: Uint8Array, out: Buffer, start: number): number {
  let used = start;
  const last = bytes.length - 1;
  if (last < 0) return used;
  if (last < 60) out[used++] = last << 2;
  else if (last < 0x100) {
    out[used++] = 60 << 2;
    out[used++] = last;
  } else {
    out[used++] = 61 << 2;
    used = out.writeUInt16LE(last, used);
  }
  out.set(bytes, used);
  return used + bytes.length;
}

function putCopy(offset: number, length: number, out: Buffer, start: number): number {
  let used = start;
  let rest = length;
  // What remains must have the four bytes that a short copy needs.
  for (; rest > COPY_MAX;) {
    const piece = rest >= COPY_MAX + 4 ? COPY_MAX : COPY_MAX - 4;
    out[used++] = ((piece - 1) << 2) | COPY_2;
    used = out.writeUInt16LE(offset, used);
    rest -= piece;
  }
  if (rest < 12 && offset < 2048) {
    out[used++] = ((offset >>> 8) << 5) | ((rest - 4) << 2) | COPY_1;
    out[used++] = offset & 0xff;
    return used;
  }
  out[used++] = ((rest - 1) << 2) | COPY_2;
  return out.writeUInt16LE(offset, used);
}
