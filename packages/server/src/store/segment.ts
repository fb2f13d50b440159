// One segment: a file of frames, plain or compressed, and its index. The last one of a log is open and grows; all others are sealed.
//
// S1. A frames file holds nothing but whole frames, one after the other: any range between two starts can be sent.
// S2. What the segment says (entries, bytes, index) covers durable entries only.
// S3. An index that does not prove itself is rebuilt from the frames before anything is read through it.
import type { BufferPools } from "./buffer-pool.ts";
import type { Columns } from "./columns.ts";
import type { FramesPlace } from "./frames-place.ts";
import type { FilePool } from "./file-pool.ts";
import type { FileIndex } from "./index-file.ts";
import type { LabelRows } from "./labels.ts";
import type { MemoryIndex } from "./memory-index.ts";
import type { PageTable } from "./page-table.ts";
import { IndexDamaged, PAGE_INDEX_BYTES } from "./index-file.ts";
import { FilterDamaged, SegmentFilter } from "./segment-filter.ts";

const NAME_DIGITS = 20;
export const FRAMES_SUFFIX = ".frames";
/** A compressed segment: what it holds is what the file of frames held (`group-table.ts`). */
export const COMPRESSED_SUFFIX = ".frames.zst";
export const INDEX_SUFFIX = ".index";
export const MARKS_SUFFIX = ".marks";

/** The file name of a segment: its first sequence, so that names sort as sequences do. */
export function segmentFile(folder: string, first: number, suffix: string): string {
  return `${folder}/${sequenceName(first)}${suffix}`;
}

/** A sequence as it begins a file name. */
export function sequenceName(sequence: number): string {
  return String(sequence).padStart(NAME_DIGITS, "0");
}

/** The sequence in a file name that ends with `suffix`; undefined for other files. */
export function parseSegmentFile(name: string, suffix: string): number | undefined {
  if (!name.endsWith(suffix) || name.length !== NAME_DIGITS + suffix.length) return undefined;
  const digits = name.slice(0, NAME_DIGITS);
  const first = Number(digits);
  return /^\d+$/.test(digits) && Number.isSafeInteger(first) && first > 0 ? first : undefined;
}

/** Where the index is: complete in memory (open, or not written yet), or in its file. */
type IndexState =
  | { readonly kind: "memory"; readonly index: MemoryIndex }
  | { readonly kind: "file"; readonly index: FileIndex; table: PageTable | undefined };

/** The table that was used is no more: take the segment's table again. */
export class IndexReplaced extends Error {
  override readonly name = "IndexReplaced";
  constructor(first: number) {
    super(`The index of segment ${first} was built anew`);
  }
}

/** What a segment needs of its surroundings. */
export interface SegmentHost {
  readonly pool: FilePool;
  nextOrdinal(): number;
  /** Builds the index anew from the frames, and attaches it. */
  rebuild(segment: Segment): Promise<void>;
  /** A table was loaded: the host may tell other segments to drop theirs. */
  onTableLoaded(segment: Segment): void;
}

/** 0: not looked at yet. */
const PROVEN = 1;
const DAMAGED_PAGE = 2;

export class Segment {
  /** Different for each segment of the process. */
  readonly ordinal: number;
  readonly first: number;
  readonly indexPath: string;
  readonly marksPath: string;
  /** Unix ns; undefined while it is open. */
  sealedAtNs: bigint | undefined;
  readonly #host: SegmentHost;
  #state: IndexState;
  #frames: FramesPlace;
  /** What is known of each page's bytes on disk, in this process. */
  #proofs = new Uint8Array(0);
  #rebuilding: Promise<void> | undefined;
  /** "unknown": nobody has looked for it yet. */
  #filter: SegmentFilter | "unknown" | "none" = "unknown";

  constructor(
    host: SegmentHost,
    parts: { folder: string; first: number; index: MemoryIndex | FileIndex; frames: FramesPlace },
  ) {
    const { folder, first, index } = parts;
    this.#host = host;
    this.ordinal = host.nextOrdinal();
    this.first = first;
    this.#frames = parts.frames;
    this.indexPath = segmentFile(folder, first, INDEX_SUFFIX);
    this.marksPath = segmentFile(folder, first, MARKS_SUFFIX);
    this.#state = "pages" in index ? { kind: "memory", index } : { kind: "file", index, table: undefined };
    this.sealedAtNs = "pages" in index ? undefined : index.facts.sealedAtNs;
  }

  get entries(): number {
    return this.#state.kind === "memory" ? this.#state.index.entries : this.#state.index.facts.entries;
  }

  /** Sequence of the last entry; first - 1 when there is none. */
  get last(): number {
    return this.first + this.entries - 1;
  }

  get bytes(): number {
    return this.#state.kind === "memory" ? this.#state.index.bytes : this.#state.index.facts.bytes;
  }

  /** Where its frames are, and how. */
  get frames(): FramesPlace {
    return this.#frames;
  }

  /** What the frames take on disk. */
  get storedBytes(): number {
    return this.#frames.storedBytes ?? this.bytes;
  }

  /** Of the index, as it is or will be stored. */
  get indexBytes(): number {
    const pages = this.#state.kind === "memory" ? this.#state.index.table.count : this.#state.index.pageCount;
    return pages * PAGE_INDEX_BYTES;
  }

  get rows(): LabelRows {
    return this.#state.index.rows;
  }

  /** One row that sums up all pages; undefined while the index is in memory. */
  get whole(): PageTable | undefined {
    return this.#state.kind === "file" ? this.#state.index.whole : undefined;
  }

  /** The index while it is in memory. */
  get memoryIndex(): MemoryIndex | undefined {
    return this.#state.kind === "memory" ? this.#state.index : undefined;
  }

  attachMemory(index: MemoryIndex): void {
    this.#filter = "none";
    this.#state = { kind: "memory", index };
  }

  attachFile(index: FileIndex): void {
    this.#filter = "unknown";
    this.#state = { kind: "file", index, table: undefined };
  }

  /** Which index a filter must be of (F2); undefined while the index is in memory: it has no filter then. */
  get indexId(): number | undefined {
    return this.#state.kind === "file" ? this.#state.index.pagesCrc : undefined;
  }

  /** Whether it has a filter; looks for it when nobody did. */
  async hasFilter(): Promise<boolean> {
    return (await this.#findFilter()) !== undefined;
  }

  /** Of the filter; 0 while nobody has looked for it. */
  get filterBytes(): number {
    return typeof this.#filter === "string" ? 0 : this.#filter.bytes;
  }

  /** There is a filter now: looked for with the next question. */
  noteFilter(): void {
    this.#host.pool.forget(this.marksPath);
    this.#filter = "unknown";
  }

  /** Whether no entry has all of these marks for certain; false when nobody can tell. */
  lacks(marks: Uint32Array): boolean | Promise<boolean> {
    return this.#state.kind === "memory" || this.#filter === "none" ? false : this.#askFilter(marks);
  }

  async #askFilter(marks: Uint32Array): Promise<boolean> {
    const filter = await this.#findFilter();
    if (filter === undefined) return false;
    try {
      return await filter.lacks(marks);
    } catch (error) {
      if (!(error instanceof FilterDamaged)) throw error;
      this.#filter = "none";
      return false;
    }
  }

  async #findFilter(): Promise<SegmentFilter | undefined> {
    const { indexId } = this;
    if (indexId === undefined || this.#filter === "none") return undefined;
    if (this.#filter !== "unknown") return this.#filter;
    const found = await SegmentFilter.find(this.#host.pool, this.marksPath, indexId);
    // Another index may have come meanwhile.
    if (indexId === this.indexId) this.#filter = found ?? "none";
    return found;
  }

  /** Reads the same frames from another file from now on. What was proven of the old one says nothing of it. */
  attachFrames(frames: FramesPlace): void {
    this.#frames = frames;
    this.#proofs = new Uint8Array(0);
  }

  table(): PageTable | Promise<PageTable> {
    if (this.#state.kind === "memory") return this.#state.index.table;
    return this.#state.table ?? this.#loadTable();
  }

  /** Lets the page table go; it is read again when it is needed. */
  dropTable(): void {
    if (this.#state.kind === "file") this.#state.table = undefined;
    this.#frames.forgetTable();
  }

  /**
   * Entries of the pages from..to of `table`, with starts counted from the segment's first byte. In memory they are
   * taken in this turn, so that they agree with what the table says now (P3). From a file they come in memory of the
   * pool, which the caller may give back to it (`Columns.memory`). @throws IndexReplaced
   */
  columns(table: PageTable, from: number, to: number, memory?: BufferPools): Columns | Promise<Columns> {
    const state = this.#state;
    if (state.kind === "memory") return state.index.columns(from, to);
    return this.#loadColumns(() => state.index.readColumns(table, from, to, memory));
  }

  /**
   * Fills the buffer with frames from byte `start` on. Of what cannot be decompressed it gives zeros; then every page must
   * be proven again. @throws what the file system says, UnexpectedEnd
   */
  async readFrames(buffer: Uint8Array, start: number): Promise<void> {
    const frames = this.#frames;
    try {
      if (!(await frames.fill(buffer, start))) this.#proofs = new Uint8Array(0);
    } catch (error) {
      // The file may have gone because another has taken its place.
      if (frames === this.#frames) throw error;
      await this.readFrames(buffer, start);
    }
  }

  /** True when no page of from..to must be proven before it is served. */
  isProven(from: number, to: number): boolean {
    for (let page = from; page < to; page++) {
      if (this.#proofs[page] !== PROVEN) return false;
    }
    return true;
  }

  /** Remembers the outcome of a verification. A page that still grows is never remembered (P3). */
  setProof(page: number, isIntact: boolean): void {
    const state = this.#state;
    const isLast = state.kind === "memory" && page === state.index.table.count - 1;
    if (isLast && this.sealedAtNs === undefined) return;
    if (page >= this.#proofs.length) {
      const grown = new Uint8Array(Math.max(page + 1, this.#proofs.length * 2));
      grown.set(this.#proofs);
      this.#proofs = grown;
    }
    this.#proofs[page] = isIntact ? PROVEN : DAMAGED_PAGE;
  }

  async #loadTable(): Promise<PageTable> {
    const state = this.#state;
    if (state.kind === "memory") return state.index.table;
    try {
      state.table ??= await state.index.readTable();
    } catch (error) {
      await this.#repair(error);
      return this.table();
    }
    this.#host.onTableLoaded(this);
    return state.table;
  }

  async #loadColumns(read: () => Promise<Columns>): Promise<Columns> {
    try {
      return await read();
    } catch (error) {
      await this.#repair(error);
      throw new IndexReplaced(this.first);
    }
  }

  /** S3. Once for all who need it at the same time. */
  async #repair(cause: unknown): Promise<void> {
    if (!(cause instanceof IndexDamaged)) throw cause;
    this.#rebuilding ??= this.#host.rebuild(this).finally(() => {
      this.#rebuilding = undefined;
    });
    await this.#rebuilding;
  }
}
