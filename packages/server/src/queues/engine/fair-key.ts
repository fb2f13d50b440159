// One fairness key: its waiting jobs, a line for each priority, and what it has had.
//
// Which job of a key is the first: the one of the lowest band, which is floor(eligible / age_ms) - priority; within a band the
// one that is eligible for longest. So a job rises one level per age_ms, and only jobs that became eligible less than
// 8 × age_ms after it can overtake it. Bands do not change while jobs wait: nothing is ever sorted again.
import { PRIORITIES } from "../credit.ts";
import { type JobTable, NONE } from "./job-table.ts";
import { Line, isBefore } from "./line.ts";

export const TOP_LEVEL = PRIORITIES - 1;

export class FairKey {
  readonly name: string;
  /** What a job's row says instead of the name. */
  readonly index: number;
  weight: number;
  /** Jobs of it, whatever their phase. */
  jobs = 0;
  /** Jobs of it at workers. */
  active = 0;
  /** Jobs in its lines. */
  ready = 0;
  /** Unix ms. */
  throttledUntilMs = 0;
  /** The id of the worker that throttled it. */
  throttledBy = "";
  /** Start-time fair queueing: what it has had, in jobs by weight. */
  virtualTime = 0;
  /** Unix ms of its last handout. */
  servedAtMs = 0;
  /** As it was when the key was last placed; `riseAtMs` is when that changes by itself. */
  level = 0;
  riseAtMs = Infinity;
  /** Bit p: the line of priority p has jobs. */
  mask = 0;
  /** The part of `mask` by which it is listed for reserved credit. */
  listed = 0;
  levelIndex = NONE;
  riseIndex = NONE;
  throttleIndex = NONE;
  readonly #table: JobTable;
  readonly #lines: (Line | undefined)[] = [];

  constructor(table: JobTable, options: { readonly name: string; readonly index: number; readonly weight: number }) {
    this.#table = table;
    this.name = options.name;
    this.index = options.index;
    this.weight = options.weight;
  }

  /** Answers whether the first job of this priority is another one now. */
  add(slot: number): boolean {
    const priority = this.#table.priority(slot);
    const line = (this.#lines[priority] ??= new Line(this.#table));
    line.add(slot);
    this.ready++;
    this.mask |= 1 << priority;
    return line.first === slot;
  }

  /** The same. */
  remove(slot: number): boolean {
    const priority = this.#table.priority(slot);
    const line = this.#lines[priority]!;
    const wasFirst = line.first === slot;
    line.remove(slot);
    this.ready--;
    if (line.size === 0) this.mask &= ~(1 << priority);
    return wasFirst;
  }

  line(priority: number): Line | undefined {
    return this.#lines[priority];
  }

  /** The job of it that comes first; NONE: nobody. */
  first(ageMs: number): number {
    let first = NONE;
    for (let priority = TOP_LEVEL; priority >= 0; priority--) {
      if ((this.mask & (1 << priority)) === 0) continue;
      const slot = this.#lines[priority]!.first;
      if (first === NONE || comesFirst(this.#table, { slot, than: first, ageMs })) first = slot;
    }
    return first;
  }

  /**
   * Sets its level among the keys: that of its most urgent waiting job, one higher for each age_ms since both the job is
   * eligible and the key was served. A key that has its turns does not rise, however old its jobs are; so one tenant's
   * backlog of a week does not go before another's fresh job of the same priority.
   */
  age(nowMs: number, ageMs: number): void {
    this.level = 0;
    this.riseAtMs = Infinity;
    for (let priority = TOP_LEVEL; priority >= 0; priority--) {
      if ((this.mask & (1 << priority)) === 0) continue;
      const sinceMs = Math.max(this.#table.eligibleAtMs(this.#lines[priority]!.first), this.servedAtMs);
      const steps = Math.max(0, Math.floor((nowMs - sinceMs) / ageMs));
      this.level = Math.max(this.level, Math.min(TOP_LEVEL, priority + steps));
    }
    if (this.level === TOP_LEVEL) return;
    for (let priority = TOP_LEVEL; priority >= 0; priority--) {
      if ((this.mask & (1 << priority)) === 0) continue;
      const sinceMs = Math.max(this.#table.eligibleAtMs(this.#lines[priority]!.first), this.servedAtMs);
      this.riseAtMs = Math.min(this.riseAtMs, sinceMs + (this.level + 1 - priority) * ageMs);
    }
  }
}

/** Whether a job of a key comes before another one of it. */
export function comesFirst(
  table: JobTable,
  { slot, than, ageMs }: { readonly slot: number; readonly than: number; readonly ageMs: number },
): boolean {
  const difference = bandOf(table, slot, ageMs) - bandOf(table, than, ageMs);
  return difference !== 0 ? difference < 0 : isBefore(table, slot, than);
}

function bandOf(table: JobTable, slot: number, ageMs: number): number {
  return Math.floor(table.eligibleAtMs(slot) / ageMs) - table.priority(slot);
}
