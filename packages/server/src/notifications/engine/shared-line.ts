// What a channel (a set of topics, or everyone) has of one priority: ascending by delivery, never by user. How many of it are
// alive between two sequences takes log n steps (a Fenwick tree), however much has gone in between.
//
// L1. Entries ascend by sequence. One that is removed stays, dead, until more than half of them are.
// L2. What is added before the end (only when a journal is read) takes effect with `settle`.
import type { ValueReader, ValueWriter } from "./values.ts";

export interface SharedEntry {
  readonly id: number;
  readonly sequence: number;
  readonly place: number;
  readonly bytes: number;
  readonly type: number;
  /** Unix s; 0: never. */
  readonly expiresAt: number;
  /** Unix s. */
  readonly deliveredAt: number;
}

const FIRST_ROOM = 16;
const DEAD_KEPT = 1024;

export class SharedLine {
  #ids = new Float64Array(FIRST_ROOM);
  #sequences = new Float64Array(FIRST_ROOM);
  #places = new Float64Array(FIRST_ROOM);
  #bytes = new Uint32Array(FIRST_ROOM);
  #types = new Uint16Array(FIRST_ROOM);
  #expires = new Uint32Array(FIRST_ROOM);
  #delivered = new Uint32Array(FIRST_ROOM);
  #alive = new Uint8Array(FIRST_ROOM);
  /** tree[i]: alive entries of (i - lowbit(i), i], counted from 1. */
  #tree = new Int32Array(FIRST_ROOM + 1);
  #count = 0;
  #aliveCount = 0;
  #late = new Map<number, SharedEntry>();
  /** Reads and writes of the tree and of entries: what tests of cost count. */
  steps = 0;

  get alive(): number {
    return this.#aliveCount + this.#late.size;
  }

  /** False: it is there already. */
  add(entry: SharedEntry): boolean {
    if (this.#count > 0 && entry.sequence <= this.#sequences[this.#count - 1]!) {
      if (this.#late.has(entry.sequence) || this.find(entry.sequence) >= 0) return false;
      this.#late.set(entry.sequence, entry);
      return true;
    }
    this.#append(entry);
    return true;
  }

  /** L2. */
  settle(): void {
    if (this.#late.size === 0) return;
    const entries = [...this.#late.values()];
    for (let i = 0; i < this.#count; i++) if (this.#alive[i] === 1) entries.push(this.entry(i));
    entries.sort((a, b) => a.sequence - b.sequence);
    this.#late.clear();
    this.#refill(entries);
  }

  /** What was removed; undefined: it is not there. */
  remove(sequence: number): SharedEntry | undefined {
    const late = this.#late.get(sequence);
    if (late !== undefined) {
      this.#late.delete(sequence);
      return late;
    }
    const index = this.find(sequence);
    if (index < 0) return undefined;
    const entry = this.entry(index);
    this.#alive[index] = 0;
    this.#aliveCount--;
    for (let i = index + 1; i <= this.#count; i += i & -i) this.#tree[i]!--;
    const dead = this.#count - this.#aliveCount;
    if (dead > DEAD_KEPT && dead > this.#aliveCount) {
      const entries: SharedEntry[] = [];
      for (let i = 0; i < this.#count; i++) if (this.#alive[i] === 1) entries.push(this.entry(i));
      this.#refill(entries);
    }
    return entry;
  }

  setPlace(sequence: number, place: number): void {
    const late = this.#late.get(sequence);
    if (late !== undefined) this.#late.set(sequence, { ...late, place });
    const index = this.find(sequence);
    if (index >= 0) this.#places[index] = place;
  }

  /** What has this sequence and is alive, what was added before the end included. */
  lookUp(sequence: number): SharedEntry | undefined {
    const index = this.find(sequence);
    return index < 0 ? this.#late.get(sequence) : this.entry(index);
  }

  /** The index of a sequence that is alive; -1: it is not. */
  find(sequence: number): number {
    const index = this.#firstAbove(sequence - 1);
    return index < this.#count && this.#sequences[index] === sequence && this.#alive[index] === 1 ? index : -1;
  }

  /** How many are alive with `after` < sequence <= `through`. */
  countBetween(after: number, through: number): number {
    if (through <= after) return 0;
    return this.#rank(this.#firstAbove(through)) - this.#rank(this.#firstAbove(after));
  }

  /** Index of the first that is alive behind this sequence; -1: none. */
  nextAlive(after: number): number {
    const from = this.#firstAbove(after);
    if (from < this.#count && this.#alive[from] === 1) return from;
    return this.#select(this.#rank(from) + 1);
  }

  /** Index of the last that is alive before this sequence; -1: none. */
  previousAlive(before: number): number {
    const from = this.#firstAbove(before - 1);
    if (from > 0 && this.#alive[from - 1] === 1) return from - 1;
    return this.#select(this.#rank(from));
  }

  sequence(index: number): number {
    return this.#sequences[index]!;
  }

  entry(index: number): SharedEntry {
    return {
      id: this.#ids[index]!,
      sequence: this.#sequences[index]!,
      place: this.#places[index]!,
      bytes: this.#bytes[index]!,
      type: this.#types[index]!,
      expiresAt: this.#expires[index]!,
      deliveredAt: this.#delivered[index]!,
    };
  }

  /** All that are alive, ascending. */
  *entries(): Generator<SharedEntry> {
    for (let i = 0; i < this.#count; i++) if (this.#alive[i] === 1) yield this.entry(i);
  }

  /** Settled (L2). */
  write(out: ValueWriter): void {
    const count = this.#count;
    out.number(this.#aliveCount);
    for (const column of [this.#ids, this.#sequences, this.#places, this.#bytes, this.#types]) {
      out.column(column.subarray(0, count));
    }
    for (const column of [this.#expires, this.#delivered, this.#alive]) out.column(column.subarray(0, count));
    out.column(this.#tree.subarray(0, count + 1));
  }

  /** Into one that is empty. */
  read(values: ValueReader): void {
    this.#aliveCount = values.number();
    this.#ids = values.column(Float64Array);
    this.#sequences = values.column(Float64Array);
    this.#places = values.column(Float64Array);
    this.#bytes = values.column(Uint32Array);
    this.#types = values.column(Uint16Array);
    this.#expires = values.column(Uint32Array);
    this.#delivered = values.column(Uint32Array);
    this.#alive = values.column(Uint8Array);
    this.#tree = values.column(Int32Array);
    this.#count = this.#ids.length;
    if (this.#count === 0) this.#grow(FIRST_ROOM);
  }

  #append(entry: SharedEntry): void {
    if (this.#count === this.#ids.length) this.#grow(2 * this.#count);
    const index = this.#count++;
    this.#ids[index] = entry.id;
    this.#sequences[index] = entry.sequence;
    this.#places[index] = entry.place;
    this.#bytes[index] = entry.bytes;
    this.#types[index] = entry.type;
    this.#expires[index] = entry.expiresAt;
    this.#delivered[index] = entry.deliveredAt;
    this.#alive[index] = 1;
    this.#aliveCount++;
    const node = index + 1;
    let sum = 1;
    for (let i = node - 1; i > node - (node & -node); i -= i & -i) sum += this.#tree[i]!;
    this.#tree[node] = sum;
  }

  #refill(entries: readonly SharedEntry[]): void {
    this.#count = 0;
    this.#aliveCount = 0;
    this.#grow(Math.max(FIRST_ROOM, entries.length + (entries.length >> 1)));
    for (const entry of entries) this.#append(entry);
  }

  #grow(room: number): void {
    const count = this.#count;
    const larger = <T extends Float64Array | Uint32Array | Uint16Array | Uint8Array | Int32Array>(
      to: T,
      from: T,
    ): T => {
      to.set(from.subarray(0, count));
      return to;
    };
    this.#ids = larger(new Float64Array(room), this.#ids);
    this.#sequences = larger(new Float64Array(room), this.#sequences);
    this.#places = larger(new Float64Array(room), this.#places);
    this.#bytes = larger(new Uint32Array(room), this.#bytes);
    this.#types = larger(new Uint16Array(room), this.#types);
    this.#expires = larger(new Uint32Array(room), this.#expires);
    this.#delivered = larger(new Uint32Array(room), this.#delivered);
    this.#alive = larger(new Uint8Array(room), this.#alive);
    const tree = new Int32Array(room + 1);
    tree.set(this.#tree.subarray(0, count + 1));
    this.#tree = tree;
  }

  /** The first index whose sequence is above this one. */
  #firstAbove(sequence: number): number {
    let low = 0;
    let high = this.#count;
    // Mostly the end is asked for.
    if (high === 0 || this.#sequences[high - 1]! <= sequence) return high;
    while (low < high) {
      this.steps++;
      const middle = (low + high) >>> 1;
      if (this.#sequences[middle]! <= sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** How many of the first `index` entries are alive. */
  #rank(index: number): number {
    if (index === this.#count) return this.#aliveCount;
    let sum = 0;
    for (let i = index; i > 0; i -= i & -i) {
      this.steps++;
      sum += this.#tree[i]!;
    }
    return sum;
  }

  /** Index of the nth that is alive, from 1; -1: there are fewer. */
  #select(nth: number): number {
    if (nth < 1 || nth > this.#aliveCount) return -1;
    let index = 0;
    let left = nth;
    for (let step = 1 << (31 - Math.clz32(this.#count)); step > 0; step >>= 1) {
      this.steps++;
      if (index + step <= this.#count && this.#tree[index + step]! < left) {
        index += step;
        left -= this.#tree[index]!;
      }
    }
    return index;
  }
}
