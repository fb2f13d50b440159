// Chance for mutations: fast, and the same for the same seed (Mulberry32, Tommy Ettinger 2017, public domain).

/** Numbers at which arithmetic and limits go wrong. */
const INTERESTING = [
  0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 31, 32, 61, 62, 63, 64, 65, 126, 127, 128, 129, 253, 254, 255, 256, 257, 1000,
  1023, 1024, 4095, 4096, 4097, 16_383, 16_384, 16_385, 32_767, 32_768, 65_534, 65_535, 65_536, 65_537, 0xfffffe,
  0xffffff, 0x1000000, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff,
] as const;

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** 0 to 2³²-1. */
  uint32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 to `limit`-1. */
  below(limit: number): number {
    return Math.floor((this.uint32() / 0x1_0000_0000) * limit);
  }

  /** True once in so many times. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** 0 half of the time, 1 a quarter of it, … */
  few(): number {
    return Math.clz32(this.uint32());
  }

  interesting(): number {
    return this.pick(INTERESTING);
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; at++) bytes[at] = this.uint32();
    return bytes;
  }
}
