// Header blocks of one connection, one after the other: the decoder with its caches against one that has none.
//
// H1. Both take the same blocks, and read the same fields from them.
// H2. What is no HPACK is COMPRESSION_ERROR, and nothing else is ever thrown.
import { HpackDecoder } from "../../../packages/rpc/src/http2/hpack.ts";
import { STATIC_TABLE } from "../../../packages/rpc/src/http2/hpack-table.ts";
import { ConnectionError, ErrorCode, FrameType } from "../../../packages/rpc/src/http2/frame.ts";
import { encodeHuffman, huffmanLength } from "../../../packages/rpc/src/http2/huffman.ts";
import { literalBlock, REQUEST } from "../../../packages/rpc/src/http2/testing/frames.ts";
import { type Grammar, changeBytes, http2Frames } from "../grammar.ts";
import { clientRecordings, serverRecordings } from "../recordings.ts";
import type { Input, Target } from "../target.ts";

/** An input is a row of blocks, each after two bytes of length; what is left over at the end is the last one. */
const blocks: Grammar = {
  cut(bytes) {
    const units: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 2 <= bytes.length ? at + 2 + bytes.readUInt16BE(at) : bytes.length;
      units.push(bytes.subarray(at, end));
      at = end;
    }
    return units;
  },
  change: (unit, random) =>
    random.oneIn(8) ? changeBytes(unit, random) : sized(changeBytes(unit.subarray(2), random)),
};

function sized(block: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(Math.min(block.length, 0xffff));
  return Buffer.concat([length, block]);
}

/**
 * Symbols by their codes, a one before each to tell 0 from 00: made with the encoder, which is held against others
 * elsewhere (test/differential/hpack).
 */
const SYMBOLS = symbolsByCode();

function symbolsByCode(): ReadonlyMap<number, number> {
  const symbols = new Map<number, number>();
  for (let symbol = 0; symbol < 256; symbol++) {
    const text = String.fromCharCode(symbol);
    // Eight times the same code has as many bytes as the code has bits.
    const bitCount = huffmanLength(text.repeat(8));
    const bytes = Buffer.alloc(4);
    encodeHuffman(text, bytes, 0);
    symbols.set((bytes.readUInt32BE(0) >>> (32 - bitCount)) + 2 ** bitCount, symbol);
  }
  return symbols;
}

class NotHpack extends Error {}

/** RFC 7541 as it is written, and nothing more. */
class PlainDecoder {
  readonly #table: [name: string, value: string][] = [];
  readonly #bytesMax: number;
  #tableBytes = 4096;
  #usedBytes = 0;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  decode(block: Buffer): string[] {
    this.#block = block;
    this.#at = 0;
    const fields: string[] = [];
    while (this.#at < block.length) {
      const first = block[this.#at]!;
      if (first >= 0x80) fields.push(...this.#entry(this.#integer(7)));
      else if (first >= 0x40) {
        const field = this.#literal(6);
        this.#table.unshift(field);
        this.#usedBytes += entryBytes(field);
        this.#evict();
        fields.push(...field);
      } else if (first >= 0x20) {
        const size = this.#integer(5);
        if (fields.length > 0 || size > this.#bytesMax) throw new NotHpack();
        this.#tableBytes = size;
        this.#evict();
      } else fields.push(...this.#literal(4));
    }
    return fields;
  }

  #literal(prefixBits: number): [string, string] {
    const index = this.#integer(prefixBits);
    const name = index === 0 ? this.#text() : this.#entry(index)[0];
    return [name, this.#text()];
  }

  #entry(index: number): [string, string] {
    const fixed = STATIC_TABLE[index - 1];
    if (fixed !== undefined) return [fixed.name, fixed.value];
    const entry = this.#table[index - 1 - STATIC_TABLE.length];
    if (entry === undefined) throw new NotHpack();
    return entry;
  }

  #evict(): void {
    while (this.#usedBytes > this.#tableBytes) this.#usedBytes -= entryBytes(this.#table.pop()!);
  }

  #byte(): number {
    const byte = this.#block[this.#at++];
    if (byte === undefined) throw new NotHpack();
    return byte;
  }

  #integer(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let count = 0; count < 4; count++) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 128 ** count;
      if (byte < 0x80) return value;
    }
    throw new NotHpack();
  }

  #text(): string {
    const isHuffman = (this.#block[this.#at] ?? 0) >= 0x80;
    const length = this.#integer(7);
    const bytes = this.#block.subarray(this.#at, this.#at + length);
    if (bytes.length < length) throw new NotHpack();
    this.#at += length;
    return isHuffman ? plainText(bytes) : bytes.toString("latin1");
  }
}

/** RFC 7541 §4.1 */
function entryBytes([name, value]: readonly [string, string]): number {
  return name.length + value.length + 32;
}

function plainText(bytes: Buffer): string {
  let text = "";
  let code = 1;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >>> bit) & 1);
      const symbol = SYMBOLS.get(code);
      if (symbol === undefined) continue;
      text += String.fromCharCode(symbol);
      code = 1;
    }
  }
  // At most seven bits of padding, all ones.
  if (code > 0xff || (code & (code + 1)) !== 0) throw new NotHpack();
  return text;
}

const TABLE_BYTES = 4096;
const LIST_BYTES_MAX = 16 * 1024;

function run({ bytes }: Input): void {
  const decoder = new HpackDecoder(TABLE_BYTES, LIST_BYTES_MAX);
  const plain = new PlainDecoder(TABLE_BYTES);
  for (const unit of blocks.cut(bytes)) {
    const block = unit.subarray(2);
    const expected = fieldsOf(() => plain.decode(block), NotHpack);
    const actual = fieldsOf(() => {
      const list = decoder.decode(block, 0, block.length);
      return list.isTooLarge ? undefined : list.fields;
    }, ConnectionError);
    if (expected === undefined || actual === undefined) {
      if (actual !== expected) throw new Error(`block ${block.toString("hex")}: one of both refuses it`); // H1
      return;
    }
    if (actual === "too large" && byteCount(expected) > LIST_BYTES_MAX) continue;
    if (String(actual) !== String(expected)) {
      throw new Error(`block ${block.toString("hex")}: ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
    }
  }
}

/** Undefined: refused, with an error of this class. */
function fieldsOf(
  decode: () => readonly string[] | undefined,
  refusal: typeof NotHpack | typeof ConnectionError,
): readonly string[] | "too large" | undefined {
  try {
    return decode() ?? "too large";
  } catch (error) {
    if (!(error instanceof refusal)) throw error;
    if (error instanceof ConnectionError && error.code !== ErrorCode.COMPRESSION_ERROR) throw error; // H2
    return undefined;
  }
}

/** RFC 9113 §6.5.2 */
function byteCount(fields: readonly string[] | "too large"): number {
  return typeof fields === "string" ? 0 : fields.reduce((sum, text) => sum + text.length, 16 * fields.length);
}

/** A table that holds one or two entries of 34 bytes, or just not; then both are asked for. */
const TIGHT_TABLES = [33, 34, 35, 67, 68, 69].map((bytes) => {
  const insert = [0x40, 1, 97, 1, 98];
  return sized(Buffer.of(0x3f, bytes - 31, ...insert, ...insert, 0xbe, 0xbf));
});

/** The blocks of a recorded connection. */
function blocksOf(recording: Buffer): Buffer {
  const frames = http2Frames.cut(recording).filter((unit) => unit[3] === FrameType.HEADERS && unit.length > 9);
  return Buffer.concat(frames.map((frame) => sized(frame.subarray(9 + ((frame[4]! & 8) !== 0 ? 1 : 0)))));
}

export const hpack: Target = {
  name: "hpack",
  about: "header blocks: the decoder with caches against a plain one",
  weight: 30,
  async open() {
    const recordings = [...(await clientRecordings()), ...(await serverRecordings())];
    const extras = [
      sized(literalBlock([...REQUEST, "x", "y".repeat(300)])),
      sized(Buffer.of(0x20)),
      sized(Buffer.of(0x3f, 0xe1, 0x1f)),
      sized(Buffer.of(0x40, 1, 97, 1, 98, 0xbe)),
      sized(Buffer.of(0x82, 0x86, 0x84, 0xbe, 0xbf, 0xc0)),
      sized(Buffer.of(0x10, 0x81, 0x1f, 0x81, 0x1f)),
      ...TIGHT_TABLES,
      sized(Buffer.from("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "hex")),
    ];
    return { grammar: blocks, corpus: recordings.map(blocksOf), extras, run };
  },
};
