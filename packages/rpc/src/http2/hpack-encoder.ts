// Encodes header blocks (RFC 7541): a server's without a table of its own, a client's with one.
//
// A server's answers are a few constant lists, encoded once for all connections. A client repeats fields rather than
// lists (a method, a user agent, but a new timeout), and its peer reads an index faster than a text: that pays for a table.
//
// E1. A field goes into the table when it is seen for the second time in a row, or for the sake of its name when the name
//     is in neither table: what changes with each call is a literal then, and pushes nothing out.
// E2. Credentials never go into a table, and no proxy on the way may put them into one (RFC 7541 §7.1.3).
// E3. After the peer lowered the table's size, the next block begins with a size update (RFC 7541 §4.2). The size is
//     never raised again, so one update is enough.
import type { HeaderBlock } from "../transport.ts";
import { fieldBytes, STATIC_TABLE } from "./hpack-table.ts";
import {
  encodedBytesMax,
  type Form,
  INDEXED,
  INTEGER_BYTES_MAX,
  LITERAL,
  LITERAL_INDEXED,
  LITERAL_NEVER_INDEXED,
  SIZE_UPDATE,
  staticIndex,
  staticNameIndex,
  writeInteger,
  writeLiteral,
} from "./hpack-writer.ts";

/** Encodes the blocks of one connection, in the order in which they are sent. */
export interface BlockEncoder {
  encode(block: HeaderBlock): Uint8Array;
  /** The peer allows a table of this size, at most. */
  limitTable(bytesMax: number): void;
}

const NEVER_INDEXED = new Set(["authorization", "proxy-authorization", "cookie", "set-cookie"]);
const DEFAULT_TABLE_BYTES = 4096;

/** For servers: no table; every block is encoded once and keeps its bytes. */
export class ConstantEncoder implements BlockEncoder {
  #tableBytes = DEFAULT_TABLE_BYTES;
  #mustUpdate = false;

  encode(block: HeaderBlock): Uint8Array {
    const encoded = (block.encoded ??= encodeFields(block.fields));
    if (!this.#mustUpdate) return encoded;
    this.#mustUpdate = false;
    const out = Buffer.allocUnsafe(INTEGER_BYTES_MAX);
    return Buffer.concat([out.subarray(0, writeInteger(out, 0, SIZE_UPDATE, this.#tableBytes)), encoded]);
  }

  /** The table is empty anyway, but the peer waits to be told so (E3). */
  limitTable(bytesMax: number): void {
    if (bytesMax >= this.#tableBytes) return;
    this.#tableBytes = bytesMax;
    this.#mustUpdate = true;
  }
}

function encodeFields(fields: readonly string[]): Uint8Array {
  const out = Buffer.allocUnsafe(encodedBytesMax(fields));
  let at = 0;
  for (let place = 0; place < fields.length; place += 2) at = writeField(out, at, fields[place]!, fields[place + 1]!);
  return Uint8Array.prototype.slice.call(out, 0, at);
}

/** Writes a field without any use of a dynamic table. */
function writeField(out: Buffer, at: number, name: string, value: string): number {
  const index = staticIndex(name, value);
  if (index !== undefined) return writeInteger(out, at, INDEXED, index);
  return writeLiteral(out, at, literalForm(name), staticNameIndex(name), name, value);
}

function literalForm(name: string): Form {
  return NEVER_INDEXED.has(name) ? LITERAL_NEVER_INDEXED : LITERAL;
}

interface Entry {
  readonly name: string;
  readonly value: string;
}

/** Lists kept in encoded form: a client sends few different ones while its table stays as it is. */
const KNOWN_BLOCKS_MAX = 64;
/** Names whose last value is remembered (E1). */
const NAMES_MAX = 64;

/** For clients: a dynamic table of what repeats. */
export class IndexingEncoder implements BlockEncoder {
  #tableBytes = DEFAULT_TABLE_BYTES;
  #mustUpdate = false;
  #usedBytes = 0;
  /** The table, oldest first. */
  readonly #entries: Entry[] = [];
  /** Name → value → the entry's number; entries are numbered as they are inserted. */
  readonly #numbers = new Map<string, Map<string, number>>();
  #inserted = 0;
  readonly #lastValues = new Map<string, string>();
  /** Encodings that hold while the table stays as it is. */
  readonly #known = new Map<HeaderBlock, Uint8Array>();
  /** Whether the block being encoded would be the same next time. */
  #isSettled = true;
  #out = Buffer.allocUnsafe(512);

  encode(block: HeaderBlock): Uint8Array {
    const known = this.#known.get(block);
    if (known !== undefined) return known;
    const { fields } = block;
    const bytesMax = encodedBytesMax(fields);
    if (bytesMax > this.#out.length) this.#out = Buffer.allocUnsafe(2 * bytesMax);
    this.#isSettled = !this.#mustUpdate;
    let at = this.#mustUpdate ? writeInteger(this.#out, 0, SIZE_UPDATE, this.#tableBytes) : 0;
    this.#mustUpdate = false;
    for (let place = 0; place < fields.length; place += 2) at = this.#write(at, fields[place]!, fields[place + 1]!);
    const encoded = Uint8Array.prototype.slice.call(this.#out, 0, at);
    if (this.#isSettled) this.#known.set(block, encoded);
    if (this.#known.size > KNOWN_BLOCKS_MAX) this.#known.clear();
    return encoded;
  }

  limitTable(bytesMax: number): void {
    if (bytesMax >= this.#tableBytes) return;
    this.#tableBytes = bytesMax;
    this.#mustUpdate = true;
    this.#known.clear();
    this.#evict(bytesMax);
  }

  #write(at: number, name: string, value: string): number {
    const whole = staticIndex(name, value);
    if (whole !== undefined) return writeInteger(this.#out, at, INDEXED, whole);
    const numbers = this.#numbers.get(name);
    const number = numbers?.get(value);
    if (number !== undefined) return writeInteger(this.#out, at, INDEXED, this.#indexOf(number));
    // The index of a name is meant before anything is evicted for the new entry (RFC 7541 §4.4).
    const [named] = numbers?.values() ?? [];
    const nameIndex = named === undefined ? staticNameIndex(name) : this.#indexOf(named);
    if (!this.#isWorthIndexing(name, value, nameIndex)) {
      return writeLiteral(this.#out, at, literalForm(name), nameIndex, name, value);
    }
    this.#insert(name, value);
    return writeLiteral(this.#out, at, LITERAL_INDEXED, nameIndex, name, value);
  }

  #indexOf(number: number): number {
    return STATIC_TABLE.length + this.#inserted - number;
  }

  #isWorthIndexing(name: string, value: string, nameIndex: number): boolean {
    if (NEVER_INDEXED.has(name)) return false;
    const last = this.#lastValues.get(name);
    if (last === value || (last !== undefined && nameIndex === 0)) return fieldBytes(name, value) <= this.#tableBytes;
    if (last !== undefined || this.#lastValues.size < NAMES_MAX) {
      this.#lastValues.set(name, value);
      this.#isSettled = false;
    }
    return false;
  }

  #insert(name: string, value: string): void {
    this.#isSettled = false;
    this.#known.clear();
    const bytes = fieldBytes(name, value);
    this.#evict(this.#tableBytes - bytes);
    this.#entries.push({ name, value });
    this.#usedBytes += bytes;
    const numbers = this.#numbers.get(name);
    if (numbers === undefined) this.#numbers.set(name, new Map([[value, this.#inserted]]));
    else numbers.set(value, this.#inserted);
    this.#inserted += 1;
  }

  #evict(bytesMax: number): void {
    while (this.#usedBytes > bytesMax) {
      const { name, value } = this.#entries.shift()!;
      this.#usedBytes -= fieldBytes(name, value);
      const numbers = this.#numbers.get(name)!;
      numbers.delete(value);
      if (numbers.size === 0) this.#numbers.delete(name);
    }
  }
}
