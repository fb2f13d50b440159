// FileChunk messages laid out as gRPC frames in memory that the file is read into: the bytes from disk are never copied.
//
// CF1. The place of everything is known before the read: each frame is its fields up to the tag and length of `data`,
//      then room for the data, then room for what is known only afterwards (CRC-32, checksum: both of fixed length).
// CF2. Fields may stand in any order (https://protobuf.dev/programming-guides/encoding/#order): `data` comes late.
import { crc32 } from "node:zlib";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";

/** One download's chunks: what all of them have in common. */
export interface ChunkForm {
  /** "bytes": google.bytestream.ReadResponse, the data and nothing else. */
  readonly message: "chunk" | "bytes";
  /** The encoded fields that each chunk repeats: file_path and etag. */
  readonly common: Uint8Array;
  readonly hasCrc32: boolean;
}

/** A chunk as it will be, before its data is read. */
export interface ChunkPlan {
  readonly offset: number;
  readonly length: number;
  readonly totalSize: number;
  readonly isLast: boolean;
  readonly isEof: boolean;
}

/** Where the parts of a laid-out chunk lie in its memory. */
export interface ChunkPlace {
  readonly dataStart: number;
  readonly dataEnd: number;
  /** Where the 64 characters of the checksum go; -1: this is not the last chunk, or its form has none. */
  readonly checksumAt: number;
  /** Where the CRC-32 goes; -1: it was not asked for. */
  readonly crc32At: number;
  /** Behind the frame. */
  readonly end: number;
}

const TAG_PATH = 0x0a;
const TAG_OFFSET = 0x10;
const TAG_DATA = 0x1a;
const TAG_TOTAL_SIZE = 0x20;
const TAG_CHECKSUM = 0x2a;
const TAG_IS_LAST = 0x30;
const TAG_ETAG = 0x3a;
const TAG_CRC32 = 0x45;
const TAG_EOF = 0x48;
const TAG_NEXT_OFFSET = 0x50;
/** ReadResponse.data */
const TAG_BYTES = 0x52;

const SHA256_HEX_BYTES = 64;
/** Tag and longest varint of offset, total_size, next_offset and of data's length; the booleans; CRC-32; checksum. */
const OWN_BYTES_MAX = 4 * 11 + 2 + 2 + 5 + 2 + SHA256_HEX_BYTES;

export function chunkFormOf(path: string, etag: string, options: { hasCrc32: boolean }): ChunkForm {
  const common = Buffer.concat([stringField(TAG_PATH, path), stringField(TAG_ETAG, etag)]);
  return { message: "chunk", common, hasCrc32: options.hasCrc32 };
}

export const BYTES_FORM: ChunkForm = { message: "bytes", common: new Uint8Array(0), hasCrc32: false };

/** Bytes that a frame takes at most beside its data. */
export function chunkOverheadMax(form: ChunkForm): number {
  return FRAME_HEADER_BYTES + form.common.length + OWN_BYTES_MAX;
}

/** Writes all of a chunk's frame but what is to be read, at `start`. */
export function layOutChunk(memory: Uint8Array, start: number, form: ChunkForm, plan: ChunkPlan): ChunkPlace {
  if (form.message === "bytes") return layOutBytes(memory, start, plan);
  let at = start + FRAME_HEADER_BYTES;
  memory.set(form.common, at);
  at += form.common.length;
  at = putVarint(memory, at, TAG_OFFSET, plan.offset);
  at = putVarint(memory, at, TAG_TOTAL_SIZE, plan.totalSize);
  at = putVarint(memory, at, TAG_NEXT_OFFSET, plan.offset + plan.length);
  if (plan.isLast) at = putVarint(memory, at, TAG_IS_LAST, 1);
  if (plan.isEof) at = putVarint(memory, at, TAG_EOF, 1);
  const crc32At = form.hasCrc32 ? at + 1 : -1;
  if (form.hasCrc32) {
    memory[at] = TAG_CRC32;
    at += 5;
  }
  const checksumAt = plan.isLast ? at + 2 : -1;
  if (plan.isLast) {
    memory[at] = TAG_CHECKSUM;
    memory[at + 1] = SHA256_HEX_BYTES;
    at += 2 + SHA256_HEX_BYTES;
  }
  if (plan.length > 0) at = putVarint(memory, at, TAG_DATA, plan.length);
  const end = at + plan.length;
  putLength(memory, start, end - start - FRAME_HEADER_BYTES);
  return { dataStart: at, dataEnd: end, checksumAt, crc32At, end };
}

function layOutBytes(memory: Uint8Array, start: number, { length }: ChunkPlan): ChunkPlace {
  const dataStart = putVarint(memory, start + FRAME_HEADER_BYTES, TAG_BYTES, length);
  const end = dataStart + length;
  putLength(memory, start, end - start - FRAME_HEADER_BYTES);
  return { dataStart, dataEnd: end, checksumAt: -1, crc32At: -1, end };
}

/** Completes a chunk whose data has been read. */
export function putCrc32(memory: Uint8Array, { dataStart, dataEnd, crc32At }: ChunkPlace): void {
  const value = crc32(memory.subarray(dataStart, dataEnd));
  for (let i = 0; i < 4; i++) memory[crc32At + i] = value >>> (8 * i);
}

/** @param sha256 64 hexadecimal digits */
export function putChecksum(memory: Uint8Array, { checksumAt }: ChunkPlace, sha256: string): void {
  for (let i = 0; i < SHA256_HEX_BYTES; i++) memory[checksumAt + i] = sha256.charCodeAt(i);
}

/** Uncompressed: flag 0. */
function putLength(memory: Uint8Array, at: number, length: number): void {
  memory[at] = 0;
  for (let i = 0; i < 4; i++) memory[at + 1 + i] = length >>> (8 * (3 - i));
}

/** Nothing for a zero, which is proto3's default. Returns the place behind it. */
function putVarint(memory: Uint8Array, at: number, tag: number, value: number): number {
  if (value === 0) return at;
  let place = at;
  memory[place++] = tag;
  let rest = value;
  while (rest >= 0x80) {
    memory[place++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  memory[place++] = rest;
  return place;
}

function stringField(tag: number, text: string): Uint8Array {
  const bytes = Buffer.from(text);
  const field = new Uint8Array(11 + bytes.length);
  if (bytes.length === 0) return field.subarray(0, 0);
  const at = putVarint(field, 0, tag, bytes.length);
  field.set(bytes, at);
  return field.subarray(0, at + bytes.length);
}
