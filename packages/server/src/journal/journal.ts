// What was decided, durable. A log of the store, whose entries are records.
//
//   append → RecordBatch → writer.append (group commit) → durable
//   openJournal → openLog → replay.ts → JournalOwner
//   cleaner.ts: the oldest segment's live records go to the end, then it is dropped
//
// J1. Records of a turn, and all that come while a commit runs, go to disk together: one batch on its way, one being filled, which
//     may wait for those whom the last one answered (`gathering.ts`).
// J2. `append` either adds a whole record or has changed nothing. What it has taken becomes durable, or the journal fails as
//     a whole: `onFailure` once, `durable` rejects, nothing more is appended.
// J3. `admit` refuses earlier than `append`: while the disk is nearly full, things can still be ended.
// J4. A place that was carried forward leads to where its record is now, while somebody may still hold it.
import type { Clock, Run } from "../store/contract.ts";
import type { FileSystem } from "../store/file-system.ts";
import type { Log } from "../store/log.ts";
import { DataLoss, LimitExceeded, SluiceError } from "../errors.ts";
import { Cleaner } from "./cleaner.ts";
import type { Journal, JournalOwner, JournalSubject, Place, RecordFormat } from "./contract.ts";
import { DiskSpace } from "./disk-space.ts";
import { Gathering } from "./gathering.ts";
import { DEFAULT_JOURNAL_OPTIONS, type JournalOptions } from "./options.ts";
import { openRecordLog } from "./record-log.ts";
import { type RecordBatch, RecordBatches } from "./record-batch.ts";
import { replayRecords, sumOfRecord } from "./replay.ts";

/** This part of the reserve stays for cleaning: the rest is for records that end things. */
const FLOOR_SHARE = 8;
/** After something was refused for want of room in memory: a commit takes milliseconds. */
const RETRY_AFTER_MS = 100;
const DISK_RETRY_AFTER_MS = 5_000;
const NOTHING = new Uint8Array(0);

export interface OpenJournalRequest<Stored, New> {
  /** Of this journal alone; made when it is missing. */
  readonly folder: string;
  readonly subject: JournalSubject;
  readonly format: RecordFormat<Stored, New>;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly owner: JournalOwner<Stored, New>;
  readonly options?: Partial<JournalOptions>;
  /** Shared by the journals of a server; without them this one has its own. */
  readonly space?: DiskSpace;
  readonly batches?: RecordBatches<New>;
  /** Hears of what goes wrong in the background, in a sentence. */
  readonly onFault?: (text: string) => void;
}

/** An open journal. Disposing brings what was appended to disk, and ends the background work. */
export interface OpenJournal<New> extends Journal<New> {
  /** Records that were replayed. */
  readonly replayed: number;
  /** CRC-32 of the frame of a durable record; undefined: it is not there, or does not prove itself. */
  sumOf(place: Place): Promise<number | undefined>;
  /** Looks whether there is something to clean: the owner's `staleThrough` is another one. */
  clean(): void;
  /** Resolves when nothing is being cleaned, nor has to be; rejects never. */
  cleaned(): Promise<void>;
}

/**
 * Opens a journal, or makes it, and replays what is in it. @throws DataLoss when a record that had been durable does not
 * prove itself: its owner is what all of the records make of it; what the file system says
 */
export async function openJournal<Stored, New>(request: OpenJournalRequest<Stored, New>): Promise<OpenJournal<New>> {
  const options = { ...DEFAULT_JOURNAL_OPTIONS, ...request.options };
  await using opening = new AsyncDisposableStack();
  const { folder, fileSystem, clock } = request;
  const log = opening.use(await openRecordLog(request, options));
  const replayed = await replayRecords(log, request);
  const space = request.space ?? opening.use(new DiskSpace({ folder, fileSystem, clock }));
  await space.measure();
  return new LogJournal({ request, options, log, space, replayed, resources: opening.move() });
}

type State =
  | { readonly kind: "open" }
  | { readonly kind: "failed"; readonly error: Error }
  | { readonly kind: "closed" };

interface RoomWaiter {
  readonly bytes: number;
  readonly resolve: () => void;
}

class LogJournal<Stored, New> implements OpenJournal<New> {
  readonly replayed: number;
  readonly #subject: JournalSubject;
  readonly #format: RecordFormat<Stored, New>;
  readonly #owner: JournalOwner<Stored, New>;
  readonly #options: JournalOptions;
  readonly #log: Log;
  readonly #space: DiskSpace;
  readonly #batches: RecordBatches<New>;
  readonly #cleaner: Cleaner<Stored, New>;
  readonly #gathering: Gathering;
  readonly #resources: AsyncDisposableStack;
  readonly #listeners: ((error: Error) => void)[] = [];
  #state: State = { kind: "open" };
  /** Of the next record. */
  #next: Place;
  #durable: Place;
  /** Given to the log, in order. */
  readonly #underway: RecordBatch<New>[] = [];
  /** Being filled. */
  #open: RecordBatch<New> | undefined;
  #isScheduled = false;
  #pendingBytes = 0;
  #appendedBytes = 0;
  #waiters: RoomWaiter[] = [];

  constructor(parts: {
    request: OpenJournalRequest<Stored, New>;
    options: JournalOptions;
    log: Log;
    space: DiskSpace;
    replayed: number;
    resources: AsyncDisposableStack;
  }) {
    const { request, options, log, space } = parts;
    const { subject, format, clock, owner, onFault } = request;
    this.replayed = parts.replayed;
    this.#subject = subject;
    this.#format = format;
    this.#owner = owner;
    this.#options = options;
    this.#log = log;
    this.#space = space;
    this.#batches = request.batches ?? new RecordBatches(format);
    this.#resources = parts.resources;
    this.#gathering = new Gathering(clock);
    this.#next = log.writer.next;
    this.#durable = this.#next - 1;
    this.#cleaner = new Cleaner({ log, clock, owner, format, space, options, onFault, journal: this });
    this.#cleaner.wake();
  }

  get diskBytes(): number {
    return this.#log.state.diskBytes + this.#pendingBytes;
  }

  /** Bytes that the record appended last takes on disk. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  append(record: New): Place {
    this.#assertOpen();
    const { reserveBytes, pendingBytesMax } = this.#options;
    if (this.#space.free < reserveBytes / FLOOR_SHARE) throw this.#nearlyFull();
    if (this.#pendingBytes >= 2 * pendingBytesMax) throw this.#tooMuchPending();
    return this.#add(record, this.#options.recordBytesMax, undefined);
  }

  /** Appends what the owner carries forward, below every bound but that of the disk. `body`: as it is stored. */
  carry(record: New, body: Uint8Array | undefined): Place {
    this.#assertOpen();
    return this.#add(record, Number.POSITIVE_INFINITY, body);
  }

  admit(bytes: number): void {
    this.#assertOpen();
    if (this.#space.free - bytes < this.#options.reserveBytes) throw this.#nearlyFull();
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > this.#options.pendingBytesMax) {
      throw this.#tooMuchPending();
    }
  }

  room(bytes: number): Promise<void> | undefined {
    if (this.#state.kind !== "open" || (this.#hasRoom(bytes) && this.#waiters.length === 0)) return undefined;
    return new Promise((resolve) => {
      this.#waiters.push({ bytes, resolve });
    });
  }

  durable(place: Place): Promise<void> | undefined {
    if (place <= this.#durable) return undefined;
    if (this.#state.kind === "failed") return Promise.reject(this.#state.error);
    const batch = this.#pending(place);
    if (batch !== undefined) return batch.done();
    return Promise.reject(new RangeError(`Cannot wait for record ${place}: the next one is ${this.#next}`));
  }

  body(place: Place): Uint8Array | Promise<Uint8Array> {
    const now = this.#cleaner.placeOf(place);
    const pending = now > this.#durable ? this.#pending(now) : undefined;
    // The batch will be used again.
    if (pending !== undefined) return this.#bodyIn(Uint8Array.from(pending.frame(now)), now);
    const run = this.#log.reader.scan(now - 1).next(1);
    return run instanceof Promise ? run.then((read) => this.#bodyOf(read, place)) : this.#bodyOf(run, place);
  }

  sumOf(place: Place): Promise<number | undefined> {
    return sumOfRecord(this.#log, place);
  }

  onFailure(listener: (error: Error) => void): void {
    this.#listeners.push(listener);
  }

  clean(): void {
    this.#cleaner.wake();
  }

  cleaned(): Promise<void> {
    return this.#cleaner.rest();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleaner.close();
    if (this.#state.kind === "open") {
      this.#hand();
      this.#state = { kind: "closed" };
      await this.#underway
        .at(-1)
        ?.done()
        .catch(() => undefined);
    } else {
      // So that nothing is found on disk that nobody was told of; where that fails, recovery takes what proves itself.
      await this.#log.reopen().catch(() => undefined);
    }
    this.#admitWaiters();
    await this.#resources.disposeAsync();
  }

  #add(record: New, bytesMax: number, body: Uint8Array | undefined): Place {
    const batch = (this.#open ??= this.#batches.take(this.#next, this.#log.writer.epoch));
    const bytes = batch.add(record, bytesMax, body);
    if (bytes === 0) throw this.#tooLarge();
    const place = this.#next++;
    this.#appendedBytes = bytes;
    this.#pendingBytes += bytes;
    this.#space.take(bytes);
    if (batch.isFull) this.#hand();
    else this.#schedule();
    return place;
  }

  /**
   * J1. At the end of this turn of the event loop, unless a commit runs: then behind it. A worker's Ack and the Flow that starts
   * its next job are microtasks apart, and those of several workers callbacks: one sync is for all (bench `queue-throughput`).
   */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#handGathered();
    });
  }

  /** J1. */
  #handGathered(): void {
    if (this.#open === undefined || this.#underway.length > 0) return;
    if (this.#gathering.waits(this.#open.count)) this.#schedule();
    else this.#hand();
  }

  /** Gives the log what was gathered. */
  #hand(): void {
    const batch = this.#open;
    if (batch === undefined || batch.count === 0 || this.#state.kind !== "open") return;
    this.#open = undefined;
    this.#underway.push(batch);
    this.#gathering.begin();
    try {
      this.#log.writer.append(batch.first, batch.toBatch()).then(
        () => this.#committed(batch),
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  #committed(batch: RecordBatch<New>): void {
    this.#underway.shift();
    this.#durable = batch.last;
    this.#pendingBytes -= batch.bytes;
    this.#gathering.end({ answered: batch.count, waiting: this.#open?.count ?? 0 });
    this.#owner.committed?.(batch.last);
    batch.resolve();
    this.#batches.give(batch);
    this.#admitWaiters();
    // Behind those who waited for this batch: what they append now joins the next one.
    queueMicrotask(() => this.#handGathered());
    this.#cleaner.wake(batch.bytes);
  }

  /** J2. */
  #fail(cause: unknown): void {
    if (this.#state.kind === "failed") return;
    const why = cause instanceof Error ? cause.message : String(cause);
    const error = new SluiceError(
      "unavailable",
      `Cannot go on with ${this.#subject.label}: its journal failed: ${why}`,
      {
        reason: `${this.#subject.code}_JOURNAL_FAILED`,
        retryAfterMs: 1000,
      },
      { cause },
    );
    this.#state = { kind: "failed", error };
    for (const batch of this.#underway) batch.reject(error);
    this.#open?.reject(error);
    this.#admitWaiters();
    // In a turn of their own: whoever appended may be in the midst of a change.
    queueMicrotask(() => {
      for (const listener of this.#listeners) listener(error);
    });
  }

  #assertOpen(): void {
    if (this.#state.kind === "open") return;
    if (this.#state.kind === "failed") throw this.#state.error;
    throw new SluiceError("unavailable", `Cannot use ${this.#subject.label}: it is closed`, {
      reason: `${this.#subject.code}_CLOSED`,
      retryAfterMs: 1000,
    });
  }

  #pending(place: Place): RecordBatch<New> | undefined {
    const batch = this.#underway.find(({ last }) => place <= last) ?? this.#open;
    return batch !== undefined && place >= batch.first && place <= batch.last ? batch : undefined;
  }

  #bodyOf(run: Run | undefined, place: Place): Uint8Array | Promise<Uint8Array> {
    // J4. Carried forward and dropped while it was read.
    const isGone = run?.kind === "gap" && run.reason === "retention";
    if (isGone && this.#cleaner.placeOf(place) !== place) return this.body(place);
    return this.#bodyIn(run?.kind === "entries" ? run.bytes : NOTHING, place);
  }

  #bodyIn(frame: Uint8Array, place: Place): Uint8Array | Promise<Uint8Array> {
    const body = this.#format.findBody(frame);
    if (body !== undefined) return body;
    const what = `the body of record ${place} of ${this.#subject.label}`;
    const facts = { ...this.#subject.facts, record: String(place) };
    return Promise.reject(new DataLoss(`Cannot read ${what}: its bytes do not prove themselves`, facts));
  }

  #hasRoom(bytes: number): boolean {
    return this.#pendingBytes === 0 || this.#pendingBytes + bytes <= this.#options.pendingBytesMax;
  }

  /** Lets those in who waited for room and fit now, in their order; all of them when nothing is taken any more. */
  #admitWaiters(): void {
    let expected = 0;
    for (let waiter = this.#waiters[0]; waiter !== undefined; waiter = this.#waiters[0]) {
      if (this.#state.kind === "open" && !this.#hasRoom(expected + waiter.bytes)) return;
      expected += waiter.bytes;
      this.#waiters.shift();
      waiter.resolve();
    }
  }

  #nearlyFull(): SluiceError {
    this.#space.watch();
    const left = `the disk has ${Math.max(0, this.#space.free)} bytes left`;
    return new SluiceError("unavailable", `Cannot append to ${this.#subject.label}: ${left}; free space`, {
      reason: "DISK_FULL",
      retryAfterMs: DISK_RETRY_AFTER_MS,
    });
  }

  #tooMuchPending(): LimitExceeded {
    const { pendingBytesMax } = this.#options;
    return new LimitExceeded(
      `Cannot append to ${this.#subject.label}: ${this.#pendingBytes} bytes wait for the disk, the limit is ${pendingBytesMax}`,
      "bytes waiting for the disk",
      { retryAfterMs: RETRY_AFTER_MS },
    );
  }

  #tooLarge(): LimitExceeded {
    const { recordBytesMax } = this.#options;
    return new LimitExceeded(
      `Cannot append a record to ${this.#subject.label}: it would take more than ${recordBytesMax} bytes`,
      "bytes of a record",
    );
  }
}
