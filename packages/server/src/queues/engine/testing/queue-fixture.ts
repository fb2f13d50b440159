// A queue with everything around it that a test of the engine needs.
import { ManualClock } from "@sluice/rpc/testing";
import type { CheckedJob, JobLease, LeaseCode, QueueEngine, Settings } from "../../contract.ts";
import { DEFAULT_SETTINGS } from "../../settings.ts";
import { createEngine } from "../queue.ts";
import { FakeWorker } from "./fake-worker.ts";
import { MemoryJournal } from "./memory-journal.ts";

export function newJob(fields: Partial<CheckedJob> = {}): CheckedJob {
  return {
    body: new Uint8Array(8),
    priority: 3,
    fairnessKey: "",
    orderingKey: "",
    notBeforeMs: 0,
    ttlMs: 0,
    dedupId: "",
    headers: {},
    jobId: "",
    ...fields,
  };
}

export class QueueFixture {
  readonly clock = new ManualClock();
  readonly journal = new MemoryJournal();
  /** The next random numbers; then 0.5. */
  readonly chance: number[] = [];
  engine: QueueEngine;

  constructor(settings: Partial<Settings> = {}) {
    this.engine = this.#create().open(this.journal, { ...DEFAULT_SETTINGS, ...settings }).value;
  }

  get nowMs(): number {
    return Number(this.clock.nowNs() / 1_000_000n);
  }

  /** The process ends, and the queue is opened again. Workers are to be attached anew. */
  restart(): void {
    this.engine.close();
    const engine = this.#create();
    this.journal.replayTo(engine);
    this.engine = engine.open(this.journal).value;
  }

  /** A worker that is attached, with credit. */
  worker(
    id: string,
    options: { window: number; explicitStart?: boolean; leaseMs?: number; held?: JobLease[] },
  ): FakeWorker {
    const worker = new FakeWorker(id, options);
    this.engine.attach(worker, options.held ?? []);
    this.setWindow(worker, options.window);
    return worker;
  }

  setWindow(worker: FakeWorker, window: number): void {
    worker.window = window;
    worker.lostPlaces = 0;
    this.engine.creditChanged(worker);
  }

  /** Numbers of jobs enqueued in one batch. */
  enqueue(...jobs: Partial<CheckedJob>[]): number[] {
    const { value } = this.engine.enqueue(jobs.map((each) => newJob(each)));
    return value.map((each) => this.engine.find(each.jobId) ?? 0);
  }

  /** The worker starts an offer that it has. */
  start(worker: FakeWorker, number: number): LeaseCode {
    const handout = worker.offers.get(number)!;
    const [outcome] = this.engine.start(worker, [handout.lease]).value;
    if (outcome!.code !== "ok") return outcome!.code;
    worker.offers.delete(number);
    worker.running.set(number, handout);
    return "ok";
  }

  /** Acknowledges what the worker has of this job, and offers it its place again. */
  ack(worker: FakeWorker, number: number): LeaseCode {
    const { lease } = (worker.running.get(number) ?? worker.offers.get(number))!;
    worker.running.delete(number);
    worker.offers.delete(number);
    const [outcome] = this.engine.ack(worker, [lease]).value;
    this.engine.creditChanged(worker);
    return outcome!.code;
  }

  #create(): ReturnType<typeof createEngine> {
    return createEngine({ name: "test", clock: this.clock, random: () => this.chance.shift() ?? 0.5 });
  }
}
