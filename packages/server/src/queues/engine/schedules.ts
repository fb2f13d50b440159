// The schedules of a queue: jobs that are enqueued again and again.
//
// SC1. A firing is one record, that of its job, whose dedup id says which schedule it was and when: so a firing is neither
//      lost nor doubled, whenever the server stops.
// SC2. Times that passed while the server was down, or the queue was full, are fired once, not once each.
import type { CheckedSchedule, ScheduleStatus } from "../contract.ts";
import { type CronTimes, parseCron } from "./cron.ts";

/** Dedup ids with it are the engine's own. */
export const SCHEDULE_PREFIX = "sluice.schedule/";

interface Entry {
  readonly schedule: CheckedSchedule;
  readonly times: CronTimes;
  /** Unix ms; Infinity: never. */
  nextAtMs: number;
  /** 0: not yet. */
  lastAtMs: number;
}

/** A firing that is due. */
export interface Firing {
  readonly schedule: CheckedSchedule;
  readonly dedupId: string;
}

export class Schedules {
  readonly #entries = new Map<string, Entry>();

  get count(): number {
    return this.#entries.size;
  }

  /** Unix ms; Infinity: none is due ever. Schedules are few. */
  get nextAtMs(): number {
    let next = Infinity;
    for (const entry of this.#entries.values()) next = Math.min(next, entry.nextAtMs);
    return next;
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /**
   * @param options.sinceMs the first time after it is the next one
   * @throws InvalidRequest when there is no such cron expression or time zone; nothing was changed
   */
  put(schedule: CheckedSchedule, { sinceMs, lastAtMs }: { readonly sinceMs: number; readonly lastAtMs: number }): void {
    const times = parseCron(schedule.cron, schedule.timeZone);
    this.#entries.set(schedule.name, { schedule, times, lastAtMs, nextAtMs: times.after(sinceMs) });
  }

  /** What `put` would make of it at this time. @throws InvalidRequest */
  make(schedule: CheckedSchedule, nowMs: number): ScheduleStatus {
    const times = parseCron(schedule.cron, schedule.timeZone);
    const lastAtMs = this.#entries.get(schedule.name)?.lastAtMs ?? 0;
    return statusOf({ schedule, times, lastAtMs, nextAtMs: times.after(nowMs) });
  }

  delete(name: string): boolean {
    return this.#entries.delete(name);
  }

  clear(): void {
    this.#entries.clear();
  }

  list(): ScheduleStatus[] {
    return [...this.#entries.values()].map(statusOf).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** SC2. Firings that are due, one of each schedule. */
  *due(nowMs: number): Generator<Firing> {
    for (const { schedule, nextAtMs } of this.#entries.values()) {
      if (nextAtMs <= nowMs) yield { schedule, dedupId: `${SCHEDULE_PREFIX}${nextAtMs}/${schedule.name}` };
    }
  }

  /** SC1. A job with this dedup id was enqueued, at this time. */
  noteFired(dedupId: string, atMs: number): void {
    if (!dedupId.startsWith(SCHEDULE_PREFIX)) return;
    const name = dedupId.slice(dedupId.indexOf("/", SCHEDULE_PREFIX.length) + 1);
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.lastAtMs >= atMs) return;
    entry.lastAtMs = atMs;
    entry.nextAtMs = entry.times.after(atMs);
  }
}

function statusOf({ schedule, nextAtMs, lastAtMs }: Entry): ScheduleStatus {
  return { ...schedule, nextAtMs: nextAtMs === Infinity ? 0 : nextAtMs, lastAtMs };
}
