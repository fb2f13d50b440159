// Time and chance in the hands of a test.
import type { Clock, Random, Timer } from "../time.ts";

interface ManualTimer extends Timer {
  readonly dueMs: number;
  readonly callback: () => void;
}

/** A clock that moves only when it is told to. */
export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<ManualTimer>();

  nowNs(): bigint {
    return BigInt(Math.round(this.#nowMs * 1e6));
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, ms: number): Timer {
    const timer = { dueMs: this.#nowMs + ms, callback, cancel: () => void this.#timers.delete(timer) };
    this.#timers.add(timer);
    return timer;
  }

  /** How many timers wait: 0 at the end of a test that leaks none. */
  get timers(): number {
    return this.#timers.size;
  }

  /** When the next timer is due, in ms from now; undefined: there is none. */
  get nextInMs(): number | undefined {
    const next = this.#next(Number.POSITIVE_INFINITY);
    return next === undefined ? undefined : next.dueMs - this.#nowMs;
  }

  /** Moves on by `ms`, firing what becomes due in its order, with everything that follows from each. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (let timer = this.#next(untilMs); timer !== undefined; timer = this.#next(untilMs)) {
      this.#timers.delete(timer);
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      timer.callback();
      await settle();
    }
    this.#nowMs = untilMs;
  }

  #next(untilMs: number): ManualTimer | undefined {
    let next: ManualTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= untilMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer;
    }
    return next;
  }
}

/** Resolves when every promise that could go on has gone on. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Bytes that are all the same: 0 makes every chance the smallest, 255 the largest. */
export function constantRandom(byte: number): Random {
  return { bytes: (count) => new Uint8Array(count).fill(byte) };
}
