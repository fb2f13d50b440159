// Memory for blocks that are read from disk, used again and again. A fresh buffer of this size costs more than the read
// itself: its pages must be mapped in, and V8 collects garbage for every few dozen of them.
//
// BP1. A buffer is given only by whoever knows that nobody looks at it any more. One that is never given is left to the
//      garbage collector.

export class BufferPool {
  readonly #capacity: number;
  readonly #freeMax: number;
  readonly #free: Buffer[] = [];

  /** @param capacity bytes of each buffer */
  constructor(capacity: number, options: { freeMax: number }) {
    this.#capacity = capacity;
    this.#freeMax = options.freeMax;
  }

  /** A buffer of so many bytes, not zeroed. A larger one than the pool's is made for this use alone. */
  take(byteCount: number): Buffer {
    // Never from Node's shared slab: it is handed out by reference.
    if (byteCount > this.#capacity) return Buffer.allocUnsafeSlow(byteCount);
    return (this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#capacity)).subarray(0, byteCount);
  }

  /** BP1. */
  give(buffer: Uint8Array): void {
    if (buffer.buffer.byteLength !== this.#capacity || this.#free.length >= this.#freeMax) return;
    this.#free.push(Buffer.from(buffer.buffer));
  }
}

/** Pools of several sizes: a buffer comes from the smallest that is large enough. */
export class BufferPools {
  readonly #pools: readonly BufferPool[];
  readonly #sizes: readonly number[];

  /** @param sizes ascending; what is larger than the last is made for one use */
  constructor(sizes: readonly number[], options: { freeMax: number }) {
    this.#sizes = sizes;
    this.#pools = sizes.map((size) => new BufferPool(size, options));
  }

  take(byteCount: number): Buffer {
    const pool = this.#pools[this.#sizes.findIndex((size) => byteCount <= size)] ?? this.#pools.at(-1)!;
    return pool.take(byteCount);
  }

  /** BP1. */
  give(buffer: Uint8Array): void {
    this.#pools[this.#sizes.indexOf(buffer.buffer.byteLength)]?.give(buffer);
  }
}
