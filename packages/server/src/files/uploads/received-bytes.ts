// The bytes of one call on their way to disk.
//
// RB1. Two blocks at most: while one is written, the other fills up. When both are full, whoever sends waits; so it does when
//      all blocks of the server are held.
// RB2. Whatever has gathered when a write returns is the next write: few large ones for a fast sender, at once for a slow one.
import type { Upload } from "./upload.ts";
import { BLOCK_BYTES, type UploadBlock, type UploadBlocks } from "./upload-blocks.ts";

/** What the bytes go to: an upload, or one that lets them wait for their checksum. */
type Appendable = Pick<Upload, "append">;

export class ReceivedBytes {
  readonly #upload: Appendable;
  readonly #blocks: UploadBlocks;
  readonly #onDurable: () => void;
  /** undefined: nothing has gathered. */
  #gathering: UploadBlock | undefined;
  #writing: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(upload: Appendable, blocks: UploadBlocks, onDurable: () => void) {
    this.#upload = upload;
    this.#blocks = blocks;
    this.#onDurable = onDurable;
  }

  /** Takes all of them. Await it: then there is room for more. @throws what a write failed with */
  async add(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const block = (this.#gathering ??= await this.#blocks.take());
      const count = Math.min(bytes.length - done, BLOCK_BYTES - block.length);
      block.bytes.set(bytes.subarray(done, done + count), block.length);
      block.length += count;
      done += count;
      this.#write();
      if (this.#gathering?.length === BLOCK_BYTES) await this.#writing;
    }
  }

  /** Resolves when all is durable. Once, last of all calls. @throws what a write failed with */
  async flush(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    if (this.#failure === undefined) return;
    if (this.#gathering !== undefined) this.#blocks.give(this.#gathering);
    this.#gathering = undefined;
    throw this.#failure.error;
  }

  /** RB2 */
  #write(): void {
    const block = this.#gathering;
    if (this.#writing !== undefined || block === undefined || this.#failure !== undefined) return;
    this.#gathering = undefined;
    this.#writing = this.#upload.append(block.memory, block.length).then(
      () => {
        this.#blocks.give(block);
        this.#writing = undefined;
        this.#onDurable();
        this.#write();
      },
      (error: unknown) => {
        this.#blocks.give(block);
        this.#failure = { error };
        this.#writing = undefined;
      },
    );
  }
}
