// ID.marks: how far an upload's bytes are on disk, and their checksums, so that going on after a crash reads none of them.
//
// UM1. A mark is written when the bytes before it are durable, and durable itself when it is acknowledged. So the last whole
//      mark is the offset to go on with; what the file of bytes has behind it is overwritten.
import { crc32 } from "node:zlib";
import type { File } from "../../store/file-system.ts";

/** Bytes from the mark before (or 0) up to `end`, with their CRC-32. */
export interface Mark {
  readonly end: number;
  readonly crc32: number;
}

/** End (8 bytes, little-endian), CRC-32 of the bytes, CRC-32 of these twelve. */
const MARK_BYTES = 16;

export function encodeMark({ end, crc32: checksum }: Mark): Uint8Array {
  const bytes = Buffer.alloc(MARK_BYTES);
  bytes.writeBigUInt64LE(BigInt(end), 0);
  bytes.writeUInt32LE(checksum, 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 12)), 12);
  return bytes;
}

/** The whole marks, in order; what is behind the first that is none was never acknowledged. */
export function decodeMarks(bytes: Buffer): Mark[] {
  const marks: Mark[] = [];
  for (let at = 0; at + MARK_BYTES <= bytes.length; at += MARK_BYTES) {
    if (bytes.readUInt32LE(at + 12) !== crc32(bytes.subarray(at, at + 12))) break;
    const end = Number(bytes.readBigUInt64LE(at));
    if (end <= (marks.at(-1)?.end ?? 0)) break;
    marks.push({ end, crc32: bytes.readUInt32LE(at + 8) });
  }
  return marks;
}

export async function appendMark(file: File, index: number, mark: Mark): Promise<void> {
  await file.write([encodeMark(mark)], index * MARK_BYTES);
}

/** All of them anew. */
export async function writeMarks(file: File, marks: readonly Mark[]): Promise<void> {
  if (marks.length > 0) await file.write(marks.map(encodeMark), 0);
}

/** What is there instead is no mark. */
export async function clearMark(file: File, index: number): Promise<void> {
  await file.write([new Uint8Array(MARK_BYTES)], index * MARK_BYTES);
}
