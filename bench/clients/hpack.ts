// Header compression (RFC 7541) as the load clients need it: an encoder that indexes what it may, as grpc-go's and
// grpc-java's do, and a reader for answers that came without a dynamic table. Independent of the code that is measured.

export interface Field {
  readonly name: string;
  readonly value: string;
  /** Sent as a literal that no table may keep, as clients do with credentials that they call sensitive. */
  readonly isNeverIndexed?: boolean;
}

// Appendix A, as far as requests need it: "name" → index, "name: value" → index.
const staticIndexes: ReadonlyMap<string, number> = new Map([
  [":authority", 1],
  [":method", 2],
  [":method: POST", 3],
  [":path", 4],
  [":scheme", 6],
  [":scheme: http", 6],
  ["authorization", 23],
  ["content-type", 31],
  ["user-agent", 58],
]);
const staticEntries = 61;
const entryOverheadBytes = 32;

// Appendix B is a canonical code: the lengths say it all. One base-36 digit for each of the 256 symbols.
const codeLengths =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq";

interface Code {
  readonly bits: number;
  readonly length: number;
}

const codes: readonly Code[] = assignCodes();
const symbolsByCode: ReadonlyMap<string, number> = new Map(
  codes.map((code, symbol) => [`${code.length}:${code.bits}`, symbol]),
);

function assignCodes(): Code[] {
  const lengths = Array.from(codeLengths, (digit) => Number.parseInt(digit, 36));
  const assigned: Code[] = Array.from({ length: lengths.length });
  let bits = 0;
  let length = 0;
  const inOrder = lengths.map((_, symbol) => symbol).sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0) || a - b);
  for (const symbol of inOrder) {
    const next = lengths[symbol] ?? 0;
    bits *= 2 ** (next - length);
    length = next;
    assigned[symbol] = { bits, length };
    bits++;
  }
  return assigned;
}

/** One per connection: it holds the dynamic table that the other side builds up as well. */
export class HeaderEncoder {
  readonly #tableBytesMax: number;
  /** Entries from the oldest that is still there; their numbers count all that were ever inserted. */
  readonly #table: { readonly name: string; readonly whole: string }[] = [];
  readonly #newest = new Map<string, number>();
  #inserted = 0;
  #tableBytes = 0;

  /** @param tableBytesMax the other side's SETTINGS_HEADER_TABLE_SIZE; its default is 4096 */
  constructor(tableBytesMax = 4096) {
    this.#tableBytesMax = tableBytesMax;
  }

  encode(fields: readonly Field[]): Buffer {
    const block = new Block();
    for (const field of fields) this.#writeField(block, field);
    return block.take();
  }

  #writeField(block: Block, { name, value, isNeverIndexed }: Field): void {
    const whole = `${name}: ${value}`;
    const wholeIndex = isNeverIndexed === true ? undefined : this.#find(whole);
    if (wholeIndex !== undefined) {
      block.integer(wholeIndex, 7, 0x80);
      return;
    }
    const nameIndex = this.#find(name) ?? 0;
    if (isNeverIndexed === true) block.integer(nameIndex, 4, 0x10);
    else block.integer(nameIndex, 6, 0x40);
    if (nameIndex === 0) block.string(name);
    block.string(value);
    if (isNeverIndexed !== true) this.#insert(name, whole);
  }

  /** @param key "name: value", or a name alone */
  #find(key: string): number | undefined {
    const number = this.#newest.get(key);
    return staticIndexes.get(key) ?? (number === undefined ? undefined : staticEntries + this.#inserted - number);
  }

  #insert(name: string, whole: string): void {
    this.#table.push({ name, whole });
    this.#newest.set(name, this.#inserted).set(whole, this.#inserted);
    this.#inserted++;
    this.#tableBytes += tableBytesOf(whole);
    while (this.#tableBytes > this.#tableBytesMax) this.#evict();
  }

  #evict(): void {
    const oldest = this.#inserted - this.#table.length;
    const entry = this.#table.shift();
    if (entry === undefined) return;
    this.#tableBytes -= tableBytesOf(entry.whole);
    for (const key of [entry.name, entry.whole]) if (this.#newest.get(key) === oldest) this.#newest.delete(key);
  }
}

function tableBytesOf(whole: string): number {
  return whole.length - ": ".length + entryOverheadBytes;
}

const blockBytesMax = 8192;
const scratch = Buffer.alloc(blockBytesMax);
// A token is the same in every call of a run: it is coded once.
const longTextBytes = 256;
const codedTexts = new Map<string, Buffer>();
const codedTextsMax = 16;

/** A header block under way; one at a time, for all write into the same scratch bytes. */
class Block {
  #at = 0;

  take(): Buffer {
    return Buffer.from(scratch.subarray(0, this.#at));
  }

  integer(value: number, prefixBits: number, flags: number): void {
    const limit = 2 ** prefixBits - 1;
    if (value < limit) {
      scratch[this.#at++] = flags | value;
      return;
    }
    scratch[this.#at++] = flags | limit;
    let rest = value - limit;
    for (; rest >= 128; rest = Math.floor(rest / 128)) scratch[this.#at++] = (rest % 128) | 128;
    scratch[this.#at++] = rest;
  }

  /** Huffman-coded where that is shorter, as clients do. */
  string(text: string): void {
    const coded = codedTexts.get(text) ?? codeHuffman(text);
    if (text.length >= longTextBytes && codedTexts.size < codedTextsMax) codedTexts.set(text, coded);
    if (coded.length < text.length) {
      this.integer(coded.length, 7, 0x80);
      scratch.set(coded, this.#at);
      this.#at += coded.length;
    } else {
      this.integer(text.length, 7, 0);
      this.#at += scratch.write(text, this.#at, "latin1");
    }
  }
}

function codeHuffman(text: string): Buffer {
  const coded: number[] = [];
  // At most 7 + 30 bits are held, more than 32-bit operators take: hence the arithmetic.
  let held = 0;
  let heldBits = 0;
  for (let at = 0; at < text.length; at++) {
    const { bits, length } = codes[text.charCodeAt(at)] ?? { bits: 0, length: 0 };
    held = held * 2 ** length + bits;
    heldBits += length;
    while (heldBits >= 8) {
      heldBits -= 8;
      const byte = Math.floor(held / 2 ** heldBits);
      coded.push(byte);
      held -= byte * 2 ** heldBits;
    }
  }
  // Padded with ones, the beginning of the end-of-string symbol.
  if (heldBits > 0) coded.push(((held << (8 - heldBits)) & 0xff) | (0xff >> heldBits));
  return Buffer.from(coded);
}

/**
 * Reads the fields of a block whose sender was told to keep no dynamic table. Fields that are wholly of the static
 * table come as "#INDEX", names of it too.
 * @throws RangeError at a torn block
 */
export function readFields(block: Buffer): Map<string, string> {
  const reader = new BlockReader(block);
  const fields = new Map<string, string>();
  while (!reader.isAtEnd) {
    const flags = reader.peek();
    if ((flags & 0x80) !== 0) {
      fields.set(`#${reader.integer(7)}`, "");
    } else if ((flags & 0xe0) === 0x20) {
      reader.integer(5);
    } else {
      const nameIndex = reader.integer((flags & 0x40) === 0 ? 4 : 6);
      const name = nameIndex === 0 ? reader.string() : `#${nameIndex}`;
      fields.set(name, reader.string());
    }
  }
  return fields;
}

class BlockReader {
  readonly #block: Buffer;
  #at = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#block.length;
  }

  peek(): number {
    return this.#block.readUInt8(this.#at);
  }

  integer(prefixBits: number): number {
    const limit = 2 ** prefixBits - 1;
    let value = this.#block.readUInt8(this.#at++) & limit;
    if (value < limit) return value;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#block.readUInt8(this.#at++);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }

  string(): string {
    const isCoded = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const end = this.#at + length;
    if (end > this.#block.length) throw new RangeError(`A string of ${length} bytes reaches past the header block`);
    const bytes = this.#block.subarray(this.#at, end);
    this.#at = end;
    return isCoded ? decodeHuffman(bytes) : bytes.toString("latin1");
  }
}

function decodeHuffman(bytes: Buffer): string {
  const symbols: number[] = [];
  let bits = 0;
  let length = 0;
  for (let at = 0; at < bytes.length * 8; at++) {
    bits = bits * 2 + (((bytes[at >> 3] ?? 0) >> (7 - (at & 7))) & 1);
    length++;
    const symbol = symbolsByCode.get(`${length}:${bits}`);
    if (symbol === undefined) continue;
    symbols.push(symbol);
    bits = 0;
    length = 0;
  }
  return Buffer.from(symbols).toString("latin1");
}
