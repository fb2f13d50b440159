// Decodes header blocks (RFC 7541).
//
// A client repeats itself: after its first requests a block is a dozen bytes that were seen before. So a block is first
// looked up as a whole, then each field in a table that knows what the field means, and only what is new is read.
//
// D1. A block that changed the dynamic table is never cached, and every change empties the block cache: a cached answer
//     is what decoding again would give.
//     Nor is a block with a literal that is not what its name had before: what changes with each call would only push out
//     what repeats.
// D2. All that is cached lives in the decoder, so nothing (also no never-indexed field) outlives the connection.
// D3. A list beyond the size limit is decoded to its end all the same: the table stays in step with the peer's.
import { ConnectionError, ErrorCode } from "./frame.ts";
import { FieldKind, isPseudo, kindOfField, kindOfName } from "./header-field.ts";
import { DecodedHeaders } from "./header-list.ts";
import { DynamicTable, fieldBytes, STATIC_TABLE, TableField } from "./hpack-table.ts";
import { decodeHuffman } from "./huffman.ts";
import { RecentCache } from "./recent-cache.ts";

/** What whole blocks may cost in memory, per connection. */
const BLOCK_CACHE_BYTES = 32 * 1024;
/** What the last literals may cost, and how many names they may have. */
const LAST_LITERALS_BYTES = 32 * 1024;
const LAST_LITERALS_MAX = 64;
/** A shorter Huffman string is decoded as fast as compared. */
const COMPARED_FROM = 64;

/** What a name had as its value when it last came as a literal. */
interface LastLiteral {
  readonly value: string;
  readonly kind: number;
  /** The value in Huffman code, when it is long: a token comes with every call, and is not decoded again. */
  readonly encoded: Buffer | undefined;
  /** What keeping it costs. */
  readonly bytes: number;
}

export class HpackDecoder {
  readonly #table: DynamicTable;
  readonly #listBytesMax: number;
  readonly #blocks = new RecentCache<DecodedHeaders>(BLOCK_CACHE_BYTES);
  readonly #lastLiterals = new Map<string, LastLiteral>();
  #lastLiteralsBytes = 0;
  /** What the peer may set the table's size to. */
  readonly #tableBytesMax: number;

  // The block being decoded.
  #bytes: Buffer = EMPTY;
  #at = 0;
  #end = 0;
  #fields: string[] = [];
  #listBytes = 0;
  #kinds = 0;
  #fault = "";
  #isPastPseudo = false;
  #isTableChanged = false;
  /** Every literal is what its name had before (D1). */
  #isRepeating = true;

  /**
   * @param tableBytesMax SETTINGS_HEADER_TABLE_SIZE as told to the peer, at least the default of 4096.
   * @param listBytesMax larger header lists come out with `isTooLarge`.
   */
  constructor(tableBytesMax: number, listBytesMax: number) {
    this.#tableBytesMax = tableBytesMax;
    this.#table = new DynamicTable(4096);
    this.#listBytesMax = listBytesMax;
  }

  /**
   * Decodes one complete header block, `bytes[start..end)`. What is wrong with the list is said in the answer.
   * @throws ConnectionError COMPRESSION_ERROR when the block is no HPACK.
   */
  decode(bytes: Buffer, start: number, end: number): DecodedHeaders {
    if (!this.#blocks.isEmpty) {
      const known = this.#blocks.get(bytes.toString("latin1", start, end));
      if (known !== undefined) return known;
    }
    this.#begin(bytes, start, end);
    this.#readFields();
    const isTooLarge = this.#listBytes > this.#listBytesMax;
    const list = new DecodedHeaders(this.#fields.slice(), this.#kinds, this.#fault, isTooLarge);
    if (this.#isTableChanged) this.#blocks.clear();
    else if (this.#isRepeating)
      this.#blocks.set(bytes.toString("latin1", start, end), list, end - start + this.#listBytes);
    return list;
  }

  #begin(bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#fields.length = 0;
    this.#listBytes = 0;
    this.#kinds = 0;
    this.#fault = "";
    this.#isPastPseudo = false;
    this.#isTableChanged = false;
    this.#isRepeating = true;
  }

  #readFields(): void {
    let isPastUpdates = false;
    while (this.#at < this.#end) {
      const first = this.#bytes[this.#at]!;
      if ((first & 0x80) !== 0) {
        const field = this.#field(this.#integer(7));
        this.#add(field.name, field.value, field.kind);
      } else if ((first & 0x40) !== 0) {
        this.#readLiteral(6, true);
      } else if ((first & 0x20) !== 0) {
        if (isPastUpdates) throw compressionError("table size update after a field");
        this.#resizeTable(this.#integer(5));
        continue;
      } else {
        this.#readLiteral(4, false);
      }
      isPastUpdates = true;
    }
  }

  #resizeTable(bytesMax: number): void {
    if (bytesMax > this.#tableBytesMax) throw compressionError(`table size update to ${bytesMax} bytes`);
    this.#table.resize(bytesMax);
    this.#isTableChanged = true;
  }

  #readLiteral(prefixBits: number, isIndexed: boolean): void {
    const index = this.#integer(prefixBits);
    let name: string;
    let nameKind: number;
    if (index === 0) {
      name = this.#text();
      nameKind = kindOfName(name);
    } else {
      const named = this.#field(index);
      name = named.name;
      nameKind = named.nameKind;
    }
    const last = this.#lastLiterals.get(name);
    let value: string;
    let kind: number;
    if (last?.encoded !== undefined && this.#skipText(last.encoded)) {
      ({ value, kind } = last);
    } else {
      const start = this.#at;
      value = this.#text();
      kind = kindOfField(nameKind, value);
      const isLong = this.#at - start >= COMPARED_FROM && (this.#bytes[start]! & 0x80) !== 0;
      const encoded = isLong ? this.#bytes.subarray(start, this.#at) : undefined;
      if (last?.value !== value && (isLong || !isIndexed)) this.#keepLiteral(name, value, kind, encoded);
    }
    if (isIndexed) {
      this.#table.insert(new TableField(name, value, nameKind, kind));
      this.#isTableChanged = true;
    }
    this.#add(name, value, kind);
  }

  /** Remembers a literal that is not what its name had before. */
  #keepLiteral(name: string, value: string, kind: number, encoded: Buffer | undefined): void {
    this.#isRepeating = false;
    const bytes = name.length + value.length + (encoded?.length ?? 0);
    const before = this.#lastLiterals.get(name)?.bytes ?? 0;
    if (
      this.#lastLiteralsBytes + bytes - before > LAST_LITERALS_BYTES ||
      this.#lastLiterals.size >= LAST_LITERALS_MAX
    ) {
      this.#lastLiterals.clear();
      this.#lastLiteralsBytes = 0;
    } else {
      this.#lastLiteralsBytes -= before;
    }
    if (bytes > LAST_LITERALS_BYTES) return;
    this.#lastLiterals.set(name, { value, kind, bytes, encoded: encoded && Buffer.from(encoded) });
    this.#lastLiteralsBytes += bytes;
  }

  /** Passes over a string if it is encoded in these very bytes, its length included. */
  #skipText(encoded: Buffer): boolean {
    const end = this.#at + encoded.length;
    if (end > this.#end || encoded.compare(this.#bytes, this.#at, end) !== 0) return false;
    this.#at = end;
    return true;
  }

  #add(name: string, value: string, kind: number): void {
    this.#listBytes += fieldBytes(name, value);
    if (this.#listBytes > this.#listBytesMax) return;
    this.#fields.push(name, value);
    if (kind === FieldKind.ORDINARY) {
      this.#isPastPseudo = true;
      return;
    }
    if (isPseudo(kind)) {
      if (this.#isPastPseudo) this.#fault = `pseudo-header field ${name} after others`;
      if ((this.#kinds & kind) !== 0) this.#fault = `pseudo-header field ${name} twice`;
    } else {
      this.#isPastPseudo = true;
      if (kind === FieldKind.MALFORMED) this.#fault = `malformed field ${JSON.stringify(name.slice(0, 64))}`;
      if (kind === FieldKind.CONTENT_LENGTH && (this.#kinds & kind) !== 0) this.#fault = "content-length twice";
    }
    this.#kinds |= kind;
  }

  #field(index: number): TableField {
    const field =
      index <= STATIC_TABLE.length ? STATIC_TABLE[index - 1] : this.#table.at(index - STATIC_TABLE.length - 1);
    if (field === undefined) throw compressionError(`no field with index ${index}`);
    return field;
  }

  /** RFC 7541 §5.1; four bytes after the prefix bound what is accepted to 2²⁸. */
  #integer(prefixBits: number): number {
    if (this.#at >= this.#end) throw compressionError("block ends within a field");
    const mask = (1 << prefixBits) - 1;
    let value = this.#bytes[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= this.#end) throw compressionError("block ends within an integer");
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw compressionError("integer of more than 28 bits");
  }

  /** RFC 7541 §5.2. */
  #text(): string {
    const isHuffman = this.#at < this.#end && (this.#bytes[this.#at]! & 0x80) !== 0;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) throw compressionError("block ends within a string");
    this.#at = end;
    if (!isHuffman) return this.#bytes.toString("latin1", start, end);
    return decodeHuffman(this.#bytes, start, end);
  }
}

const EMPTY = Buffer.alloc(0);

function compressionError(what: string): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, `HPACK: ${what}`);
}
