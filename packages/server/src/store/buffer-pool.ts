// Memory for blocks that are read from disk, used again and again. A fresh buffer of this size costs more than the read
// itself: its pages must be mapped in, and V8 collects garbage for every few dozen of them.
//
// BP1. A buffer is given only by whoever knows that nobody looks at it any more. One that is never given is left to the
//      garbage collector.
// BP2. All that is free here takes `freeBytesMax` at most: of the size that has most of it, one goes for the next.

/** Buffers of several sizes: each comes from the smallest that is large enough. */
export class BufferPools {
  readonly #pools: readonly Pool[];
  readonly #freeBytesMax: number;
  #freeBytes = 0;

  /** @param sizes ascending; what is larger than the last is made for one use */
  constructor(sizes: readonly number[], options: { readonly freeBytesMax: number }) {
    this.#pools = sizes.map((size) => ({ size, free: [] }));
    this.#freeBytesMax = options.freeBytesMax;
  }

  /** A buffer of so many bytes, not zeroed. */
  take(byteCount: number): Buffer {
    const pool = this.#pools.find(({ size }) => byteCount <= size);
    const free = pool?.free.pop();
    if (free !== undefined) this.#freeBytes -= pool!.size;
    // Never from Node's shared slab: it is handed out by reference.
    return (free ?? Buffer.allocUnsafeSlow(pool?.size ?? byteCount)).subarray(0, byteCount);
  }

  /** BP1. */
  give(buffer: Uint8Array): void {
    const pool = this.#pools.find(({ size }) => buffer.buffer.byteLength === size);
    if (pool === undefined) return;
    pool.free.push(Buffer.from(buffer.buffer));
    this.#freeBytes += pool.size;
    this.shrink(this.#freeBytesMax);
  }

  /** BP2. Keeps so many bytes at most now. */
  shrink(freeBytesMax: number): void {
    while (this.#freeBytes > freeBytesMax) {
      const most = this.#pools.reduce((a, b) => (bytesOf(b) > bytesOf(a) ? b : a));
      most.free.pop();
      this.#freeBytes -= most.size;
    }
  }
}

interface Pool {
  readonly size: number;
  readonly free: Buffer[];
}

function bytesOf({ size, free }: Pool): number {
  return size * free.length;
}
