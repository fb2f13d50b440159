// UploadFileRequest as a frame whose data is sent from where it lies: to copy it into memory of its own was a third of the client's
// work in benchmark `files-upload`, most of it the collector's, who looked at the whole heap for each 40 MB of such memory.
import { FRAME_HEADER_BYTES, Frames } from "@sluice/rpc";

const TAG_OFFSET = 0x10;
const TAG_DATA = 0x1a;
const TAG_CHUNK_CRC32 = 0x25;
/** Tags and longest values of offset, chunk_crc32 and of data's length. */
const FIELDS_BYTES_MAX = 11 + 5 + 6;

/**
 * A chunk behind the first message, which names the upload: one frame, in the pieces that it is to be sent in. `data` is the last
 * and must not change. @param options `crc32`: of `data`
 */
export function encodeChunk(
  offset: number,
  data: Uint8Array,
  { crc32 }: { readonly crc32: number },
): readonly Frames[] {
  const head = Buffer.allocUnsafe(FRAME_HEADER_BYTES + FIELDS_BYTES_MAX);
  let at = FRAME_HEADER_BYTES;
  head[at++] = TAG_OFFSET;
  at = putVarint(head, at, offset);
  head[at++] = TAG_CHUNK_CRC32;
  at = head.writeUInt32LE(crc32, at);
  head[at++] = TAG_DATA;
  at = putVarint(head, at, data.length);
  head[0] = 0;
  head.writeUInt32BE(at - FRAME_HEADER_BYTES + data.length, 1);
  return [new Frames(head.subarray(0, at)), new Frames(data)];
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
