// The parts of a queue, and what they ask of each other.
//
//   service.ts, work-session.ts   the RPCs, and one Work stream each: the protocol, its credit
//        │ commands                  ▲ QueueWorker: deliveries, recalls, lost leases
//   engine/                       one queue: jobs, their order, leases, timers. Synchronous, no I/O; it decides
//        │ records                   ▲ records again, when the queue is opened
//   journal/                      what was decided, durable: group commit, recovery, space, bodies
//
// Q1. The engine changes its state and appends the record of it in one turn. What depends on it is answered when the
//     record is durable, never before: `Journal.durable(place)`.
// Q2. State comes from records alone: replaying them into a new engine gives the same queue. So when the journal fails,
//     the queue is closed, its sessions end with UNAVAILABLE, and it is opened again from what is on disk.
// Q3. A refusal (disk full, quota, limit) is thrown by `append` before anything has changed.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JournalRecord, JournalRecordSchema } from "@sluice/api";
import type { Journal as RecordJournal, JournalOwner as RecordOwner, Place } from "../journal/contract.ts";
import type { Clock } from "../store/contract.ts";

export type { Place } from "../journal/contract.ts";

export type NewRecord = MessageInitShape<typeof JournalRecordSchema>;

/** The durable half of a queue: its bodies are the stored bytes of `Job` in JobAdded records, to be copied into a Delivery. */
export type Journal = RecordJournal<NewRecord>;

/**
 * What the journal asks of the engine: of a job's body and headers nothing is read. A JobAdded is carried when the job is
 * still there and this is its place.
 */
export type JournalOwner = RecordOwner<JournalRecord, NewRecord>;

/** A lease, inside: `number` is the job's. */
export interface JobLease {
  readonly number: number;
  readonly attempt: number;
}

export type LeaseCode = "ok" | "stale" | "not-found" | "duplicate";
export interface LeaseOutcome {
  readonly code: LeaseCode;
  /** Unix ms; of "ok" of a start or an extension. */
  readonly leaseUntilMs?: number;
}

/** What the engine hands to a worker. */
export interface Handout {
  readonly lease: JobLease;
  /** Where the journal has the job. */
  readonly place: Place;
  readonly jobId: string;
  /** Bytes of the stored job: what counts against windows. */
  readonly bytes: number;
  readonly priority: number;
  readonly failures: number;
  /** Unix ms; 0: an offer. A started job must not leave before its record is durable (`recordPlace`). */
  readonly leaseUntilMs: number;
  readonly recordPlace: Place;
}

export type RecallReason = "rebalance" | "higher-priority" | "cancelled" | "paused" | "not-started";

/** A worker, as the engine sees it. All calls are synchronous and must not call back into the engine. */
export interface QueueWorker {
  readonly id: string;
  readonly explicitStart: boolean;
  /** Length of its leases from their start; 0: the queue's. */
  readonly leaseMs: number;
  /**
   * How many more jobs of this priority, the next of them so large, its credit allows now. 0 or less: none. It may only
   * rise by `recall` or before a `creditChanged`.
   */
  credit(priority: number, bytes: number): number;
  deliver(handout: Handout): void;
  /**
   * These offers are taken back already. Since the recall arrives before whatever is sent after it, the worker has their
   * places again: `credit` should count them at once, until the next Flow says how it is.
   */
  recall(leases: readonly JobLease[], reason: RecallReason): void;
  leaseLost(leases: readonly JobLease[]): void;
}

/** All of QueueSettings, resolved. */
export interface Settings {
  readonly leaseMs: number;
  readonly maxRunMs: number;
  readonly graceMs: number;
  readonly offerMs: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  readonly ageMs: number;
  readonly dedupWindowMs: number;
  readonly deadRetentionMs: number;
  readonly jobsMax: number;
  readonly bytesMax: number;
  readonly workersMax: number;
  readonly windowMax: number;
  readonly weights: ReadonlyMap<string, number>;
}

/** A job to be enqueued; its fields are checked: lengths, ranges, characters. */
export interface CheckedJob {
  readonly body: Uint8Array;
  /** 0 to 7. */
  readonly priority: number;
  readonly fairnessKey: string;
  readonly orderingKey: string;
  /** Unix ms; 0: at once. */
  readonly notBeforeMs: number;
  /** 0: never. */
  readonly ttlMs: number;
  readonly dedupId: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The producer's own id, or "". */
  readonly jobId: string;
}

/** What a command did, and the place that must be durable before anybody hears of it. */
export interface Answer<T> {
  readonly value: T;
  readonly place: Place;
}

export interface Enqueued {
  readonly jobId: string;
  /** Not taken: `jobId` is the first job with this dedup_id. */
  readonly duplicate: boolean;
}

export type JobStateName = "waiting" | "offered" | "running" | "delayed" | "dead";

export interface JobFailure {
  /** Unix ms. */
  readonly atMs: number;
  readonly attempt: number;
  readonly workerId: string;
  readonly reason: string;
}

/** A job as the engine knows it; the rest of it is at `place`: `journal.body(place)`. */
export interface JobStatus {
  readonly number: number;
  readonly jobId: string;
  readonly place: Place;
  readonly bytes: number;
  readonly state: JobStateName;
  readonly priority: number;
  readonly failures: number;
  /** Unix ms: when it may be handed out (delayed), when its lease ends (running); else 0. */
  readonly untilMs: number;
  /** Who has it, or had it last while it is held for them; "" when nobody. */
  readonly workerId: string;
  /** Of the lease; 0: none. */
  readonly attempt: number;
  /** The newest ones, oldest first. */
  readonly history: readonly JobFailure[];
  readonly progress: number;
  readonly progressMessage: string;
}

export type ExplainCode =
  | "no-worker"
  | "no-credit"
  | "throttled"
  | "behind-ordering-key"
  | "delayed"
  | "paused"
  | "offered"
  | "leased"
  | "dead"
  | "behind-others";

export interface ExplainReason {
  readonly code: ExplainCode;
  /** For people. */
  readonly text: string;
  /** Worker, fairness key, ordering key: whom `code` speaks of. */
  readonly subject: string;
  /** Unix ms; 0: open. */
  readonly untilMs: number;
}

export interface Explanation {
  readonly job: JobStatus;
  readonly reasons: readonly ExplainReason[];
  /** Jobs before it, where it waits; -1: not counted, there are too many. */
  readonly ahead: number;
}

export interface Counts {
  readonly waiting: number;
  readonly offered: number;
  readonly running: number;
  readonly delayed: number;
  readonly dead: number;
  /** Since the queue was created. */
  readonly enqueued: number;
  readonly done: number;
  readonly expired: number;
  readonly removed: number;
  readonly failures: number;
  readonly workers: number;
  /** Of all workers, for the most urgent jobs. */
  readonly credit: number;
  /** By priority, 0 to 7. */
  readonly waitingByPriority: readonly number[];
  /** Unix ms; 0: none waits. */
  readonly oldestEnqueuedAtMs: number;
  readonly liveBytes: number;
}

export interface CheckedSchedule {
  readonly name: string;
  readonly cron: string;
  /** "" is UTC. */
  readonly timeZone: string;
  /** Without a job id or a dedup id of its own. */
  readonly job: CheckedJob;
}
export interface ScheduleStatus extends CheckedSchedule {
  /** Unix ms; 0: never again. */
  readonly nextAtMs: number;
  /** Unix ms; 0: not yet. */
  readonly lastAtMs: number;
}

export type NackHow =
  | { readonly kind: "return" }
  /** `notBeforeMs`: Unix ms; 0: by the queue's back-off. */
  | { readonly kind: "retry"; readonly notBeforeMs: number; readonly reason: string }
  | { readonly kind: "reject"; readonly reason: string };

/**
 * One queue. Every command is synchronous, and answers with the place to wait for; a refusal is thrown before anything has
 * changed: LimitExceeded at a bound, and whatever `Journal.append` throws. Commands that name a job which is not there
 * throw NotFound. Times are Unix ms. After `close` nothing is delivered, recalled or timed any more.
 */
export interface QueueEngine extends JournalOwner {
  readonly settings: Settings;
  readonly createdAtMs: number;
  readonly isPaused: boolean;

  /** All of them, or none. @throws AlreadyExists, LimitExceeded, DiskFull… */
  enqueue(jobs: readonly CheckedJob[]): Answer<readonly Enqueued[]>;

  /**
   * A worker comes, with the leases that it believes to hold from an earlier session of the same id (that session must be
   * detached). Nothing is delivered before the first `creditChanged`.
   * @param from the worker of that session, where it is known: what that one ran and `held` does not name never arrived, and
   * returns at once
   * @throws LimitExceeded beyond `workersMax`
   */
  attach(
    worker: QueueWorker,
    held: readonly JobLease[],
    from?: QueueWorker,
  ): Answer<{ readonly kept: readonly JobLease[]; readonly lost: readonly JobLease[] }>;
  /** Its Flow or Lanes were set: it may have more credit, or less. Delivers at once. */
  creditChanged(worker: QueueWorker): void;
  /**
   * Offers return at once, started jobs are held for the grace time. No more calls to this worker follow.
   * @param sent of the started jobs, those that the worker was sent; the others return at once, too. Default: all
   */
  detach(worker: QueueWorker, sent?: (started: readonly JobLease[]) => readonly JobLease[]): void;
  /** Nothing more is delivered to it, and its offers return at once (recalled as "rebalance"). */
  drain(worker: QueueWorker): void;
  /** What it has now: a draining worker with nothing is drained. */
  held(worker: QueueWorker): { readonly offered: number; readonly running: number };

  /** One outcome for each lease, in order. "duplicate" for one that this worker has started already. */
  start(worker: QueueWorker, leases: readonly JobLease[]): Answer<readonly LeaseOutcome[]>;
  /** Also of offers that were not started: their Start is implied. */
  ack(worker: QueueWorker, leases: readonly JobLease[]): Answer<readonly LeaseOutcome[]>;
  nack(worker: QueueWorker, lease: JobLease, how: NackHow): Answer<LeaseOutcome>;
  /** From anywhere: the attempt number is the proof. `leaseMs` 0: as at the start. Not durable: a restart grants anew. */
  extend(leases: readonly JobLease[], leaseMs: number): readonly LeaseOutcome[];
  progress(worker: QueueWorker, lease: JobLease, how: { readonly fraction: number; readonly message: string }): void;
  /** No job of this key is handed out or started before `untilMs`. Not durable. */
  throttle(worker: QueueWorker, how: { readonly fairnessKey: string; readonly untilMs: number }): void;

  /** @returns the number of a job by its id, the server's or its producer's; undefined: not there */
  find(jobId: string): number | undefined;
  view(number: number): JobStatus;
  explain(number: number): Explanation;
  /** The first ones, in the order in which they would be handed out, become due, end, or died. */
  peek(state: JobStateName, limit: number): readonly JobStatus[];
  /** Oldest death first, after a token of an earlier page ("" is the first page). `nextToken` "": that was all. */
  listDead(after: string, limit: number): { readonly jobs: readonly JobStatus[]; readonly nextToken: string };
  counts(): Counts;
  /** Those of `counts` that cost nothing, however many workers there are. */
  backlog(): Pick<Counts, "waitingByPriority" | "oldestEnqueuedAtMs">;

  cancel(number: number): Answer<void>;
  /**
   * Removes jobs that wait, are delayed or are dead; undefined: all three. Does a bounded piece of the work: call again,
   * after a turn of others, while `more`.
   */
  purge(
    state: "waiting" | "delayed" | "dead" | undefined,
  ): Answer<{ readonly removed: number; readonly more: boolean }>;
  /** Dead jobs wait again. undefined: all, in bounded pieces as `purge`. Numbers that are not dead are passed over. */
  redrive(numbers: readonly number[] | undefined): Answer<{ readonly redriven: number; readonly more: boolean }>;

  pause(): Answer<void>;
  resume(): Answer<void>;
  update(settings: Settings): Answer<void>;

  /** @throws InvalidRequest when the cron expression or the time zone is none; LimitExceeded */
  putSchedule(schedule: CheckedSchedule): Answer<ScheduleStatus>;
  schedules(): readonly ScheduleStatus[];
  deleteSchedule(name: string): Answer<void>;

  /** Ends all timers. Workers are not told: their sessions are the caller's to end. */
  close(): void;
}

/**
 * A queue before its records are read: `engine/queue.ts` makes one with `createEngine(options)`, the journal is opened with it
 * as its owner, and `open` begins.
 */
export interface EngineBeforeOpen extends JournalOwner {
  /**
   * All records were replayed. Appends the QueueState of this opening, and starts the timers. `settings`: of a queue that is
   * just made; one that is there already has its own. The place must be durable before anything is handed out: before the
   * first worker attaches.
   */
  open(journal: Journal, settings?: Settings): Answer<QueueEngine>;
}

export interface EngineOptions {
  /** The queue's, for errors. */
  readonly name: string;
  readonly clock: Clock;
  /** From 0 to below 1, as Math.random: the jitter of back-offs. */
  readonly random: () => number;
}

/** A queue that is served. */
export interface OpenQueue {
  readonly name: string;
  readonly engine: QueueEngine;
  readonly journal: Journal;
  /**
   * Calls back once, when nothing more can be done with it: its journal failed (the error is a SluiceError "unavailable": it
   * is opened again), or it was deleted ("not-found"). At once when that has happened.
   */
  onClosed(listener: (error: Error) => void): void;
}

/** All queues of a server. `open-queues.ts` is the one of the data folder. */
export interface QueueCatalog {
  /** @throws SluiceError "unavailable" while it is not open but will be */
  find(name: string): OpenQueue | undefined;
  /** By name. Those that are not open now are left out. */
  list(): readonly OpenQueue[];
  /** Resolves when it is durable. @throws AlreadyExists, LimitExceeded at `queuesMax`, DiskFull… */
  create(name: string, settings: Settings): Promise<OpenQueue>;
  /** With all that is in it. @throws NotFound */
  remove(name: string): Promise<void>;
}
