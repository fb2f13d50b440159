// The index of the open segment: complete in memory, because it grows and because a segment is bounded. When the
// segment is sealed it is written to a file once (`index-file.ts`).
import { crc32 } from "node:zlib";
import type { Batch } from "./contract.ts";
import type { LabelDictionary } from "./labels.ts";
import { Columns, asWords } from "./columns.ts";
import { LabelRows } from "./labels.ts";
import { PAGE_BYTES, PAGE_ENTRIES, PageTable } from "./page-table.ts";

export class MemoryIndex {
  readonly table = new PageTable();
  readonly rows = new LabelRows();
  readonly pages: Columns[] = [];
  readonly labels: LabelDictionary;
  #entries = 0;
  /** Bytes of frames that are indexed. */
  #bytes = 0;
  #crc = 0;

  constructor(labels: LabelDictionary) {
    this.labels = labels;
  }

  get entries(): number {
    return this.#entries;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes entries that follow what is there. */
  append(batch: Batch): void {
    const words = asWords(batch.timestamps);
    let from = 0;
    while (from < batch.count) {
      const page = this.#pageFor(batch.lengths[from]!);
      const to = this.#fit(page, batch, from);
      this.#take(page, batch, words, from, to);
      from = to;
    }
  }

  /** Entries of the pages from..to, with starts counted from the segment's first byte. */
  columns(from: number, to: number): Columns {
    const first = this.table.firstEntry(from);
    const count = this.table.firstEntry(to - 1) + this.table.entries(to - 1) - first;
    const merged = new Columns(count);
    let at = 0;
    for (let page = from; page < to; page++) {
      const columns = this.pages[page]!;
      const entries = this.table.entries(page);
      merged.timestamps.set(columns.timestamps.subarray(0, entries * 2), at * 2);
      merged.starts.set(columns.starts.subarray(0, entries + 1), at);
      merged.labels.set(columns.labels.subarray(0, entries), at);
      merged.severities.set(columns.severities.subarray(0, entries), at);
      at += entries;
    }
    return merged;
  }

  /** The number of the page that the next entry goes to: the last one, or a new one when that is full (P1). */
  #pageFor(length: number): number {
    const { table } = this;
    const last = table.count - 1;
    if (last >= 0 && table.entries(last) < PAGE_ENTRIES && this.#bytes - table.start(last) + length <= PAGE_BYTES) {
      return last;
    }
    table.open(this.#entries, this.#bytes, this.#crc);
    this.pages.push(new Columns(PAGE_ENTRIES));
    return last + 1;
  }

  /** The index in the batch behind the last entry that goes into the page, which takes one at least. */
  #fit(page: number, batch: Batch, from: number): number {
    const entriesMax = Math.min(batch.count - from, PAGE_ENTRIES - this.table.entries(page));
    let bytes = this.#bytes - this.table.start(page) + batch.lengths[from]!;
    let count = 1;
    while (count < entriesMax) {
      bytes += batch.lengths[from + count]!;
      if (bytes > PAGE_BYTES) break;
      count++;
    }
    return from + count;
  }

  #take(page: number, batch: Batch, words: Int32Array, from: number, to: number): void {
    const columns = this.pages[page]!;
    const at = this.table.entries(page);
    const byteFrom = batch.offsets[from]!;
    const byteTo = batch.offsets[to - 1]! + batch.lengths[to - 1]!;
    columns.timestamps.set(words.subarray(2 * from, 2 * to), 2 * at);
    columns.labels.set(batch.labels.subarray(from, to), at);
    columns.severities.set(batch.severities.subarray(from, to), at);
    const shift = this.#bytes - byteFrom;
    for (let i = from; i < to; i++) {
      columns.starts[at + i - from] = batch.offsets[i]! + shift;
    }
    this.#bytes += byteTo - byteFrom;
    this.#entries += to - from;
    columns.starts[at + to - from] = this.#bytes;
    this.#crc = crc32(batch.bytes.subarray(byteFrom, byteTo), this.#crc);
    this.table.extend(columns, at, at + to - from, this.#bytes, this.labels.bit);
    this.table.setCrc(page, this.#crc);
    this.rows.extend(columns, at, at + to - from);
  }
}
