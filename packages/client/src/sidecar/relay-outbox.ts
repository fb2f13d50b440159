// What is on its way to one local worker. It is bounded by `room`: while that waits, nothing more is read from the server, and
// what the server sends stays with it.
import type { FrameSource, FrameStream, RpcError } from "@sluice/rpc";

/** Bytes that wait for the worker's connection, above which nothing more is read. */
const WAITING_BYTES_MAX = 256 * 1024;

export class RelayOutbox implements FrameSource {
  #frames: Uint8Array[] = [];
  #bytes = 0;
  #stream: FrameStream | undefined;
  #ending: ((stream: FrameStream) => void) | undefined;
  #onRoom: (() => void) | undefined;

  attach(stream: FrameStream): void {
    this.#stream = stream;
  }

  pull(): Uint8Array | undefined {
    if (this.#frames.length > 0) {
      const frames = this.#frames;
      this.#frames = [];
      this.#bytes = 0;
      this.#makeRoom();
      return frames.length === 1 ? frames[0] : Buffer.concat(frames);
    }
    if (this.#stream !== undefined) this.#ending?.(this.#stream);
    return undefined;
  }

  farewell(error: RpcError): unknown {
    return error;
  }

  push(frame: Uint8Array): void {
    if (this.#ending !== undefined) return;
    this.#frames.push(frame);
    this.#bytes += frame.length;
    this.#stream?.wake();
  }

  /** Resolves when more may be pushed; undefined: it may. */
  room(): Promise<void> | undefined {
    if (this.#bytes < WAITING_BYTES_MAX || this.#ending !== undefined) return undefined;
    return new Promise((resolve) => {
      this.#onRoom = resolve;
    });
  }

  /** Ends the stream well, behind what was pushed. */
  end(): void {
    this.#finish((stream) => stream.end());
  }

  fail(error: unknown): void {
    this.#finish((stream) => stream.fail(error));
  }

  /** The worker is gone: nothing waits for it any more. */
  close(): void {
    this.#frames = [];
    this.#finish(() => {});
    this.#stream = undefined;
  }

  #finish(ending: (stream: FrameStream) => void): void {
    this.#ending ??= ending;
    this.#makeRoom();
    this.#stream?.wake();
  }

  #makeRoom(): void {
    this.#onRoom?.();
    this.#onRoom = undefined;
  }
}
