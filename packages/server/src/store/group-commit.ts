// The writer of a log: appends gather while the last fdatasync runs, then go to disk together.
//
// W1. One group is on its way at a time: written durably, published, answered; then the next. So when a crash tears the
//     file, everything before the torn group was durable, and nothing of the torn group was seen by anybody.
// W2. A write that failed is never tried again, but for a full disk: the kernel may have dropped the pages and call the
//     next sync a success. The log is read-only until its last segment was proven, written once more and synced (`reopen`).
// W3. On a full disk a write that failed leaves nothing: the file is cut back to what is durable, everything pending is refused, `next`
//     goes back. If the cut fails, the log is read-only.
// W4. A segment's folder is synced before the first entry of the segment is acknowledged, and a segment is complete, of its
//     length and synced before the next one is made.
// W5. Who would exceed the quota is refused before anything is appended; what is pending counts as if it were on disk.
import type { Batch, LogWriter, ProducerState } from "./contract.ts";
import type { Incidents } from "./events.ts";
import type { File } from "./file-system.ts";
import type { LogCore } from "./log-core.ts";
import type { ProducerEntry, ProducerTable } from "./producers.ts";
import { DiskFull, Fenced, LimitExceeded, LogReadOnly, QuotaExceeded, SluiceError } from "../errors.ts";
import { errorCode } from "./file-system.ts";
import { GrowingFile } from "./growing-file.ts";
import { StepFailed, attempt } from "./step.ts";

export interface GroupCommitOptions {
  /** A segment is sealed before it would grow beyond. */
  readonly segmentBytes: number;
  /** Written and synced at once, at most, unless it is a single batch. */
  readonly groupBytesMax: number;
  readonly batchBytesMax: number;
  readonly pendingBytesMax: number;
  /** Frames and indexes on disk, and what is pending; undefined: no bound. */
  readonly quotaBytes?: number | undefined;
  /** Set: retention by age makes room in time. */
  readonly retentionAgeMs?: number | undefined;
}

/** Makes segments for the writer. */
export interface SegmentMaker {
  /** Creates the next segment's file, makes its name durable, adds the segment to the chain. @throws StepFailed */
  makeSegment(first: number): Promise<File>;
  /** Proves the open segment and opens it once more. @throws what is in the way */
  reopen(): Promise<File>;
}

export type WriterState =
  | { readonly kind: "open" }
  /** Until `reopen` succeeds; for ever when what failed was not the disk. */
  | { readonly kind: "read-only"; readonly cause: string; readonly isFinal: boolean }
  | { readonly kind: "closed" };

interface Group {
  readonly batches: Batch[];
  readonly producers: ProducerEntry[];
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  bytes: number;
  lastSequence: number;
}

interface RoomWaiter {
  readonly bytes: number;
  readonly resolve: () => void;
}

/** A client may try again soon: groups take milliseconds. */
const RETRY_AFTER_MS = 100;
/** Retention removes whole segments, now and then. */
const QUOTA_RETRY_AFTER_MS = 30_000;

export class GroupCommit implements LogWriter {
  readonly #core: LogCore;
  readonly #producers: ProducerTable;
  readonly #segments: SegmentMaker;
  readonly #incidents: Incidents;
  readonly #options: GroupCommitOptions;
  /** Of the open segment. */
  #file: GrowingFile;
  #state: WriterState = { kind: "open" };
  #next: number;
  /** Groups that wait, behind `#current`. */
  readonly #queue: Group[] = [];
  #current: Group | undefined;
  #pendingBytes = 0;
  #waiters: RoomWaiter[] = [];
  #running: Promise<void> | undefined;
  #rollWanted = false;
  #undone = 0;
  /** Why somebody outside wants nothing written; undefined: nobody does. */
  #hold: string | undefined;
  /** The last write found no room. */
  #isFull = false;

  constructor(parts: {
    core: LogCore;
    producers: ProducerTable;
    segments: SegmentMaker;
    file: File;
    incidents: Incidents;
    options: GroupCommitOptions;
  }) {
    this.#core = parts.core;
    this.#producers = parts.producers;
    this.#segments = parts.segments;
    this.#incidents = parts.incidents;
    this.#options = parts.options;
    this.#file = this.#growing(parts.file);
    this.#next = parts.core.headSequence + 1;
  }

  get epoch(): number {
    return this.#core.head.epoch;
  }

  get next(): number {
    return this.#next;
  }

  get undone(): number {
    return this.#undone;
  }

  /** Why writes are refused now, in a sentence; empty: they are not. */
  get refusal(): string {
    try {
      this.#assertWritable(0);
      return this.#isFull ? "the disk is full" : "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  get state(): WriterState {
    return this.#state;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  internLabel(name: string): number {
    return this.#core.labels.intern(name);
  }

  producer(id: string): ProducerState | undefined {
    return this.#producers.find(id);
  }

  append(expectedNext: number, batch: Batch): Promise<number> {
    this.#assertWritable(batch.count === 0 ? 0 : bytesOf(batch));
    if (expectedNext !== this.#next) throw new Fenced(expectedNext, this.#next);
    const last = this.#next + batch.count - 1;
    if (batch.count === 0) return this.durable(last).then(() => last);
    const bytes = bytesOf(batch);
    this.#assertRoom(bytes);
    const group = this.#groupFor(bytes);
    group.batches.push(batch);
    group.bytes += bytes;
    group.lastSequence = last;
    this.#pendingBytes += bytes;
    this.#next = last + 1;
    if (batch.producer !== undefined) {
      const entry = { id: batch.producer.id, lastProducerSequence: batch.producer.lastSequence, lastSequence: last };
      group.producers.push(entry);
      this.#producers.notePending(entry);
    }
    this.#start();
    return group.done.then(() => last);
  }

  room(bytes: number): Promise<void> | undefined {
    if (this.#hasRoom(bytes) && this.#waiters.length === 0) return undefined;
    return new Promise((resolve) => {
      this.#waiters.push({ bytes, resolve });
    });
  }

  hasRoom(bytes: number): boolean {
    this.#assertWritable(bytes);
    return this.#hasRoom(bytes) && this.#waiters.length === 0;
  }

  /** Refuses what comes from now on, for this reason; undefined: no longer. What was appended goes on. */
  hold(why: string | undefined): void {
    this.#hold = why;
    // Who waits for room hears of it by the append that it then tries.
    if (why !== undefined) this.#admit();
  }

  /** W2. Tries to leave the read-only state, when there is nothing that forbids it. @throws what is in the way */
  async reopen(): Promise<void> {
    if (!this.#isReopenable()) return;
    await this.#running;
    const file = this.#growing(await this.#segments.reopen());
    const unused = this.#isReopenable() ? this.#file : file;
    await unused.close().catch(() => undefined);
    if (unused === file) return;
    this.#file = file;
    this.#state = { kind: "open" };
    this.#incidents.tell({ kind: "writable" });
  }

  durable(sequence: number): Promise<void> {
    if (sequence <= this.#core.headSequence) return Promise.resolve();
    if (this.#current !== undefined && sequence <= this.#current.lastSequence) return this.#current.done;
    const group = this.#queue.find((each) => sequence <= each.lastSequence);
    return (
      group?.done ?? Promise.reject(new RangeError(`Cannot wait for entry ${sequence}: the next one is ${this.#next}`))
    );
  }

  /** Seals the open segment now, unless it is empty. Resolves when it is done or the log cannot. */
  async roll(): Promise<void> {
    if (this.#state.kind !== "open") return;
    this.#rollWanted = true;
    this.#start();
    await this.#running;
  }

  /** Takes no more, brings to disk what was taken, closes the file. */
  async close(): Promise<void> {
    const isFaulty = () => this.#state.kind === "read-only";
    const wasFaulty = isFaulty();
    this.#state = { kind: "closed" };
    await this.#running;
    this.#admit();
    // A file that could not be written or synced is left as it is: the next start finds out what of it is there.
    await this.#file.close(wasFaulty || isFaulty() ? undefined : this.#core.chain.open.bytes);
  }

  #isReopenable(): boolean {
    return this.#state.kind === "read-only" && !this.#state.isFinal;
  }

  #assertWritable(bytes: number): void {
    const { name } = this.#core;
    if (this.#state.kind === "read-only") throw new LogReadOnly(name, this.#state);
    if (this.#state.kind === "closed") {
      throw new SluiceError("unavailable", `Cannot append to log "${name}": it is closed`, { reason: "LOG_CLOSED" });
    }
    if (this.#hold !== undefined) throw new DiskFull(name, this.#hold);
    this.#assertQuota(bytes);
  }

  /** W5. */
  #assertQuota(bytes: number): void {
    const { quotaBytes, retentionAgeMs } = this.#options;
    if (quotaBytes === undefined) return;
    const total = this.#core.chain.diskBytes + this.#pendingBytes + bytes;
    const retryAfterMs = retentionAgeMs === undefined ? undefined : QUOTA_RETRY_AFTER_MS;
    if (total >= quotaBytes) throw new QuotaExceeded(this.#core.name, { bytes: total, quotaBytes, retryAfterMs });
  }

  #assertRoom(bytes: number): void {
    const { batchBytesMax, pendingBytesMax } = this.#options;
    if (bytes > batchBytesMax) {
      throw new LimitExceeded(
        `Cannot append a batch of ${bytes} bytes: the limit is ${batchBytesMax}`,
        "bytes of a batch",
      );
    }
    if (this.#hasRoom(bytes)) return;
    throw new LimitExceeded(
      `Cannot append ${bytes} bytes to log "${this.#core.name}": ${this.#pendingBytes} wait for the disk, the limit is ${pendingBytesMax}`,
      "bytes waiting for the disk",
      { retryAfterMs: RETRY_AFTER_MS },
    );
  }

  #hasRoom(bytes: number): boolean {
    return this.#pendingBytes === 0 || this.#pendingBytes + bytes <= this.#options.pendingBytesMax;
  }

  #groupFor(bytes: number): Group {
    const last = this.#queue.at(-1);
    if (last !== undefined && last.bytes + bytes <= this.#options.groupBytesMax) return last;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Whoever appended hears of it through a promise of its own.
    promise.catch(() => undefined);
    const group = { batches: [], producers: [], done: promise, resolve, reject, bytes: 0, lastSequence: 0 };
    this.#queue.push(group);
    return group;
  }

  #growing(file: File): GrowingFile {
    return new GrowingFile(file, this.#core.chain.open.bytes, { bytesMax: this.#options.segmentBytes });
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // What else is appended in this turn joins the first group.
    await Promise.resolve();
    while (this.#queue.length > 0 || this.#rollWanted) {
      try {
        await this.#rollIfNeeded();
        this.#current = this.#queue.shift();
        if (this.#current !== undefined) await this.#commit(this.#current);
      } catch (error) {
        await this.#fail(error);
      }
      this.#current = undefined;
      this.#admit();
    }
    // In the turn in which the queue was seen empty: whoever appends next starts anew.
    this.#running = undefined;
  }

  async #rollIfNeeded(): Promise<void> {
    const { open } = this.#core.chain;
    const isWanted = this.#rollWanted;
    this.#rollWanted = false;
    const bytes = open.bytes + (this.#queue[0]?.bytes ?? 0);
    if (open.entries === 0 || (!isWanted && bytes <= this.#options.segmentBytes)) return;
    const full = this.#file;
    await attempt("sealing a segment", full.seal(open.bytes));
    this.#file = this.#growing(await this.#segments.makeSegment(this.#core.headSequence + 1));
    // Everything in it is synced: that it does not close well changes nothing.
    await full.close().catch(() => undefined);
  }

  async #commit(group: Group): Promise<void> {
    const { bytes } = this.#core.chain.open;
    await attempt("writing", this.#file.append(group.batches.map(framesOf), group.bytes, bytes));
    this.#isFull = false;
    this.#pendingBytes -= group.bytes;
    for (const entry of group.producers) this.#producers.commit(entry);
    this.#core.publish(group.batches);
    group.resolve();
  }

  /** W2, W3. */
  async #fail(error: unknown): Promise<void> {
    const failed = error instanceof StepFailed ? error : new StepFailed("publishing", error);
    const code = errorCode(failed.cause);
    const isFull = code === "ENOSPC" || code === "EDQUOT";
    if (isFull) {
      this.#isFull = true;
      this.#incidents.tell({ kind: "disk-full" });
    }
    if (failed.step === "creating a segment") {
      this.#abandon(isFull ? new DiskFull(this.#core.name) : notNow(this.#core.name, failed));
      return;
    }
    if (failed.step !== "writing" || !isFull) {
      this.#turnReadOnly(failed);
      return;
    }
    this.#abandon(new DiskFull(this.#core.name));
    try {
      await attempt("cutting back a partial write", this.#file.cutBack(this.#core.chain.open.bytes));
    } catch (cause) {
      this.#turnReadOnly(cause as StepFailed);
    }
  }

  #turnReadOnly(failed: StepFailed): void {
    const isFinal = failed.step === "publishing";
    this.#state = { kind: "read-only", cause: failed.message, isFinal };
    this.#incidents.tell({ kind: "read-only", cause: failed.message });
    this.#abandon(new LogReadOnly(this.#core.name, this.#state));
  }

  /** Refuses everything that is pending; the next entry follows what is durable. */
  #abandon(error: Error): void {
    this.#current?.reject(error);
    for (const group of this.#queue) group.reject(error);
    this.#queue.length = 0;
    this.#pendingBytes = 0;
    this.#next = this.#core.headSequence + 1;
    this.#undone++;
    this.#producers.abandonPending();
  }

  /** Lets those in who waited for room and fit now, in their order. All of them when nothing will ever fit again. */
  #admit(): void {
    let expected = 0;
    for (let waiter = this.#waiters[0]; waiter !== undefined; waiter = this.#waiters[0]) {
      const isOpen = this.#state.kind === "open" && this.#hold === undefined;
      if (isOpen && !this.#hasRoom(expected + waiter.bytes)) return;
      expected += waiter.bytes;
      this.#waiters.shift();
      waiter.resolve();
    }
  }
}

function bytesOf(batch: Batch): number {
  const last = batch.count - 1;
  return batch.offsets[last]! + batch.lengths[last]! - batch.offsets[0]!;
}

function framesOf(batch: Batch): Uint8Array {
  const start = batch.offsets[0]!;
  return batch.bytes.subarray(start, start + bytesOf(batch));
}

function notNow(log: string, failed: StepFailed): SluiceError {
  return new SluiceError("unavailable", `Cannot append to log "${log}": ${failed.message}`, {
    reason: "STORAGE_FAILED",
    retryAfterMs: 1000,
  });
}
