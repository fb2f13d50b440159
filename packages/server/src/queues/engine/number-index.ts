// Finds a job's slot by its number. Open addressing over slots, the numbers themselves stand in the job table: 4 bytes a job
// at a load of 1/4 to 3/4. Extendible hashing keeps each table small, so that no growth is a pause: the longest one moves
// 12,000 entries. Numbers that follow one another fill all tables alike: were their bounds the same, all would be split at once.
//
// N1. Each table is at most three quarters full, so that a search ends; each has a bound of its own, from a half on.
// N2. A table at `depth` d stands at the 2^(D-d) places of the directory (of 2^D) that share the first d bits of the hash.
// N3. Entries follow one another without a hole from the place of their hash: removing one closes the gap behind it.

/** What the index reads of the job table. */
export interface Numbers {
  number(slot: number): number;
}

interface Table {
  /** Slot + 1; 0: empty. */
  entries: Int32Array;
  /** log2 of the entries. */
  bits: number;
  count: number;
  depth: number;
  /** N1. Part of its places that may be taken. */
  readonly loadMax: number;
}

const BITS_MIN = 6;
const BITS_MAX = 14;
const LOAD_MIN = 1 / 2;
const LOAD_MAX = 3 / 4;
const GOLDEN = 0x9e3779b1;
const MIX = 0x85ebca6b;
const TWO_32 = 2 ** 32;

function hashOf(number: number): number {
  const high = (number / TWO_32) | 0;
  return Math.imul((number | 0) ^ Math.imul(high, MIX), GOLDEN) >>> 0;
}

export class NumberIndex {
  readonly #numbers: Numbers;
  #made = 0;
  #directory: Table[] = [this.#newTable(BITS_MIN, 0)];
  #depth = 0;

  constructor(numbers: Numbers) {
    this.#numbers = numbers;
  }

  /** The slot of a number; -1: not there. */
  find(number: number): number {
    const hash = hashOf(number);
    const table = this.#tableOf(hash);
    const mask = table.entries.length - 1;
    for (let at = placeOf(hash, table); ; at = (at + 1) & mask) {
      const entry = table.entries[at]!;
      if (entry === 0) return -1;
      if (this.#numbers.number(entry - 1) === number) return entry - 1;
    }
  }

  /** Adds a slot whose number is not there yet. */
  add(slot: number): void {
    const hash = hashOf(this.#numbers.number(slot));
    let table = this.#tableOf(hash);
    while (table.count + 1 > table.entries.length * table.loadMax) {
      if (table.bits < BITS_MAX) this.#resize(table, table.bits + 1);
      else this.#split(table, hash);
      table = this.#tableOf(hash);
    }
    this.#insert(table, slot, hash);
  }

  remove(number: number): void {
    const hash = hashOf(number);
    const table = this.#tableOf(hash);
    const { entries } = table;
    const mask = entries.length - 1;
    let hole = placeOf(hash, table);
    while (this.#numbers.number(entries[hole]! - 1) !== number) hole = (hole + 1) & mask;
    for (let at = (hole + 1) & mask; entries[at] !== 0; at = (at + 1) & mask) {
      const home = placeOf(hashOf(this.#numbers.number(entries[at]! - 1)), table);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      entries[hole] = entries[at]!;
      hole = at;
    }
    entries[hole] = 0;
    table.count--;
    if (table.bits > BITS_MIN && table.count * 8 < entries.length) this.#resize(table, table.bits - 1);
  }

  /** N1. The golden ratio spreads the bounds, however many tables there are. */
  #newTable(bits: number, depth: number): Table {
    const share = (Math.imul(++this.#made, GOLDEN) >>> 0) / TWO_32;
    const loadMax = LOAD_MIN + (LOAD_MAX - LOAD_MIN) * share;
    return { entries: new Int32Array(1 << bits), bits, count: 0, depth, loadMax };
  }

  #tableOf(hash: number): Table {
    return this.#directory[this.#depth === 0 ? 0 : hash >>> (32 - this.#depth)]!;
  }

  #insert(table: Table, slot: number, hash: number): void {
    const mask = table.entries.length - 1;
    let at = placeOf(hash, table);
    while (table.entries[at] !== 0) at = (at + 1) & mask;
    table.entries[at] = slot + 1;
    table.count++;
  }

  #resize(table: Table, bits: number): void {
    const old = table.entries;
    table.entries = new Int32Array(1 << bits);
    table.bits = bits;
    table.count = 0;
    for (const entry of old) if (entry !== 0) this.#insert(table, entry - 1, hashOf(this.#numbers.number(entry - 1)));
  }

  /** N2. Two tables in place of one, by one more bit. */
  #split(table: Table, hash: number): void {
    if (table.depth === this.#depth) {
      this.#directory = this.#directory.flatMap((each) => [each, each]);
      this.#depth++;
    }
    const depth = table.depth + 1;
    const halves = [this.#newTable(table.bits, depth), this.#newTable(table.bits, depth)] as const;
    for (const entry of table.entries) {
      if (entry === 0) continue;
      const each = hashOf(this.#numbers.number(entry - 1));
      this.#insert(halves[(each >>> (32 - depth)) & 1 ? 1 : 0], entry - 1, each);
    }
    const places = 1 << (this.#depth - depth);
    const start = (table.depth === 0 ? 0 : hash >>> (32 - table.depth)) * 2 * places;
    this.#directory.fill(halves[0], start, start + places);
    this.#directory.fill(halves[1], start + places, start + 2 * places);
  }
}

/** The bits of the hash behind those that chose the table. */
function placeOf(hash: number, table: Table): number {
  return (hash << table.depth) >>> (32 - table.bits);
}
