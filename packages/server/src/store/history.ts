// History as it is read from disk: blocks of about BLOCK_BYTES, shared by all readers, proven before they are served.
//
// R1. All blocks together, and the memory that is free for the next ones, take at most `bytesMax`, besides READS_MAX that
//     are being read and FREE_BYTES_MIN: a reader that stalls keeps none, it only remembers its position and reads again.
// R2. A page is served only after its bytes proved themselves once in this process; what does not is served as damage.
// R3. Blocks begin and end at the same places for everybody, so that readers in company read once.
// R4. Who looks for bytes first (`Sought`) reads blocks without their columns: those are read when there is something in it.
// R5. A block that leaves gives its memory to the next one, unless a reader has runs of it and has not released them:
//     then the memory is left to them and to the garbage collector. So one that was read to its end stays until it
//     is released, or room is needed.
import type { Block } from "./block.ts";
import type { FrameCodec } from "./contract.ts";
import type { PageTable } from "./page-table.ts";
import type { Proof } from "./proof.ts";
import type { QueryPlan } from "./query.ts";
import { BufferPools } from "./buffer-pool.ts";
import { Columns, DAMAGED } from "./columns.ts";
import { isIntact, markDamage, readProvable, takeProof } from "./proof.ts";
import { IndexReplaced, type Segment } from "./segment.ts";

const BLOCK_BYTES = 512 * 1024;
/** More pages than any segment has: keys are segment number × PAGES_MAX + page. */
const PAGES_MAX = 2 ** 24;
/** Blocks that must leave well after one left too early, until reading ahead begins again. */
const PRESSURE_LASTS = 64;
/** Blocks read to their end stay for readers close behind, and no longer: their memory serves better while it is warm. */
const FINISHED_BYTES_MAX = 4 * 1024 * 1024;
/** Read ahead of a reader: one is copied out of the page cache while the one before it is looked through. */
const AHEAD_BLOCKS = 2;
/** Blocks that are read at once: with a hundred readers, each at a place of its own, all their next ones would be. */
const READS_MAX = 32;
/**
 * Memory of blocks comes in these sizes: for a page of short, middling and long entries, which is all that is read at once
 * under pressure; for BLOCK_BYTES and a small page that goes beyond; for BLOCK_BYTES and any page.
 */
const BUFFER_SIZES = [128 * 1024, 192 * 1024, 256 * 1024, 384 * 1024, 640 * 1024, 1024 * 1024];
/** Memory that may always wait for the next blocks: those of many readers leave at a time, when a socket has taken all. */
const FREE_BYTES_MIN = 4 * 1024 * 1024;
/** Memory of columns: for a page, for BLOCK_BYTES of most entries, and of small ones. */
const COLUMN_SIZES = [20 * 1024, 64 * 1024, 192 * 1024];
const FREE_COLUMNS_BYTES_MAX = 2 * 1024 * 1024;

const NO_BYTES = Buffer.alloc(0);
const NO_COLUMNS = new Columns(0);

export interface HistoryOptions {
  readonly bytesMax: number;
  readonly codec: FrameCodec;
  /** Entries were found damaged. */
  readonly onDamage: (first: number, last: number) => void;
}

/** Pages to read as a block. */
interface Range {
  readonly from: number;
  readonly to: number;
  /** Without columns if possible. */
  readonly isBare: boolean;
}

/** A block of one segment. */
export class HistoryBlock implements Block {
  readonly segment: Segment;
  readonly key: number;
  readonly first: number;
  readonly count: number;
  bytes: Buffer;
  columns: Columns;
  /** R4. It has no columns yet. */
  isBare: boolean;
  readonly hasDamage: boolean;
  readonly page: number;
  /** The page behind the last one of this block. */
  readonly pageEnd: number;
  /** Somebody has read it to its end. */
  isFinished = false;
  /** It has left memory: whoever still holds it must ask again. */
  isEvicted = false;
  /** Readers that have runs of it and have not released them. */
  lent = 0;

  constructor(
    segment: Segment,
    place: { page: number; first: number; count: number; pageEnd: number },
    read: { bytes: Buffer; columns: Columns | undefined },
  ) {
    const { bytes, columns = NO_COLUMNS } = read;
    this.segment = segment;
    this.key = keyOf(segment, place.page);
    this.first = place.first;
    this.page = place.page;
    this.pageEnd = place.pageEnd;
    this.count = place.count;
    this.bytes = bytes;
    this.columns = columns;
    this.isBare = read.columns === undefined;
    this.hasDamage = columns.severities.includes(DAMAGED);
  }

  /** What it takes, the room behind its bytes included. */
  get memory(): number {
    return this.bytes.buffer.byteLength;
  }

  /** Keeps no memory for those who still hold it. */
  leave(): void {
    this.isEvicted = true;
    this.bytes = NO_BYTES;
    this.columns = NO_COLUMNS;
  }
}

export class History {
  readonly #options: HistoryOptions;
  /** Least recently used first. */
  readonly #blocks = new Map<number, HistoryBlock>();
  readonly #loading = new Map<number, Promise<HistoryBlock>>();
  /** Those that were read to their end, the earliest first. */
  readonly #finished = new Set<HistoryBlock>();
  readonly #buffers: BufferPools;
  /** Runs hold no columns, so that those of a block that leaves are free. */
  readonly #columns = new BufferPools(COLUMN_SIZES, { freeBytesMax: FREE_COLUMNS_BYTES_MAX });
  #reading = 0;
  readonly #waiting: (() => void)[] = [];
  #bytes = 0;
  #finishedBytes = 0;
  /** Above 0 blocks leave before they were read to their end: then less is read at once, and nothing ahead. */
  #pressure = 0;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#buffers = new BufferPools(BUFFER_SIZES, { freeBytesMax: Math.max(FREE_BYTES_MIN, options.bytesMax) });
  }

  /** Bytes of memory held now. */
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
  load(segment: Segment, table: PageTable, page: number, plan: QueryPlan, isBare = false): Promise<HistoryBlock> {
    const key = keyOf(segment, page);
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      const range = { from: page, to: this.#endOf(table, page, plan) };
      loading = this.#readInTurn(segment, table, { ...range, isBare }).finally(() => {
        this.#loading.delete(key);
      });
      this.#loading.set(key, loading);
    }
    return loading;
  }

  /** Starts to read the blocks that a reader of `block` will need next. */
  readAhead(block: HistoryBlock, table: PageTable, plan: QueryPlan, tailFirst: number): void {
    const { segment } = block;
    let page = block.pageEnd;
    for (let ahead = 0; ahead < AHEAD_BLOCKS && this.#pressure === 0; ahead++) {
      while (page < table.count && !table.mayMatch(page, plan)) page++;
      if (page >= table.count || segment.first + table.firstEntry(page) >= tailFirst) return;
      const key = keyOf(segment, page);
      if (!this.#blocks.has(key) && !this.#loading.has(key)) {
        // Whoever needs the block asks again and hears of the failure then.
        this.load(segment, table, page, plan, plan.sought !== undefined).catch(() => undefined);
      }
      page = this.#endOf(table, page, plan);
    }
  }

  /** R4. Reads the columns of a block, which may leave meanwhile: then it must be read again, with them. */
  async complete(block: HistoryBlock, table: PageTable): Promise<void> {
    try {
      const columns = await block.segment.columns(table, block.page, block.pageEnd, this.#columns);
      if (columns.capacity !== block.count) throw new IndexReplaced(block.segment.first);
      if (block.isBare && !block.isEvicted) {
        shift(columns, table.start(block.page));
        block.columns = columns;
        block.isBare = false;
      } else if (columns.memory !== undefined) this.#columns.give(columns.memory);
    } catch (error) {
      if (!block.isEvicted) this.#evict(block);
      throw error;
    }
  }

  /** A reader came to the block's end. */
  finish(block: HistoryBlock): void {
    if (block.isEvicted || block.isFinished) return;
    block.isFinished = true;
    this.#finished.add(block);
    this.#finishedBytes += block.bytes.length;
    for (const earliest of this.#finished) {
      if (this.#finishedBytes <= FINISHED_BYTES_MAX) return;
      if (earliest.lent === 0) this.#evict(earliest);
    }
  }

  /** Lets go of everything. */
  clear(): void {
    for (const block of this.#blocks.values()) this.#evict(block);
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

  /** R1. */
  async #readInTurn(segment: Segment, table: PageTable, range: Range): Promise<HistoryBlock> {
    if (this.#reading === READS_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#reading++;
    try {
      return await this.#read(segment, table, range);
    } finally {
      // Whoever waits takes this one's place.
      const next = this.#waiting.shift();
      if (next === undefined) this.#reading--;
      else next();
    }
  }

  async #read(segment: Segment, table: PageTable, { from, to, isBare }: Range): Promise<HistoryBlock> {
    const proof = takeProof(segment, table, from, to);
    const buffer = this.#buffers.take(proof.end - proof.start);
    // What is in memory is taken in this turn (P3), and damage is told from the columns.
    const canBeBare = isBare && segment.memoryIndex === undefined && !table.hasDamage(from, to);
    const [isRead, columns] = await Promise.all([
      readProvable(segment, proof, buffer),
      canBeBare ? undefined : segment.columns(table, from, to, this.#columns),
    ]);
    // So that what is readable of a larger range is found out page by page.
    if (!isRead && to - from > 1) return this.#read(segment, table, { from, to: from + 1, isBare: false });
    const isGood = isRead && (segment.isProven(from, to) || isIntact(segment, proof, buffer));
    if (!isGood && columns === undefined) return this.#read(segment, table, { from, to, isBare: false });
    const read = { bytes: isRead ? buffer : buffer.subarray(0, 0), columns };
    if (columns !== undefined) {
      shift(columns, proof.start);
      if (!isGood) markDamage(segment, proof, { ...read, columns }, this.#options.codec, this.#options.onDamage);
    }
    const place = { page: from, first: proof.first, count: entriesOf(proof), pageEnd: to };
    const block = new HistoryBlock(segment, place, read);
    this.#keep(block);
    return block;
  }

  #keep(block: HistoryBlock): void {
    const old = this.#blocks.get(block.key);
    if (old !== undefined) this.#evict(old);
    this.#blocks.set(block.key, block);
    this.#bytes += block.memory;
    this.#makeRoomBeside(block);
    this.#buffers.shrink(Math.max(FREE_BYTES_MIN, this.#options.bytesMax - this.#bytes));
  }

  /** R1. */
  #makeRoomBeside(block: HistoryBlock): void {
    for (const oldest of this.#blocks.values()) {
      if (this.#bytes <= this.#options.bytesMax || oldest === block) return;
      this.#pressure = oldest.isFinished ? Math.max(0, this.#pressure - 1) : PRESSURE_LASTS;
      this.#evict(oldest);
    }
  }

  /** R1, R5. */
  #evict(block: HistoryBlock): void {
    this.#blocks.delete(block.key);
    this.#bytes -= block.memory;
    if (this.#finished.delete(block)) this.#finishedBytes -= block.bytes.length;
    if (block.lent === 0) this.#buffers.give(block.bytes);
    if (block.columns.memory !== undefined) this.#columns.give(block.columns.memory);
    block.leave();
  }
}

function keyOf(segment: Segment, page: number): number {
  return segment.ordinal * PAGES_MAX + page;
}

/** Counts starts from a byte of the segment. */
function shift({ starts }: Columns, start: number): void {
  for (let i = 0; i < starts.length; i++) starts[i]! -= start;
}

function entriesOf({ pages }: Proof): number {
  return pages.reduce((count, { entries }) => count + entries, 0);
}
