// A queue that the server itself fills and works off: what has to be done outlasts a restart, is tried again after a while,
// and lies with the dead jobs, where everybody can look, when it will not be done.
//
// OW1. `add` resolves when the jobs are durable.
// OW2. A job is handed to `handle` when the record of its start is durable, and ended by what that answers. Whatever it throws
//      is a failure of this attempt.
// OW3. The queue is made when it is not there, and found again when it was closed or deleted: until then `add` waits.
import { fromBinary } from "@bufbuild/protobuf";
import { JobSchema } from "@sluice/api";
import { SluiceError } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { CheckedJob, Handout, JobLease, OpenQueue, QueueCatalog, QueueWorker, Settings } from "./contract.ts";
import { DEFAULT_SETTINGS } from "./settings.ts";

export interface OwnJob {
  /** The same again within a day is not taken. */
  readonly id: string;
  readonly body: Uint8Array;
  /** Unix ms; 0: at once. */
  readonly notBeforeMs: number;
}

export type OwnOutcome =
  | { readonly kind: "done" }
  /** It failed, and is tried again; `atMs`: Unix ms, 0: by the queue's back-off. */
  | { readonly kind: "failed"; readonly reason: string; readonly atMs: number }
  /** It will never be done. */
  | { readonly kind: "rejected"; readonly reason: string };

export interface OwnQueueOptions {
  readonly catalog: QueueCatalog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly name: string;
  readonly settings: Partial<Settings>;
  /** Jobs at the same time. */
  readonly slots: number;
  /** The signal: the server stops, or the job is another's. */
  readonly handle: (body: Uint8Array, signal: AbortSignal) => Promise<OwnOutcome>;
}

const REOPEN_MS = 1_000;
const WORKER_ID = "server";

export class OwnQueue implements AsyncDisposable {
  readonly #options: OwnQueueOptions;
  #work: Work | undefined;
  /** Resolves when there is a queue. */
  #opened = Promise.withResolvers<void>();
  #opening: Promise<void> | undefined;
  #retry: Timer | undefined;
  #isClosed = false;

  constructor(options: OwnQueueOptions) {
    this.#options = options;
    this.#open();
  }

  /** Jobs that are being done. */
  get running(): number {
    return this.#work?.running ?? 0;
  }

  /** OW1. @throws LimitExceeded when the queue is full; SluiceError "unavailable" when the server stops */
  async add(jobs: readonly OwnJob[]): Promise<void> {
    while (this.#work === undefined) {
      if (this.#isClosed) throw stopping(this.#options.name);
      await this.#opened.promise;
    }
    const { engine, journal } = this.#work.queue;
    const bytes = jobs.reduce((sum, { body }) => sum + body.length, 0);
    for (let wait = journal.room(bytes); wait !== undefined; wait = journal.room(bytes)) await wait;
    const { place } = engine.enqueue(jobs.map(toChecked));
    await journal.durable(place);
  }

  /** Ends the jobs that run: they go back, and are done after the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#opened.resolve();
    await this.#opening;
    const work = this.#work;
    this.#work = undefined;
    await work?.end();
  }

  #open(): void {
    this.#opening = this.#find().catch((error: unknown) => this.#openLater(error));
  }

  /** OW3. */
  async #find(): Promise<void> {
    const { catalog, name, settings } = this.#options;
    const queue = catalog.find(name) ?? (await catalog.create(name, { ...DEFAULT_SETTINGS, ...settings }));
    if (this.#isClosed) return;
    const work = new Work(queue, this.#options);
    await work.begin();
    this.#work = work;
    queue.onClosed((error) => {
      work.abandon();
      if (this.#work !== work) return;
      this.#work = undefined;
      this.#opened = Promise.withResolvers();
      this.#openLater(error);
    });
    this.#opened.resolve();
  }

  #openLater(error: unknown): void {
    if (this.#isClosed) return;
    const { clock, logger, name } = this.#options;
    logger.warn({ event: "own-queue-fault", queue: name, error }, "cannot work on a queue of the server's own");
    this.#retry = clock.setTimer(() => this.#open(), REOPEN_MS);
  }
}

/** The worker at one opening of the queue. */
class Work implements QueueWorker {
  readonly id = WORKER_ID;
  readonly explicitStart = false;
  readonly leaseMs = 0;
  readonly queue: OpenQueue;
  readonly #options: OwnQueueOptions;
  readonly #running = new Map<number, { readonly stop: AbortController; readonly done: Promise<void> }>();
  #isOver = false;

  constructor(queue: OpenQueue, options: OwnQueueOptions) {
    this.queue = queue;
    this.#options = options;
  }

  get running(): number {
    return this.#running.size;
  }

  async begin(): Promise<void> {
    const { engine, journal } = this.queue;
    const { place } = engine.attach(this, []);
    await journal.durable(place);
    engine.creditChanged(this);
  }

  /** The server stops. */
  async end(): Promise<void> {
    if (this.#isOver) return;
    this.queue.engine.drain(this);
    const running = [...this.#running.values()];
    for (const { stop } of running) stop.abort();
    await Promise.all(running.map(({ done }) => done));
    if (this.#isOver) return;
    this.#isOver = true;
    this.queue.engine.detach(this);
  }

  /** The queue is closed: nothing can be said to it any more. */
  abandon(): void {
    this.#isOver = true;
    for (const { stop } of this.#running.values()) stop.abort();
  }

  credit(): number {
    return this.#isOver ? 0 : this.#options.slots - this.#running.size;
  }

  deliver(handout: Handout): void {
    const stop = new AbortController();
    const { attempt } = handout.lease;
    const done = this.#do(handout, stop.signal).finally(() => {
      this.#running.delete(attempt);
      // In a turn of its own: the engine may be in the midst of something.
      if (!this.#isOver) this.queue.engine.creditChanged(this);
    });
    this.#running.set(attempt, { stop, done });
  }

  recall(): void {
    // Only offers are recalled, and it is given none.
  }

  leaseLost(leases: readonly JobLease[]): void {
    for (const { attempt } of leases) this.#running.get(attempt)?.stop.abort();
  }

  /** OW2. Never rejects. */
  async #do({ lease, place, recordPlace }: Handout, signal: AbortSignal): Promise<void> {
    try {
      await this.queue.journal.durable(recordPlace);
      const { body } = fromBinary(JobSchema, await this.queue.journal.body(place));
      const outcome = await this.#options.handle(body, signal).catch(toFailure);
      if (!this.#isOver) this.#finish(lease, outcome, signal);
    } catch (error) {
      // Its lease runs out, and it is done again.
      const { logger, name } = this.#options;
      logger.warn({ event: "own-queue-fault", queue: name, error }, "cannot end a job of a queue of the server's own");
    }
  }

  #finish(lease: JobLease, outcome: OwnOutcome, signal: AbortSignal): void {
    const { engine } = this.queue;
    if (outcome.kind === "done") engine.ack(this, [lease]);
    else if (signal.aborted) engine.nack(this, lease, { kind: "return" });
    else if (outcome.kind === "rejected") engine.nack(this, lease, { kind: "reject", reason: outcome.reason });
    else engine.nack(this, lease, { kind: "retry", reason: outcome.reason, notBeforeMs: outcome.atMs });
  }
}

function toFailure(error: unknown): OwnOutcome {
  return { kind: "failed", reason: error instanceof Error ? error.message : String(error), atMs: 0 };
}

function toChecked({ id, body, notBeforeMs }: OwnJob): CheckedJob {
  return {
    body,
    priority: 3,
    fairnessKey: "",
    orderingKey: "",
    notBeforeMs,
    ttlMs: 0,
    dedupId: id,
    headers: {},
    jobId: "",
  };
}

function stopping(name: string): SluiceError {
  return new SluiceError("unavailable", `Cannot add to queue "${name}": the server stops`, {
    reason: "DRAINING",
    retryAfterMs: REOPEN_MS,
  });
}
