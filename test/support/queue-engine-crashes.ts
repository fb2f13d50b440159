// The life of a queue with its engine on a fake disk: a worker starts, does, fails and returns jobs, until the process dies.
//
// What was answered counts: a job that was taken is there until its end was asked for, and not after its end was answered. No
// attempt comes twice.
import type {
  Handout,
  JobLease,
  Journal,
  QueueEngine,
  QueueWorker,
} from "../../packages/server/src/queues/contract.ts";
import { createEngine } from "../../packages/server/src/queues/engine/queue.ts";
import { newJob } from "../../packages/server/src/queues/engine/testing/queue-fixture.ts";
import type { QueueJournal } from "../../packages/server/src/queues/journal/queue-journal.ts";
import { DEFAULT_SETTINGS } from "../../packages/server/src/queues/settings.ts";
import { type Death, Disk, openSmall, type Outcome } from "./queue-disk.ts";

/** What is known of a job: whether its enqueueing was answered, and whether its end was asked for or answered. */
interface KnownJob {
  isTaken: boolean;
  end: "none" | "asked" | "answered";
  failuresAnswered: number;
  failuresAsked: number;
}

/** Takes what it gets, started already. */
class TakingWorker implements QueueWorker {
  readonly id = "worker";
  readonly explicitStart = false;
  readonly leaseMs = 0;
  leases: JobLease[] = [];

  credit(): number {
    return 6 - this.leases.length;
  }

  deliver({ lease }: Handout): void {
    this.leases.push(lease);
  }

  recall(): void {}

  leaseLost(): void {}
}

interface OpenedEngine {
  readonly engine: QueueEngine;
  readonly journal: QueueJournal;
}

async function openEngine(disk: Disk): Promise<OpenedEngine> {
  const before = createEngine({ name: "tax", clock: disk.clock, random: () => 0.5 });
  const journal = await openSmall(disk, before);
  const settings = { ...DEFAULT_SETTINGS, maxAttempts: 1000, backoffMs: 0 };
  const { value: engine, place } = before.open(journal, journal.replayed === 0 ? settings : undefined);
  await journal.durable(place);
  return { engine, journal };
}

/** Everything that was ever asked of a queue, and how much of it was answered. */
class EngineStory {
  readonly jobs = new Map<number, KnownJob>();
  /** The greatest attempt that left the engine. */
  attempt = 0;

  async play(disk: Disk, { engine, journal }: OpenedEngine, rounds: number): Promise<void> {
    const worker = new TakingWorker();
    engine.attach(worker, []);
    for (let round = 0; round < rounds; round++) {
      await this.#enqueue(engine, journal);
      worker.leases = worker.leases.filter(({ number }) => this.jobs.get(number)?.end === "none");
      engine.creditChanged(worker);
      for (const { attempt } of worker.leases) this.attempt = Math.max(this.attempt, attempt);
      await this.#work(engine, journal, worker);
      disk.clock.advance(10);
      if (round % 4 === 0) await journal.cleaned();
    }
    engine.detach(worker);
    await journal.cleaned();
  }

  check({ engine }: OpenedEngine): string[] {
    const wrong: string[] = [];
    const states = ["waiting", "delayed", "running", "dead"] as const;
    const found = new Map(states.flatMap((state) => engine.peek(state, 1000)).map((job) => [job.number, job]));
    for (const [number, known] of this.jobs) {
      const job = found.get(number);
      if (job === undefined && known.isTaken && known.end === "none") wrong.push(`job ${number} is lost`);
      if (job !== undefined && known.end === "answered") wrong.push(`job ${number} is there again`);
      if (job !== undefined && (job.failures < known.failuresAnswered || job.failures > known.failuresAsked)) {
        wrong.push(`job ${number} has failed ${job.failures} times`);
      }
    }
    for (const number of found.keys()) if (!this.jobs.has(number)) wrong.push(`job ${number} was never enqueued`);
    const worker = new TakingWorker();
    engine.attach(worker, []);
    engine.creditChanged(worker);
    for (const { attempt } of worker.leases) if (attempt <= this.attempt) wrong.push(`attempt ${attempt} comes again`);
    engine.detach(worker);
    return wrong;
  }

  async #enqueue(engine: QueueEngine, journal: Journal): Promise<void> {
    const { value, place } = engine.enqueue([newJob(), newJob({ body: new Uint8Array(90) }), newJob()]);
    const jobs = value.map(({ jobId }) => {
      const job: KnownJob = { isTaken: false, end: "none", failuresAnswered: 0, failuresAsked: 0 };
      this.jobs.set(Number(jobId), job);
      return job;
    });
    await journal.durable(place);
    for (const job of jobs) job.isTaken = true;
  }

  /** Fails the first of what the worker has, returns the second, and does the others. */
  async #work(engine: QueueEngine, journal: Journal, worker: TakingWorker): Promise<void> {
    const [failing, returning, ...doing] = worker.leases;
    if (failing === undefined || returning === undefined) return;
    const failed = this.jobs.get(failing.number)!;
    const done = doing.map(({ number }) => this.jobs.get(number)!);
    worker.leases = [];
    failed.failuresAsked++;
    for (const job of done) job.end = "asked";
    engine.nack(worker, failing, { kind: "retry", notBeforeMs: 0, reason: "no teapots" });
    engine.nack(worker, returning, { kind: "return" });
    const { place } = engine.ack(worker, doing);
    await journal.durable(place);
    failed.failuresAnswered++;
    for (const job of done) job.end = "answered";
  }
}

/** A queue whose process dies while a worker works, and which is opened again. */
export async function crashEngine(death: Death): Promise<Outcome> {
  const disk = new Disk(death);
  const violations: string[] = [];
  const story = new EngineStory();
  await disk.makeFolders("/data", "/data/queues");
  disk.arm();
  try {
    const opened = await openEngine(disk);
    await story.play(disk, opened, 30);
    opened.engine.close();
    await opened.journal[Symbol.asyncDispose]();
  } catch (error) {
    if (!disk.fake.isDead) violations.push(`failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
  disk.end();
  const { operations, sites } = disk;
  for (let life = 0; life < 2; life++) {
    try {
      const again = await openEngine(disk);
      violations.push(...story.check(again));
      await story.play(disk, again, 3);
      again.engine.close();
      await again.journal[Symbol.asyncDispose]();
    } catch (error) {
      violations.push(`cannot be opened: ${error instanceof Error ? error.stack : String(error)}`);
    }
  }
  return { violations, operations, sites };
}
