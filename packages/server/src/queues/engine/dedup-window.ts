// Which dedup ids were taken within the window, and for which jobs: remembered beyond the end of the jobs.
//
// D1. Bounded: `idsMax`. At the bound no further id is taken: forgetting one early would break its promise.
import type { Place } from "../contract.ts";

/** In one turn of the event loop: a millisecond or two. */
const PRUNE_MAX = 10_000;

export interface TakenId {
  readonly dedupId: string;
  readonly jobId: string;
  /** Unix ms. */
  readonly untilMs: number;
  /** The record that says so: that of the job, or a DedupKept. */
  place: Place;
}

export class DedupWindow {
  readonly #idsMax: number;
  /** Of DedupKept records of all ids, about. */
  bytes = 0;
  readonly #taken = new Map<string, TakenId>();
  /** In the order in which they came, from `#start` on: mostly that in which they end. */
  #queue: TakenId[] = [];
  #start = 0;

  constructor(idsMax: number) {
    this.#idsMax = idsMax;
  }

  get size(): number {
    return this.#taken.size;
  }

  /** D1. Whether so many ids more fit. */
  fits(count: number): boolean {
    return this.#taken.size + count <= this.#idsMax;
  }

  find(dedupId: string, nowMs: number): TakenId | undefined {
    const taken = this.#taken.get(dedupId);
    return taken !== undefined && taken.untilMs > nowMs ? taken : undefined;
  }

  add(taken: TakenId): void {
    this.#taken.set(taken.dedupId, taken);
    this.#queue.push(taken);
    this.bytes += sizeOf(taken);
  }

  /** Forgets those whose time is over: some of them, if they are many. */
  prune(nowMs: number): void {
    for (let count = 0; count < PRUNE_MAX; count++) {
      const next = this.#queue[this.#start];
      if (next === undefined || next.untilMs > nowMs) break;
      if (this.#taken.get(next.dedupId) === next) this.#taken.delete(next.dedupId);
      this.bytes -= sizeOf(next);
      this.#start++;
    }
    if (this.#start < 1024 || this.#start * 2 < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#start);
    this.#start = 0;
  }
}

/** Ids are ASCII for the most part; tags, time, sequence and checksum are some 40 bytes. */
function sizeOf({ dedupId, jobId }: TakenId): number {
  return dedupId.length + jobId.length + 40;
}
