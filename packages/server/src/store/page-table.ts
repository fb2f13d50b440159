// The pages of a segment: consecutive entries that are read, skipped and verified together. One row each.
//
// P1. A page holds at most PAGE_ENTRIES entries and, unless it is a single one, at most PAGE_BYTES of frames: so what
//     must be read and verified to serve one entry is bounded.
// P2. `crc` runs: it is the CRC-32 of all frames from the segment's first byte to the page's end. So one native call
//     over any range of pages, started with the value before it, must give the value at its end.
// P3. The last row of the table of an open segment still grows; all others are final.
import type { Columns } from "./columns.ts";
import { DAMAGED, isBefore } from "./columns.ts";

export const PAGE_ENTRIES = 1024;
export const PAGE_BYTES = 512 * 1024;

/** Words of a row. */
export const ROW_WORDS = 20;
export const ROW_BYTES = ROW_WORDS * 4;

const FIRST_ENTRY = 0;
const COUNT = 1;
const START = 2;
const END = 3;
const CRC = 4;
const SEVERITY_MASK = 5;
const MIN_LOW = 6;
const MIN_HIGH = 7;
const MAX_LOW = 8;
const MAX_HIGH = 9;
const LABEL_BITS = 10;
const LABEL_BITS_WORDS = 8;
const COLUMNS_CRC = 18;

/** Bit of the severity mask that says: damaged entries are here, so the page must not be skipped in silence. */
const DAMAGED_BIT = 31;

/** Number of bits of the label summary: a label sets the bit of its name's hash. */
export const LABEL_BITS_COUNT = LABEL_BITS_WORDS * 32;

export class PageTable {
  #words: Uint32Array;
  #count: number;

  constructor(words: Uint32Array = new Uint32Array(16 * ROW_WORDS), count = 0) {
    this.#words = words;
    this.#count = count;
  }

  get count(): number {
    return this.#count;
  }

  /** The rows as they are stored. */
  get words(): Uint32Array {
    return this.#words.subarray(0, this.#count * ROW_WORDS);
  }

  /** The same pages, whatever is known of their columns' bytes on disk. */
  equals(other: PageTable): boolean {
    const mine = this.words;
    const theirs = other.words;
    return (
      mine.length === theirs.length && mine.every((word, i) => word === theirs[i] || i % ROW_WORDS === COLUMNS_CRC)
    );
  }

  /** Index within the segment of the page's first entry. */
  firstEntry(page: number): number {
    return this.#words[page * ROW_WORDS + FIRST_ENTRY]!;
  }

  entries(page: number): number {
    return this.#words[page * ROW_WORDS + COUNT]!;
  }

  /** Where the page's frames begin and end in the segment's file. */
  start(page: number): number {
    return this.#words[page * ROW_WORDS + START]!;
  }

  end(page: number): number {
    return this.#words[page * ROW_WORDS + END]!;
  }

  crc(page: number): number {
    return this.#words[page * ROW_WORDS + CRC]!;
  }

  /** The running CRC just before the page. */
  crcBefore(page: number): number {
    return page === 0 ? 0 : this.crc(page - 1);
  }

  setCrc(page: number, crc: number): void {
    this.#words[page * ROW_WORDS + CRC] = crc;
  }

  columnsCrc(page: number): number {
    return this.#words[page * ROW_WORDS + COLUMNS_CRC]!;
  }

  setColumnsCrc(page: number, crc: number): void {
    this.#words[page * ROW_WORDS + COLUMNS_CRC] = crc;
  }

  severityMask(page: number): number {
    return this.#words[page * ROW_WORDS + SEVERITY_MASK]!;
  }

  /** Whether damaged entries are in the pages from..to. */
  hasDamage(from: number, to: number): boolean {
    for (let page = from; page < to; page++) {
      if (this.severityMask(page) >>> DAMAGED_BIT === 1) return true;
    }
    return false;
  }

  /** The page that holds an entry, by the entry's index within the segment. */
  find(entry: number): number {
    let low = 0;
    let high = this.#count - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.firstEntry(middle) <= entry) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Adds an empty page behind the last one. */
  open(firstEntry: number, start: number, crc: number): void {
    const at = this.#count * ROW_WORDS;
    if (at + ROW_WORDS > this.#words.length) {
      const grown = new Uint32Array(this.#words.length * 2);
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words.fill(0, at, at + ROW_WORDS);
    this.#words[at + FIRST_ENTRY] = firstEntry;
    this.#words[at + START] = start;
    this.#words[at + END] = start;
    this.#words[at + CRC] = crc;
    this.#words[at + MIN_LOW] = 0xffff_ffff;
    this.#words[at + MIN_HIGH] = 0x7fff_ffff;
    this.#words[at + MAX_HIGH] = 0x8000_0000;
    this.#count++;
  }

  /** Takes entries from..to of `columns`, which end at `end`, into the summary of the last page. */
  extend(columns: Columns, from: number, to: number, end: number, labelBit: (id: number) => number): void {
    const words = this.#words;
    const at = (this.#count - 1) * ROW_WORDS;
    const { timestamps, severities, labels } = columns;
    let mask = words[at + SEVERITY_MASK]!;
    let minLow = words[at + MIN_LOW]!;
    let minHigh = words[at + MIN_HIGH]! | 0;
    let maxLow = words[at + MAX_LOW]!;
    let maxHigh = words[at + MAX_HIGH]! | 0;
    let lastLabel = -1;
    for (let i = from; i < to; i++) {
      const severity = severities[i]!;
      if (severity === DAMAGED) {
        mask |= 1 << DAMAGED_BIT;
        continue;
      }
      mask |= 1 << severity;
      const low = timestamps[2 * i]!;
      const high = timestamps[2 * i + 1]!;
      if (isBefore(low, high, minLow, minHigh)) {
        minLow = low;
        minHigh = high;
      }
      if (isBefore(maxLow, maxHigh, low, high)) {
        maxLow = low;
        maxHigh = high;
      }
      const label = labels[i]!;
      if (label !== lastLabel) {
        lastLabel = label;
        const bit = labelBit(label);
        words[at + LABEL_BITS + (bit >>> 5)]! |= 1 << (bit & 31);
      }
    }
    words[at + SEVERITY_MASK] = mask;
    words[at + MIN_LOW] = minLow;
    words[at + MIN_HIGH] = minHigh;
    words[at + MAX_LOW] = maxLow;
    words[at + MAX_HIGH] = maxHigh;
    words[at + COUNT]! += to - from;
    words[at + END] = end;
  }

  /** Takes the summary of another table's row into row `page`: a row for the whole segment is made of its pages. */
  mergeSummary(page: number, other: PageTable, row: number): void {
    const words = this.#words;
    const at = page * ROW_WORDS;
    const from = row * ROW_WORDS;
    const theirs = other.#words;
    words[at + SEVERITY_MASK]! |= theirs[from + SEVERITY_MASK]!;
    for (let i = LABEL_BITS; i < LABEL_BITS + LABEL_BITS_WORDS; i++) {
      words[at + i]! |= theirs[from + i]!;
    }
    if (
      isBefore(theirs[from + MIN_LOW]!, theirs[from + MIN_HIGH]! | 0, words[at + MIN_LOW]!, words[at + MIN_HIGH]! | 0)
    ) {
      words[at + MIN_LOW] = theirs[from + MIN_LOW]!;
      words[at + MIN_HIGH] = theirs[from + MIN_HIGH]!;
    }
    if (
      isBefore(words[at + MAX_LOW]!, words[at + MAX_HIGH]! | 0, theirs[from + MAX_LOW]!, theirs[from + MAX_HIGH]! | 0)
    ) {
      words[at + MAX_LOW] = theirs[from + MAX_LOW]!;
      words[at + MAX_HIGH] = theirs[from + MAX_HIGH]!;
    }
  }

  /** False when nothing in the page can match. `plan` says what is asked for. */
  mayMatch(page: number, plan: SummaryTest): boolean {
    const words = this.#words;
    const at = page * ROW_WORDS;
    const mask = words[at + SEVERITY_MASK]!;
    if (mask >>> DAMAGED_BIT === 1) return true;
    if (mask >>> plan.minSeverity === 0) return false;
    if (plan.hasTime) {
      const maxHigh = words[at + MAX_HIGH]! | 0;
      const minHigh = words[at + MIN_HIGH]! | 0;
      if (isBefore(words[at + MAX_LOW]!, maxHigh, plan.startLow, plan.startHigh)) return false;
      if (!isBefore(words[at + MIN_LOW]!, minHigh, plan.endLow, plan.endHigh)) return false;
    }
    const bits = plan.labelBits();
    if (bits === undefined) return true;
    for (let i = 0; i < LABEL_BITS_WORDS; i++) {
      if ((words[at + LABEL_BITS + i]! & bits[i]!) !== 0) return true;
    }
    return false;
  }
}

/** The part of a query that a summary can answer. */
export interface SummaryTest {
  readonly minSeverity: number;
  readonly hasTime: boolean;
  readonly startLow: number;
  readonly startHigh: number;
  readonly endLow: number;
  readonly endHigh: number;
  /** Bits of the labels asked for; undefined: all. */
  labelBits(): Uint32Array | undefined;
}
