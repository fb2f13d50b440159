// The end of a compressed segment: where its groups lie. All numbers are little-endian.
//
//   groups   zstd frames (RFC 8878), one after the other. Each holds whole stored frames, says how long they are, and ends
//            with zstd's checksum of them
//   facts    a skippable zstd frame of FACTS_BYTES, below
//   table    zstd's seek table ("seekable format", version 0.1.0), itself a skippable frame: per zstd frame, the facts
//            included, its stored and its plain length
//
// So the whole is one valid zstd file, whose content is the plain frames file.
//
// GT1. The facts prove the table and themselves by CRC-32. A table that does not prove itself is not needed: the groups say
//      where they end.
import { crc32 } from "node:zlib";
import type { ReadableFile } from "./file-system.ts";
import { readFully } from "./file-system.ts";
import { findZstdFrame } from "./zstd-frame.ts";

const FACTS_MAGIC = 0x184d_2a5c;
const TABLE_MAGIC = 0x184d_2a5e;
const SEEKABLE_MAGIC = 0x8f92_eab1;
const SKIPPABLE_HEADER_BYTES = 8;
const FACTS_NAME = "sluicezs";
const VERSION = 1;
const FACTS_CONTENT_BYTES = 48;
const FACTS_BYTES = SKIPPABLE_HEADER_BYTES + FACTS_CONTENT_BYTES;
const ROW_BYTES = 8;
const FOOTER_BYTES = 9;
/** Enough for the end of most segments in one read. */
const FIRST_READ_BYTES = 16 * 1024;

/** What a compressed segment says of itself. */
export interface SegmentFacts {
  /** Sequence of its first entry. */
  readonly first: number;
  readonly entries: number;
  /** Of the plain frames. */
  readonly bytes: number;
  /** CRC-32 of the plain frames. */
  readonly plainCrc: number;
  /** CRC-32 of the groups as they are stored. */
  readonly storedCrc: number;
}

/** Group i holds the plain bytes plainStarts[i] .. plainStarts[i + 1], stored at storedStarts[i] .. storedStarts[i + 1]. */
export interface GroupTable {
  readonly count: number;
  readonly plainStarts: Float64Array;
  readonly storedStarts: Float64Array;
  /** Undefined: the table did not prove itself, and was made of what the groups say. */
  readonly facts: SegmentFacts | undefined;
}

/** Lengths of groups, stored and plain, one after the other. */
export type GroupLengths = readonly { readonly stored: number; readonly plain: number }[];

/** What stands behind the groups. */
export function encodeEnd(groups: GroupLengths, facts: SegmentFacts): Buffer {
  const table = encodeTable(groups);
  const bytes = Buffer.alloc(FACTS_BYTES);
  bytes.writeUInt32LE(FACTS_MAGIC, 0);
  bytes.writeUInt32LE(FACTS_CONTENT_BYTES, 4);
  const content = bytes.subarray(SKIPPABLE_HEADER_BYTES);
  content.write(FACTS_NAME, 0, "latin1");
  content.writeUInt32LE(VERSION, 8);
  content.writeUInt32LE(groups.length, 12);
  content.writeDoubleLE(facts.first, 16);
  content.writeUInt32LE(facts.entries, 24);
  content.writeUInt32LE(facts.bytes, 28);
  content.writeUInt32LE(facts.plainCrc, 32);
  content.writeUInt32LE(facts.storedCrc, 36);
  content.writeUInt32LE(crc32(table), 40);
  content.writeUInt32LE(crc32(content.subarray(0, 44)), 44);
  return Buffer.concat([bytes, table]);
}

function encodeTable(groups: GroupLengths): Buffer {
  const rows = [...groups, { stored: FACTS_BYTES, plain: 0 }];
  const bytes = Buffer.alloc(tableBytes(rows.length));
  bytes.writeUInt32LE(TABLE_MAGIC, 0);
  bytes.writeUInt32LE(bytes.length - SKIPPABLE_HEADER_BYTES, 4);
  rows.forEach(({ stored, plain }, i) => {
    bytes.writeUInt32LE(stored, SKIPPABLE_HEADER_BYTES + i * ROW_BYTES);
    bytes.writeUInt32LE(plain, SKIPPABLE_HEADER_BYTES + i * ROW_BYTES + 4);
  });
  const footer = bytes.length - FOOTER_BYTES;
  bytes.writeUInt32LE(rows.length, footer);
  bytes.writeUInt8(0, footer + 4);
  bytes.writeUInt32LE(SEEKABLE_MAGIC, footer + 5);
  return bytes;
}

function tableBytes(rows: number): number {
  return SKIPPABLE_HEADER_BYTES + rows * ROW_BYTES + FOOTER_BYTES;
}

/** Where the groups of a compressed segment are: from its table, or from the groups themselves (GT1). */
export async function readGroupTable(file: ReadableFile): Promise<GroupTable> {
  return (await readProvenTable(file)) ?? walkGroups(file);
}

/** Undefined when it does not prove itself. */
async function readProvenTable(file: ReadableFile): Promise<GroupTable | undefined> {
  const size = await file.size();
  let end = await readEnd(file, Math.min(size, FIRST_READ_BYTES));
  if (end.length < FACTS_BYTES + tableBytes(1) || end.readUInt32LE(end.length - 4) !== SEEKABLE_MAGIC) return undefined;
  const rows = end.readUInt32LE(end.length - FOOTER_BYTES);
  const endBytes = FACTS_BYTES + tableBytes(rows);
  if (endBytes > size) return undefined;
  if (endBytes > end.length) end = await readEnd(file, endBytes);
  end = end.subarray(-endBytes);
  const content = end.subarray(SKIPPABLE_HEADER_BYTES, FACTS_BYTES);
  const table = end.subarray(FACTS_BYTES);
  const isProven =
    content.toString("latin1", 0, 8) === FACTS_NAME &&
    content.readUInt32LE(8) === VERSION &&
    content.readUInt32LE(44) === crc32(content.subarray(0, 44)) &&
    content.readUInt32LE(40) === crc32(table);
  return isProven ? decodeTable(table, content) : undefined;
}

async function readEnd(file: ReadableFile, byteCount: number): Promise<Buffer> {
  const bytes = Buffer.alloc(byteCount);
  await readFully(file, bytes, (await file.size()) - byteCount);
  return bytes;
}

function decodeTable(table: Buffer, facts: Buffer): GroupTable {
  const count = facts.readUInt32LE(12);
  const lengths = Array.from({ length: count }, (_, i) => ({
    stored: table.readUInt32LE(SKIPPABLE_HEADER_BYTES + i * ROW_BYTES),
    plain: table.readUInt32LE(SKIPPABLE_HEADER_BYTES + i * ROW_BYTES + 4),
  }));
  return tableOf(lengths, {
    first: facts.readDoubleLE(16),
    entries: facts.readUInt32LE(24),
    bytes: facts.readUInt32LE(28),
    plainCrc: facts.readUInt32LE(32),
    storedCrc: facts.readUInt32LE(36),
  });
}

/** Goes from group to group, up to the facts or to the first bytes that are no group. */
async function walkGroups(file: ReadableFile): Promise<GroupTable> {
  const lengths: { stored: number; plain: number }[] = [];
  let at = 0;
  for (let group = await findZstdFrame(file, at); group !== undefined; group = await findZstdFrame(file, at)) {
    lengths.push(group);
    at += group.stored;
  }
  return tableOf(lengths, undefined);
}

function tableOf(lengths: GroupLengths, facts: SegmentFacts | undefined): GroupTable {
  const plainStarts = new Float64Array(lengths.length + 1);
  const storedStarts = new Float64Array(lengths.length + 1);
  lengths.forEach(({ stored, plain }, i) => {
    plainStarts[i + 1] = plainStarts[i]! + plain;
    storedStarts[i + 1] = storedStarts[i]! + stored;
  });
  return { count: lengths.length, plainStarts, storedStarts, facts };
}

/** The group that holds a plain byte. */
export function groupAt({ plainStarts, count }: GroupTable, position: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (plainStarts[middle]! <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}
