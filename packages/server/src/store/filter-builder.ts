// Makes the filters of sealed segments (segment-filter.ts) in the background: of those that have none, or one that was
// lost or damaged, the newest segment first.
//
// FB1. A filter is made only of pages that prove themselves: of bytes that are not what was written it would deny what was.
// FB2. Nothing waits for a filter. Until there is one, the segment is read.
// FB3. The marks are gathered elsewhere than on the thread that serves (FilterMaker), one segment at a time, and between
//      two segments the builder rests as long as `bytesPerSecond` asks for.
import type { SegmentChain } from "./chain.ts";
import type { Clock, Timer } from "./contract.ts";
import type { Incidents } from "./events.ts";
import type { FilePool } from "./file-pool.ts";
import type { FileSystem } from "./file-system.ts";
import type { Segment } from "./segment.ts";
import { isIntact, readProvable, takeProof } from "./proof.ts";
import { writeFilterFile } from "./segment-filter.ts";

/** Frames that are read and handed over at a time, unless a page has more. */
const PIECE_BYTES = 1024 * 1024;

/** Gathers marks, on a thread of its own. */
export interface FilterMaker {
  /**
   * The blocks of a filter of a segment with so many bytes of frames, given as whole frames in order. Takes the memory of
   * each piece. Rejects with what `pieces` throws.
   */
  make(frameBytes: number, pieces: AsyncIterable<Uint8Array<ArrayBuffer>>): Promise<Uint8Array>;
}

export interface FilterBuilderOptions {
  readonly bytesPerSecond: number;
  /** Between two looks for segments without a filter, when there was none. */
  readonly tickMs: number;
}

export class FilterBuilder {
  readonly #parts: FilterBuilderParts;
  /** Those that could not be done: tried again when the log is opened again. */
  readonly #failed = new WeakSet<Segment>();
  #timer: Timer | undefined;
  #working: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(parts: FilterBuilderParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#wake(this.#parts.options.tickMs);
  }

  /** Stops; resolves when nothing is being made any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#working;
  }

  #wake(ms: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#parts.clock.setTimer(() => {
      this.#working = this.#step();
    }, ms);
  }

  async #step(): Promise<void> {
    const { options, clock } = this.#parts;
    const startMs = clock.monotonicMs();
    const segment = await this.#findNext();
    if (segment === undefined) {
      this.#wake(options.tickMs);
      return;
    }
    try {
      await this.#make(segment);
    } catch (error) {
      this.#passOver(segment, error);
    }
    const spentMs = clock.monotonicMs() - startMs;
    this.#wake(Math.max(0, Math.ceil((segment.bytes * 1000) / options.bytesPerSecond - spentMs)));
  }

  /** The newest sealed segment that has its index in a file, and no filter. */
  async #findNext(): Promise<Segment | undefined> {
    for (const segment of this.#parts.chain.all.toReversed()) {
      if (this.#isClosed) return undefined;
      if (segment.sealedAtNs === undefined || segment.indexId === undefined || this.#failed.has(segment)) continue;
      try {
        if (!(await segment.hasFilter())) return segment;
      } catch (error) {
        this.#passOver(segment, error);
      }
    }
    return undefined;
  }

  async #make(segment: Segment): Promise<void> {
    const { fileSystem, pool, maker } = this.#parts;
    const { indexId, marksPath } = segment;
    if (indexId === undefined) return;
    const blocks = await maker.make(segment.bytes, this.#pieces(segment));
    if (this.#isClosed || !this.#parts.chain.all.includes(segment)) return;
    await writeFilterFile(fileSystem, marksPath, { blocks, indexId });
    pool.forget(marksPath);
    segment.noteFilter();
  }

  /** FB1. The frames of a segment, page by page proven. */
  async *#pieces(segment: Segment): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const table = await segment.table();
    let page = 0;
    while (page < table.count) {
      let end = page + 1;
      while (end < table.count && table.end(end) - table.start(page) <= PIECE_BYTES) end++;
      const proof = takeProof(segment, table, page, end);
      // Neither zeroed nor of Node's shared slab: it is handed over whole.
      const bytes = Buffer.allocUnsafeSlow(proof.end - proof.start);
      const isRead = await readProvable(segment, proof, bytes);
      if (this.#isClosed) throw new NotNow("the log is being closed");
      if (!isRead || !isIntact(segment, proof, bytes)) throw new NotNow(`it is damaged at byte ${proof.start}`);
      yield bytes;
      page = end;
    }
  }

  /** What retention took meanwhile, and what ended with the log, is no fault. */
  #passOver(segment: Segment, error: unknown): void {
    this.#failed.add(segment);
    if (this.#isClosed || !this.#parts.chain.all.includes(segment)) return;
    const why = error instanceof Error ? error.message : String(error);
    this.#parts.incidents.fault(`cannot make the filter of segment ${segment.first}: ${why}`);
  }
}

export interface FilterBuilderParts {
  readonly chain: SegmentChain;
  readonly clock: Clock;
  readonly fileSystem: FileSystem;
  readonly pool: FilePool;
  readonly incidents: Incidents;
  readonly maker: FilterMaker;
  readonly options: FilterBuilderOptions;
}

/** Why no filter is made of a segment. */
class NotNow extends Error {}
