// What must be true of a queue and its workers after each step of a history, by the numbers of queue.ts.
import { expect } from "vitest";
import type { CheckedJob, JobLease, JobStatus, Settings } from "../../contract.ts";
import type { FakeWorker } from "./fake-worker.ts";
import { QueueFixture } from "./queue-fixture.ts";

/** A queue, and all that a history knows of it by the simplest means. */
export class World {
  readonly queue: QueueFixture;
  readonly workers = new Map<string, FakeWorker>();
  /** What workers ran when their connection was cut. */
  readonly cut = new Map<string, JobLease[]>();
  readonly jobs = new Map<number, CheckedJob>();
  readonly acked = new Map<number, { readonly worker: string; readonly lease: JobLease }>();
  /** Jobs that were dead once. */
  readonly redriven = new Set<number>();
  /** Cancelled and purged. */
  removed = 0;
  readonly #attempts = new Set<number>();
  /** Handouts that were looked at, of each worker. */
  readonly #seen = new Map<FakeWorker, number>();

  constructor(settings: Partial<Settings>) {
    this.queue = new QueueFixture(settings);
  }

  /** What survives a restart. */
  durable(): unknown {
    const { engine } = this.queue;
    const { offered, waiting, workers: _, credit: __, liveBytes: ___, ...counts } = engine.counts();
    const { waitingByPriority: ____, oldestEnqueuedAtMs: _____, ...totals } = counts;
    return {
      jobs: this.live().map((job) => ({
        ...job,
        ...(job.state === "offered" ? { state: "waiting", workerId: "", attempt: 0 } : {}),
        untilMs: job.state === "delayed" ? job.untilMs : 0,
        place: 0,
        bytes: 0,
        progress: 0,
      })),
      waiting: waiting + offered,
      totals,
      schedules: engine.schedules(),
      settings: engine.settings,
      isPaused: engine.isPaused,
    };
  }

  // --- What must be true --------------------------------------------------------------------------------------------

  check(): void {
    const { engine } = this.queue;
    const live = this.live();
    const counts = engine.counts();
    expect(live.length + counts.done + counts.expired + counts.removed, "E3").toBe(counts.enqueued);
    expect(counts.done, "E4").toBe(this.acked.size);
    expect(counts.removed).toBe(this.removed);
    for (const number of this.acked.keys()) must(engine.find(String(number)) === undefined, `E4: ${number} is back`);
    this.#checkCounts(live);
    this.#checkHolders(live);
    this.#checkHandouts();
    this.#checkChains(live);
    this.#checkIdle(live);
  }

  #checkCounts(live: readonly JobStatus[]): void {
    const { waiting, offered, running, delayed, dead, liveBytes, waitingByPriority } = this.queue.engine.counts();
    const of = (state: string): number => live.filter((job) => job.state === state).length;
    expect({ waiting, offered, running, delayed, dead }).toEqual({
      waiting: of("waiting"),
      offered: of("offered"),
      running: of("running"),
      delayed: of("delayed"),
      dead: of("dead"),
    });
    expect(liveBytes).toBe(live.reduce((sum, job) => sum + job.bytes, 0));
    const byPriority = waitingByPriority.map(
      (_, priority) => live.filter((job) => job.state === "waiting" && job.priority === priority).length,
    );
    expect(byPriority).toEqual(waitingByPriority);
  }

  /** E2: what workers believe is what the queue says. */
  #checkHolders(live: readonly JobStatus[]): void {
    const held = new Map<number, string>();
    for (const { worker, lease } of [...this.offers(), ...this.running()]) {
      must(!held.has(lease.number), `E2: two workers have ${lease.number}`);
      held.set(lease.number, `${worker.id} ${lease.attempt}`);
    }
    for (const job of live) {
      const holder = held.get(job.number);
      if (job.state !== "offered" && job.state !== "running") must(holder === undefined, `E2: ${job.number} ${holder}`);
      else if (holder === undefined) must(this.#isAwaited(job), `E2: ${job.number} is held by nobody who is there`);
      else must(holder === `${job.workerId} ${job.attempt}`, `E2: ${job.number} ${holder}`);
      held.delete(job.number);
    }
    must(held.size === 0, "E2: a worker has a job that is not there");
  }

  #isAwaited(job: JobStatus): boolean {
    const leases = this.cut.get(job.workerId) ?? [];
    return job.state === "running" && leases.some((lease) => lease.attempt === job.attempt);
  }

  #checkHandouts(): void {
    for (const worker of this.workers.values()) {
      for (const { lease } of worker.handouts.slice(this.#seen.get(worker) ?? 0)) {
        must(!this.#attempts.has(lease.attempt), "E2: an attempt came twice");
        this.#attempts.add(lease.attempt);
      }
      this.#seen.set(worker, worker.handouts.length);
    }
  }

  /** E5. One that was dead goes on when its turn comes: a later one may be at a worker just then. */
  #checkChains(live: readonly JobStatus[]): void {
    const chains = Map.groupBy(live, (job) => this.jobs.get(job.number)?.orderingKey ?? "");
    for (const [key, jobs] of chains) {
      if (key === "") continue;
      const atWorkers = jobs.filter((job) => job.state === "offered" || job.state === "running");
      must(atWorkers.length <= 1, `E5: several jobs of ${key} at workers`);
      const first = jobs.find((job) => job.state !== "dead" && !this.redriven.has(job.number));
      const one = atWorkers[0];
      const isInOrder = one === undefined || one === first || this.redriven.has(one.number);
      must(isInOrder, `E5: ${one?.number} before ${first?.number}`);
    }
  }

  /** Nothing waits that somebody could have, and what waits is explained. */
  #checkIdle(live: readonly JobStatus[]): void {
    const { engine } = this.queue;
    const waiting = live.filter((job) => job.state === "waiting");
    // Some of them each time: explaining counts the jobs before.
    for (const job of [...waiting.slice(0, 3), ...waiting.slice(-3)]) {
      const { reasons } = engine.explain(job.number);
      must(reasons.length > 0, `job ${job.number} waits for no reason`);
      const isKept = reasons.some((each) => ["throttled", "paused", "behind-ordering-key"].includes(each.code));
      const someone = [...this.workers.values()].find(
        (worker) => !worker.isDraining && worker.credit(job.priority, job.bytes) > 0,
      );
      must(isKept || someone === undefined, `job ${job.number} waits, and ${someone?.id} has credit`);
    }
  }

  live(): JobStatus[] {
    const { engine } = this.queue;
    const states = ["waiting", "offered", "running", "delayed", "dead"] as const;
    return states.flatMap((state) => engine.peek(state, 100_000)).toSorted((a, b) => a.number - b.number);
  }

  offers(): { readonly worker: FakeWorker; readonly lease: JobLease }[] {
    return [...this.workers.values()].flatMap((worker) => worker.offered().map((lease) => ({ worker, lease })));
  }

  running(): { readonly worker: FakeWorker; readonly lease: JobLease }[] {
    return [...this.workers.values()].flatMap((worker) => worker.leases().map((lease) => ({ worker, lease })));
  }
}

/** As `expect`, in a tenth of its time. */
function must(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}
