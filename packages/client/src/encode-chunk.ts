// UploadFileRequest as a frame with one copy of its data: an encoder that grows as it goes copies a quarter MiB four times, half of
// the client's work in benchmark `files-upload`.
import { FRAME_HEADER_BYTES, Frames } from "@sluice/rpc";

const TAG_OFFSET = 0x10;
const TAG_DATA = 0x1a;
const TAG_CHUNK_CRC32 = 0x25;
/** Tags and longest values of offset, chunk_crc32 and of data's length. */
const FIELDS_BYTES_MAX = 11 + 5 + 6;

/** A chunk behind the first message, which names the upload. @param options `crc32`: of `data` */
export function encodeChunk(offset: number, data: Uint8Array, { crc32 }: { readonly crc32: number }): Frames {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + FIELDS_BYTES_MAX + data.length);
  let at = FRAME_HEADER_BYTES;
  bytes[at++] = TAG_OFFSET;
  at = putVarint(bytes, at, offset);
  bytes[at++] = TAG_CHUNK_CRC32;
  at = bytes.writeUInt32LE(crc32, at);
  bytes[at++] = TAG_DATA;
  at = putVarint(bytes, at, data.length);
  bytes.set(data, at);
  at += data.length;
  bytes[0] = 0;
  bytes.writeUInt32BE(at - FRAME_HEADER_BYTES, 1);
  return new Frames(bytes.subarray(0, at));
}

/** Up to 2^53. Returns the place behind it. */
function putVarint(bytes: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    bytes[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[at++] = rest;
  return at;
}
