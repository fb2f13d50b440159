// Compression of single groups of frames: zstd, from Node itself.
import { constants, zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "node:zlib";
import { promisify } from "node:util";

const compressInPool = promisify(zstdCompress);
const decompressInPool = promisify(zstdDecompress);

/**
 * Log entries hold a checksum, a cursor and times each, which do not compress; the rest does so well that more effort finds
 * little: level 6 makes groups 5 % smaller and takes four times as long (docs/decisions/0009-compressed-segments.md).
 */
const LEVEL = 1;
/** Below it the way to the thread pool and back costs more than the work (it is also what makes simulations repeatable). */
const AT_ONCE_BYTES_MAX = 16 * 1024;
/** The least that Node takes. */
const CHUNK_BYTES_MIN = 64;

/** One zstd frame that says how long its content is and ends with a checksum of it. */
export function compress(bytes: Uint8Array): Promise<Buffer> | Buffer {
  const options = {
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 1 },
    pledgedSrcSize: bytes.length,
    chunkSize: Math.max(CHUNK_BYTES_MIN, bytes.length),
  };
  return bytes.length <= AT_ONCE_BYTES_MAX ? zstdCompressSync(bytes, options) : compressInPool(bytes, options);
}

/** What was compressed, of which the length is known; undefined: these bytes do not prove themselves. */
export async function decompress(bytes: Uint8Array, length: number): Promise<Buffer | undefined> {
  // One byte more than will come: so the decompressor sees that it has ended without asking for another buffer.
  const options = { chunkSize: Math.max(CHUNK_BYTES_MIN, length + 1), maxOutputLength: length };
  try {
    const isSmall = length <= AT_ONCE_BYTES_MAX;
    const plain = isSmall ? zstdDecompressSync(bytes, options) : await decompressInPool(bytes, options);
    return plain.length === length ? plain : undefined;
  } catch {
    return undefined;
  }
}
