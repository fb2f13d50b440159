// What only some streams ask for: to end at a place, to be left behind or thinned out, to be read in batches. A stream
// that asks for none of it has no Manner and pays for none.
import type { Clock, EntryRun, ScanQuery, Timer } from "../store/contract.ts";
import { Pace, type SlowReaderPolicy } from "./slow-reader.ts";

export interface MannerOptions {
  /** End with this sequence; Infinity: do not. */
  readonly until: number;
  /** undefined: it catches up from disk. */
  readonly slowReader: SlowReaderPolicy | undefined;
  /** Of batches: how long the first new entry may wait for so many others. */
  readonly batch: { readonly entriesMax: number; readonly delayMs: number } | undefined;
  /** The sequence of the entry in the frame `bytes[start..end)`. */
  readonly sequenceOf: (bytes: Uint8Array, start: number, end: number) => number;
}

export class Manner {
  readonly until: number;
  readonly pace: Pace | undefined;
  readonly #batch: MannerOptions["batch"];
  readonly sequenceOf: MannerOptions["sequenceOf"];
  /** Of the stream's scan, to begin another one elsewhere. */
  readonly query: ScanQuery;
  /** Entries that the next step may take: what is left of a batch, and what the pace allows. */
  batchLeft = Number.POSITIVE_INFINITY;
  paceLeft = Number.POSITIVE_INFINITY;
  /** Of a wait that is under way. */
  #timer: Timer | undefined = undefined;

  constructor(options: MannerOptions, query: ScanQuery) {
    this.until = options.until;
    this.pace = options.slowReader === undefined ? undefined : new Pace(options.slowReader);
    this.#batch = options.batch;
    this.sequenceOf = options.sequenceOf;
    this.query = query;
  }

  get entriesMax(): number {
    return Math.min(this.batchLeft, this.paceLeft);
  }

  /** The run as far as it is wanted. */
  cut(run: EntryRun): EntryRun {
    return run.last <= this.until ? run : cutRun(run, this.until, this.sequenceOf);
  }

  /**
   * Whether a follower at the head goes on now that there is something new: so many entries wait for it. When not,
   * `onDue` is called later.
   */
  isDue(lagEntries: number, clock: Clock, onDue: () => void): boolean {
    const batch = this.#batch;
    if (batch === undefined || batch.delayMs === 0 || lagEntries >= batch.entriesMax) {
      this.cancel();
      return true;
    }
    if (this.#timer === undefined) this.wait(clock, batch.delayMs, onDue);
    return false;
  }

  /** One wait at a time. */
  wait(clock: Clock, ms: number, onDue: () => void): void {
    this.#timer = clock.setTimer(() => {
      this.#timer = undefined;
      onDue();
    }, Math.ceil(ms));
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

/** The entries of a run up to and including the sequence `until`. */
export function cutRun(run: EntryRun, until: number, sequenceOf: MannerOptions["sequenceOf"]): EntryRun {
  const { bytes, starts } = run;
  let low = 0;
  let high = run.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sequenceOf(bytes, starts[middle]!, starts[middle + 1]!) <= until) low = middle + 1;
    else high = middle;
  }
  return { ...run, count: low, bytes: bytes.subarray(0, starts[low]) };
}
