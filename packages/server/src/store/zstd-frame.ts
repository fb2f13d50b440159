// Where a zstd frame ends, told from its headers alone (RFC 8878, section 3.1.1): nothing is decompressed.
import type { ReadableFile } from "./file-system.ts";

const MAGIC = 0xfd2f_b528;
const MAGIC_BYTES = 4;
const CHECKSUM_BYTES = 4;
/** Magic, descriptor, window, dictionary, content size. */
const HEADER_BYTES_MAX = 18;
const BLOCK_HEADER_BYTES = 3;
const RLE_BLOCK = 1;
const RESERVED_BLOCK = 3;

/** The lengths of the frame at a place of the file; undefined: there is none, or it does not say how long its content is. */
export async function findZstdFrame(
  file: ReadableFile,
  start: number,
): Promise<{ stored: number; plain: number } | undefined> {
  const size = await file.size();
  const bytes = Buffer.alloc(HEADER_BYTES_MAX);
  const count = await file.read(bytes, start);
  const header = count < HEADER_BYTES_MAX ? undefined : decodeHeader(bytes);
  if (header === undefined) return undefined;
  const block = Buffer.alloc(BLOCK_HEADER_BYTES);
  for (let at = start + header.bytes; at + block.length <= size;) {
    if ((await file.read(block, at)) < block.length) return undefined;
    const word = block.readUIntLE(0, BLOCK_HEADER_BYTES);
    const kind = (word >>> 1) & 3;
    if (kind === RESERVED_BLOCK) return undefined;
    at += block.length + (kind === RLE_BLOCK ? 1 : word >>> 3);
    if ((word & 1) === 0) continue;
    const end = at + (header.hasChecksum ? CHECKSUM_BYTES : 0);
    return end <= size ? { stored: end - start, plain: header.plain } : undefined;
  }
  return undefined;
}

function decodeHeader(bytes: Buffer): { bytes: number; plain: number; hasChecksum: boolean } | undefined {
  if (bytes.readUInt32LE(0) !== MAGIC) return undefined;
  const descriptor = bytes[MAGIC_BYTES]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const sizeAt = MAGIC_BYTES + 1 + (isSingleSegment ? 0 : 1) + dictionaryBytes;
  const hasChecksum = (descriptor & 4) !== 0;
  const end = (length: number, plain: number) => ({ bytes: sizeAt + length, plain, hasChecksum });
  switch (descriptor >>> 6) {
    case 0:
      return isSingleSegment ? end(1, bytes[sizeAt]!) : undefined;
    case 1:
      return end(2, bytes.readUInt16LE(sizeAt) + 256);
    case 2:
      return end(4, bytes.readUInt32LE(sizeAt));
    default:
      return end(8, Number(bytes.readBigUInt64LE(sizeAt)));
  }
}
