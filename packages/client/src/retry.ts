// Which failures pass by themselves, and after how long to try again.
import { Code, RpcError, retryDelayMs } from "@sluice/rpc";
import { type BackoffPolicy, backoffMs, DEFAULT_BACKOFF } from "./backoff.ts";
import { type Clock, type Random, sleep } from "./time.ts";

/** When to try again, and when to give up. */
export interface RetryPolicy extends BackoffPolicy {
  /** Failed attempts in a row, without any progress between them, after which the last error is thrown. */
  readonly attemptsMax: number;
}

/** Of a call with one answer. */
export interface UnaryOptions {
  readonly signal?: AbortSignal;
  /** Deadline of one attempt, ms. Default: 10 s. */
  readonly timeoutMs?: number;
  /** Default: four attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

/** A stream is wanted until its reader ends it. */
export const STREAM_RETRY: RetryPolicy = { ...DEFAULT_BACKOFF, attemptsMax: Number.POSITIVE_INFINITY };
/** Somebody waits for a single answer: about two seconds in all. */
export const UNARY_RETRY: RetryPolicy = { ...DEFAULT_BACKOFF, attemptsMax: 4 };

/** What a failed attempt means for the next one. */
export type Verdict = { readonly kind: "final" } | { readonly kind: "retry"; readonly atLeastMs: number };

/**
 * UNAVAILABLE passes, and so does the deadline of one attempt; RESOURCE_EXHAUSTED only if the server says when.
 * A RetryInfo is honoured in each of them.
 */
export function judge(error: unknown): Verdict {
  if (!(error instanceof RpcError)) return { kind: "final" };
  const askedMs = retryDelayMs(error);
  const passes =
    error.code === Code.UNAVAILABLE ||
    error.code === Code.DEADLINE_EXCEEDED ||
    (error.code === Code.RESOURCE_EXHAUSTED && askedMs !== undefined);
  return passes ? { kind: "retry", atLeastMs: askedMs ?? 0 } : { kind: "final" };
}

/** Counts failures in a row and says how long to wait after each. */
export class Retrier {
  readonly #policy: RetryPolicy;
  readonly #random: Random;
  #failures = 0;

  constructor(policy: RetryPolicy, random: Random) {
    this.#policy = policy;
    this.#random = random;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** There was progress: the next failure is the first again. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** Delay in ms before the next attempt. @throws `error` when it is final or was one too many. */
  failed(error: unknown): number {
    this.#failures++;
    const verdict = judge(error);
    if (verdict.kind === "final" || this.#failures >= this.#policy.attemptsMax) throw error;
    return Math.max(verdict.atLeastMs, backoffMs(this.#failures, this.#policy, this.#random));
  }
}

/** Calls until an attempt succeeds, fails for good or was one too many. */
export async function withRetry<T>(
  call: (signal: AbortSignal) => Promise<T>,
  context: { policy: RetryPolicy; clock: Clock; random: Random; signal: AbortSignal },
): Promise<T> {
  const retrier = new Retrier(context.policy, context.random);
  for (;;) {
    try {
      return await call(context.signal);
    } catch (error) {
      context.signal.throwIfAborted();
      await sleep(context.clock, retrier.failed(error), context.signal);
    }
  }
}
