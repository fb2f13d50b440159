// The bytes of one UploadFile call on their way to disk.
//
// RB1. Two blocks: while one is written, the other fills up. When both are full, whoever sends waits.
// RB2. Whatever has gathered when a write returns is the next write: few large ones for a fast sender, at once for a slow one.
import type { Upload } from "./upload.ts";

/** Bytes that gather at most while a write is under way. */
export const BLOCK_BYTES = 4 * 1024 * 1024;

/** What the bytes go to: an upload, or one that lets them wait for their checksum. */
type Appendable = Pick<Upload, "append">;

interface Block {
  readonly memory: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  length: number;
}

export class ReceivedBytes {
  readonly #upload: Appendable;
  readonly #onDurable: () => void;
  #gathering = newBlock();
  #spare: Block | undefined;
  #writing: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(upload: Appendable, onDurable: () => void) {
    this.#upload = upload;
    this.#onDurable = onDurable;
  }

  /** Takes all of them. Await it: then there is room for more. @throws what a write failed with */
  async add(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const block = this.#gathering;
      const count = Math.min(bytes.length - done, BLOCK_BYTES - block.length);
      block.bytes.set(bytes.subarray(done, done + count), block.length);
      block.length += count;
      done += count;
      this.#write();
      if (this.#gathering.length === BLOCK_BYTES) await this.#writing;
    }
  }

  /** Resolves when all is durable. @throws what a write failed with */
  async flush(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** RB2 */
  #write(): void {
    if (this.#writing !== undefined || this.#gathering.length === 0 || this.#failure !== undefined) return;
    const block = this.#gathering;
    this.#gathering = this.#spare ?? newBlock();
    this.#spare = undefined;
    this.#writing = this.#upload.append(block.memory, block.length).then(
      () => {
        block.length = 0;
        this.#spare = block;
        this.#writing = undefined;
        this.#onDurable();
        this.#write();
      },
      (error: unknown) => {
        this.#failure = { error };
        this.#writing = undefined;
      },
    );
  }
}

function newBlock(): Block {
  const memory = new SharedArrayBuffer(BLOCK_BYTES);
  return { memory, bytes: new Uint8Array(memory), length: 0 };
}
