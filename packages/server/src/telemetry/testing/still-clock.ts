// A clock that stands still until it is moved, and hands out no timers: whoever is tested with it owns none.
import type { Clock } from "../../store/contract.ts";

export class StillClock implements Clock {
  /** Unix ms, and monotonic ms as well. */
  ms: number;

  constructor(ms = 1_700_000_000_123) {
    this.ms = ms;
  }

  nowNs(): bigint {
    return BigInt(this.ms) * 1_000_000n;
  }

  monotonicMs(): number {
    return this.ms;
  }

  setTimer(): never {
    throw new Error("This clock has no timers");
  }
}
