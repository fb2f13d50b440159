// A cursor in motion: what one reader gets next, from the tail when it is there, else from disk.
//
// N1. Between two calls a scan holds its position and at most a look at a shared block: no file, no queue, no promise.
// N2. Whatever is between two runs either does not match the query or was told as a gap.
import type { GapRun, Run, Scan } from "./contract.ts";
import type { HistoryBlock } from "./history.ts";
import type { LogCore } from "./log-core.ts";
import type { QueryPlan } from "./query.ts";
import { nextRun } from "./block.ts";
import { IndexReplaced, type Segment } from "./segment.ts";

/** Without a release, a reader's blocks are given up one by one: their memory is left to the garbage collector. */
const BORROWED_MAX = 16;
const NONE: HistoryBlock[] = [];

/** What one step came to: a run, the head, or bytes that must be read first. */
type Step = Run | undefined | Promise<unknown>;

export class LogScan implements Scan {
  readonly #core: LogCore;
  readonly #plan: QueryPlan;
  #position: number;
  /** The block of history last read from; shared, and gone when it was evicted. */
  #block: HistoryBlock | undefined = undefined;
  /** Blocks that handed-out runs lie in, since the last release. One that has left keeps no memory. */
  #borrowed: HistoryBlock[] = NONE;
  /** The segment whose filter was last asked, and whether it lacks what is looked for. */
  #judged: { readonly segment: Segment; readonly isLacking: boolean } | undefined = undefined;
  /** The next entry when something that is looked for was found in its block; 0 when in none so far. */
  #hit = 0;
  #isClosed = false;

  constructor(core: LogCore, after: number, plan: QueryPlan) {
    this.#core = core;
    this.#plan = plan;
    this.#position = after;
  }

  get position(): number {
    return this.#position;
  }

  next(maxBytes: number): Run | Promise<Run | undefined> | undefined {
    const step = this.#step(maxBytes);
    return step instanceof Promise ? this.#wait(step, maxBytes) : step;
  }

  release(): void {
    for (const block of this.#borrowed) block.lent--;
    this.#borrowed = NONE;
  }

  close(): void {
    this.#isClosed = true;
    this.#block = undefined;
    this.#judged = undefined;
  }

  async #wait(reading: Promise<unknown>, maxBytes: number): Promise<Run | undefined> {
    let step: Step = reading;
    while (step instanceof Promise) {
      try {
        await step;
      } catch (error) {
        // Retention may have taken the segment while it was read: then the next step tells the gap.
        const isRetired = this.#position + 1 < this.#core.chain.first;
        if (!isRetired && !(error instanceof IndexReplaced)) throw error;
      }
      step = this.#step(maxBytes);
    }
    return step;
  }

  #step(maxBytes: number): Step {
    const { tail } = this.#core;
    while (!this.#isClosed && this.#position < this.#core.headSequence) {
      const next = this.#position + 1;
      const step = next >= tail.first ? this.#fromTail(next, maxBytes) : this.#fromDisk(next, maxBytes);
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** Undefined: nothing in this block matches; the position has moved behind it. */
  #fromTail(next: number, maxBytes: number): Run | undefined {
    const { tail } = this.#core;
    this.#block = undefined;
    this.#borrowed = NONE;
    const run = tail.select(next, maxBytes, this.#plan);
    if (run !== undefined) return this.#take(run);
    const block = tail.find(next);
    this.#position = block.first + block.count - 1;
    return undefined;
  }

  #fromDisk(next: number, maxBytes: number): Step {
    const { chain } = this.#core;
    const block = this.#blockAt(next);
    if (block !== undefined) return this.#fromBlock(block, next, maxBytes);
    if (next < chain.first) return this.#gap(next, chain.first - 1, "retention");
    const index = chain.indexOf(next);
    const segment = chain.all[index]!;
    if (next > segment.last) return this.#gap(next, chain.all[index + 1]!.first - 1, "corruption");
    if (segment.whole !== undefined && !segment.whole.mayMatch(0, this.#plan)) {
      this.#position = segment.last;
      return undefined;
    }
    if (this.#plan.marks !== undefined) {
      const judging = this.#judge(segment, this.#plan.marks);
      if (judging !== undefined) return judging;
      if (this.#judged!.isLacking) {
        this.#position = segment.last;
        return undefined;
      }
    }
    const table = segment.table();
    if (table instanceof Promise) return table;
    const page = table.find(next - segment.first);
    if (!table.mayMatch(page, this.#plan)) {
      this.#position = segment.first + table.firstEntry(page) + table.entries(page) - 1;
      return undefined;
    }
    const { history } = this.#core;
    const found = history.find(segment, page, next);
    if (found === undefined) {
      const isBare = this.#plan.sought !== undefined && this.#hit !== next;
      return history.load(segment, table, page, this.#plan, isBare);
    }
    history.readAhead(found, table, this.#plan, this.#core.tail.first);
    const searching = this.#seek(found, next);
    if (searching !== undefined) return searching;
    if (this.#position >= next) return undefined;
    if (found.isBare) return history.complete(found, table);
    this.#block = found;
    return undefined;
  }

  /** Passes over a block in which nothing is that is looked for; a promise: that is not known yet. */
  #seek(block: HistoryBlock, next: number): Promise<void> | undefined {
    const { sought } = this.#plan;
    if (sought === undefined || block.hasDamage || this.#hit === next) return undefined;
    const mayBe = sought.mayBeIn(block.bytes);
    if (typeof mayBe !== "boolean") return mayBe;
    if (mayBe) this.#hit = next;
    else {
      this.#core.history.finish(block);
      this.#position = block.first + block.count - 1;
    }
    return undefined;
  }

  /** Asks the segment's filter, once; undefined: `#judged` has the answer. */
  #judge(segment: Segment, marks: Uint32Array): Promise<void> | undefined {
    if (this.#judged?.segment === segment) return undefined;
    const lacks = segment.lacks(marks);
    if (typeof lacks === "boolean") {
      this.#judged = { segment, isLacking: lacks };
      return undefined;
    }
    return lacks.then((isLacking) => {
      this.#judged = { segment, isLacking };
    });
  }

  #blockAt(next: number): HistoryBlock | undefined {
    const block = this.#block;
    if (block === undefined || block.isEvicted || next < block.first || next >= block.first + block.count)
      return undefined;
    return block;
  }

  #fromBlock(block: HistoryBlock, next: number, maxBytes: number): Run | undefined {
    const run = nextRun(block, this.#plan, next - block.first, block.count, maxBytes);
    const last = block.first + block.count - 1;
    if (run !== undefined) this.#borrow(block);
    if (run === undefined || run.last === last) {
      this.#core.history.finish(block);
      this.#block = undefined;
    }
    if (run !== undefined) return this.#take(run);
    this.#position = last;
    return undefined;
  }

  #borrow(block: HistoryBlock): void {
    if (this.#borrowed.at(-1) === block) return;
    block.lent++;
    if (this.#borrowed.length === 0) this.#borrowed = [block];
    else if (this.#borrowed.push(block) > BORROWED_MAX) this.#borrowed.shift();
  }

  #take(run: Run): Run {
    this.#position = run.last;
    return run;
  }

  #gap(first: number, last: number, reason: GapRun["reason"]): Run {
    return this.#take({ kind: "gap", first, last, reason });
  }
}
