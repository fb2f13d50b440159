// Gives out a run piece by piece: what a filter lets through, or as much as is wanted now.
//
// V1. No more than a share of the event loop's turn (TurnShares) is spent on filtering before the owner is told to wait for
//     the next one.
import type { Clock, EntryRun } from "../store/contract.ts";
import { type FrameFilter, type Selection, selectFrames } from "./frame-filter.ts";
import type { Manner } from "./manner.ts";
import type { TurnShares } from "./turn-shares.ts";

export class Sieve {
  readonly #filter: FrameFilter | undefined;
  readonly #manner: Manner | undefined;
  readonly #clock: Clock;
  readonly #shares: TurnShares;
  /** What is not used up, and the first frame of it that was not looked at. */
  #run: EntryRun | undefined = undefined;
  #next = 0;
  /** Ms spent on filtering since the event loop was last given to others. */
  #spentMs = 0;

  /** One of `filter` and `manner` is there. */
  constructor(options: {
    readonly filter: FrameFilter | undefined;
    readonly manner: Manner | undefined;
    readonly clock: Clock;
    readonly shares: TurnShares;
  }) {
    this.#filter = options.filter;
    this.#manner = options.manner;
    this.#clock = options.clock;
    this.#shares = options.shares;
  }

  get isFiltering(): boolean {
    return this.#filter !== undefined;
  }

  get isEmpty(): boolean {
    return this.#run === undefined;
  }

  /** Everything up to here was given out or left out; undefined when it is empty. */
  get position(): number | undefined {
    if (this.#run === undefined) return undefined;
    const { bytes, starts } = this.#run;
    const reading = this.#filter ?? this.#manner!;
    return reading.sequenceOf(bytes, starts[this.#next]!, starts[this.#next + 1]!) - 1;
  }

  /** Takes the next run; the last one must be used up. */
  fill(run: EntryRun): void {
    const wanted = this.#manner?.cut(run) ?? run;
    this.#run = wanted.count === 0 ? undefined : wanted;
    this.#next = 0;
  }

  clear(): void {
    this.#run = undefined;
  }

  /** So many entries of what is there, at most. */
  take(countMax: number): Pick<Selection, "bytes" | "count"> {
    const run = this.#run;
    if (run === undefined) return { bytes: new Uint8Array(0), count: 0 };
    const selection =
      this.#filter === undefined ? this.#slice(run, countMax) : this.#select(run, this.#filter, countMax);
    this.#next = selection.next;
    if (selection.next === run.count) this.#run = undefined;
    return selection;
  }

  /** V1. Whether the event loop is to be given to others now; asked once, it is taken for done. */
  isSpent(): boolean {
    if (this.#spentMs < this.#shares.ms) return false;
    this.#spentMs = 0;
    return true;
  }

  #slice({ bytes, starts, count }: EntryRun, countMax: number): Selection {
    const from = this.#next;
    const next = Math.min(count, from + countMax);
    return { bytes: bytes.subarray(starts[from], starts[next]), count: next - from, next };
  }

  #select(run: EntryRun, filter: FrameFilter, countMax: number): Selection {
    const clock = this.#clock;
    const startMs = clock.monotonicMs();
    const lateMs = startMs + this.#shares.ms - this.#spentMs;
    const isLate = (): boolean => clock.monotonicMs() >= lateMs;
    const selection = selectFrames(run, filter, { from: this.#next, countMax, isLate });
    this.#spentMs += clock.monotonicMs() - startMs;
    return selection;
  }
}
