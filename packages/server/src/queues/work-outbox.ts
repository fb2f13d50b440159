// What one worker is sent, in order, when it may leave.
//
// OB1. Two orders: answers (results, lost leases, heartbeats, the end), and deliveries with their recalls. Neither waits for the
//      other: a job goes to an idle worker while its last Ack is on its way to disk.
// OB2. An answer leaves when what it says is durable; a job that is started by its delivery leaves when its start is. An offer
//      leaves at once.
// OB3. A recall comes after its delivery, and before whatever is delivered later. A job that is taken back before it left
//      disappears with its recall, and its credit returns.
// OB4. Bodies are read when they are about to leave, while their starts go to disk, and a few ahead: what waits for a worker
//      that does not read holds leases, not bodies.
// OB5. What waits is bounded: deliveries by the worker's window; answers because no request is read while `room` waits; recalls
//      and lost leases by `WAITING_BYTES_MAX`, where the stream is cut.
// OB6. The owner is told of failures in a turn of their own: the engine may be in the middle of something.
import type { FrameSource, FrameStream, RpcError } from "@sluice/rpc";
import { ByteSink } from "../stream/byte-sink.ts";
import type { Handout, JobLease, Journal, Place } from "./contract.ts";
import type { Credit } from "./credit.ts";
import { WorkerTooSlow, WorkInterrupted } from "./queue-errors.ts";
import { type ResultFacts, writeDelivery, writeResults } from "./work-frames.ts";
import type { LeaseList } from "./work-requests.ts";

/** Leases whose answers wait, above which no request is read. */
const WAITING_LEASES_MAX = 20_000;
/** Recalls, lost leases and other messages that wait. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** Bodies that are read from disk ahead of the one that is next. */
const AHEAD_MAX = 32;
const AHEAD_BYTES_MAX = 512 * 1024;

/** Whose outbox it is. */
export interface OutboxOwner {
  /** Where a job lies now; undefined: it is gone. */
  placeOf(number: number): Place | undefined;
  /** The stored bytes of a job cannot be read: it was not delivered. */
  onUnreadable(handout: Handout, error: unknown): void;
  /** The stream cannot go on. */
  onFailure(error: unknown): void;
}

interface WaitingAnswer {
  /** Durable before it leaves. */
  readonly place: Place;
  readonly asked: LeaseList | undefined;
  readonly results: readonly ResultFacts[];
  readonly frame: Uint8Array | undefined;
  readonly onSent: (() => void) | undefined;
}

interface WaitingDelivery {
  /** undefined: a recall. */
  readonly handout: Handout | undefined;
  readonly frame: Uint8Array | undefined;
  place: Place;
  job: Uint8Array | undefined;
  isLoading: boolean;
}

/** Frames are put together here, and copied out: one turn is one buffer, whatever is in it. */
const sink = new ByteSink(64 * 1024);
const NOTHING: readonly ResultFacts[] = [];

export class WorkOutbox implements FrameSource {
  readonly #journal: Journal;
  readonly #credit: Credit;
  readonly #owner: OutboxOwner;
  readonly #answers: WaitingAnswer[] = [];
  readonly #deliveries: WaitingDelivery[] = [];
  #stream: FrameStream | undefined = undefined;
  #waitingLeases = 0;
  #waitingBytes = 0;
  #onRoom: (() => void) | undefined = undefined;
  #isWaitingForDisk = false;
  #ending: ((stream: FrameStream) => void) | undefined = undefined;

  constructor(journal: Journal, credit: Credit, owner: OutboxOwner) {
    this.#journal = journal;
    this.#credit = credit;
    this.#owner = owner;
  }

  // FrameSource.

  attach(stream: FrameStream): void {
    this.#stream = stream;
  }

  pull(maxBytes: number): Uint8Array | undefined {
    sink.used = 0;
    this.#writeAnswers(maxBytes);
    this.#writeDeliveries(maxBytes);
    if (sink.used > 0) return Buffer.from(sink.bytes.subarray(0, sink.used));
    if (this.#ending !== undefined && this.#answers.length === 0 && this.#stream !== undefined)
      this.#ending(this.#stream);
    return undefined;
  }

  /** The server or its connection ends: the worker hears how to go on. */
  farewell(_error: RpcError): unknown {
    return new WorkInterrupted();
  }

  // What is to be sent.

  /** Results of a request. */
  answer(asked: LeaseList, results: readonly ResultFacts[], place: Place): void {
    this.#waitingLeases += results.length;
    this.#answers.push({ place, asked, results, frame: undefined, onSent: undefined });
    this.#stream?.wake();
  }

  /** Any other message, behind the answers so far, when `place` is durable (0: at once). */
  say(frame: Uint8Array, place: Place, onSent?: () => void): void {
    this.#answers.push({ place, asked: undefined, results: NOTHING, frame, onSent });
    this.#count(frame.length);
  }

  deliver(handout: Handout): void {
    this.#credit.reserve(handout.priority, handout.bytes);
    this.#deliveries.push({ handout, frame: undefined, place: handout.place, job: undefined, isLoading: false });
    this.#stream?.wake();
  }

  /** OB3. Forgets those that have not left; answers those that have. */
  withdraw(leases: readonly JobLease[]): readonly JobLease[] {
    if (this.#deliveries.length === 0) return leases;
    const attempts = new Set(leases.map(({ attempt }) => attempt));
    let kept = 0;
    for (const waiting of this.#deliveries) {
      const { handout } = waiting;
      if (handout !== undefined && attempts.delete(handout.lease.attempt)) {
        this.#credit.release(handout.priority, handout.bytes);
      } else this.#deliveries[kept++] = waiting;
    }
    this.#deliveries.length = kept;
    return leases.filter(({ attempt }) => attempts.has(attempt));
  }

  /** A recall of what has left. */
  sayRecall(frame: Uint8Array): void {
    this.#deliveries.push({ handout: undefined, frame, place: 0, job: undefined, isLoading: false });
    this.#count(frame.length);
  }

  /** Resolves when more requests may be read; undefined: they may. */
  room(): Promise<void> | undefined {
    if (this.#waitingLeases <= WAITING_LEASES_MAX || this.#ending !== undefined) return undefined;
    return new Promise((resolve) => {
      this.#onRoom = resolve;
    });
  }

  /** Ends the stream well, behind all answers. Deliveries that have not left do not leave any more. */
  end(): void {
    this.#finish((stream) => stream.end());
  }

  /** The same, with an error. */
  fail(error: unknown): void {
    this.#finish((stream) => stream.fail(error));
  }

  /** The stream is over: nobody is waited for. */
  close(): void {
    this.#answers.length = 0;
    this.#deliveries.length = 0;
    this.#finish(() => {});
    this.#stream = undefined;
  }

  #finish(ending: (stream: FrameStream) => void): void {
    this.#ending ??= ending;
    this.#deliveries.length = 0;
    this.#onRoom?.();
    this.#onRoom = undefined;
    this.#stream?.wake();
  }

  #count(bytes: number): void {
    this.#waitingBytes += bytes;
    this.#stream?.wake();
    if (this.#waitingBytes > WAITING_BYTES_MAX) {
      const error = new WorkerTooSlow(this.#waitingBytes, WAITING_BYTES_MAX);
      queueMicrotask(() => this.#owner.onFailure(error));
    }
  }

  #writeAnswers(maxBytes: number): void {
    while (sink.used < maxBytes) {
      const first = this.#answers[0];
      if (first === undefined || !this.#isDurable(first.place)) break;
      this.#answers.shift();
      if (first.frame !== undefined) this.#copy(first.frame);
      else if (first.asked !== undefined) writeResults(sink, first.asked, first.results);
      this.#waitingLeases -= first.results.length;
      first.onSent?.();
    }
    if (this.#onRoom !== undefined && this.#waitingLeases <= WAITING_LEASES_MAX) {
      this.#onRoom();
      this.#onRoom = undefined;
    }
  }

  #writeDeliveries(maxBytes: number): void {
    while (sink.used < maxBytes) {
      const first = this.#deliveries[0];
      if (first === undefined) break;
      const { handout, frame } = first;
      if (handout === undefined) {
        this.#copy(frame!);
        this.#deliveries.shift();
        continue;
      }
      // Read while its start is on its way to disk.
      const job = this.#jobOf(first);
      if (handout.leaseUntilMs !== 0 && !this.#isDurable(handout.recordPlace)) break;
      if (job === undefined) break;
      this.#deliveries.shift();
      const number = this.#credit.send(handout.priority, handout.bytes);
      const { lease, jobId, failures, leaseUntilMs } = handout;
      writeDelivery(sink, number, { jobId, attempt: lease.attempt, failures, leaseUntilMs }, job);
    }
  }

  #copy(frame: Uint8Array): void {
    sink.raw(frame, 0, frame.length);
    this.#waitingBytes -= frame.length;
  }

  /** Whether everything up to there is on disk; if not, the stream is woken when it is. */
  #isDurable(place: Place): boolean {
    if (place === 0) return true;
    const pending = this.#journal.durable(place);
    if (pending === undefined) return true;
    if (!this.#isWaitingForDisk) {
      this.#isWaitingForDisk = true;
      pending.then(
        () => {
          this.#isWaitingForDisk = false;
          this.#stream?.wake();
        },
        (error: unknown) => this.#owner.onFailure(error),
      );
    }
    return false;
  }

  /** The bytes of the job that is next, or undefined: they are being read, with those of a few behind it (OB4). */
  #jobOf(first: WaitingDelivery): Uint8Array | undefined {
    if (first.job !== undefined) return first.job;
    if (!first.isLoading) this.#load(first);
    if (first.job !== undefined) return first.job;
    let bytes = 0;
    for (const waiting of this.#deliveries.slice(1, AHEAD_MAX)) {
      if (waiting.handout === undefined) continue;
      bytes += waiting.handout.bytes;
      if (bytes > AHEAD_BYTES_MAX) break;
      if (waiting.job === undefined && !waiting.isLoading) this.#load(waiting);
    }
    return undefined;
  }

  #load(waiting: WaitingDelivery): void {
    let job: Uint8Array | Promise<Uint8Array>;
    try {
      job = this.#journal.body(waiting.place);
    } catch (error) {
      waiting.isLoading = true;
      queueMicrotask(() => this.#onUnreadable(waiting, error));
      return;
    }
    if (!(job instanceof Promise)) {
      waiting.job = job;
      return;
    }
    waiting.isLoading = true;
    job.then(
      (bytes) => {
        waiting.job = bytes;
        this.#stream?.wake();
      },
      (error: unknown) => this.#onUnreadable(waiting, error),
    );
  }

  #onUnreadable(waiting: WaitingDelivery, error: unknown): void {
    const { handout } = waiting;
    const index = this.#deliveries.indexOf(waiting);
    if (handout === undefined || index < 0) return;
    waiting.isLoading = false;
    // The journal may have carried it to another place meanwhile.
    const place = this.#owner.placeOf(handout.lease.number);
    if (place !== undefined && place !== waiting.place) waiting.place = place;
    else {
      this.#deliveries.splice(index, 1);
      this.#credit.release(handout.priority, handout.bytes);
      this.#owner.onUnreadable(handout, error);
    }
    this.#stream?.wake();
  }
}
