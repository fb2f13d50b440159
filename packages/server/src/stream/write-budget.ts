// What requests to write may hold in memory until they are appended, all writers of the server together.
//
// B1. A request is counted from when it came until it was appended; what is appended and not durable has a bound of its
//     own in each log (pendingBytesMax).
// B2. Streams are told how much they may send before it is taken (`windowBytes`): a share of half the budget, so that all
//     of them together stay within it, whatever a disk does. Who sends more is refused at the bound, and may come again.
import { LimitExceeded } from "../errors.ts";

/** A window of a stream: its batch, and the next one on its way. Beyond it a stream gains nothing. */
const WINDOW_BYTES_MAX = 8 * 1024 * 1024;
/** A batch of small entries; less would cost more in answers than it holds. */
const WINDOW_BYTES_MIN = 16 * 1024;
/** What a stream may send at first: many may begin at once, before they hear of each other. */
const FIRST_WINDOW_BYTES = 64 * 1024;
/** Streams that wait will have their turn in about so much time. */
const RETRY_AFTER_MS = 500;

export class WriteBudget {
  readonly #max: number;
  #held = 0;
  #streams = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Bytes of requests in hand. */
  get held(): number {
    return this.#held;
  }

  /** What a stream that begins may send until it is told more. */
  get firstWindowBytes(): number {
    return Math.min(FIRST_WINDOW_BYTES, this.windowBytes);
  }

  /** What one stream may have under way beyond what was taken from it. */
  get windowBytes(): number {
    const share = Math.floor(this.#max / 2 / Math.max(1, this.#streams));
    return Math.max(WINDOW_BYTES_MIN, Math.min(WINDOW_BYTES_MAX, share));
  }

  /** A request has come. Call what is returned, once, when it was appended. @throws LimitExceeded at the bound */
  take(bytes: number): () => void {
    if (this.#held > 0 && this.#held + bytes > this.#max) {
      throw new LimitExceeded(
        `Cannot take a request of ${bytes} bytes: writers have ${this.#held} bytes waiting already, the limit is ${this.#max}`,
        "bytes of requests to write",
        { retryAfterMs: RETRY_AFTER_MS },
      );
    }
    this.#held += bytes;
    return () => {
      this.#held -= bytes;
    };
  }

  /** A stream of writes begins. Call what is returned, once, when it has ended. */
  enter(): () => void {
    this.#streams++;
    return () => {
      this.#streams--;
    };
  }
}
