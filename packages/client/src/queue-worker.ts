// A worker that outlives its connections: takes jobs of a queue, as many as it has slots, and says what became of each.
//
// QW1. It takes what it has room for and no more: `window - held`, with the window at its slots unless said otherwise. So
//      no job waits here while another worker could run it.
// QW2. The handler of an offer runs after its Start was answered OK, never before; or after the next session has kept it,
//      when the answer was lost. Other offers are forgotten with their connection: the server gives them to others.
// QW3. What a handler said is kept until the server answered it, and is said again on the next connection: it is fenced
//      by the attempt, so it counts once. There is a bound on it: past `OUTCOMES_MAX` no more jobs are taken.
// QW4. A job whose lease is lost hears of it by its signal, and nothing is said of it any more. Lost is what the server says
//      is, and what could not be extended in time.
// QW5. In a drain the server has the last word: what it had handed out before it heard of the drain is given back, on the
//      same stream. A drain with a deadline ends without that word, if it does not come.
import { type Delivery, type Lease, type LeaseResult, type Recall, ResultCode, type Session } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { aborted, abortWith } from "./abort.ts";
import { SILENCE_IN_HEARTBEATS } from "./listen.ts";
import { UnansweredEnds } from "./queue-ends.ts";
import type { Heartbeat } from "./queue-heartbeat.ts";
import {
  type JobContext,
  type JobHandler,
  LeaseLostError,
  type Outcome,
  outcomeOf,
  type QueueJob,
  RETURNED,
  toQueueJob,
  WorkerDrained,
} from "./queue-job.ts";
import type { KeeperReport } from "./queue-lease-keeper.ts";
import { LeaseWatch } from "./queue-lease-watch.ts";
import { type LeaseLike, type Room, type SessionOwner, WorkSession } from "./queue-session.ts";
import { leaseOf, type RunningJob, Slots } from "./queue-slots.ts";
import { checkOptions, type QueueWorkerContext, type QueueWorkerOptions } from "./queue-worker-options.ts";
import { Retrier } from "./retry.ts";
import { pause, type Timer } from "./time.ts";

const OUTCOMES_MAX = 1000;
const SERVER_HEARTBEAT_MS = 15_000;
/** After a drain's deadline: what is given back is answered within that, or the server finds out by itself. */
const LAST_ANSWERS_MS = 5000;

/** See `QueueClient.worker`. */
export class QueueWorker implements AsyncDisposable {
  readonly queue: string;
  readonly #context: QueueWorkerContext;
  readonly #options: QueueWorkerOptions;
  readonly #handler: JobHandler;
  readonly #window: number;
  readonly #slots = new Slots();
  readonly #unanswered: UnansweredEnds;
  readonly #heartbeat: Heartbeat;
  readonly #stop = new AbortController();
  /** Aborted when there is nothing left to wait for. */
  readonly #over = new AbortController();
  readonly #ended: Promise<void>;
  #session: WorkSession | undefined;
  #token: Uint8Array = new Uint8Array(0);
  #workerId: string;
  #leaseMs = 30_000; // until the server has said it
  #watch: LeaseWatch | undefined;
  #isDraining = false;
  #drainTimer: Timer | undefined;

  /** @throws RangeError */
  constructor(
    queue: string,
    handler: JobHandler,
    { context, ...options }: QueueWorkerOptions & { readonly context: QueueWorkerContext },
  ) {
    checkOptions(options);
    const { slots, window = slots, workerId = "" } = options;
    this.queue = queue;
    this.#handler = handler;
    this.#context = context;
    this.#options = options;
    this.#window = window;
    this.#workerId = workerId;
    this.#unanswered = new UnansweredEnds(options);
    this.#heartbeat = context.openHeartbeat({
      seats: slots,
      where: options.heartbeat ?? "thread",
      report: (report) => this.#onHeartbeat(report),
      onReady: () => this.#session?.roomChanged(),
      onNoThread: (error) =>
        options.onWarning?.(`No thread for the heartbeat, it runs on the event loop: ${String(error)}`),
    });
    this.#ended = this.#run();
  }

  /** Jobs whose handlers run. */
  get running(): number {
    return this.#slots.running;
  }

  /** Offers that wait for a slot. */
  get waiting(): number {
    return this.#slots.waiting;
  }

  /** Ends of jobs that the server has not confirmed. */
  get unconfirmed(): number {
    return this.#unanswered.size;
  }

  get isConnected(): boolean {
    return this.#session?.isAnswered === true;
  }

  /** Resolves when a drain is done. Rejects when the worker has failed for good: a failure must not go unnoticed. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /**
   * Takes no more jobs, gives back what was not started, lets the running ones end, and ends. After `deadlineMs` their
   * signals are aborted, and they are returned; what the server has not answered 5 s later is done again. Without a deadline
   * it waits for a server that is away. Idempotent; the first deadline holds.
   */
  async drain({ deadlineMs }: { readonly deadlineMs?: number } = {}): Promise<void> {
    if (!this.#isDraining) {
      this.#isDraining = true;
      const { clock } = this.#context;
      if (deadlineMs !== undefined) this.#drainTimer = clock.setTimer(() => this.#returnAll(), deadlineMs);
      this.#slots.dropWaiting();
      this.#session?.drain();
      this.#finishWhenDone();
    }
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  /** Session after session. */
  async #run(): Promise<void> {
    const { clock, random } = this.#context;
    const retrier = new Retrier({ ...this.#context.retry, ...this.#options.retry }, random);
    const unlink = abortWith(this.#stop, [this.#context.closed, this.#options.signal]);
    this.#stop.signal.addEventListener("abort", () => this.#over.abort(), { once: true });
    try {
      while (!this.#isDone) {
        const session = this.#openSession();
        this.#session = session;
        try {
          await session.run(this.#stop.signal).finally(() => (this.#session = undefined));
          this.#slots.dropOffers();
          if (this.#owesWord) throw new RpcError(Code.UNAVAILABLE, "The server ended the stream of a worker");
          if (!this.#isDone) await aborted(this.#over.signal); // handlers whose leases are lost
          return;
        } catch (error) {
          this.#stop.signal.throwIfAborted();
          this.#slots.dropWaiting(); // QW2
          if (session.isAnswered) retrier.succeeded();
          if (this.#isDone) return;
          const retryInMs = retrier.failed(error);
          this.#options.onDisconnected?.(error, { retryInMs, failures: retrier.failures });
          await pause(clock, retryInMs, this.#over.signal);
          this.#stop.signal.throwIfAborted();
        }
      }
    } catch (error) {
      // Stopping is no failure.
      if (!this.#stop.signal.aborted) throw error;
    } finally {
      unlink();
      this.#session = undefined;
      this.#drainTimer?.cancel();
      this.#watch?.stop();
      for (const job of this.#slots.runningJobs()) this.#abandon(job, new WorkerDrained("The worker has ended"));
      await this.#heartbeat.end();
    }
  }

  /** Nothing is left to do or to say; only without a session that is sure, QW5. */
  get #isDone(): boolean {
    return this.#isDraining && this.#slots.held === 0 && this.#unanswered.size === 0;
  }

  /** There is something that the server must hear, or will have to. */
  get #owesWord(): boolean {
    return this.#unanswered.size > 0 || this.#slots.leases().length > 0;
  }

  #openSession(): WorkSession {
    const { call, clock } = this.#context;
    const { slots, leaseMs = 0, serverHeartbeatMs = SERVER_HEARTBEAT_MS } = this.#options;
    const session = new WorkSession({
      call,
      clock,
      owner: this.#owner,
      silenceMs: serverHeartbeatMs * SILENCE_IN_HEARTBEATS,
      subscribe: {
        queue: this.queue,
        workerId: this.#workerId,
        sessionToken: this.#token,
        held: [...this.#slots.leases(), ...this.#unanswered.leases()],
        explicitStart: this.#options.explicitStart ?? this.#window > slots,
        leaseMs,
        heartbeatMs: serverHeartbeatMs,
      },
    });
    this.#unanswered.sayAll(session); // QW3
    if (this.#isDraining) session.drain();
    return session;
  }

  readonly #owner: SessionOwner = {
    room: () => this.#room(),
    onSession: (session) => this.#onSession(session),
    onDelivery: (delivery) => this.#onDelivery(delivery),
    onStarted: (result) => this.#onStarted(result),
    onEnded: (result) => this.#onEnded(result),
    onRecall: (recall) => this.#onRecall(recall),
    onLeaseLost: (leases) => this.#onLeaseLost(leases, "it expired, or the job was cancelled"),
  };

  /** QW1, QW3 */
  #room(): Room {
    const jobs = Math.min(this.#window - this.#slots.held, OUTCOMES_MAX - this.#unanswered.size);
    const takes = !this.#isDraining && this.#heartbeat.isReady;
    return this.#slots.room(takes ? Math.max(0, jobs) : 0, this.#options);
  }

  #onSession({ sessionToken, workerId, leaseMs, kept, lost }: Session): void {
    this.#token = sessionToken;
    this.#workerId = workerId;
    this.#leaseMs = leaseMs;
    this.#heartbeat.begin(leaseMs);
    this.#watch ??= this.#openWatch(leaseMs);
    this.#options.onConnected?.({ workerId, kept: kept.length, lost: lost.length });
    for (const lease of kept) this.#settleStart(lease, true);
    for (const lease of lost) this.#settleStart(lease, false);
    this.#onLeaseLost(lost, "the server gave it away while there was no connection");
    this.#fillSlots();
    this.#session?.roomChanged();
  }

  #onDelivery(delivery: Delivery): void {
    if (this.#isDraining) {
      // It crossed the drain: an offer is given away by the server, what is started goes back.
      if (delivery.leaseUntil !== 0n) this.#say(toQueueJob(delivery), leaseOf(delivery), RETURNED);
      return;
    }
    this.#slots.wait(delivery);
    this.#fillSlots();
    // Of a plain window the server knows itself what a delivery takes; of bytes and lanes it does not.
    if (this.#options.windowBytes !== undefined || this.#options.lanes !== undefined) this.#session?.roomChanged();
  }

  #fillSlots(): void {
    while (this.#slots.busy < this.#options.slots && !this.#isDraining) {
      const delivery = this.#slots.takeWaiting();
      if (delivery === undefined) return;
      if (delivery.leaseUntil !== 0n) {
        this.#begin(delivery);
      } else {
        this.#slots.start(delivery); // QW2
        this.#session?.start(leaseOf(delivery));
      }
    }
  }

  #onStarted({ lease, code }: LeaseResult): void {
    if (lease === undefined) return;
    const isStarted = code === ResultCode.OK || code === ResultCode.DUPLICATE;
    // Unknown: taken back here meanwhile, and started there after all.
    if (!this.#settleStart(lease, isStarted) && isStarted) this.#session?.end(lease, RETURNED);
    this.#fillSlots();
    this.#session?.roomChanged();
  }

  /** What became of a Start. False: there was none. */
  #settleStart({ attempt }: Lease, isStarted: boolean): boolean {
    const delivery = this.#slots.takeStarting(attempt);
    if (delivery === undefined || !isStarted) return delivery !== undefined;
    if (this.#isDraining) this.#say(toQueueJob(delivery), leaseOf(delivery), RETURNED);
    else this.#begin(delivery);
    return true;
  }

  #begin(delivery: Delivery): void {
    const seat = this.#heartbeat.hold(leaseOf(delivery), this.#leaseMs);
    void this.#handle(this.#slots.run(delivery, seat));
  }

  /** Never rejects. */
  async #handle(running: RunningJob): Promise<void> {
    const job = toQueueJob(running.delivery);
    let outcome: Outcome = { kind: "ack" };
    try {
      await this.#handler(job, this.#contextOf(running));
    } catch (error) {
      outcome = outcomeOf(error, job, this.#context.clock.nowNs());
    }
    this.#heartbeat.release(running.seat);
    this.#slots.finish(running);
    if (!running.isOver) this.#say(job, running.lease, outcome); // QW4
    this.#fillSlots();
    this.#session?.roomChanged();
    this.#finishWhenDone();
  }

  #contextOf(running: RunningJob): JobContext {
    const { lease, abort, seat } = running;
    return {
      signal: abort.signal,
      extend: async (leaseMs = this.#leaseMs) => {
        abort.signal.throwIfAborted();
        const { results } = await this.#context.extend([lease], leaseMs, this.#leaseMs / 3);
        const [result] = results;
        if (result?.code !== ResultCode.OK) {
          this.#lose(running, "the server did not extend it");
          throw abort.signal.reason;
        }
        if (!running.isOver) this.#heartbeat.setLease(seat, leaseMs);
        return result.leaseUntil;
      },
      progress: (fraction, message = "") => this.#session?.progress(lease, { fraction, message }),
    };
  }

  #say(job: QueueJob, lease: LeaseLike, outcome: Outcome): void {
    this.#unanswered.say({ job, lease, outcome }, this.#session); // QW3
  }

  #onEnded(result: LeaseResult): void {
    this.#unanswered.answered(result);
    this.#session?.roomChanged();
  }

  #onRecall({ leases }: Recall): void {
    this.#slots.recall(leases);
    this.#fillSlots();
    this.#session?.roomChanged();
  }

  #onLeaseLost(leases: readonly (Lease | LeaseLike)[], why: string): void {
    for (const { attempt } of leases) {
      const running = this.#slots.findRunning(attempt);
      if (running !== undefined) this.#lose(running, why);
    }
  }

  #lose(running: RunningJob, why: string): void {
    if (running.isOver) return;
    const error = new LeaseLostError(running.lease, why);
    this.#abandon(running, error);
    this.#options.onLeaseLost?.(error);
  }

  /** What its handler still does counts for nothing. */
  #abandon(running: RunningJob, reason: Error): void {
    running.isOver = true;
    running.abort.abort(reason);
  }

  /** A drain's deadline has passed. */
  #returnAll(): void {
    for (const running of this.#slots.runningJobs()) {
      if (!running.isOver) {
        this.#abandon(running, new WorkerDrained("The time to end was over: the job is returned"));
        this.#say(toQueueJob(running.delivery), running.lease, RETURNED);
      }
      this.#slots.finish(running);
    }
    this.#drainTimer = this.#context.clock.setTimer(() => this.#giveUp(), LAST_ANSWERS_MS);
    this.#finishWhenDone();
  }

  /** QW5 */
  #giveUp(): void {
    const { size } = this.#unanswered;
    if (size > 0) this.#options.onWarning?.(`The server was not told what became of ${size} jobs: they are done again`);
    this.#stop.abort();
  }

  #finishWhenDone(): void {
    if (this.#isDone && this.#session === undefined) this.#over.abort();
  }

  #onHeartbeat(report: KeeperReport): void {
    if (report.kind === "lost") this.#onLeaseLost(report.leases, "the server did not extend it");
    else this.#watch?.failed(report.reason);
  }

  #openWatch(leaseMs: number): LeaseWatch {
    const context = {
      clock: this.#context.clock,
      heartbeat: this.#heartbeat,
      running: () => this.#slots.runningJobs(),
      lose: (job: RunningJob, why: string) => this.#lose(job, why),
      warn: (text: string) => this.#options.onWarning?.(text),
    };
    return new LeaseWatch(context, leaseMs);
  }
}
