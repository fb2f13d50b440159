// History as it is read from disk: blocks of about BLOCK_BYTES, shared by all readers, proven before they are served.
//
// R1. All blocks together hold at most `bytesMax`, besides those being read: a reader that stalls keeps none, it only
//     remembers its position and reads again.
// R2. A page is served only after its bytes proved themselves once in this process; what does not is served as damage.
// R3. Blocks begin and end at the same places for everybody, so that readers in company read once.
import type { Block } from "./block.ts";
import type { Columns } from "./columns.ts";
import type { FrameCodec } from "./contract.ts";
import type { PageTable } from "./page-table.ts";
import type { Read } from "./proof.ts";
import type { QueryPlan } from "./query.ts";
import type { Segment } from "./segment.ts";
import { DAMAGED } from "./columns.ts";
import { isIntact, markDamage, readProvable, takeProof } from "./proof.ts";

const BLOCK_BYTES = 512 * 1024;
/** More pages than any segment has: keys are segment number × PAGES_MAX + page. */
const PAGES_MAX = 2 ** 24;
/** Blocks that must leave well after one left too early, until reading ahead begins again. */
const PRESSURE_LASTS = 64;

export interface HistoryOptions {
  readonly bytesMax: number;
  readonly codec: FrameCodec;
  /** Entries were found damaged. */
  readonly onDamage: (first: number, last: number) => void;
}

/** A block of one segment. */
export class HistoryBlock implements Block {
  readonly segment: Segment;
  readonly first: number;
  readonly count: number;
  readonly bytes: Uint8Array;
  readonly columns: Columns;
  readonly hasDamage: boolean;
  /** The page behind the last one of this block. */
  readonly pageEnd: number;
  /** Somebody has read it to its end. */
  isFinished = false;
  /** It has left memory: whoever still holds it must ask again. */
  isEvicted = false;

  constructor(segment: Segment, place: { first: number; pageEnd: number }, { bytes, columns }: Read) {
    this.segment = segment;
    this.first = place.first;
    this.pageEnd = place.pageEnd;
    this.count = columns.capacity;
    this.bytes = bytes;
    this.columns = columns;
    this.hasDamage = columns.severities.includes(DAMAGED);
  }
}

export class History {
  readonly #options: HistoryOptions;
  /** Least recently used first. */
  readonly #blocks = new Map<number, HistoryBlock>();
  readonly #loading = new Map<number, Promise<HistoryBlock>>();
  #bytes = 0;
  /** Above 0 blocks leave before they were read to their end: then less is read at once, and nothing ahead. */
  #pressure = 0;

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  /** Bytes of frames held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The block that begins with a page and reaches up to `sequence` at least, when it is in memory. */
  find(segment: Segment, page: number, sequence: number): HistoryBlock | undefined {
    const key = keyOf(segment, page);
    const block = this.#blocks.get(key);
    if (block === undefined || sequence >= block.first + block.count) return undefined;
    this.#blocks.delete(key);
    this.#blocks.set(key, block);
    return block;
  }

  /** Reads the block that begins with a page; pages that cannot match are left out at its end. */
  load(segment: Segment, table: PageTable, page: number, plan: QueryPlan): Promise<HistoryBlock> {
    const key = keyOf(segment, page);
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      loading = this.#read(segment, table, page, this.#endOf(table, page, plan)).finally(() => {
        this.#loading.delete(key);
      });
      this.#loading.set(key, loading);
    }
    return loading;
  }

  /** Starts to read the block that a reader of `block` will need next. */
  readAhead(block: HistoryBlock, table: PageTable, plan: QueryPlan, tailFirst: number): void {
    if (this.#pressure > 0) return;
    const { segment } = block;
    let page = block.pageEnd;
    while (page < table.count && !table.mayMatch(page, plan)) page++;
    if (page >= table.count) return;
    const key = keyOf(segment, page);
    const first = segment.first + table.firstEntry(page);
    if (this.#blocks.has(key) || this.#loading.has(key) || first >= tailFirst) return;
    // Whoever needs the block asks again and hears of the failure then.
    this.load(segment, table, page, plan).catch(() => undefined);
  }

  /** Lets go of everything. */
  clear(): void {
    for (const [key, block] of this.#blocks) this.#evict(key, block);
  }

  /** The page behind the block: as many as fit up to the next multiple of BLOCK_BYTES (R3) and may match. */
  #endOf(table: PageTable, page: number, plan: QueryPlan): number {
    let end = page + 1;
    if (this.#pressure > 0) return end;
    const place = Math.floor(table.start(page) / BLOCK_BYTES);
    while (end < table.count && Math.floor(table.start(end) / BLOCK_BYTES) === place && table.mayMatch(end, plan))
      end++;
    return end;
  }

  async #read(segment: Segment, table: PageTable, from: number, to: number): Promise<HistoryBlock> {
    const proof = takeProof(segment, table, from, to);
    const [bytes, columns] = await Promise.all([readProvable(segment, proof), segment.columns(table, from, to)]);
    // So that what is readable of a larger range is found out page by page.
    if (bytes === undefined && to - from > 1) return this.#read(segment, table, from, from + 1);
    const read = { bytes: bytes ?? new Uint8Array(0), columns };
    for (let i = 0; i <= columns.capacity; i++) {
      columns.starts[i]! -= proof.start;
    }
    if (bytes === undefined || !(segment.isProven(from, to) || isIntact(segment, proof, bytes))) {
      markDamage(segment, proof, read, this.#options.codec, this.#options.onDamage);
    }
    const block = new HistoryBlock(segment, { first: proof.first, pageEnd: to }, read);
    this.#keep(keyOf(segment, from), block);
    return block;
  }

  #keep(key: number, block: HistoryBlock): void {
    const old = this.#blocks.get(key);
    if (old !== undefined) this.#evict(key, old);
    this.#blocks.set(key, block);
    this.#bytes += block.bytes.length;
    for (const [oldestKey, oldest] of this.#blocks) {
      if (this.#bytes <= this.#options.bytesMax || oldest === block) return;
      this.#pressure = oldest.isFinished ? Math.max(0, this.#pressure - 1) : PRESSURE_LASTS;
      this.#evict(oldestKey, oldest);
    }
  }

  #evict(key: number, block: HistoryBlock): void {
    block.isEvicted = true;
    this.#blocks.delete(key);
    this.#bytes -= block.bytes.length;
  }
}

function keyOf(segment: Segment, page: number): number {
  return segment.ordinal * PAGES_MAX + page;
}
