// What a store does by itself: it writes what its state asks for (wanted.ts) when it is time, and lets go what is stale.
//
// U1. One timer, for what is due first.
// U2. The body of what was deleted leaves the disk within a day: after half of it, at the latest an hour later.
import type { Clock, Timer } from "../store/contract.ts";
import type { InboxBounds } from "./engine/policies.ts";
import type { InboxState } from "./engine/state.ts";
import { nextDueMs, type WantedRecord, wantedRecords } from "./engine/wanted.ts";

const HOUR_MS = 3_600_000;
const HALF_DAY_MS = 12 * HOUR_MS;
const RETRY_MS = 1000;
/** Timers take no more than 2^31 - 1. */
const WAIT_MAX_MS = HOUR_MS;

export interface UpkeepParts {
  readonly state: InboxState;
  readonly bounds: InboxBounds;
  readonly clock: Clock;
  /** @throws when it is refused */
  append(wanted: WantedRecord): void;
  /** What lies here and before must leave the disk; it was removed before this time (Unix ms). */
  goThrough(place: number, beforeMs: number): void;
}

export class Upkeep {
  readonly #parts: UpkeepParts;
  #timer: Timer | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  #isScheduled = false;
  #isClosed = false;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  /** Something is in effect: looks at what follows from it, at the end of this turn. */
  wake(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#run();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #run(): void {
    if (this.#isClosed) return;
    const { state, bounds, clock } = this.#parts;
    const nowMs = Number(clock.nowNs() / 1_000_000n);
    let isRefused = false;
    for (const wanted of wantedRecords(state, bounds, nowMs)) {
      try {
        if (!isRefused) this.#parts.append(wanted);
      } catch {
        // Disk or memory is full: whoever publishes hears of it.
        isRefused = true;
      }
      if (isRefused) wanted.withdraw();
    }
    this.#dropStale(nowMs);
    this.#schedule(nowMs, isRefused ? nowMs + RETRY_MS : this.#nextMs());
  }

  #nextMs(): number {
    const { state } = this.#parts;
    const stale = state.deaths[0];
    return Math.min(
      nextDueMs(state) ?? Infinity,
      stale === undefined ? Infinity : stale.hourMs + HALF_DAY_MS + HOUR_MS,
    );
  }

  /** U2. */
  #dropStale(nowMs: number): void {
    const { deaths } = this.#parts.state;
    let place = 0;
    let beforeMs = 0;
    // The whole hour is over.
    while (deaths.length > 0 && deaths[0]!.hourMs + HALF_DAY_MS + HOUR_MS <= nowMs) {
      const dead = deaths.shift()!;
      place = Math.max(place, dead.place);
      beforeMs = dead.hourMs + HOUR_MS;
    }
    if (place > 0) this.#parts.goThrough(place, beforeMs);
  }

  /** U1. */
  #schedule(nowMs: number, atMs: number): void {
    if (this.#timer !== undefined && this.#timerMs === atMs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerMs = atMs;
    if (!Number.isFinite(atMs)) return;
    const { clock } = this.#parts;
    this.#timer = clock.setTimer(
      () => {
        this.#timer = undefined;
        this.wake();
      },
      Math.min(WAIT_MAX_MS, Math.max(0, atMs - nowMs)),
    );
  }
}
