// A clock that goes when it is told to.
import type { Clock, Timer } from "../contract.ts";

const NS_PER_MS = 1_000_000n;

interface Waiting {
  readonly dueMs: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  #nowMs = 1_700_000_000_000;
  readonly #waiting = new Set<Waiting>();

  nowNs(): bigint {
    return BigInt(this.#nowMs) * NS_PER_MS;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, ms: number): Timer {
    const waiting = { dueMs: this.#nowMs + ms, callback };
    this.#waiting.add(waiting);
    return { cancel: () => this.#waiting.delete(waiting) };
  }

  /** Timers that were set and have neither run nor been cancelled. */
  get timerCount(): number {
    return this.#waiting.size;
  }

  /** Moves on, and runs what is due on the way, in order. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#waiting].filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined) break;
      this.#waiting.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** The process that set them has ended. */
  forgetTimers(): void {
    this.#waiting.clear();
  }
}
