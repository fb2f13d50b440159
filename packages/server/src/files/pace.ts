// A token bucket that may be overdrawn: whoever takes more than there is has it at once, and waits the longer afterwards.
import type { Clock } from "../store/contract.ts";

/** How much may go at once after a pause, as time at the full rate. */
const BURST_MS = 100;

export class Pace {
  readonly #bytesPerMs: number;
  readonly #clock: Clock;
  /** Bytes; negative: overdrawn. */
  #tokens: number;
  #filledAtMs: number;

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#clock = clock;
    this.#tokens = this.#bytesPerMs * BURST_MS;
    this.#filledAtMs = clock.monotonicMs();
  }

  /** Whether it is as if nothing had ever been taken. */
  get isFull(): boolean {
    this.#fill();
    return this.#tokens >= this.#bytesPerMs * BURST_MS;
  }

  /** Ms until more may be taken; 0: now. */
  waitMs(): number {
    this.#fill();
    return this.#tokens > 0 ? 0 : Math.ceil(-this.#tokens / this.#bytesPerMs) || 1;
  }

  take(byteCount: number): void {
    this.#fill();
    this.#tokens -= byteCount;
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    const filled = this.#tokens + (nowMs - this.#filledAtMs) * this.#bytesPerMs;
    this.#tokens = Math.min(filled, this.#bytesPerMs * BURST_MS);
    this.#filledAtMs = nowMs;
  }
}
