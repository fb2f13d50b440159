// The bytes of one call on their way to disk.
//
// RB1. Two blocks at most: while one is written, the other fills up. When both are full, whoever sends waits; so it does when
//      all blocks of the server are held, and when `UNCOUNTED_MAX` bytes are written and not on disk for good.
// RB2. Bytes of a slow sender are written at once. While the disk syncs, only whole blocks are written; when it has, what has
//      gathered is, and what was written is the next sync: few large ones for a fast sender.
// RB3. A write that fails ends it; what was written before is counted all the same.
import type { Upload } from "./upload.ts";
import { BLOCK_BYTES, type UploadBlock, type UploadBlocks } from "./upload-blocks.ts";

/** Memory of the system for one call, which the disk works off while more is written. */
const UNCOUNTED_MAX = 8 * BLOCK_BYTES;
/** What is taken behind what is on disk for good. */
export const WINDOW_BYTES = UNCOUNTED_MAX + 2 * BLOCK_BYTES;

export interface ReceivedBytesOptions {
  /** False: what is taken does not count before `Upload.count`. */
  readonly counts: boolean;
  /** More counts than before. */
  readonly onCounted: () => void;
}

export class ReceivedBytes {
  readonly #upload: Pick<Upload, "append" | "count">;
  readonly #blocks: UploadBlocks;
  readonly #options: ReceivedBytesOptions;
  /** undefined: nothing has gathered. */
  #gathering: UploadBlock | undefined;
  #writing: Promise<void> | undefined;
  #counting: Promise<void> | undefined;
  /** Written, and not counted so far. */
  #uncountedBytes = 0;
  /** No more comes. */
  #isLast = false;
  #failure: { readonly error: unknown; readonly isOfCount: boolean } | undefined;

  constructor(upload: Pick<Upload, "append" | "count">, blocks: UploadBlocks, options: ReceivedBytesOptions) {
    this.#upload = upload;
    this.#blocks = blocks;
    this.#options = options;
  }

  /** Takes all of them. Await it: then there is room for more. @throws what a write or a sync failed with */
  async add(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const block = (this.#gathering ??= await this.#blocks.take());
      const count = Math.min(bytes.length - done, BLOCK_BYTES - block.length);
      block.bytes.set(bytes.subarray(done, done + count), block.length);
      block.length += count;
      done += count;
      this.#write();
      // RB1: what is under way takes it when it is done.
      while (this.#gathering?.length === BLOCK_BYTES && this.#failure === undefined) {
        await (this.#writing ?? this.#counting);
      }
    }
  }

  /** Resolves when all is written, and counts if it does. Once, last of all calls. @throws what a write or a sync failed with */
  async flush(): Promise<void> {
    this.#isLast = true;
    this.#write();
    while (this.#writing !== undefined || this.#counting !== undefined) await (this.#writing ?? this.#counting);
    if (this.#failure === undefined) return;
    if (this.#gathering !== undefined) this.#blocks.give(this.#gathering);
    this.#gathering = undefined;
    throw this.#failure.error;
  }

  /** RB2 */
  #write(): void {
    const block = this.#gathering;
    if (this.#writing !== undefined || block === undefined || this.#failure !== undefined) return;
    if (this.#options.counts && this.#uncountedBytes >= UNCOUNTED_MAX) return;
    if (this.#counting !== undefined && block.length < BLOCK_BYTES && !this.#isLast) return;
    this.#gathering = undefined;
    const { length } = block;
    this.#writing = this.#upload
      .append(block.memory, length)
      .then(
        () => {
          this.#uncountedBytes += length;
        },
        (error: unknown) => {
          this.#failure ??= { error, isOfCount: false };
        },
      )
      .finally(() => {
        this.#blocks.give(block);
        this.#writing = undefined;
        this.#write();
        this.#count();
      });
  }

  /** RB2, RB3 */
  #count(): void {
    const byteCount = this.#uncountedBytes;
    if (!this.#options.counts || this.#counting !== undefined || byteCount === 0) return;
    if (this.#failure?.isOfCount === true) return;
    this.#counting = this.#upload
      .count()
      .then(
        () => {
          this.#uncountedBytes -= byteCount;
          this.#options.onCounted();
        },
        (error: unknown) => {
          this.#failure ??= { error, isOfCount: true };
        },
      )
      .finally(() => {
        this.#counting = undefined;
        this.#write();
        this.#count();
      });
  }
}
