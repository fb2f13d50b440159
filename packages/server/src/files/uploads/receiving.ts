// Takes what a client sends for an upload, by whatever protocol, and has it written.
//
// RC1. A piece is looked at before anything of it is taken.
// RC2. However it ends, what was taken before is written; `ended` resolves behind that, and then the upload is free for the
//      next call.
// RC3. A client that sends nothing for too long is cut. While it is held back for a rate it is not the one that is slow.
import type { Clock } from "../../store/contract.ts";
import { UploadStalled } from "../file-errors.ts";
import { ReceivedBytes } from "./received-bytes.ts";
import type { Throttle } from "./throttle.ts";
import type { Upload } from "./upload.ts";

/** What receiving needs of its surroundings. */
export interface ReceivingSurroundings {
  /** Hears that the upload is worked on. */
  readonly touch: (upload: Upload) => void;
  readonly clock: Clock;
  /** RC3 */
  readonly stallMs: number;
  /** How fast it is taken. It is stopped when this is over. */
  readonly throttle: Throttle;
}

export interface ReceivingOptions<T> extends ReceivingSurroundings {
  readonly incoming: AsyncIterator<T>;
  /** What is new of a piece; `end` is where the bytes so far end. @throws what is wrong with it, and nothing of it is taken */
  readonly bytesOf: (piece: T, end: number) => Uint8Array;
  /** True for a piece behind which nothing may come: it is the last that is taken. Default: none is. */
  readonly isLast?: (piece: T) => boolean;
  /** False: what is taken does not count before `Upload.count`. Default: true. */
  readonly counts?: boolean;
}

export class Receiving<T> {
  /** Pieces taken so far. */
  taken = 0;
  isOver = false;
  readonly ended: Promise<void>;
  readonly #upload: Upload;
  readonly #options: ReceivingOptions<T>;
  readonly #bytes: ReceivedBytes;
  readonly #setEnded: () => void;
  #stopReason: Error | undefined;
  /** Of whoever waits for the next piece. A promise that all of them raced with would remember every one. */
  #stopWaiting: ((reason: Error) => void) | undefined;
  #change = Promise.withResolvers<void>();
  #end: number;

  /** @param upload that the caller uses alone */
  constructor(upload: Upload, options: ReceivingOptions<T>) {
    this.#upload = upload;
    this.#options = options;
    this.#end = upload.durableOffset;
    this.#bytes = new ReceivedBytes(upload, upload.blocks, {
      counts: options.counts ?? true,
      onCounted: () => {
        options.touch(upload);
        this.#tell();
      },
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#setEnded = resolve;
  }

  /** Resolves when there is something new to say. */
  changed(): Promise<void> {
    return this.#change.promise;
  }

  /** Takes no more. */
  stop(reason: Error): void {
    this.#stopReason ??= reason;
    this.#stopWaiting?.(reason);
    this.#options.throttle.stop();
  }

  /** Takes all pieces. Resolves when the last one is durable. @throws what is wrong with one, NoSpaceForUpload, UploadStalled */
  async run(first: T): Promise<void> {
    const { bytesOf, isLast } = this.#options;
    try {
      for (let piece: T | undefined = first; piece !== undefined;) {
        // RC1
        const bytes = bytesOf(piece, this.#end);
        this.#end += bytes.length;
        this.taken++;
        await this.#awaitTurn(bytes.length);
        await this.#bytes.add(bytes);
        piece = isLast?.(piece) === true ? undefined : await this.#next();
      }
    } finally {
      this.#options.throttle.stop();
      // RC2
      await this.#bytes.flush().finally(() => {
        this.isOver = true;
        this.#setEnded();
        this.#tell();
      });
    }
  }

  async #awaitTurn(byteCount: number): Promise<void> {
    try {
      await this.#options.throttle.take(byteCount);
    } catch (error) {
      throw this.#stopReason ?? error;
    }
  }

  async #next(): Promise<T | undefined> {
    if (this.#stopReason !== undefined) throw this.#stopReason;
    const { clock, stallMs, incoming } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>();
    this.#stopWaiting = reject;
    const timer = clock.setTimer(() => {
      const { path } = this.#upload.state;
      this.stop(new UploadStalled(path, { offset: this.#upload.durableOffset, afterMs: stallMs }));
    }, stallMs);
    try {
      incoming.next().then(({ done, value }) => resolve(done === true ? undefined : value), reject);
      return await promise;
    } finally {
      timer.cancel();
    }
  }

  #tell(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}
