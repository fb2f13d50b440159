// Memory that files are read into, shared with the hashing thread, and used again: fresh pages cost more than the read.
//
// BP1. A block is given back only when nobody looks at it any more. One that is never given back is garbage collected.

/** Bytes of a pooled block: a quarter MiB of data and the frames around it. */
export const POOLED_BYTES = 256 * 1024 + 8 * 1024;
/** 8 MiB are kept. */
const FREE_MAX = 32;

export class BlockPool {
  readonly #free: SharedArrayBuffer[] = [];

  /** At least so many bytes. */
  take(byteCount: number): SharedArrayBuffer {
    if (byteCount > POOLED_BYTES) return new SharedArrayBuffer(byteCount);
    return this.#free.pop() ?? new SharedArrayBuffer(POOLED_BYTES);
  }

  /** BP1 */
  give(memory: SharedArrayBuffer): void {
    if (memory.byteLength === POOLED_BYTES && this.#free.length < FREE_MAX) this.#free.push(memory);
  }
}
