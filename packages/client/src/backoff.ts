// How long to wait before trying again.
import { fraction, type Random } from "./time.ts";

/** Exponential back-off: each delay is drawn from the upper half of a ceiling that grows. */
export interface BackoffPolicy {
  /** Ceiling of the first delay, ms. */
  readonly initialMs: number;
  /** No ceiling is higher, ms. */
  readonly maxMs: number;
  /** Each ceiling is so many times the one before. */
  readonly factor: number;
}

/** A server that restarts is back within a second or two; one that is down is asked twice a minute. */
export const DEFAULT_BACKOFF: BackoffPolicy = { initialMs: 200, maxMs: 30_000, factor: 2 };

/**
 * Delay in ms before try number `attempt + 1`, after `attempt` failures in a row (from 1): between half of the ceiling
 * and the ceiling, by chance, so that clients that lost the same server do not come back in the same moment.
 * ("Equal jitter" of https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/: full jitter spreads
 * better, but may come back at once.)
 */
export function backoffMs(attempt: number, policy: BackoffPolicy, random: Random): number {
  const ceiling = Math.min(policy.maxMs, policy.initialMs * policy.factor ** (attempt - 1));
  return ceiling / 2 + (fraction(random) * ceiling) / 2;
}
