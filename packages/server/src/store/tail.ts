// The newest durable entries in memory, shared by all who follow the log.
//
// T1. A follower at the head costs nothing per entry but its call: runs are made once per position and handed to all.
// T2. Bounded: the oldest block goes when the others alone hold `bytesMax`. Whoever still needs it reads the file.
// T3. Entries are copied into blocks of the tail's own, so that a small batch does not keep a large request alive.
import type { Batch, EntryRun } from "./contract.ts";
import type { Block } from "./block.ts";
import { Columns, asWords } from "./columns.ts";
import { allMatch, cut, fit, nextRun } from "./block.ts";
import type { QueryPlan } from "./query.ts";

const BLOCK_BYTES = 256 * 1024;
const BLOCK_ENTRIES = 2048;
/** Runs remembered since the last commit: followers sit at few different positions. */
const CACHED_RUNS_MAX = 64;

class TailBlock implements Block {
  readonly first: number;
  readonly bytes: Uint8Array;
  readonly columns = new Columns(BLOCK_ENTRIES);
  readonly hasDamage = false;
  count = 0;

  constructor(first: number, byteCount: number) {
    this.first = first;
    // Not zeroed: every byte handed out was copied in before (B1).
    this.bytes = Buffer.allocUnsafeSlow(byteCount);
  }

  get used(): number {
    return this.columns.starts[this.count]!;
  }
}

interface CachedRun {
  readonly run: EntryRun;
  /** What the run was limited to when it was cut. */
  readonly maxBytes: number;
}

export class Tail {
  readonly #bytesMax: number;
  readonly #blocks: TailBlock[] = [];
  readonly #runs = new Map<number, CachedRun>();
  /** What is left of runs by queries. Cleared with `#runs`. */
  readonly #selected = new Map<string, EntryRun | "nothing">();
  #bytes = 0;
  #next: number;

  /** @param next Sequence of the first entry that will come. */
  constructor(next: number, options: { bytesMax: number }) {
    this.#next = next;
    this.#bytesMax = options.bytesMax;
  }

  /** Sequence of the oldest entry still here; that of the next one when it is empty. */
  get first(): number {
    return this.#blocks[0]?.first ?? this.#next;
  }

  /** The block that holds a sequence, which must be in first..head. */
  find(sequence: number): Block {
    const blocks = this.#blocks;
    let index = blocks.length - 1;
    while (blocks[index]!.first > sequence) index--;
    return blocks[index]!;
  }

  /** Everything from `sequence` on, up to `maxBytes` or the end of its block: the same object for everybody (T1). */
  run(sequence: number, maxBytes: number): EntryRun {
    const cached = this.#runs.get(sequence);
    if (cached !== undefined && (cached.maxBytes === maxBytes || cached.run.bytes.length <= maxBytes)) {
      return cached.run;
    }
    const block = this.find(sequence);
    const from = sequence - block.first;
    const run = shared(cut(block, from, fit(block.columns, from, block.count, maxBytes)));
    if (this.#runs.size < CACHED_RUNS_MAX || cached !== undefined) {
      this.#runs.set(sequence, { run, maxBytes });
    }
    return run;
  }

  /**
   * The next run from `sequence` on for a query, the same object for all who ask the same; undefined: nothing of the
   * block that holds it is asked for.
   */
  select(sequence: number, maxBytes: number, plan: QueryPlan): EntryRun | undefined {
    const run = this.run(sequence, maxBytes);
    const block = this.find(sequence);
    const from = sequence - block.first;
    // One new entry that matches is the usual case: all followers get the same run, whatever they asked for.
    if (plan.isOpen || allMatch(block, plan, from, from + run.count)) return run;
    const key = `${sequence}/${maxBytes}/${plan.key}`;
    let selected = this.#selected.get(key);
    if (selected === undefined) {
      const next = nextRun(block, plan, from, block.count, maxBytes);
      selected = next?.kind === "entries" ? shared(next) : "nothing";
      if (this.#selected.size < CACHED_RUNS_MAX) this.#selected.set(key, selected);
    }
    return selected === "nothing" ? undefined : selected;
  }

  /** Takes the entries that follow. */
  append(batch: Batch): void {
    this.#runs.clear();
    this.#selected.clear();
    const words = asWords(batch.timestamps);
    let from = 0;
    while (from < batch.count) {
      const block = this.#blockFor(batch.lengths[from]!);
      const to = roomFor(block, batch, from);
      take(block, batch, words, from, to);
      this.#next += to - from;
      from = to;
    }
    this.#trim();
  }

  #blockFor(length: number): TailBlock {
    const last = this.#blocks.at(-1);
    if (last !== undefined && last.count < BLOCK_ENTRIES && last.used + length <= last.bytes.length) return last;
    const block = new TailBlock(this.#next, Math.max(BLOCK_BYTES, length));
    this.#blocks.push(block);
    this.#bytes += block.bytes.length;
    return block;
  }

  #trim(): void {
    while (this.#blocks.length > 1 && this.#bytes - this.#blocks[0]!.bytes.length >= this.#bytesMax) {
      this.#bytes -= this.#blocks.shift()!.bytes.length;
    }
  }
}

function shared(run: EntryRun): EntryRun {
  return { ...run, isShared: true };
}

/** The index behind the last entry of the batch that fits into the block. */
function roomFor(block: TailBlock, batch: Batch, from: number): number {
  const entriesMax = Math.min(batch.count - from, BLOCK_ENTRIES - block.count);
  let room = block.bytes.length - block.used;
  let count = 0;
  while (count < entriesMax) {
    room -= batch.lengths[from + count]!;
    if (room < 0) break;
    count++;
  }
  return from + count;
}

function take(block: TailBlock, batch: Batch, words: Int32Array, from: number, to: number): void {
  const { columns, count } = block;
  const byteFrom = batch.offsets[from]!;
  const byteTo = batch.offsets[to - 1]! + batch.lengths[to - 1]!;
  const at = block.used;
  block.bytes.set(batch.bytes.subarray(byteFrom, byteTo), at);
  columns.timestamps.set(words.subarray(2 * from, 2 * to), 2 * count);
  columns.labels.set(batch.labels.subarray(from, to), count);
  columns.severities.set(batch.severities.subarray(from, to), count);
  for (let i = from; i < to; i++) {
    columns.starts[count + i - from + 1] = batch.offsets[i]! + batch.lengths[i]! - byteFrom + at;
  }
  block.count = count + to - from;
}
