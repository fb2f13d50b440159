// Rows by a number that they have, the least first: 4 bytes a row, and its place in the row itself, so that any of them can leave.
//
// H1. No row comes before its parent. H2. A row's index is where it stands; -1 when it is not in here.

/** What the heap reads and writes of its rows. */
export interface HeapKeys {
  key(row: number): number;
  setIndex(row: number, index: number): void;
}

const FIRST_ROOM = 64;

export class RowHeap {
  readonly #keys: HeapKeys;
  #rows: Int32Array = new Int32Array(FIRST_ROOM);
  #size = 0;

  constructor(keys: HeapKeys) {
    this.#keys = keys;
  }

  get size(): number {
    return this.#size;
  }

  /** The row with the least key; -1: none. */
  get first(): number {
    return this.#size === 0 ? -1 : this.#rows[0]!;
  }

  push(row: number): void {
    if (this.#size === this.#rows.length) {
      const larger = new Int32Array(2 * this.#size);
      larger.set(this.#rows);
      this.#rows = larger;
    }
    this.#up(row, this.#size++);
  }

  remove(index: number): void {
    this.#keys.setIndex(this.#rows[index]!, -1);
    const last = this.#rows[--this.#size]!;
    if (index === this.#size) return;
    const parent = (index - 1) >> 1;
    if (index > 0 && this.#keys.key(last) < this.#keys.key(this.#rows[parent]!)) this.#up(last, index);
    else this.#down(last, index);
  }

  /** All rows in here, in their order. */
  copy(): Int32Array {
    return this.#rows.slice(0, this.#size);
  }

  /** Rows that know where they stand (H2). */
  restore(rows: Int32Array): void {
    this.#rows = rows.length < FIRST_ROOM ? new Int32Array(FIRST_ROOM) : rows;
    if (rows.length < FIRST_ROOM) this.#rows.set(rows);
    this.#size = rows.length;
  }

  #up(row: number, from: number): void {
    const key = this.#keys.key(row);
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = this.#rows[parent]!;
      if (this.#keys.key(above) <= key) break;
      this.#put(above, index);
      index = parent;
    }
    this.#put(row, index);
  }

  #down(row: number, from: number): void {
    const key = this.#keys.key(row);
    let index = from;
    for (let child = 2 * index + 1; child < this.#size; child = 2 * index + 1) {
      const right = child + 1;
      if (right < this.#size && this.#keys.key(this.#rows[right]!) < this.#keys.key(this.#rows[child]!)) child = right;
      const below = this.#rows[child]!;
      if (this.#keys.key(below) >= key) break;
      this.#put(below, index);
      index = child;
    }
    this.#put(row, index);
  }

  #put(row: number, index: number): void {
    this.#rows[index] = row;
    this.#keys.setIndex(row, index);
  }
}
