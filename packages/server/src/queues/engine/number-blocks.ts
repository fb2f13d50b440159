// The lowest number of a set of jobs, which come and go by the million: how many of them each block of numbers has.
const BLOCK_NUMBERS = 4096;

export class NumberBlocks {
  readonly #counts = new Map<number, { count: number }>();
  /** The block of the last change: most often that of the next one. */
  #lastBlock = -1;
  #last = { count: 0 };

  add(number: number): void {
    this.#blockOf(number).count++;
  }

  remove(number: number): void {
    const block = this.#blockOf(number);
    block.count--;
    if (block.count > 0) return;
    this.#counts.delete(this.#lastBlock);
    this.#lastBlock = -1;
  }

  /** The lowest number that is in the set, of which `has` knows; undefined: none is. */
  lowest(has: (number: number) => boolean): number | undefined {
    let lowest = Infinity;
    for (const block of this.#counts.keys()) lowest = Math.min(lowest, block);
    if (lowest === Infinity) return undefined;
    const end = (lowest + 1) * BLOCK_NUMBERS;
    for (let number = lowest * BLOCK_NUMBERS; number < end; number++) if (has(number)) return number;
    return undefined;
  }

  #blockOf(number: number): { count: number } {
    const index = Math.floor(number / BLOCK_NUMBERS);
    if (index === this.#lastBlock) return this.#last;
    let block = this.#counts.get(index);
    if (block === undefined) {
      block = { count: 0 };
      this.#counts.set(index, block);
    }
    this.#lastBlock = index;
    this.#last = block;
    return block;
  }
}
