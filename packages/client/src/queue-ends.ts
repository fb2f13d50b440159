// What became of jobs, as long as the server has not answered it.
import { type LeaseResult, ResultCode } from "@sluice/api";
import { LeaseLostError, type Outcome, type QueueJob } from "./queue-job.ts";
import type { LeaseLike, WorkSession } from "./queue-session.ts";
import type { QueueWorkerOptions } from "./queue-worker-options.ts";

interface UnansweredEnd {
  readonly job: QueueJob;
  readonly lease: LeaseLike;
  readonly outcome: Outcome;
}

export class UnansweredEnds {
  readonly #ends = new Map<bigint, UnansweredEnd>();
  readonly #options: Pick<QueueWorkerOptions, "onEnded" | "onLeaseLost">;

  constructor(options: Pick<QueueWorkerOptions, "onEnded" | "onLeaseLost">) {
    this.#options = options;
  }

  get size(): number {
    return this.#ends.size;
  }

  leases(): LeaseLike[] {
    return Array.from(this.#ends.values(), ({ lease }) => lease);
  }

  /** Kept until it is answered. */
  say(end: UnansweredEnd, session: WorkSession | undefined): void {
    this.#ends.set(end.lease.attempt, end);
    session?.end(end.lease, end.outcome);
  }

  /** Again, on the next stream. */
  sayAll(session: WorkSession): void {
    for (const { lease, outcome } of this.#ends.values()) session.end(lease, outcome);
  }

  answered({ lease, code }: LeaseResult): void {
    const attempt = lease?.attempt ?? 0n;
    const end = this.#ends.get(attempt);
    if (end === undefined) return;
    this.#ends.delete(attempt);
    if (code === ResultCode.OK || code === ResultCode.DUPLICATE) this.#options.onEnded?.(end.job, end.outcome.kind);
    else this.#options.onLeaseLost?.(new LeaseLostError(end.lease, "it had ended before the job did"));
  }
}
