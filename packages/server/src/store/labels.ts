// Labels (applications): their names, and what each segment holds of each.
//
// The dictionary gives a name a number for the life of the process. It is derived: every sealed index carries the names
// it uses, so the dictionary is refilled from them, and numbers in files are places in that file's own list.
import { crc32 } from "node:zlib";
import type { Columns } from "./columns.ts";
import type { LabelStatistics } from "./contract.ts";
import { LimitExceeded } from "../errors.ts";
import { DAMAGED, isBefore, toBigInt } from "./columns.ts";
import { LABEL_BITS_COUNT } from "./page-table.ts";

export class LabelDictionary {
  readonly #names: string[] = [];
  readonly #ids = new Map<string, number>();
  /** The bit of each label in a page's summary: a hash of the name, so it means the same in every process. */
  readonly #bits: number[] = [];
  readonly #countMax: number;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#names.length;
  }

  find(name: string): number | undefined {
    return this.#ids.get(name);
  }

  name(id: number): string {
    return this.#names[id] ?? "";
  }

  readonly bit = (id: number): number => this.#bits[id]!;

  /** The number of a name, a new one if need be. @throws LimitExceeded */
  intern(name: string): number {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    if (this.#names.length >= this.#countMax) {
      throw new LimitExceeded(
        `Cannot take the application "${name.slice(0, 100)}": the log already has ${this.#countMax}, the limit`,
        "applications of a log",
      );
    }
    return this.restore(name);
  }

  /** The same for a name that is on disk already: what was accepted once stays readable, whatever the limit is now. */
  restore(name: string): number {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    const id = this.#names.length;
    this.#names.push(name);
    this.#ids.set(name, id);
    this.#bits.push(crc32(name) % LABEL_BITS_COUNT);
    return id;
  }
}

/** Per label of one segment (or of several): how many entries, of how many bytes, from when to when. */
export class LabelRows {
  /** Row of a label id, plus one; 0: none. */
  #rowOf = new Uint32Array(16);
  #ids = new Uint32Array(4);
  #counts = new Float64Array(4);
  #bytes = new Float64Array(4);
  /** minLow, minHigh, maxLow, maxHigh per row. */
  #times = new Int32Array(16);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  id(row: number): number {
    return this.#ids[row]!;
  }

  has(id: number): boolean {
    return (this.#rowOf[id] ?? 0) !== 0;
  }

  /** The row of a label that has one; 0 otherwise. */
  row(id: number): number {
    return Math.max(0, (this.#rowOf[id] ?? 0) - 1);
  }

  entries(row: number): number {
    return this.#counts[row]!;
  }

  bytes(row: number): number {
    return this.#bytes[row]!;
  }

  times(row: number): Int32Array {
    return this.#times.subarray(row * 4, row * 4 + 4);
  }

  equals(other: LabelRows): boolean {
    const isSameRow = (row: number) =>
      this.id(row) === other.id(row) &&
      this.entries(row) === other.entries(row) &&
      this.bytes(row) === other.bytes(row) &&
      this.times(row).every((word, i) => word === other.times(row)[i]);
    return this.#count === other.count && Array.from({ length: this.#count }, (_, row) => row).every(isSameRow);
  }

  /** Counts entries from..to. */
  extend(columns: Columns, from: number, to: number): void {
    const { labels, starts, severities, timestamps } = columns;
    let row = -1;
    let label = -1;
    for (let i = from; i < to; i++) {
      if (severities[i] === DAMAGED) continue;
      if (labels[i] !== label) {
        label = labels[i]!;
        row = this.#rowFor(label);
      }
      this.#counts[row]!++;
      this.#bytes[row]! += starts[i + 1]! - starts[i]!;
      const low = timestamps[2 * i]!;
      const high = timestamps[2 * i + 1]!;
      this.#include(row * 4, low, high, low, high);
    }
  }

  /** Adds one row of another table. */
  addRow(id: number, entries: number, bytes: number, times: Int32Array): void {
    const row = this.#rowFor(id);
    this.#counts[row]! += entries;
    this.#bytes[row]! += bytes;
    this.#include(row * 4, times[0]!, times[1]!, times[2]!, times[3]!);
  }

  addAll(other: LabelRows): void {
    for (let row = 0; row < other.count; row++) {
      this.addRow(other.id(row), other.entries(row), other.bytes(row), other.times(row));
    }
  }

  statistics(names: LabelDictionary): LabelStatistics[] {
    return Array.from({ length: this.#count }, (_, row) => {
      const times = this.times(row);
      return {
        name: names.name(this.id(row)),
        count: this.entries(row),
        bytes: this.bytes(row),
        firstTimestamp: toBigInt(times[0]!, times[1]!),
        lastTimestamp: toBigInt(times[2]!, times[3]!),
      };
    });
  }

  /** Widens the time from first to last of the row whose times are at `at`. */
  #include(at: number, minLow: number, minHigh: number, maxLow: number, maxHigh: number): void {
    const times = this.#times;
    if (isBefore(minLow, minHigh, times[at]!, times[at + 1]!)) {
      times[at] = minLow;
      times[at + 1] = minHigh;
    }
    if (isBefore(times[at + 2]!, times[at + 3]!, maxLow, maxHigh)) {
      times[at + 2] = maxLow;
      times[at + 3] = maxHigh;
    }
  }

  #rowFor(id: number): number {
    const row = (this.#rowOf[id] ?? 0) - 1;
    return row < 0 ? this.#open(id) : row;
  }

  #open(id: number): number {
    const row = this.#count++;
    if (id >= this.#rowOf.length) {
      const grown = new Uint32Array(Math.max(this.#rowOf.length * 2, id + 1));
      grown.set(this.#rowOf);
      this.#rowOf = grown;
    }
    if (row >= this.#ids.length) this.#grow();
    this.#rowOf[id] = row + 1;
    this.#ids[row] = id;
    this.#times.set([-1, 0x7fff_ffff, 0, -0x8000_0000], row * 4);
    return row;
  }

  #grow(): void {
    const size = this.#ids.length * 2;
    const ids = new Uint32Array(size);
    ids.set(this.#ids);
    this.#ids = ids;
    const counts = new Float64Array(size);
    counts.set(this.#counts);
    this.#counts = counts;
    const bytes = new Float64Array(size);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    const times = new Int32Array(size * 4);
    times.set(this.#times);
    this.#times = times;
  }
}
