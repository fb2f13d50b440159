// One Work stream: what a worker says becomes commands of the engine, what the engine says becomes messages.
//
// SE1. The engine knows the worker from `open` to `leave`, and `leave` comes exactly once, in the turn in which the stream ends
//      for whatever reason: offers return then, and started jobs that have not left; the others are held for the grace time.
// SE2. Requests are taken one by one, in order, and none while too many answers wait (OB5).
// SE3. The engine's calls (QueueWorker) only note what to send; none of them calls the engine.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type LeaseSchema, type Nack, NackKind, RecallReason as RecallCode, type WorkRequest } from "@sluice/api";
import { InvalidRequest, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { Timer } from "../store/contract.ts";
import type { Beating } from "../stream/heartbeat.ts";
import type {
  Answer,
  Handout,
  JobLease,
  LeaseOutcome,
  NackHow,
  OpenQueue,
  Place,
  QueueWorker,
  RecallReason,
} from "./contract.ts";
import { Credit, type FlowWindow } from "./credit.ts";
import { bad, type CheckedSubscribe, msOf, parseFairnessKey, parseLanes, parseReason } from "./requests.ts";
import { nsOf, RESULT_CODES } from "./views.ts";
import { workFrame } from "./work-frames.ts";
import { jobLeaseOf, type LeaseList, leaseListOf, readWorkRequest } from "./work-requests.ts";
import { type OutboxOwner, WorkOutbox } from "./work-outbox.ts";
import type { WorkSeat, WorkSessions, WorkStream } from "./work-sessions.ts";

export interface WorkSessionOptions {
  readonly seat: WorkSeat;
  readonly sessions: WorkSessions;
  readonly subscribe: CheckedSubscribe;
  readonly limits: Limits;
}

export class WorkSession implements QueueWorker, WorkStream, OutboxOwner, Beating {
  readonly id: string;
  readonly explicitStart: boolean;
  readonly leaseMs: number;
  readonly beatEveryMs: number;
  beatDueMs = 0;
  beatPlace = -1;
  /** The answer of the call. */
  readonly outbox: WorkOutbox;
  readonly #queue: OpenQueue;
  readonly #seat: WorkSeat;
  readonly #sessions: WorkSessions;
  readonly #limits: Limits;
  readonly #credit = new Credit();
  /** Ids that producers chose, of the jobs that this worker has; other jobs are called by their numbers. */
  readonly #chosenIds = new Map<number, string>();
  #isOpen = false;
  #isDraining = false;
  #drainTimer: Timer | undefined = undefined;
  #isBeatWaiting = false;

  constructor({ seat, sessions, subscribe, limits }: WorkSessionOptions) {
    this.id = seat.workerId;
    this.explicitStart = subscribe.explicitStart;
    this.leaseMs = subscribe.leaseMs;
    this.beatEveryMs = subscribe.heartbeatMs;
    this.#queue = seat.queue;
    this.#seat = seat;
    this.#sessions = sessions;
    this.#limits = limits;
    this.outbox = new WorkOutbox(seat.queue.journal, this.#credit, this);
    this.#credit.setLanes(subscribe.lanes);
  }

  /**
   * The worker comes, with what it holds. Its Session message is the first that it is sent.
   * @throws LimitExceeded, and what the journal refuses with
   */
  open(held: readonly { readonly jobId: string; readonly attempt: bigint }[]): void {
    const { engine } = this.#queue;
    const leases = held.map((lease) => jobLeaseOf(lease, this.#findJob));
    const { value, place } = engine.attach(this, leases, this.#seat.earlier);
    this.#isOpen = true;
    this.#sessions.sit(this.#seat, this);
    const byAttempt = new Map(held.map((lease) => [Number(lease.attempt), lease]));
    for (const { number, attempt } of value.kept) {
      const jobId = byAttempt.get(attempt)?.jobId ?? "";
      if (jobId !== String(number)) this.#chosenIds.set(attempt, jobId);
    }
    const kept = new Set(value.kept.map(({ attempt }) => attempt));
    const isKept = (lease: { readonly attempt: bigint }) => kept.has(Number(lease.attempt));
    const { graceMs, leaseMs } = engine.settings;
    this.outbox.say(
      workFrame({
        case: "session",
        value: {
          sessionToken: Buffer.from(this.#seat.token, "hex"),
          workerId: this.id,
          graceMs,
          leaseMs: this.leaseMs === 0 ? leaseMs : this.leaseMs,
          kept: held.filter(isKept).map(toLease),
          lost: held.filter((lease) => !isKept(lease)).map(toLease),
        },
      }),
      place,
    );
    if (this.beatEveryMs > 0) this.#sessions.heartbeats.add(this);
  }

  /** Takes requests until there are no more. Never rejects: what goes wrong ends the stream. */
  async run(requests: AsyncIterator<Uint8Array>, first: FlowWindow | undefined): Promise<void> {
    try {
      // The call may have been given up before.
      if (first !== undefined && this.#isOpen) this.#setFlow(first);
      for (let next = await requests.next(); next.done !== true; next = await requests.next()) {
        if (!this.#isOpen) return;
        this.#take(next.value);
        const room = this.outbox.room();
        if (room !== undefined) await room;
      }
      this.leave();
      this.outbox.end();
    } catch (error) {
      this.onFailure(error);
    }
  }

  /** SE1. */
  leave(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#sessions.heartbeats.remove(this);
    this.#drainTimer?.cancel();
    this.#queue.engine.detach(this, (started) => this.outbox.withdraw(started));
    this.#sessions.leave(this.#seat, this);
    this.#chosenIds.clear();
  }

  interrupt(error: Error): void {
    this.onFailure(error);
  }

  /** The stream is over. */
  close(): void {
    this.leave();
    this.outbox.close();
  }

  // OutboxOwner.

  onFailure(error: unknown): void {
    this.leave();
    this.outbox.fail(error);
  }

  placeOf(number: number): Place | undefined {
    try {
      return this.#queue.engine.view(number).place;
    } catch {
      return undefined;
    }
  }

  onUnreadable({ lease }: Handout, error: unknown): void {
    if (!this.#isOpen) return;
    const reason = `its stored bytes cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    this.#chosenIds.delete(lease.attempt);
    try {
      this.#queue.engine.nack(this, lease, { kind: "reject", reason: parseReason(reason) });
    } catch (failure) {
      this.onFailure(failure);
    }
  }

  // Beating.

  beat(): void {
    if (this.#isBeatWaiting) return;
    const { waitingByPriority, oldestEnqueuedAtMs } = this.#queue.engine.backlog();
    this.#isBeatWaiting = true;
    this.outbox.say(
      workFrame({
        case: "flowState",
        value: {
          sent: BigInt(this.#credit.sent),
          credit: this.#credit.total,
          waitingByPriority: waitingByPriority.map(BigInt),
          oldestEnqueuedAt: nsOf(oldestEnqueuedAtMs),
        },
      }),
      0,
      () => {
        this.#isBeatWaiting = false;
      },
    );
  }

  // QueueWorker (SE3).

  credit(priority: number, bytes: number): number {
    return this.#isDraining ? 0 : this.#credit.of(priority, bytes);
  }

  deliver(handout: Handout): void {
    const { jobId, lease } = handout;
    if (jobId !== String(lease.number)) this.#chosenIds.set(lease.attempt, jobId);
    this.outbox.deliver(handout);
  }

  recall(leases: readonly JobLease[], reason: RecallReason): void {
    const left = this.outbox.withdraw(leases);
    if (left.length > 0) {
      this.#credit.takeBack(left.length);
      this.outbox.sayRecall(
        workFrame({ case: "recall", value: { leases: this.#name(left), reason: RECALLS[reason] } }),
      );
    }
    this.#forget(leases);
  }

  leaseLost(leases: readonly JobLease[]): void {
    const left = this.outbox.withdraw(leases);
    if (left.length > 0) this.outbox.say(workFrame({ case: "leaseLost", value: { leases: this.#name(left) } }), 0);
    this.#forget(leases);
    // The engine is in the middle of something: whether that was the last one is asked afterwards.
    if (this.#isDraining) queueMicrotask(() => this.#endWhenDrained());
  }

  // Requests.

  readonly #findJob = (jobId: string): number => this.#queue.engine.find(jobId) ?? 0;

  #take(bytes: Uint8Array): void {
    const { engine } = this.#queue;
    const request = readWorkRequest(bytes, { findJob: this.#findJob, leasesMax: this.#limits.jobBatchMax });
    switch (request.kind) {
      case "flow":
        this.#setFlow(request.flow);
        return;
      case "start":
        this.#answer(request.list, engine.start(this, request.list.leases));
        return;
      case "ack":
        this.#answer(request.list, engine.ack(this, request.list.leases));
        this.#forget(request.list.leases);
        this.#endWhenDrained();
        return;
      case "other":
        this.#takeOther(request.request);
        return;
      default:
        return request satisfies never;
    }
  }

  #takeOther({ kind }: WorkRequest): void {
    const { engine } = this.#queue;
    switch (kind.case) {
      case "nack": {
        const list = leaseListOf(kind.value, this.#findJob);
        const [lease] = list.leases;
        if (lease === undefined) throw bad("nack.lease", "is missing");
        const { value, place } = engine.nack(this, lease, parseNack(kind.value));
        this.#answer(list, { value: [value], place });
        this.#forget([lease]);
        this.#endWhenDrained();
        return;
      }
      case "throttle": {
        const { fairnessKey, until } = kind.value;
        const key = parseFairnessKey(fairnessKey, "throttle.fairness_key", this.#limits);
        engine.throttle(this, { fairnessKey: key, untilMs: msOf(until) });
        return;
      }
      case "drain":
        this.#drain(kind.value.deadlineMs);
        return;
      case "progress": {
        const { lease, fraction, message } = kind.value;
        if (lease === undefined) throw bad("progress.lease", "is missing");
        if (!(fraction >= 0 && fraction <= 1)) throw bad("progress.fraction", `${fraction} is not from 0 to 1`);
        engine.progress(this, jobLeaseOf(lease, this.#findJob), { fraction, message: parseReason(message) });
        return;
      }
      case "lanes":
        this.#credit.setLanes(parseLanes(kind.value.lanes));
        engine.creditChanged(this);
        return;
      case "subscribe":
        throw bad("subscribe", "comes once, as the first request");
      default:
        throw bad("kind", "is missing, or of a newer version than this server");
    }
  }

  #setFlow(flow: FlowWindow): void {
    const { windowMax } = this.#queue.engine.settings;
    if (flow.window > windowMax) {
      const text = `Cannot set a window of ${flow.window} at queue "${this.#queue.name}": the limit is ${windowMax}`;
      throw new LimitExceeded(text, "window of a worker");
    }
    if (flow.seen > this.#credit.sent) {
      const description = `${flow.seen} deliveries cannot have been seen: ${this.#credit.sent} were sent`;
      throw new InvalidRequest("FLOW_AHEAD", [{ field: "flow.seen", description }]);
    }
    this.#credit.setFlow(flow);
    if (!this.#isDraining) this.#queue.engine.creditChanged(this);
  }

  #answer(list: LeaseList, { value, place }: Answer<readonly LeaseOutcome[]>): void {
    const results = value.map(({ code, leaseUntilMs = 0 }) => ({ code: RESULT_CODES[code], leaseUntilMs }));
    this.outbox.answer(list, results, place);
  }

  /** The worker's end, as it wants it. */
  #drain(deadlineMs: number): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#queue.engine.drain(this);
    if (deadlineMs > 0) this.#drainTimer = this.#sessions.clock.setTimer(() => this.#endDrained(), deadlineMs);
    this.#endWhenDrained();
  }

  #endWhenDrained(): void {
    if (!this.#isDraining || !this.#isOpen) return;
    const { offered, running } = this.#queue.engine.held(this);
    if (offered === 0 && running === 0) this.#endDrained();
  }

  #endDrained(): void {
    if (!this.#isOpen) return;
    this.leave();
    this.outbox.say(workFrame({ case: "drained", value: { lastNumber: BigInt(this.#credit.sent) } }), 0);
    this.outbox.end();
  }

  #name(leases: readonly JobLease[]): MessageInitShape<typeof LeaseSchema>[] {
    return leases.map(({ number, attempt }) => {
      return { jobId: this.#chosenIds.get(attempt) ?? String(number), attempt: BigInt(attempt) };
    });
  }

  #forget(leases: readonly JobLease[]): void {
    if (this.#chosenIds.size === 0) return;
    for (const { attempt } of leases) this.#chosenIds.delete(attempt);
  }
}

const RECALLS: Readonly<Record<RecallReason, RecallCode>> = {
  rebalance: RecallCode.REBALANCE,
  "higher-priority": RecallCode.HIGHER_PRIORITY,
  cancelled: RecallCode.CANCELLED,
  paused: RecallCode.PAUSED,
  "not-started": RecallCode.NOT_STARTED,
};

function toLease({ jobId, attempt }: { readonly jobId: string; readonly attempt: bigint }) {
  return { jobId, attempt };
}

/** @throws InvalidRequest */
function parseNack({ kind, notBefore, reason }: Nack): NackHow {
  switch (kind) {
    case NackKind.RETURN:
      return { kind: "return" };
    case NackKind.RETRY:
      return { kind: "retry", notBeforeMs: msOf(notBefore), reason: parseReason(reason) };
    case NackKind.REJECT:
      return { kind: "reject", reason: parseReason(reason) };
    default:
      throw bad("nack.kind", `${kind} is none of RETURN, RETRY, REJECT`);
  }
}
