// A download's stream as the transport is one: pulls the source when it is woken, and reads what comes.
import { fromBinary } from "@bufbuild/protobuf";
import { type FileChunk, FileChunkSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameSource, type FrameStream } from "@sluice/rpc";

export class PulledChunks implements FrameStream {
  readonly chunks: FileChunk[] = [];
  /** Resolves when the stream ends well, rejects when it fails. */
  readonly ended: Promise<void>;
  readonly #source: FrameSource;
  readonly #settle: { resolve(): void; reject(error: unknown): void };
  isOpen = true;

  /** Reads as fast as it can, unless it is stalled. */
  constructor(source: FrameSource, options: { isStalled?: boolean } = {}) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ended = promise;
    promise.catch(() => {});
    this.#settle = { resolve, reject };
    this.#source = source;
    this.isStalled = options.isStalled ?? false;
    source.attach(this);
    this.wake();
  }

  isStalled: boolean;

  get data(): Buffer {
    return Buffer.concat(this.chunks.map((chunk) => chunk.data));
  }

  wake(): void {
    queueMicrotask(() => {
      while (this.isOpen && !this.isStalled && this.take());
    });
  }

  /** Pulls once. What came is copied, and its memory given back. */
  take(): boolean {
    const frames = this.#source.pull(128 * 1024);
    if (frames === undefined) return false;
    const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
    for (let at = 0; at < frames.length;) {
      const end = at + FRAME_HEADER_BYTES + view.getUint32(at + 1);
      this.chunks.push(fromBinary(FileChunkSchema, Uint8Array.from(frames.subarray(at + FRAME_HEADER_BYTES, end))));
      at = end;
    }
    this.#source.sent?.();
    return true;
  }

  end(): void {
    this.isOpen = false;
    this.#settle.resolve();
  }

  fail(error: unknown): void {
    this.isOpen = false;
    this.#settle.reject(error);
  }
}
