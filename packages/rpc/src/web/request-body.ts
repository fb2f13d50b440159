// The body of a plain HTTP request as an iterator: pulled, and credited when it is.
import { keepBytes } from "../reading/read-buffer.ts";

interface Waiter {
  resolve(result: IteratorResult<Uint8Array, undefined>): void;
  reject(error: unknown): void;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

export class RequestBody implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #onConsumed: (byteCount: number) => void;
  #chunks: Uint8Array[] = [];
  #waiters: Waiter[] = [];
  #isEnded = false;
  #isDiscarding = false;
  #error: Error | undefined = undefined;

  constructor(onConsumed: (byteCount: number) => void) {
    this.#onConsumed = onConsumed;
  }

  push(buffer: Buffer, start: number, end: number): void {
    if (start === end) return;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.resolve({ done: false, value: keepBytes(buffer, start, end) });
    else if (!this.#isDiscarding) {
      this.#chunks.push(keepBytes(buffer, start, end));
      return;
    }
    this.#onConsumed(end - start);
  }

  finish(): void {
    this.#isEnded = true;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(DONE);
  }

  /** The request is over: a body that had not ended fails. */
  abort(error: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#chunks = [];
    this.#error = error;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#onConsumed(chunk.length);
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#isEnded) return Promise.resolve(DONE);
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** The handler wants no more: what still comes is credited and dropped. */
  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#isDiscarding = true;
    for (const chunk of this.#chunks.splice(0)) this.#onConsumed(chunk.length);
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
