// Memory that files are read into, shared with the hashing thread, and used again: fresh pages cost more than the read.
//
// BP1. A block is given back only when nobody looks at it any more. One that is never given back is garbage collected.
// BP2. Most downloads read blocks of a quarter MiB, so that a thousand slow readers cost little. `LARGE_READERS_MAX` at
//      once read a whole MiB: a read costs two ways between threads, half of its time where the file is in memory.
// BP3. Downloads say what they hold. When that is much, nobody reads ahead: who has bytes with its socket or the hash waits for
//      these, so a hundred readers that stand still hold a block each (benchmark `files-memory`).

/** Beside the data, for the frames around it. */
const FRAMES_BYTES = 8 * 1024;
/** Bytes of a pooled block: a quarter MiB of data and the frames around it; four of them. */
export const POOLED_BYTES = 256 * 1024 + FRAMES_BYTES;
export const LARGE_BYTES = 4 * POOLED_BYTES;
/** Memory that is small is made for its block alone: a small file has one, and its call ends before it comes back. */
const OWN_BYTES_MAX = 64 * 1024;
/** 8 MiB of each are kept. */
const FREE_BYTES_MAX = 8 * 1024 * 1024;
/** BP3. The large readers' blocks fit. */
const HELD_BYTES_MAX = 32 * 1024 * 1024;
/** Each holds three blocks at most: one that the socket has, one that is ready, one that is hashed. */
const LARGE_READERS_MAX = 8;

export class BlockPool {
  /** What downloads hold that has been read (BP3). */
  heldBytes = 0;
  readonly #small: SharedArrayBuffer[] = [];
  readonly #large: SharedArrayBuffer[] = [];
  #largeReaders = 0;

  /** Lets one more reader take large blocks, if there are not too many; it says `endLarge` when it no longer does. */
  beginLarge(): boolean {
    if (this.#largeReaders >= LARGE_READERS_MAX) return false;
    this.#largeReaders++;
    return true;
  }

  endLarge(): void {
    this.#largeReaders--;
  }

  /** BP3 */
  get isCrowded(): boolean {
    return this.heldBytes > HELD_BYTES_MAX;
  }

  /** At least so many bytes. */
  take(byteCount: number): SharedArrayBuffer {
    if (byteCount <= OWN_BYTES_MAX) return new SharedArrayBuffer(byteCount);
    if (byteCount <= POOLED_BYTES) return this.#small.pop() ?? new SharedArrayBuffer(POOLED_BYTES);
    if (byteCount <= LARGE_BYTES) return this.#large.pop() ?? new SharedArrayBuffer(LARGE_BYTES);
    return new SharedArrayBuffer(byteCount);
  }

  /** BP1 */
  give(memory: SharedArrayBuffer): void {
    const size = memory.byteLength;
    const free = size === POOLED_BYTES ? this.#small : size === LARGE_BYTES ? this.#large : undefined;
    if (free !== undefined && (free.length + 1) * size <= FREE_BYTES_MAX) free.push(memory);
  }
}
