// Compresses sealed segments in the background, where that is asked for: one at a time, the oldest first.
//
// Z1. The plain file goes only when the compressed one is durable under its name: written, synced, renamed, the folder
//     synced. So after a crash at any step one of them is there, whole; where both are, the plain one counts.
// Z2. Only what proves itself is compressed, and only what decompresses to the same bytes is kept. A segment with damage
//     stays as it is: what may still be saved of it must not be lost in a group that is damaged as a whole.
// Z3. One group is in memory at a time, plain and compressed: a page. One thread of the pool works for it.
import { crc32 } from "node:zlib";
import type { SegmentChain } from "./chain.ts";
import type { Clock } from "./contract.ts";
import type { Incidents } from "./events.ts";
import type { FilePool } from "./file-pool.ts";
import type { File, FileSystem } from "./file-system.ts";
import type { GroupLengths } from "./group-table.ts";
import type { PageTable } from "./page-table.ts";
import type { Segment } from "./segment.ts";
import { PART_SUFFIX } from "./atomic-file.ts";
import { BufferPools } from "./buffer-pool.ts";
import { compressedFrames } from "./frames-place.ts";
import { encodeEnd } from "./group-table.ts";
import { PAGE_BYTES } from "./page-table.ts";
import { removeIfThere } from "./retention.ts";
import { COMPRESSED_SUFFIX, IndexReplaced, segmentFile } from "./segment.ts";
import { compress, decompress } from "./zstd.ts";

/** After a failure, such as a full disk, nothing is tried for so long. */
const FAILED_REST_MS = 60_000;
const NS_PER_MS = 1_000_000n;

interface CompressorParts {
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly pool: FilePool;
  readonly clock: Clock;
  readonly chain: SegmentChain;
  readonly incidents: Incidents;
  /** A segment is compressed when it has been sealed for so long. */
  readonly afterMs: number;
  /** Does a job while no other one of the log's upkeep runs: what is replaced here may be removed there. */
  readonly alone: (job: () => Promise<void>) => Promise<void>;
}

/** A page does not prove itself, or does not come back as it was. */
class NotProven extends Error {
  override readonly name = "NotProven";
}

/** The log is being closed. */
class Stopped extends Error {
  override readonly name = "Stopped";
}

export class Compressor {
  readonly #parts: CompressorParts;
  readonly #buffers = new BufferPools([PAGE_BYTES], { freeBytesMax: PAGE_BYTES });
  /** Segments that stay as they are (Z2). */
  readonly #left = new WeakSet<Segment>();
  #working: Promise<void> | undefined;
  #restsUntilMs = 0;
  #isClosed = false;

  constructor(parts: CompressorParts) {
    this.#parts = parts;
  }

  /** Looks whether there is something to do. */
  wake(): void {
    if (this.#isClosed || this.#working !== undefined || this.#parts.clock.monotonicMs() < this.#restsUntilMs) return;
    if (this.#next() === undefined) return;
    this.#working = this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  /** Stops within a group; what was not finished is begun anew another time. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#working;
  }

  #next(): Segment | undefined {
    const { chain, clock, afterMs } = this.#parts;
    const before = clock.nowNs() - BigInt(afterMs) * NS_PER_MS;
    return chain.all.find(
      (segment) =>
        segment.sealedAtNs !== undefined &&
        segment.sealedAtNs <= before &&
        segment.frames.storedBytes === undefined &&
        !this.#left.has(segment),
    );
  }

  async #work(): Promise<void> {
    for (let segment = this.#next(); segment !== undefined && !this.#isClosed; segment = this.#next()) {
      try {
        await this.#compress(segment);
      } catch (error) {
        if (error instanceof Stopped) return;
        this.#passOver(segment, error);
        return;
      }
    }
  }

  #passOver(segment: Segment, error: unknown): void {
    const { chain, clock, incidents } = this.#parts;
    // What retention took meanwhile is no fault, and a new index is no reason to wait.
    if (!chain.all.includes(segment) || error instanceof IndexReplaced) return;
    if (error instanceof NotProven) this.#left.add(segment);
    else this.#restsUntilMs = clock.monotonicMs() + FAILED_REST_MS;
    const why = error instanceof Error ? error.message : String(error);
    incidents.fault(`cannot compress segment ${segment.first}: ${why}`);
  }

  async #compress(segment: Segment): Promise<void> {
    const { folder, fileSystem, chain, alone } = this.#parts;
    const path = segmentFile(folder, segment.first, COMPRESSED_SUFFIX);
    const part = path + PART_SUFFIX;
    try {
      const storedBytes = await this.#writeCompressed(segment, part);
      await alone(async () => {
        if (chain.all.includes(segment)) await this.#replacePlain(segment, part, path, storedBytes);
      });
    } finally {
      await removeIfThere(fileSystem, part);
    }
  }

  /** Writes the whole compressed segment and syncs it. Returns how many bytes it has. */
  async #writeCompressed(segment: Segment, part: string): Promise<number> {
    const table = await segment.table();
    const file = await this.#parts.fileSystem.open(part, "create");
    try {
      const written = await this.#writeGroups(segment, table, file);
      const end = encodeEnd(written.groups, {
        first: segment.first,
        entries: segment.entries,
        bytes: segment.bytes,
        plainCrc: table.crc(table.count - 1),
        storedCrc: written.crc,
      });
      await file.write([end], written.bytes);
      await file.sync();
      return written.bytes + end.length;
    } finally {
      await file.close();
    }
  }

  async #writeGroups(
    segment: Segment,
    table: PageTable,
    file: File,
  ): Promise<{ groups: GroupLengths; bytes: number; crc: number }> {
    const groups: { stored: number; plain: number }[] = [];
    let bytes = 0;
    let crc = 0;
    for (let page = 0; page < table.count; page++) {
      if (this.#isClosed) throw new Stopped();
      const length = table.end(page) - table.start(page);
      const plain = this.#buffers.take(length);
      const stored = await this.#makeGroup(segment, table, page, plain);
      this.#buffers.give(plain);
      await file.write([stored], bytes);
      groups.push({ stored: stored.length, plain: length });
      bytes += stored.length;
      crc = crc32(stored, crc);
    }
    return { groups, bytes, crc };
  }

  /** Z2. */
  async #makeGroup(segment: Segment, table: PageTable, page: number, plain: Buffer): Promise<Buffer> {
    await segment.readFrames(plain, table.start(page));
    if (crc32(plain, table.crcBefore(page)) !== table.crc(page)) {
      throw new NotProven("a part of it does not match its checksum; it stays as it is");
    }
    const stored = await compress(plain);
    const again = await decompress(stored, plain.length);
    if (again?.equals(plain) !== true) throw new NotProven("a part of it did not come back from compression");
    return stored;
  }

  /** Z1. */
  async #replacePlain(segment: Segment, part: string, path: string, storedBytes: number): Promise<void> {
    const { folder, fileSystem, pool, incidents } = this.#parts;
    await fileSystem.rename(part, path);
    await fileSystem.syncFolder(folder);
    const plainPath = segment.frames.path;
    segment.attachFrames(compressedFrames(pool, path, storedBytes));
    pool.forget(plainPath);
    await removeIfThere(fileSystem, plainPath);
    const { first, last, bytes } = segment;
    incidents.tell({ kind: "segment-compressed", first, last, bytes, storedBytes });
  }
}
