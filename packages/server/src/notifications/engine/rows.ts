// Rows of numbers outside V8's heap, in chunks: so many floats and so many integers each. What there is by the million (users,
// items of inboxes) stands in them, with no object of its own.
//
// R1. A row is taken or free, never both; free ones are linked through their first integer.
// R2. Frozen rows are read chunk by chunk, each once and in order, as they were when they were frozen, while all of them change:
//     of the chunks that have not been read yet every value that is overwritten is kept.
const CHUNK_BITS = 14;
export const ROWS_PER_CHUNK = 1 << CHUNK_BITS;
const CHUNK_MASK = ROWS_PER_CHUNK - 1;

/** No row: where a link ends. */
export const NONE = -1;
/** No chunk has this number. */
const NO_CHUNK = 2 ** 30;

/** The rows of a chunk that were ever taken. */
export interface RowChunk {
  readonly floats: Float64Array;
  readonly integers: Int32Array;
}

/** What there is to know of rows beside their chunks. */
export interface RowsShape {
  readonly fresh: number;
  readonly free: number;
  readonly size: number;
}

export class Rows {
  readonly #floats: Float64Array[] = [];
  readonly #integers: Int32Array[] = [];
  readonly #floatCount: number;
  readonly #integerCount: number;
  #free = NONE;
  /** Rows from here on were never taken. */
  #fresh = 0;
  #size = 0;
  /** R2. Chunks from here on are frozen, and have not been read. */
  #frozenFrom = NO_CHUNK;
  #frozenEnd = 0;
  /** R2. By chunk, what was overwritten: place and value, in turn. A float's place is below 0. */
  #kept: number[][] = [];
  #keptCount = 0;

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
      if (chunk >= this.#frozenFrom) this.#keepRow(chunk, at);
      this.#floats[chunk]!.fill(0, at * this.#floatCount, (at + 1) * this.#floatCount);
      this.#integers[chunk]!.fill(0, at * this.#integerCount, (at + 1) * this.#integerCount);
      return row;
    }
    if ((this.#fresh & CHUNK_MASK) === 0) {
      this.#floats.push(new Float64Array(ROWS_PER_CHUNK * this.#floatCount));
      this.#integers.push(new Int32Array(ROWS_PER_CHUNK * this.#integerCount));
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
    const chunk = row >>> CHUNK_BITS;
    const at = (row & CHUNK_MASK) * this.#floatCount + field;
    if (chunk >= this.#frozenFrom) this.#keep(chunk, ~at, this.#floats[chunk]![at]!);
    this.#floats[chunk]![at] = value;
  }
  integer(row: number, field: number): number {
    return this.#integers[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * this.#integerCount + field]!;
  }
  setInteger(row: number, field: number, value: number): void {
    const chunk = row >>> CHUNK_BITS;
    const at = (row & CHUNK_MASK) * this.#integerCount + field;
    if (chunk >= this.#frozenFrom) this.#keep(chunk, at, this.#integers[chunk]![at]!);
    this.#integers[chunk]![at] = value;
  }

  /** Values that are kept for those chunks that are yet to be read. */
  get kept(): number {
    return this.#keptCount;
  }

  /** R2. From here on `readFrozen` answers what is now. */
  freeze(): RowsShape & { readonly chunks: number } {
    this.#frozenFrom = 0;
    this.#frozenEnd = this.#fresh;
    this.#kept = this.#floats.map(() => []);
    return { fresh: this.#fresh, free: this.#free, size: this.#size, chunks: this.#floats.length };
  }

  /** The next frozen chunk, in arrays of its own. */
  readFrozen(): RowChunk {
    const chunk = this.#frozenFrom++;
    const count = Math.min(ROWS_PER_CHUNK, this.#frozenEnd - chunk * ROWS_PER_CHUNK);
    const floats = this.#floats[chunk]!.slice(0, count * this.#floatCount);
    const integers = this.#integers[chunk]!.slice(0, count * this.#integerCount);
    const kept = this.#kept[chunk]!;
    // What was overwritten twice was first what was kept first.
    for (let i = kept.length - 2; i >= 0; i -= 2) {
      const at = kept[i]!;
      if (at < 0) floats[~at] = kept[i + 1]!;
      else integers[at] = kept[i + 1]!;
    }
    this.#kept[chunk] = [];
    this.#keptCount -= kept.length / 2;
    return { floats, integers };
  }

  thaw(): void {
    this.#frozenFrom = NO_CHUNK;
    this.#kept = [];
    this.#keptCount = 0;
  }

  /** The next chunk, to be filled with what was read of the frozen one. The shape is known already. */
  addChunk(): RowChunk {
    const count = Math.min(ROWS_PER_CHUNK, this.#fresh - this.#floats.length * ROWS_PER_CHUNK);
    if (count <= 0) throw new RangeError("there are more rows than there were");
    const floats = new Float64Array(ROWS_PER_CHUNK * this.#floatCount);
    const integers = new Int32Array(ROWS_PER_CHUNK * this.#integerCount);
    this.#floats.push(floats);
    this.#integers.push(integers);
    return {
      floats: floats.subarray(0, count * this.#floatCount),
      integers: integers.subarray(0, count * this.#integerCount),
    };
  }

  /** All chunks that the shape speaks of are here. */
  get isWhole(): boolean {
    return this.#floats.length * ROWS_PER_CHUNK >= this.#fresh;
  }

  /** The shape of those that were frozen: their chunks follow. */
  restore({ fresh, free, size }: RowsShape): void {
    this.#fresh = fresh;
    this.#free = free;
    this.#size = size;
  }

  #keepRow(chunk: number, at: number): void {
    for (let i = 0; i < this.#floatCount; i++) {
      const place = at * this.#floatCount + i;
      this.#keep(chunk, ~place, this.#floats[chunk]![place]!);
    }
    for (let i = 0; i < this.#integerCount; i++) {
      const place = at * this.#integerCount + i;
      this.#keep(chunk, place, this.#integers[chunk]![place]!);
    }
  }

  /** R2. Chunks that were made since do not count. */
  #keep(chunk: number, place: number, value: number): void {
    const kept = this.#kept[chunk];
    if (kept === undefined) return;
    kept.push(place, value);
    this.#keptCount++;
  }
}
