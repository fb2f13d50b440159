// Time of a real process.
import type { Clock } from "./contract.ts";

const NS_PER_MS = 1_000_000n;
/** Longest delay that the runtime's timers know (2^31 - 1 ms); a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowNs: () => BigInt(Date.now()) * NS_PER_MS,
  monotonicMs: () => performance.now(),
  setTimer(callback, ms) {
    const timer = setTimeout(callback, Math.min(ms, TIMER_MS_MAX));
    return { cancel: () => clearTimeout(timer) };
  },
};
