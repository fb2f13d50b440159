// One read from disk, laid out as the frames that carry it.
import { readv } from "node:fs";
import {
  type ChunkForm,
  chunkOverheadMax,
  type ChunkPlace,
  type ChunkPlan,
  layOutChunk,
  putChecksum,
  putCrc32,
} from "./chunk-frame.ts";
import type { BlockPool } from "./block-pool.ts";

/** Chunks of one read: the system's bound for the pieces of one (IOV_MAX). */
const CHUNKS_MAX = 1024;

/** What a block is to hold. */
export interface BlockPlan {
  readonly form: ChunkForm;
  /** Where in the file it begins, and where the call's data ends as far as it is known. */
  readonly offset: number;
  readonly end: number;
  /** Bytes of a chunk. */
  readonly chunkBytes: number;
  /** The file's size. */
  readonly totalSize: number;
  /** Whether the call ends at `end`. */
  readonly hasLast: boolean;
  /** Bytes of the block at most, and of its memory; at least one chunk is read. */
  readonly bytesMax: number;
  readonly memoryBytes: number;
}

/** Frames whose data is read, or is being read. */
export class Block {
  readonly memory: SharedArrayBuffer;
  /** The frames. */
  readonly bytes: Uint8Array;
  /** In the file: of the first byte, and behind the last one. */
  readonly offset: number;
  readonly end: number;
  readonly #places: readonly ChunkPlace[];
  readonly #hasCrc32: boolean;
  /** Whether this block has the call's last chunk. */
  readonly isLast: boolean;

  /** @param chunks as `planChunks` has them */
  constructor(chunks: readonly ChunkPlan[], form: ChunkForm, pool: BlockPool) {
    const last = chunks.at(-1)!;
    this.offset = chunks[0]!.offset;
    this.end = last.offset + last.length;
    this.memory = pool.take(chunkOverheadMax(form) * chunks.length + this.end - this.offset);
    const bytes = new Uint8Array(this.memory);
    let at = 0;
    this.#places = chunks.map((each) => {
      const place = layOutChunk(bytes, at, form, each);
      at = place.end;
      return place;
    });
    this.#hasCrc32 = form.hasCrc32;
    this.isLast = last.isLast;
    this.bytes = bytes.subarray(0, at);
  }

  /** Whether it must get a checksum. */
  get hasChecksum(): boolean {
    return this.#places.at(-1)!.checksumAt >= 0;
  }

  /** Reads all of it. Resolves with false when the file ends before. */
  async read(fd: number): Promise<boolean> {
    const wanted = this.end - this.offset;
    let views = this.#places.map(({ dataStart, dataEnd }) => this.bytes.subarray(dataStart, dataEnd));
    for (let done = 0; done < wanted;) {
      const count = await readPieces(fd, views, this.offset + done);
      if (count === 0) return false;
      done += count;
      if (done < wanted) views = behind(views, count);
    }
    this.#putCrc32();
    return true;
  }

  /** The same from what was read before: all of the file. */
  copy(contents: Uint8Array): void {
    let at = this.offset;
    for (const { dataStart, dataEnd } of this.#places) {
      this.bytes.set(contents.subarray(at, at + dataEnd - dataStart), dataStart);
      at += dataEnd - dataStart;
    }
    this.#putCrc32();
  }

  #putCrc32(): void {
    if (this.#hasCrc32) for (const place of this.#places) putCrc32(this.bytes, place);
  }

  /** Where the data lies in `memory`: start, end, start, end, … */
  spans(): Uint32Array {
    const spans = new Uint32Array(2 * this.#places.length);
    for (const [i, { dataStart, dataEnd }] of this.#places.entries()) {
      spans[2 * i] = dataStart;
      spans[2 * i + 1] = dataEnd;
    }
    return spans;
  }

  /** Completes the last chunk. */
  putChecksum(sha256: string): void {
    putChecksum(this.bytes, this.#places.at(-1)!, sha256);
  }
}

/** The chunks of a block, one after the other. */
export function planChunks(plan: BlockPlan): ChunkPlan[] {
  const { form, offset, end, chunkBytes, totalSize, hasLast, bytesMax, memoryBytes } = plan;
  const fitting = Math.floor(memoryBytes / (chunkBytes + chunkOverheadMax(form)));
  const countMax = Math.max(1, Math.min(fitting, CHUNKS_MAX, Math.floor(bytesMax / chunkBytes)));
  const plans: ChunkPlan[] = [];
  let at = offset;
  do {
    const next = Math.min(at + chunkBytes, end);
    plans.push({
      offset: at,
      length: next - at,
      totalSize,
      isLast: hasLast && next === end,
      isEof: next === totalSize,
    });
    at = next;
  } while (at < end && plans.length < countMax);
  return plans;
}

function readPieces(fd: number, views: readonly Uint8Array[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    readv(fd, views, position, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

/** What is left of the pieces behind so many bytes. */
function behind(views: readonly Uint8Array[], byteCount: number): Uint8Array[] {
  let skip = byteCount;
  return views.flatMap((view) => {
    const skipped = Math.min(skip, view.length);
    skip -= skipped;
    return skipped === view.length ? [] : [view.subarray(skipped)];
  });
}
