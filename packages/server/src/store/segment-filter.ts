// Which marks the entries of a sealed segment have: a filter as a file, so that a search reads no segment that cannot hold
// what is sought. What a mark is, only the service knows (`FrameCodec.marks`): to the store it is a number of 32 bits that
// some entries have. Derived from the frames: written once, never synced, made anew when it does not prove itself. All
// numbers are little-endian.
//
//   header    64 bytes: magic "sluicemk", version, number of blocks, the index that it belongs to (a checksum of its pages),
//             checksum of the header
//   blocks    4,096 bytes each: bits (4,092 bytes), CRC-32 of them
//
// The mark chooses a block and two bits in it (a blocked Bloom filter: Putze, Sanders and Singler, "Cache-, Hash- and
// Space-Efficient Bloom Filters", 2007), so that asking for a mark reads one block, which proves itself.
//
// F1. A mark that some entry has is never denied: there are no false negatives, or the filter does not prove itself.
// F2. A filter is of exactly the pages of its index. Another index (rebuilt, with damage in it) makes it void.
// F3. The number of blocks is a power of two, and the block of a mark its hash modulo that number: so a filter that turned
//     out too large is folded, its upper half on its lower one, without looking at the marks again.
import { crc32 } from "node:zlib";
import type { FrameCodec } from "./contract.ts";
import type { FilePool } from "./file-pool.ts";
import type { FileSystem } from "./file-system.ts";
import { errorCode, readFully, UnexpectedEnd } from "./file-system.ts";

const MAGIC = "sluicemk";
/** Also of what marks are: a filter of other marks denies what is there. */
const VERSION = 1;
const HEADER_BYTES = 64;
const BLOCK_BYTES = 4096;
const BLOCK_BITS = (BLOCK_BYTES - 4) * 8;
/** The most that a filter takes, as a share of its segment's frames (about: blocks are a power of two), and in bytes. */
const SHARE_MAX = 1 / 16;
const BLOCKS_MAX = (16 * 1024 * 1024) / BLOCK_BYTES;
/**
 * A filter is folded as long as no more of its bits than this are set: a mark is then found wrongly in 12 % of
 * segments, a text of 8 bytes (three marks) in 0.2 %.
 */
const FILL_MAX = 0.35;
const RECENT_MARKS = 32 * 1024;
const FRAME_HEADER_BYTES = 5;

/** The marks of a segment's entries, while they are gathered. */
export class FilterBits {
  readonly #bytes: Uint8Array;
  /** What was added lately, by its lowest bits: logs repeat themselves, and the bits of a filter are far apart in memory. */
  readonly #recent = new Uint32Array(RECENT_MARKS);

  /** @param frameBytes of the segment */
  constructor(frameBytes: number) {
    const blocks = 2 ** Math.round(Math.log2(Math.max(1, (frameBytes * SHARE_MAX) / BLOCK_BYTES)));
    this.#bytes = new Uint8Array(Math.min(blocks, BLOCKS_MAX) * BLOCK_BYTES);
    // No mark is in its place yet: 0 belongs there, so there is something else.
    this.#recent[0] = 1;
  }

  add(mark: number): void {
    const slot = mark & (RECENT_MARKS - 1);
    if (this.#recent[slot] === mark) return;
    this.#recent[slot] = mark;
    const bytes = this.#bytes;
    const start = blockOf(mark, bytes.length / BLOCK_BYTES) * BLOCK_BYTES;
    const bits = bitsOf(mark);
    const one = upperBit(bits);
    const other = lowerBit(bits);
    bytes[start + (one >>> 3)]! |= 1 << (one & 7);
    bytes[start + (other >>> 3)]! |= 1 << (other & 7);
  }

  /** The blocks of the file. Nothing is added any more. */
  finish(): Uint8Array<ArrayBuffer> {
    let bytes = this.#bytes;
    for (;;) {
      const half = bytes.length / 2;
      if (half < BLOCK_BYTES) break;
      const folded = bytes.slice(0, half);
      for (let i = 0; i < half; i++) folded[i]! |= bytes[half + i]!;
      if (bitsSet(folded) > FILL_MAX * folded.length * 8) break;
      bytes = folded;
    }
    const view = new DataView(bytes.buffer);
    for (let end = BLOCK_BYTES; end <= bytes.length; end += BLOCK_BYTES) {
      view.setUint32(end - 4, crc32(bytes.subarray(end - BLOCK_BYTES, end - 4)), true);
    }
    return bytes as Uint8Array<ArrayBuffer>;
  }
}

/** Takes the marks of whole frames, one after the other. */
export function addMarks(bits: FilterBits, marks: NonNullable<FrameCodec["marks"]>, frames: Uint8Array): void {
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
  for (let at = 0; at < frames.length;) {
    const end = at + FRAME_HEADER_BYTES + view.getUint32(at + 1);
    marks(frames, at, end, bits);
    at = end;
  }
}

/** Writes a filter. The file appears whole or not at all. */
export async function writeFilterFile(
  fileSystem: FileSystem,
  path: string,
  { blocks, indexId }: { blocks: Uint8Array; indexId: number },
): Promise<void> {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE(blocks.length / BLOCK_BYTES, 12);
  header.writeUInt32LE(indexId, 16);
  header.writeUInt32LE(crc32(header.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4);
  const part = `${path}.part`;
  const file = await fileSystem.open(part, "create");
  try {
    await file.write([header, blocks], 0);
  } finally {
    await file.close();
  }
  await fileSystem.rename(part, path);
}

/** A filter does not prove itself, or cannot be read. */
export class FilterDamaged extends Error {
  override readonly name = "FilterDamaged";
  constructor(path: string, options?: ErrorOptions) {
    super(`The filter ${path} does not prove itself`, options);
  }
}

/** A filter in its file: asked, not loaded. */
export class SegmentFilter {
  readonly #pool: FilePool;
  readonly #path: string;
  readonly #blocks: number;

  private constructor(pool: FilePool, path: string, blocks: number) {
    this.#pool = pool;
    this.#path = path;
    this.#blocks = blocks;
  }

  /** The filter of an index; undefined when it is missing, or of another index, or does not prove itself. */
  static async find(pool: FilePool, path: string, indexId: number): Promise<SegmentFilter | undefined> {
    const header = Buffer.alloc(HEADER_BYTES);
    try {
      await pool.use(path, (file) => readFully(file, header, 0));
    } catch (error) {
      if (error instanceof UnexpectedEnd || errorCode(error) === "ENOENT" || errorCode(error) === "EIO")
        return undefined;
      throw error;
    }
    const isGood =
      header.toString("latin1", 0, 8) === MAGIC &&
      header.readUInt32LE(8) === VERSION &&
      header.readUInt32LE(HEADER_BYTES - 4) === crc32(header.subarray(0, HEADER_BYTES - 4)) &&
      header.readUInt32LE(16) === indexId;
    return isGood ? new SegmentFilter(pool, path, header.readUInt32LE(12)) : undefined;
  }

  /** Of the file. */
  get bytes(): number {
    return HEADER_BYTES + this.#blocks * BLOCK_BYTES;
  }

  /** Whether no entry has all of these marks for certain. @throws FilterDamaged */
  async lacks(marks: Uint32Array): Promise<boolean> {
    const block = Buffer.allocUnsafe(BLOCK_BYTES);
    for (const mark of marks) {
      await this.#read(block, blockOf(mark, this.#blocks));
      const bits = bitsOf(mark);
      if (!isSet(block, upperBit(bits)) || !isSet(block, lowerBit(bits))) return true;
    }
    return false;
  }

  async #read(block: Buffer, index: number): Promise<void> {
    try {
      await this.#pool.use(this.#path, (file) => readFully(file, block, HEADER_BYTES + index * BLOCK_BYTES));
    } catch (error) {
      throw new FilterDamaged(this.#path, { cause: error });
    }
    if (crc32(block.subarray(0, BLOCK_BYTES - 4)) !== block.readUInt32LE(BLOCK_BYTES - 4)) {
      throw new FilterDamaged(this.#path);
    }
  }
}

/** F3. */
function blockOf(mark: number, blocks: number): number {
  let hash = Math.imul(mark ^ (mark >>> 15), 0x2c1b_3c6d);
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a_2d39);
  return (hash ^ (hash >>> 15)) & (blocks - 1);
}

/** Two halves, each of which chooses a bit. */
function bitsOf(mark: number): number {
  const hash = Math.imul(mark ^ (mark >>> 16), 0x7feb_352d);
  return Math.imul(hash ^ (hash >>> 15), 0x846c_a68b);
}

function upperBit(bits: number): number {
  return ((bits >>> 16) * BLOCK_BITS) >>> 16;
}

function lowerBit(bits: number): number {
  return ((bits & 0xffff) * BLOCK_BITS) >>> 16;
}

function isSet(block: Uint8Array, bit: number): boolean {
  return ((block[bit >>> 3]! >>> (bit & 7)) & 1) === 1;
}

function bitsSet(bytes: Uint8Array): number {
  let count = 0;
  for (const word of new Uint32Array(bytes.buffer, 0, bytes.length / 4)) {
    let rest = word - ((word >>> 1) & 0x5555_5555);
    rest = (rest & 0x3333_3333) + ((rest >>> 2) & 0x3333_3333);
    count += Math.imul((rest + (rest >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
  }
  return count;
}
