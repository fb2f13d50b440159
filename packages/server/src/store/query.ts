// A ScanQuery made ready for loops: numbers instead of bigints, and the bits that a page's summary is tested with.
import type { ScanQuery, Sought } from "./contract.ts";
import type { LabelDictionary } from "./labels.ts";
import type { SummaryTest } from "./page-table.ts";
import { DAMAGED, isBefore, toWords } from "./columns.ts";
import type { Columns } from "./columns.ts";
import { LABEL_BITS_COUNT } from "./page-table.ts";

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

export class QueryPlan implements SummaryTest {
  /** True when every entry matches. */
  readonly isOpen: boolean;
  /** Segments that lack one of them are skipped; undefined: none is. */
  readonly marks: Uint32Array | undefined;
  /** Blocks in which it is not are passed over. */
  readonly sought: Sought | undefined;
  readonly minSeverity: number;
  readonly hasTime: boolean;
  readonly startLow: number;
  readonly startHigh: number;
  readonly endLow: number;
  readonly endHigh: number;
  readonly #labels: ReadonlySet<number> | undefined;
  readonly #dictionary: LabelDictionary;
  #bits: Uint32Array | undefined;
  #key: string | undefined;
  #keySize = 0;
  /** How many labels `#bits` was made of: the set may grow while it is followed. */
  #bitsSize = -1;

  constructor(query: ScanQuery | undefined, dictionary: LabelDictionary) {
    const start = toWords(query?.startTimestamp ?? INT64_MIN);
    const end = toWords(query?.endTimestamp ?? INT64_MAX);
    this.minSeverity = query?.minSeverity ?? 0;
    this.hasTime = query?.startTimestamp !== undefined || query?.endTimestamp !== undefined;
    this.startLow = start.low;
    this.startHigh = start.high;
    this.endLow = end.low;
    this.endHigh = end.high;
    this.#labels = query?.labels;
    this.#dictionary = dictionary;
    this.marks = query?.marks === undefined || query.marks.length === 0 ? undefined : query.marks;
    this.sought = query?.sought;
    this.isOpen = this.minSeverity === 0 && !this.hasTime && this.#labels === undefined;
  }

  /** Whether entry i is asked for. A damaged one never is: the caller tells of it (K2). */
  matches(columns: Columns, i: number): boolean {
    const severity = columns.severities[i]!;
    if (severity < this.minSeverity || severity === DAMAGED) return false;
    if (this.#labels !== undefined && !this.#labels.has(columns.labels[i]!)) return false;
    if (!this.hasTime) return true;
    const low = columns.timestamps[2 * i]!;
    const high = columns.timestamps[2 * i + 1]!;
    return !isBefore(low, high, this.startLow, this.startHigh) && isBefore(low, high, this.endLow, this.endHigh);
  }

  /** Whether entries of a label are asked for. */
  hasLabel(id: number): boolean {
    return this.#labels === undefined || this.#labels.has(id);
  }

  /** The same text for queries that ask for the same now. */
  get key(): string {
    const labels = this.#labels;
    if (this.#key === undefined || (labels !== undefined && labels.size !== this.#keySize)) {
      const { minSeverity, startLow, startHigh, endLow, endHigh } = this;
      this.#keySize = labels?.size ?? 0;
      const ids = labels === undefined ? "all" : [...labels].sort((a, b) => a - b).join();
      this.#key = [minSeverity, startLow, startHigh, endLow, endHigh, ids].join("/");
    }
    return this.#key;
  }

  labelBits(): Uint32Array | undefined {
    const labels = this.#labels;
    if (labels === undefined || labels.size === this.#bitsSize) return this.#bits;
    const bits = new Uint32Array(LABEL_BITS_COUNT / 32);
    for (const id of labels) {
      const bit = this.#dictionary.bit(id);
      bits[bit >>> 5]! |= 1 << (bit & 31);
    }
    this.#bits = bits;
    this.#bitsSize = labels.size;
    return bits;
  }
}
