// What a worker holds: offers that wait for a slot, and jobs that have one.
//
// SL1. A job is in one place: waiting, starting (its Start is unanswered), or running.
// SL2. The most urgent of those that wait comes first, and of one priority the one that came first.
import type { Delivery, Lease } from "@sluice/api";
import type { LeaseLike, Room } from "./queue-session.ts";
import type { QueueWorkerOptions } from "./queue-worker-options.ts";

const PRIORITIES = 8;

/** A job in a slot. */
export interface RunningJob {
  readonly lease: LeaseLike;
  readonly delivery: Delivery;
  /** Of its lease, in the heartbeat's table. */
  readonly seat: number;
  readonly abort: AbortController;
  /** Its lease is lost, or it was returned: what its handler says does not count. */
  isOver: boolean;
}

export class Slots {
  readonly #waiting = Array.from({ length: PRIORITIES }, () => new Map<bigint, Delivery>());
  readonly #starting = new Map<bigint, Delivery>();
  readonly #running = new Map<bigint, RunningJob>();
  #bytes = 0;

  /** Jobs that wait here: offers. */
  get waiting(): number {
    return this.#waiting.reduce((sum, { size }) => sum + size, 0);
  }

  /** Slots that are taken. */
  get busy(): number {
    return this.#starting.size + this.#running.size;
  }

  get running(): number {
    return this.#running.size;
  }

  /** All of them. */
  get held(): number {
    return this.waiting + this.busy;
  }

  /** Jobs held with at least this priority. */
  #heldFrom(priority: number): number {
    const isUrgent = (delivery: Delivery): boolean => priorityOf(delivery) >= priority;
    let count = this.#waiting.slice(priority).reduce((sum, { size }) => sum + size, 0);
    for (const delivery of this.#starting.values()) if (isUrgent(delivery)) count++;
    for (const { delivery } of this.#running.values()) if (isUrgent(delivery)) count++;
    return count;
  }

  /** What a worker says that it would take: `jobs`, as far as its windows of bytes and its lanes allow. */
  room(jobs: number, { windowBytes = 0, lanes = [] }: Pick<QueueWorkerOptions, "windowBytes" | "lanes">): Room {
    return {
      jobs,
      bytes: windowBytes === 0 ? 0 : Math.max(1, windowBytes - this.#bytes),
      lanes: lanes.map(({ minPriority, slots }) => ({
        minPriority,
        window: Math.max(0, slots - this.#heldFrom(minPriority)),
      })),
    };
  }

  wait(delivery: Delivery): void {
    this.#waiting[priorityOf(delivery)]!.set(attemptOf(delivery), delivery);
    this.#bytes += bytesOf(delivery);
  }

  /** The next one that waits leaves (SL2). */
  takeWaiting(): Delivery | undefined {
    for (let priority = PRIORITIES - 1; priority >= 0; priority--) {
      const [delivery] = this.#waiting[priority]!.values();
      if (delivery === undefined) continue;
      this.#forgetWaiting(delivery);
      return delivery;
    }
    return undefined;
  }

  /** It takes a slot, and waits for the answer to its Start. */
  start(delivery: Delivery): void {
    this.#starting.set(attemptOf(delivery), delivery);
    this.#bytes += bytesOf(delivery);
  }

  /** The answer to its Start is there. Undefined: it is not known here. */
  takeStarting(attempt: bigint): Delivery | undefined {
    const delivery = this.#starting.get(attempt);
    if (delivery === undefined) return undefined;
    this.#starting.delete(attempt);
    this.#bytes -= bytesOf(delivery);
    return delivery;
  }

  /** @param seat of its lease, in the heartbeat's table */
  run(delivery: Delivery, seat: number): RunningJob {
    const job: RunningJob = { lease: leaseOf(delivery), delivery, seat, abort: new AbortController(), isOver: false };
    this.#running.set(job.lease.attempt, job);
    this.#bytes += bytesOf(delivery);
    return job;
  }

  findRunning(attempt: bigint): RunningJob | undefined {
    return this.#running.get(attempt);
  }

  runningJobs(): MapIterator<RunningJob> {
    return this.#running.values();
  }

  finish(job: RunningJob): void {
    if (this.#running.delete(job.lease.attempt)) this.#bytes -= bytesOf(job.delivery);
  }

  /** Offers that were taken back. */
  recall(leases: readonly Lease[]): void {
    for (const { attempt } of leases) {
      const delivery = this.#waiting.map((each) => each.get(attempt)).find((each) => each !== undefined);
      if (delivery !== undefined) this.#forgetWaiting(delivery);
      this.takeStarting(attempt);
    }
  }

  /** Of the jobs that run, and of those whose Start is unanswered. */
  leases(): LeaseLike[] {
    const running = [...this.#running.values()].filter(({ isOver }) => !isOver);
    return [...running.map(({ lease }) => lease), ...Array.from(this.#starting.values(), leaseOf)];
  }

  /** The stream is gone, and with it all that was not started. */
  dropWaiting(): void {
    for (let delivery = this.takeWaiting(); delivery !== undefined; delivery = this.takeWaiting());
  }

  /** The server has taken back all that was not started. */
  dropOffers(): void {
    this.dropWaiting();
    for (const delivery of this.#starting.values()) this.takeStarting(attemptOf(delivery));
  }

  #forgetWaiting(delivery: Delivery): void {
    this.#waiting[priorityOf(delivery)]!.delete(attemptOf(delivery));
    this.#bytes -= bytesOf(delivery);
  }
}

export function leaseOf(delivery: Delivery): LeaseLike {
  return { jobId: delivery.lease?.jobId ?? "", attempt: attemptOf(delivery) };
}

function attemptOf({ lease }: Delivery): bigint {
  return lease?.attempt ?? 0n;
}

function priorityOf({ job }: Delivery): number {
  return Math.min(job?.priority ?? 0, PRIORITIES - 1);
}

function bytesOf({ job }: Delivery): number {
  return job?.body.length ?? 0;
}
