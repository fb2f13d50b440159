// The index of a sealed segment as a file. Derived from the frames: written once, never synced, rebuilt when it does not
// prove itself. All numbers are little-endian.
//
//   columns   one record per page: timestamps (int64 × 1024), starts (uint32 × 1024, in the frames file), labels
//             (uint32 × 1024, places in the label list below), severities (uint8 × 1024). An entry's length is the next
//             start less its own; a page's last entry ends where the page does.
//   pages     one row of ROW_BYTES per page (`page-table.ts`), with the CRC-32 of its record of columns
//   segment   one more row: all pages together
//   labels    per label: name's byte count (uint32), entries (float64), bytes (float64), first and last time (int64), name
//   trailer   TRAILER_BYTES, below
//
// I1. What is at the end proves what is before: trailer → labels and segment row → pages → columns, each by its CRC-32.
import { crc32 } from "node:zlib";
import type { BufferPools } from "./buffer-pool.ts";
import type { FilePool } from "./file-pool.ts";
import type { File, FileSystem } from "./file-system.ts";
import type { LabelDictionary } from "./labels.ts";
import type { MemoryIndex } from "./memory-index.ts";
import { Columns, columnsBytes, DAMAGED, ENTRY_COLUMNS_BYTES } from "./columns.ts";
import { readFully } from "./file-system.ts";
import { LabelRows } from "./labels.ts";
import { PAGE_ENTRIES, PageTable, ROW_BYTES, ROW_WORDS } from "./page-table.ts";

const RECORD_BYTES = PAGE_ENTRIES * ENTRY_COLUMNS_BYTES;
/** What a page takes in the file, besides the labels. */
export const PAGE_INDEX_BYTES = RECORD_BYTES + ROW_BYTES;
const TRAILER_BYTES = 64;
const MAGIC = "sluiceix";
const VERSION = 1;
/** Pages written, or read, at once. */
const RECORDS_AT_ONCE = 16;
/** Enough for the trailer and the labels of most segments in one read. */
const FIRST_READ_BYTES = 4096;
const LABEL_FIXED_BYTES = 36;

/** What a trailer says of its segment. */
export interface IndexFacts {
  readonly first: number;
  readonly entries: number;
  /** Of the frames file. */
  readonly bytes: number;
  /** When the segment was sealed: the age of its newest entry. Unix ns. */
  readonly sealedAtNs: bigint;
}

/** Writes the index of a segment that got its last entry. The file appears whole or not at all. */
export async function writeIndexFile(
  fileSystem: FileSystem,
  path: string,
  index: MemoryIndex,
  segment: { first: number; sealedAtNs: bigint },
): Promise<void> {
  const part = `${path}.part`;
  const file = await fileSystem.open(part, "create");
  try {
    const { table } = index;
    let position = 0;
    for (let page = 0; page < table.count; page += RECORDS_AT_ONCE) {
      const records = encodeRecords(index, page, Math.min(page + RECORDS_AT_ONCE, table.count));
      await file.write([records], position);
      position += records.length;
    }
    await file.write(encodeEnd(index, segment), position);
  } finally {
    await file.close();
  }
  await fileSystem.rename(part, path);
}

function encodeRecords(index: MemoryIndex, from: number, to: number): Uint8Array {
  const bytes = new Uint8Array((to - from) * RECORD_BYTES);
  for (let page = from; page < to; page++) {
    const at = (page - from) * RECORD_BYTES;
    const columns = index.pages[page]!;
    const count = index.table.entries(page);
    const record = viewRecord(bytes, at);
    record.timestamps.set(columns.timestamps.subarray(0, 2 * count));
    record.starts.set(columns.starts.subarray(0, count));
    record.severities.set(columns.severities.subarray(0, count));
    for (let i = 0; i < count; i++) {
      record.labels[i] = index.rows.row(columns.labels[i]!);
    }
    index.table.setColumnsCrc(page, crc32(bytes.subarray(at, at + RECORD_BYTES)));
  }
  return bytes;
}

function viewRecord(bytes: Uint8Array, at: number): Pick<Columns, "timestamps" | "starts" | "labels" | "severities"> {
  const offset = bytes.byteOffset + at;
  return {
    timestamps: new Int32Array(bytes.buffer, offset, PAGE_ENTRIES * 2),
    starts: new Uint32Array(bytes.buffer, offset + PAGE_ENTRIES * 8, PAGE_ENTRIES),
    labels: new Uint32Array(bytes.buffer, offset + PAGE_ENTRIES * 12, PAGE_ENTRIES),
    severities: new Uint8Array(bytes.buffer, offset + PAGE_ENTRIES * 16, PAGE_ENTRIES),
  };
}

function encodeEnd(index: MemoryIndex, segment: { first: number; sealedAtNs: bigint }): Uint8Array[] {
  const pages = asBytes(index.table.words);
  const whole = asBytes(wholeOf(index.table).words);
  const labels = encodeLabels(index);
  const trailer = Buffer.alloc(TRAILER_BYTES);
  trailer.write(MAGIC, 0, "latin1");
  trailer.writeUInt32LE(VERSION, 8);
  trailer.writeUInt32LE(index.table.count, 12);
  trailer.writeDoubleLE(segment.first, 16);
  trailer.writeUInt32LE(index.entries, 24);
  trailer.writeUInt32LE(index.bytes, 28);
  trailer.writeBigInt64LE(segment.sealedAtNs, 32);
  trailer.writeUInt32LE(index.rows.count, 40);
  trailer.writeUInt32LE(labels.length, 44);
  trailer.writeUInt32LE(crc32(pages), 48);
  trailer.writeUInt32LE(crc32(labels, crc32(whole)), 52);
  trailer.writeUInt32LE(crc32(trailer.subarray(0, 60)), 60);
  return [pages, whole, labels, trailer];
}

/** One row that sums up all rows of a table. */
function wholeOf(table: PageTable): PageTable {
  const whole = new PageTable();
  whole.open(0, 0, 0);
  for (let page = 0; page < table.count; page++) {
    whole.mergeSummary(0, table, page);
  }
  return whole;
}

function encodeLabels({ rows, labels }: MemoryIndex): Buffer {
  const names = Array.from({ length: rows.count }, (_, row) => Buffer.from(labels.name(rows.id(row))));
  const bytes = Buffer.alloc(names.reduce((sum, name) => sum + LABEL_FIXED_BYTES + name.length, 0));
  let at = 0;
  names.forEach((name, row) => {
    bytes.writeUInt32LE(name.length, at);
    bytes.writeDoubleLE(rows.entries(row), at + 4);
    bytes.writeDoubleLE(rows.bytes(row), at + 12);
    rows.times(row).forEach((word, i) => bytes.writeInt32LE(word, at + 20 + 4 * i));
    name.copy(bytes, at + LABEL_FIXED_BYTES);
    at += LABEL_FIXED_BYTES + name.length;
  });
  return bytes;
}

function asBytes(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** The index of a sealed segment, read piece by piece as it is needed. */
export class FileIndex {
  readonly facts: IndexFacts;
  /** One row: all pages together. */
  readonly whole: PageTable;
  readonly rows: LabelRows;
  readonly pageCount: number;
  readonly #pool: FilePool;
  readonly #path: string;
  /** Of the page table: no two indexes that say different things have the same, but by chance. */
  readonly pagesCrc: number;

  constructor(pool: FilePool, path: string, end: DecodedEnd) {
    this.#pool = pool;
    this.#path = path;
    this.facts = end.facts;
    this.whole = end.whole;
    this.rows = end.rows;
    this.pageCount = end.pageCount;
    this.pagesCrc = end.pagesCrc;
  }

  /** The page table, from disk. @throws IndexDamaged */
  async readTable(): Promise<PageTable> {
    const bytes = new Uint8Array(this.pageCount * ROW_BYTES);
    await this.#read(bytes, this.pageCount * RECORD_BYTES);
    if (crc32(bytes) !== this.pagesCrc) throw new IndexDamaged(this.#path);
    return new PageTable(new Uint32Array(bytes.buffer), this.pageCount);
  }

  /**
   * Entries of the pages from..to, with starts counted from the segment's first byte, in memory from the pool if there is
   * one. @throws IndexDamaged
   */
  async readColumns(table: PageTable, from: number, to: number, memory?: BufferPools): Promise<Columns> {
    const size = (to - from) * RECORD_BYTES;
    const bytes = memory?.take(size) ?? new Uint8Array(size);
    await this.#read(bytes, from * RECORD_BYTES);
    const first = table.firstEntry(from);
    const count = table.firstEntry(to - 1) + table.entries(to - 1) - first;
    const merged = new Columns(count, memory?.take(columnsBytes(count)));
    for (let page = from; page < to; page++) {
      const at = (page - from) * RECORD_BYTES;
      if (crc32(bytes.subarray(at, at + RECORD_BYTES)) !== table.columnsCrc(page)) throw new IndexDamaged(this.#path);
      const count = table.entries(page);
      const entry = table.firstEntry(page) - first;
      const record = viewRecord(bytes, at);
      merged.timestamps.set(record.timestamps.subarray(0, 2 * count), 2 * entry);
      merged.starts.set(record.starts.subarray(0, count), entry);
      merged.severities.set(record.severities.subarray(0, count), entry);
      for (let i = 0; i < count; i++) {
        if (record.severities[i] !== DAMAGED) merged.labels[entry + i] = this.rows.id(record.labels[i]!);
      }
    }
    merged.starts[merged.capacity] = table.end(to - 1);
    if (memory !== undefined) memory.give(bytes);
    return merged;
  }

  async #read(bytes: Uint8Array, position: number): Promise<void> {
    try {
      await this.#pool.use(this.#path, (file) => readFully(file, bytes, position));
    } catch (error) {
      throw new IndexDamaged(this.#path, { cause: error });
    }
  }
}

/** Whether a stored index says what an index built from the frames says. */
export async function isSameIndex(stored: FileIndex, expected: MemoryIndex): Promise<boolean> {
  const { facts, rows } = stored;
  if (facts.entries !== expected.entries || facts.bytes !== expected.bytes || !rows.equals(expected.rows)) return false;
  try {
    const table = await stored.readTable();
    if (!table.equals(expected.table)) return false;
    for (let page = 0; page < table.count; page += RECORDS_AT_ONCE) {
      const end = Math.min(page + RECORDS_AT_ONCE, table.count);
      const columns = await stored.readColumns(table, page, end);
      if (!columns.equals(expected.columns(page, end))) return false;
    }
  } catch (error) {
    if (error instanceof IndexDamaged) return false;
    throw error;
  }
  return true;
}

/** The index does not prove itself, or cannot be read: rebuild it from the frames. */
export class IndexDamaged extends Error {
  override readonly name = "IndexDamaged";
  constructor(path: string, options?: ErrorOptions) {
    super(`The index ${path} does not prove itself`, options);
  }
}

export interface DecodedEnd {
  readonly facts: IndexFacts;
  readonly pageCount: number;
  readonly pagesCrc: number;
  readonly whole: PageTable;
  readonly rows: LabelRows;
}

/** Reads what is at the end of an index file. Undefined when it does not prove itself. */
export async function readIndexEnd(file: File, labels: LabelDictionary): Promise<DecodedEnd | undefined> {
  const size = await file.size();
  if (size < TRAILER_BYTES + ROW_BYTES) return undefined;
  let bytes = Buffer.alloc(Math.min(size, FIRST_READ_BYTES));
  await readFully(file, bytes, size - bytes.length);
  const trailer = bytes.subarray(-TRAILER_BYTES);
  if (!isTrailer(trailer)) return undefined;
  const pageCount = trailer.readUInt32LE(12);
  const labelBytes = trailer.readUInt32LE(44);
  const endBytes = ROW_BYTES + labelBytes + TRAILER_BYTES;
  if (size !== pageCount * (RECORD_BYTES + ROW_BYTES) + endBytes) return undefined;
  if (endBytes > bytes.length) {
    bytes = Buffer.alloc(endBytes);
    await readFully(file, bytes, size - endBytes);
  }
  const end = bytes.subarray(-endBytes);
  if (crc32(end.subarray(0, ROW_BYTES + labelBytes)) !== trailer.readUInt32LE(52)) return undefined;
  return decodeEnd(end, trailer, labels);
}

function isTrailer(bytes: Buffer): boolean {
  return (
    bytes.toString("latin1", 0, 8) === MAGIC &&
    bytes.readUInt32LE(8) === VERSION &&
    bytes.readUInt32LE(60) === crc32(bytes.subarray(0, 60))
  );
}

function decodeEnd(end: Buffer, trailer: Buffer, labels: LabelDictionary): DecodedEnd {
  const whole = new Uint32Array(ROW_WORDS);
  asBytes(whole).set(end.subarray(0, ROW_BYTES));
  return {
    facts: {
      first: trailer.readDoubleLE(16),
      entries: trailer.readUInt32LE(24),
      bytes: trailer.readUInt32LE(28),
      sealedAtNs: trailer.readBigInt64LE(32),
    },
    pageCount: trailer.readUInt32LE(12),
    pagesCrc: trailer.readUInt32LE(48),
    whole: new PageTable(whole, 1),
    rows: decodeLabels(end.subarray(ROW_BYTES), trailer.readUInt32LE(40), labels),
  };
}

function decodeLabels(bytes: Buffer, count: number, labels: LabelDictionary): LabelRows {
  const rows = new LabelRows();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const nameEnd = at + LABEL_FIXED_BYTES + bytes.readUInt32LE(at);
    const times = readTimes(bytes, at + 20);
    const id = labels.restore(bytes.toString("utf8", at + LABEL_FIXED_BYTES, nameEnd));
    rows.addRow(id, bytes.readDoubleLE(at + 4), bytes.readDoubleLE(at + 12), times);
    at = nameEnd;
  }
  return rows;
}

function readTimes(bytes: Buffer, at: number): Int32Array {
  return Int32Array.from([0, 4, 8, 12], (offset) => bytes.readInt32LE(at + offset));
}
