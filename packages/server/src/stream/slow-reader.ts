// What happens to a follower that is slower than its log, decided from two numbers: its position and the head. Nothing is
// kept for it, and nothing is looked at that it will not get.
//
// P1. What is left out is the range from the position to a later one: its count is a difference, so it is exact.
// P2. History is never left out: the caller asks only when history has ended.

/** What a reader asked for; see SlowReader in logs.proto. */
export type SlowReaderPolicy =
  | { readonly kind: "drop-oldest" | "disconnect"; readonly lagMaxEntries: number }
  | { readonly kind: "sample"; readonly lagMaxEntries: number; readonly perSecond: number };

/** What the next step of a follower may be. */
export type Verdict =
  /** It may have so many entries; Infinity: any number. */
  | { readonly kind: "go"; readonly entriesMax: number }
  /** It goes on after `to`; what lies between is a gap. */
  | { readonly kind: "skip"; readonly to: number; readonly reason: "slow_reader" | "sampled" }
  /** It has had its share and gets nothing for `ms`. */
  | { readonly kind: "hold"; readonly ms: number }
  | { readonly kind: "disconnect"; readonly lagEntries: number };

const SECOND_MS = 1000;
const GO: Verdict = { kind: "go", entriesMax: Number.POSITIVE_INFINITY };

/** The pace of one follower. */
export class Pace {
  readonly policy: SlowReaderPolicy;
  /** Of a sample: what is left of this second's share, and when that second ends; 0: none has begun. */
  #left: number;
  #endMs = 0;

  constructor(policy: SlowReaderPolicy) {
    this.policy = policy;
    this.#left = shareOf(policy);
  }

  /** Whether a follower is to be cut off. */
  isTooSlow(lagEntries: number): boolean {
    return this.policy.kind === "disconnect" && lagEntries > this.policy.lagMaxEntries;
  }

  /** @param position everything up to here was sent or did not match; @param nowMs monotonic */
  judge(position: number, head: number, nowMs: number): Verdict {
    const { policy } = this;
    const lagEntries = head - position;
    if (policy.kind === "sample" && this.#endMs > 0) {
      const isSpent = this.#left === 0;
      if (nowMs < this.#endMs) {
        if (isSpent) return { kind: "hold", ms: this.#endMs - nowMs };
      } else {
        this.#endMs = 0;
        this.#left = policy.perSecond;
        if (isSpent && lagEntries > 0) return { kind: "skip", to: head, reason: "sampled" };
      }
    }
    if (this.isTooSlow(lagEntries)) return { kind: "disconnect", lagEntries };
    if (lagEntries > policy.lagMaxEntries) {
      // Half of what it may lag: one that stays slow gets few long gaps instead of one in front of every entry.
      return { kind: "skip", to: head - Math.floor(policy.lagMaxEntries / 2), reason: "slow_reader" };
    }
    return policy.kind === "sample" ? { kind: "go", entriesMax: this.#left } : GO;
  }

  /** So many entries were sent. */
  took(count: number, nowMs: number): void {
    if (this.policy.kind !== "sample" || count === 0) return;
    if (this.#endMs === 0) this.#endMs = nowMs + SECOND_MS;
    this.#left -= count;
  }
}

function shareOf(policy: SlowReaderPolicy): number {
  return policy.kind === "sample" ? policy.perSecond : 0;
}
