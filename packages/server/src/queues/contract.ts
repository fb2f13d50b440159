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

/** Where a record lies in the journal: its sequence in the log. Ascending, with holes for nobody to see. */
export type Place = number;

export type NewRecord = MessageInitShape<typeof JournalRecordSchema>;

/** The durable half of a queue. */
export interface Journal extends AsyncDisposable {
  /**
   * Adds a record to the next group commit. Never waits.
   * @throws DiskFull, LogReadOnly, QuotaExceeded, LimitExceeded: nothing was added
   */
  append(record: NewRecord): Place;
  /** Resolves when everything up to `place` is durable; undefined: it is already. Rejects when the journal has failed. */
  durable(place: Place): Promise<void> | undefined;
  /** Whether new jobs of so many bytes fit now: some room is kept for the records that end jobs. @throws as `append` */
  admit(bytes: number): void;
  /** Resolves when bytes that are not durable yet have become fewer; undefined: there is room for `bytes` now. */
  room(bytes: number): Promise<void> | undefined;
  /**
   * The stored bytes of `Job` of the JobAdded record at this place: to be copied into a Delivery. At once when they are in
   * memory. The bytes stay valid. Rejects with DataLoss when they do not match their checksum.
   */
  job(place: Place): Uint8Array | Promise<Uint8Array>;
  /** Called once, when nothing more can be appended or made durable. */
  onFailure(listener: (error: Error) => void): void;
  readonly diskBytes: number;
}

/** What the journal asks of the engine. */
export interface JournalOwner {
  /** A record that was there when the journal was opened, in order. `bytes`: what its JobAdded takes on disk. */
  replay(record: JournalRecord, place: Place, bytes: number): void;
  /**
   * A record is about to be removed, with all before it. Answers the records that must stand in its place at the end, in the
   * state of now: the job with its snapshot when it is still there and this is its place; else none.
   */
  carry(record: JournalRecord, place: Place): readonly NewRecord[];
  /** What was carried has its new place. */
  carried(record: NewRecord, place: Place, bytes: number): void;
  /** Of jobs that are there, as their JobAdded records take on disk. Space returns when the journal takes twice as much. */
  readonly liveBytes: number;
}

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
  readonly leaseMs: number;
  /** How many more jobs of this priority, the next of them so large, its credit allows now. */
  credit(priority: number, bytes: number): number;
  deliver(handout: Handout): void;
  recall(leases: readonly JobLease[], reason: RecallReason): void;
  leaseLost(leases: readonly JobLease[]): void;
}
