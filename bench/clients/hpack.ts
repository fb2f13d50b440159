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
  readonly #table: string[] = [];
  #tableBytes = 0;

  /** @param tableBytesMax the other side's SETTINGS_HEADER_TABLE_SIZE; its default is 4096 */
  constructor(tableBytesMax = 4096) {
    this.#tableBytesMax = tableBytesMax;
  }

  encode(fields: readonly Field[]): Buffer {
    return Buffer.concat(fields.map((field) => this.#encodeField(field)));
  }

  #encodeField({ name, value, isNeverIndexed }: Field): Buffer {
    const whole = `${name}: ${value}`;
    const nameIndex = this.#find(name) ?? 0;
    const literal = nameIndex === 0 ? [encodeString(name), encodeString(value)] : [encodeString(value)];
    if (isNeverIndexed === true) return Buffer.concat([encodeInteger(nameIndex, 4, 0x10), ...literal]);
    const wholeIndex = this.#find(whole);
    if (wholeIndex !== undefined) return encodeInteger(wholeIndex, 7, 0x80);
    this.#insert(whole);
    return Buffer.concat([encodeInteger(nameIndex, 6, 0x40), ...literal]);
  }

  #find(key: string): number | undefined {
    const isWhole = key.includes(": ");
    const found = this.#table.findIndex((entry) => (isWhole ? entry === key : entry.startsWith(`${key}: `)));
    return staticIndexes.get(key) ?? (found < 0 ? undefined : staticEntries + 1 + found);
  }

  #insert(entry: string): void {
    this.#table.unshift(entry);
    this.#tableBytes += tableBytesOf(entry);
    while (this.#tableBytes > this.#tableBytesMax) this.#tableBytes -= tableBytesOf(this.#table.pop() ?? "");
  }
}

function tableBytesOf(entry: string): number {
  return entry.length - ": ".length + entryOverheadBytes;
}

function encodeInteger(value: number, prefixBits: number, flags: number): Buffer {
  const limit = 2 ** prefixBits - 1;
  if (value < limit) return Buffer.from([flags | value]);
  const bytes = [flags | limit];
  let rest = value - limit;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Huffman-coded where that is shorter, as clients do. */
function encodeString(text: string): Buffer {
  const plain = Buffer.from(text, "latin1");
  const bitCount = plain.reduce((sum, symbol) => sum + (codes[symbol]?.length ?? 0), 0);
  const byteCount = Math.ceil(bitCount / 8);
  if (byteCount >= plain.length) return Buffer.concat([encodeInteger(plain.length, 7, 0), plain]);
  const coded = Buffer.alloc(byteCount);
  // At most 7 + 30 bits are held, more than 32-bit operators take: hence the arithmetic.
  let held = 0;
  let heldBits = 0;
  let at = 0;
  for (const symbol of plain) {
    const { bits, length } = codes[symbol] ?? { bits: 0, length: 0 };
    held = held * 2 ** length + bits;
    heldBits += length;
    while (heldBits >= 8) {
      heldBits -= 8;
      const byte = Math.floor(held / 2 ** heldBits);
      coded[at++] = byte;
      held -= byte * 2 ** heldBits;
    }
  }
  // Padded with ones, the beginning of the end-of-string symbol.
  if (heldBits > 0) coded[at] = (held << (8 - heldBits)) | (0xff >> heldBits);
  return Buffer.concat([encodeInteger(byteCount, 7, 0x80), coded]);
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
