// Jobs as programs give and get them, and how a handler says what became of one.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Delivery, NewJobSchema } from "@sluice/api";

/** A job to be done. */
export interface NewQueueJob {
  /** A text is sent as UTF-8. */
  readonly body: Uint8Array | string;
  /** 0 to 7, 7 is the most urgent. Default: 3. */
  readonly priority?: number;
  /** Jobs of different fairness keys get their share of the workers. */
  readonly fairnessKey?: string;
  /** Of the jobs of one ordering key only one runs at a time, in the order of enqueueing. */
  readonly orderingKey?: string;
  /** Not before this time, Unix ns. */
  readonly notBefore?: bigint;
  /** Removed when it has not been started so long after enqueueing, ms. */
  readonly ttlMs?: number;
  /** A second job with this id within the queue's window is not taken. */
  readonly dedupId?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** An id of the producer's own, not digits alone. Default: the server makes one. */
  readonly jobId?: string;
}

/** A job as a handler gets it. */
export interface QueueJob {
  readonly id: string;
  /** Never the same twice: what an outside system may use as a fence. */
  readonly attempt: bigint;
  /** How often it has failed before. */
  readonly failures: number;
  readonly priority: number;
  readonly fairnessKey: string;
  readonly orderingKey: string;
  /** Unix ns. */
  readonly enqueuedAt: bigint;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The body, as UTF-8. */
  text(): string;
}

/** What a handler can do while it runs. */
export interface JobContext {
  /**
   * Aborted when the lease is lost (reason: LeaseLostError), and when a drain's deadline has passed (WorkerDrained): what
   * the handler does from then on counts for nothing.
   */
  readonly signal: AbortSignal;
  /**
   * Makes the lease last `leaseMs` from now, and from each heartbeat on. The worker's heartbeat extends leases by itself:
   * this is for longer ones, to bridge an outage. Resolves with its end, Unix ns. @throws LeaseLostError; RpcError
   */
  readonly extend: (leaseMs?: number) => Promise<bigint>;
  /** How far it is, 0 to 1, for whoever asks; extends nothing. */
  readonly progress: (fraction: number, message?: string) => void;
}

/** Does a job. Returning says that it is done, throwing that it failed: see ReturnJob, RetryJob and RejectJob. */
export type JobHandler = (job: QueueJob, context: JobContext) => unknown;

/** Thrown by a handler: the job goes back to its place, and no failure is counted. */
export class ReturnJob extends Error {
  override readonly name = "ReturnJob";
  /** No job of its fairness key is started for so long, by any worker, ms. */
  readonly throttleMs: number | undefined;
  constructor(reason = "returned by its worker", options: { readonly throttleMs?: number } = {}) {
    super(reason);
    this.throttleMs = options.throttleMs;
  }
}

/** Thrown by a handler: the job failed, and is tried again at a time of the handler's choice instead of the queue's. */
export class RetryJob extends Error {
  override readonly name = "RetryJob";
  readonly afterMs: number;
  constructor(reason: string, options: { readonly afterMs: number; readonly cause?: unknown }) {
    super(reason, { cause: options.cause });
    this.afterMs = options.afterMs;
  }
}

/** Thrown by a handler: the job can never be done; it goes to the dead ones with this reason. */
export class RejectJob extends Error {
  override readonly name = "RejectJob";
}

/** The job is no longer this worker's: another may have it, and nothing that this handler reports counts. */
export class LeaseLostError extends Error {
  override readonly name = "LeaseLostError";
  readonly jobId: string;
  readonly attempt: bigint;
  constructor(lease: { readonly jobId: string; readonly attempt: bigint }, why: string) {
    super(`The lease of job ${lease.jobId} is lost: ${why}`);
    this.jobId = lease.jobId;
    this.attempt = lease.attempt;
  }
}

/** The worker was given until a deadline to finish, and that has passed: its jobs are returned. */
export class WorkerDrained extends Error {
  override readonly name = "WorkerDrained";
}

const NS_PER_MS = 1_000_000n;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** As the contract has it. */
export function toNewJob(job: NewQueueJob): MessageInitShape<typeof NewJobSchema> & { readonly body: Uint8Array } {
  const { body, priority, fairnessKey = "", orderingKey = "", notBefore = 0n, ttlMs = 0 } = job;
  return {
    body: typeof body === "string" ? encoder.encode(body) : body,
    ...(priority === undefined ? {} : { priority }),
    fairnessKey,
    orderingKey,
    notBefore,
    ttlMs: BigInt(ttlMs),
    dedupId: job.dedupId ?? "",
    headers: { ...job.headers },
    jobId: job.jobId ?? "",
  };
}

/** As a handler gets it. */
export function toQueueJob({ lease, job, failures }: Delivery): QueueJob {
  const body = job?.body ?? new Uint8Array(0);
  return {
    id: lease?.jobId ?? "",
    attempt: lease?.attempt ?? 0n,
    failures,
    priority: job?.priority ?? 0,
    fairnessKey: job?.fairnessKey ?? "",
    orderingKey: job?.orderingKey ?? "",
    enqueuedAt: job?.enqueuedAt ?? 0n,
    headers: job?.headers ?? {},
    body,
    text: () => decoder.decode(body),
  };
}

/** No job of a fairness key is started before a time, Unix ns. */
export interface Throttle {
  readonly fairnessKey: string;
  readonly until: bigint;
}

/** What became of a job, for the server. */
export type Outcome =
  | { readonly kind: "ack" }
  | { readonly kind: "return"; readonly reason: string; readonly throttle?: Throttle }
  | { readonly kind: "retry"; readonly reason: string; readonly notBefore: bigint }
  | { readonly kind: "reject"; readonly reason: string };

/** Of a worker that ends. */
export const RETURNED: Outcome = { kind: "return", reason: "the worker drains" };

/** What a handler's exception means. */
export function outcomeOf(error: unknown, { fairnessKey }: Pick<QueueJob, "fairnessKey">, nowNs: bigint): Outcome {
  const reason = error instanceof Error ? error.message : String(error);
  const after = (ms: number): bigint => nowNs + BigInt(Math.max(0, Math.round(ms))) * NS_PER_MS;
  if (error instanceof ReturnJob) {
    const { throttleMs } = error;
    if (throttleMs === undefined) return { kind: "return", reason };
    return { kind: "return", reason, throttle: { fairnessKey, until: after(throttleMs) } };
  }
  if (error instanceof RejectJob) return { kind: "reject", reason };
  if (error instanceof RetryJob) return { kind: "retry", reason, notBefore: after(error.afterMs) };
  return { kind: "retry", reason, notBefore: 0n };
}
