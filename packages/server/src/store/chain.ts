// The segments of a log, oldest first. Only the last one is open. Readers find their place here.
//
// H1. Segments are sorted by first sequence and do not overlap. A hole between two is a lost segment, told as damage.
import type { Segment } from "./segment.ts";

/** Page tables of sealed segments kept in memory: about 30 KB each. */
const TABLES_MAX = 256;

export class SegmentChain {
  readonly #segments: Segment[] = [];
  /** Segments whose page table is loaded, least recently loaded first. */
  readonly #withTable = new Set<Segment>();

  get all(): readonly Segment[] {
    return this.#segments;
  }

  get open(): Segment {
    return this.#segments.at(-1)!;
  }

  /** The oldest sequence still there. */
  get first(): number {
    return this.#segments[0]!.first;
  }

  /** Of frames. */
  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** Of frames, as they are stored, and of indexes. */
  get diskBytes(): number {
    return this.#segments.reduce(
      (sum, segment) => sum + segment.storedBytes + segment.indexBytes + segment.filterBytes,
      0,
    );
  }

  add(segment: Segment): void {
    this.#segments.push(segment);
  }

  /** Takes the oldest segment away; there must be a later one. */
  dropFirst(): Segment {
    const dropped = this.#segments.shift()!;
    this.#withTable.delete(dropped);
    return dropped;
  }

  /** The last segment that begins at or before a sequence, which must not be before `first`. */
  find(sequence: number): Segment {
    return this.#segments[this.indexOf(sequence)]!;
  }

  indexOf(sequence: number): number {
    let low = 0;
    let high = this.#segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#segments[middle]!.first <= sequence) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Remembers that a segment's table was loaded; lets another's go when there are too many. */
  noteTable(segment: Segment): void {
    this.#withTable.add(segment);
    if (this.#withTable.size <= TABLES_MAX) return;
    const [oldest] = this.#withTable;
    this.#withTable.delete(oldest!);
    oldest!.dropTable();
  }
}
