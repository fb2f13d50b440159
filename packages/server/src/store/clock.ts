// Time of a real process.
import type { Clock } from "./contract.ts";

const NS_PER_MS = 1_000_000n;

export const systemClock: Clock = {
  nowNs: () => BigInt(Date.now()) * NS_PER_MS,
  monotonicMs: () => performance.now(),
  setTimer(callback, ms) {
    const timer = setTimeout(callback, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};
