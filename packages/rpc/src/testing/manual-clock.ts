// A clock that stands still until the test moves it. Tests of all packages use it, as "@sluice/rpc/testing".
import { setImmediate as turn } from "node:timers/promises";
import type { Clock, ClockTimer } from "../clock.ts";

/** When the clock begins: monotonic ms, and Unix time. */
const START_MS = 1000;
const START_NS = 1_700_000_000_000_000_000n;

export class ManualClock implements Clock {
  #nowMs = START_MS;
  readonly #timers = new Set<{ readonly dueMs: number; readonly callback: () => void }>();

  /** Ms since the clock was made. */
  get passedMs(): number {
    return this.#nowMs - START_MS;
  }

  /** Timers that are set. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Unix time in ns. */
  nowNs(): bigint {
    return START_NS + BigInt(Math.round(this.passedMs * 1e6));
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, ms: number): ClockTimer {
    const timer = { dueMs: this.#nowMs + ms, callback };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Fires, in order of time, what is due until then, also what is set on the way. */
  advance(ms: number): void {
    const steps = this.#steps(ms);
    while (steps.next().done !== true);
  }

  /** The same, with all that follows from a timer before the next one fires. */
  async advanceInTurns(ms: number): Promise<void> {
    await turn();
    for (const _ of this.#steps(ms)) await turn();
  }

  /** Moves on without firing: what became due meanwhile fires late, as after a pause of the process. */
  skip(ms: number): void {
    this.#nowMs += ms;
  }

  /** The process that set the timers has ended. */
  forgetTimers(): void {
    this.#timers.clear();
  }

  /** One step for each timer that fires. */
  *#steps(ms: number): Generator<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined || next.dueMs > endMs) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
      yield;
    }
    this.#nowMs = endMs;
  }
}
