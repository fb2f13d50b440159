// Rows of numbers outside V8's heap, in chunks: so many floats and so many integers each. What there is by the million (users,
// items of inboxes) stands in them, with no object of its own.
//
// R1. A row is taken or free, never both; free ones are linked through their first integer.
const CHUNK_BITS = 14;
const CHUNK_ROWS = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_ROWS - 1;

/** No row: where a link ends. */
export const NONE = -1;

export class Rows {
  readonly #floats: Float64Array[] = [];
  readonly #integers: Int32Array[] = [];
  readonly #floatCount: number;
  readonly #integerCount: number;
  #free = NONE;
  /** Rows from here on were never taken. */
  #fresh = 0;
  #size = 0;

  constructor(floatCount: number, integerCount: number) {
    this.#floatCount = floatCount;
    this.#integerCount = integerCount;
  }

  get size(): number {
    return this.#size;
  }

  /** Every row that was ever taken is below it. */
  get end(): number {
    return this.#fresh;
  }

  /** A row of zeros. */
  take(): number {
    this.#size++;
    if (this.#free !== NONE) {
      const row = this.#free;
      this.#free = this.integer(row, 0);
      const chunk = row >>> CHUNK_BITS;
      const at = row & CHUNK_MASK;
      this.#floats[chunk]!.fill(0, at * this.#floatCount, (at + 1) * this.#floatCount);
      this.#integers[chunk]!.fill(0, at * this.#integerCount, (at + 1) * this.#integerCount);
      return row;
    }
    if ((this.#fresh & CHUNK_MASK) === 0) {
      this.#floats.push(new Float64Array(CHUNK_ROWS * this.#floatCount));
      this.#integers.push(new Int32Array(CHUNK_ROWS * this.#integerCount));
    }
    return this.#fresh++;
  }

  release(row: number): void {
    this.setInteger(row, 0, this.#free);
    this.#free = row;
    this.#size--;
  }

  float(row: number, field: number): number {
    return this.#floats[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.#floatCount + field]!;
  }
  setFloat(row: number, field: number, value: number): void {
    this.#floats[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.#floatCount + field] = value;
  }
  integer(row: number, field: number): number {
    return this.#integers[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.#integerCount + field]!;
  }
  setInteger(row: number, field: number, value: number): void {
    this.#integers[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.#integerCount + field] = value;
  }
}
