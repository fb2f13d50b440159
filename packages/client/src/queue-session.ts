// One Work stream: says what this worker takes, and carries what it says of its jobs.
//
// QS1. Credit is set, never added: `window` is what the worker would take beyond what it has seen, so the same said twice
//      changes nothing, and what was lost with a message comes with the next one.
// QS2. A new flow leaves only when it differs from what the server has by itself: a delivery moves `seen` on and the
//      window back by one, and nothing has to be said.
// QS3. What ends jobs leaves before the flow that their places make room for, and before a drain: it would not be read behind one.
// QS4. The number of a request says what it asked: odd ones start, even ones end. So nothing is kept to read the answer.
// QS5. A stream that drains is half-closed when the server has said that nothing is left, not before: what crosses the drain
//      can be given back.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type Delivery,
  type FlowState,
  type Lease,
  type LeaseResult,
  NackKind,
  type Recall,
  type Session,
  WorkRequestSchema,
  type WorkResponse,
} from "@sluice/api";
import { Code, Frames, frameOf, RpcError } from "@sluice/rpc";
import { abortWith } from "./abort.ts";
import { Gate } from "./gate.ts";
import type { Outcome } from "./queue-job.ts";
import { SilenceAlarm } from "./silence-alarm.ts";
import type { Clock } from "./time.ts";

/** The one call that a session needs. */
export interface WorkCall {
  (requests: AsyncIterable<Frames>, options: { signal: AbortSignal }): AsyncIterable<WorkResponse>;
}

/** What a worker would take now. */
export interface Room {
  readonly jobs: number;
  /** 0: no limit. */
  readonly bytes: number;
  /** Parts of `jobs` for the more urgent ones. */
  readonly lanes: readonly { readonly minPriority: number; readonly window: number }[];
}

export type LeaseLike = Pick<Lease, "jobId" | "attempt">;

/** The worker, as a session sees it. */
export interface SessionOwner {
  room(): Room;
  onSession(session: Session): void;
  onDelivery(delivery: Delivery): void;
  onStarted(result: LeaseResult): void;
  onEnded(result: LeaseResult): void;
  onRecall(recall: Recall): void;
  onLeaseLost(leases: readonly Lease[]): void;
}

export interface SessionContext {
  readonly call: WorkCall;
  readonly clock: Clock;
  readonly owner: SessionOwner;
  readonly subscribe: Subscription;
  /** The server is given up when it says nothing for so long, ms. 0: never. */
  readonly silenceMs: number;
}

/** What a worker says. */
type Saying = MessageInitShape<typeof WorkRequestSchema>;

/** Who subscribes, and to what: the same on each attempt, but for what is held. */
export interface Subscription {
  readonly queue: string;
  readonly workerId: string;
  /** Of the session before; empty: there was none. */
  readonly sessionToken: Uint8Array;
  readonly held: LeaseLike[];
  readonly explicitStart: boolean;
  /** 0: the queue's. */
  readonly leaseMs: number;
  readonly heartbeatMs: number;
}

export class WorkSession {
  readonly #context: SessionContext;
  readonly #changed = new Gate();
  #seen = 0n;
  /** What the server was told last: how far it may go, QS2. */
  #limit = 0n;
  #bytes = 0;
  #lanes = "";
  #starts: LeaseLike[] = [];
  #acks: LeaseLike[] = [];
  #others: Saying[] = [];
  #request = 0n;
  /** A drain is to be said. */
  #isDraining = false;
  /** QS5 */
  #isDrained = false;
  #isOver = false;
  #isAnswered = false;

  constructor(context: SessionContext) {
    this.#context = context;
  }

  /** The server has answered the subscription. */
  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  /** Resolves when the stream has ended after a drain. @throws what ended it otherwise. */
  async run(stop: AbortSignal): Promise<void> {
    const { call, clock, silenceMs } = this.#context;
    const attempt = new AbortController();
    const unlink = abortWith(attempt, [stop]);
    const alarm =
      silenceMs === 0
        ? undefined
        : new SilenceAlarm(clock, silenceMs, () => {
            attempt.abort(new RpcError(Code.UNAVAILABLE, `The server was silent for ${silenceMs} ms`));
          });
    try {
      attempt.signal.throwIfAborted();
      alarm?.listen();
      for await (const response of call(this.#requests(), { signal: attempt.signal })) {
        alarm?.listen();
        this.#take(response);
      }
      if (!this.#isDrained) throw new RpcError(Code.UNAVAILABLE, "The server ended the stream of a worker");
    } catch (error) {
      attempt.signal.throwIfAborted(); // the reason says more than the cancellation that it caused
      throw error;
    } finally {
      this.#isOver = true;
      alarm?.stop();
      this.#changed.open();
      unlink();
      attempt.abort();
    }
  }

  start(lease: LeaseLike): void {
    this.#starts.push(lease);
    this.#changed.open();
  }

  end(lease: LeaseLike, outcome: Outcome): void {
    if (outcome.kind === "return" && outcome.throttle !== undefined) {
      this.#others.push({ kind: { case: "throttle", value: outcome.throttle } });
    }
    if (outcome.kind === "ack") this.#acks.push(lease);
    else this.#others.push({ kind: { case: "nack", value: this.#nackOf(lease, outcome) } });
    this.#changed.open();
  }

  progress(lease: LeaseLike, progress: { readonly fraction: number; readonly message: string }): void {
    this.#push({ kind: { case: "progress", value: { lease, ...progress } } });
  }

  drain(): void {
    this.#isDraining = true;
    this.#changed.open();
  }

  /** There is room for more, or for less. Cheap. */
  roomChanged(): void {
    this.#changed.open();
  }

  #push(saying: Saying): void {
    this.#others.push(saying);
    this.#changed.open();
  }

  async *#requests(): AsyncGenerator<Frames> {
    const room = this.#context.owner.room();
    const subscribe = { ...this.#context.subscribe, flow: this.#flowOf(room), lanes: this.#lanesOf(room) };
    yield framesOf([{ kind: { case: "subscribe", value: subscribe } }]);
    while (!this.#isOver) {
      const requests = this.#takeRequests();
      if (requests.length > 0) yield framesOf(requests);
      else if (this.#isDrained) return;
      else await this.#changed.wait();
    }
  }

  /** What there is to say, QS3. */
  #takeRequests(): Saying[] {
    const requests = this.#others;
    this.#others = [];
    if (this.#acks.length > 0) {
      requests.push({ kind: { case: "ack", value: { request: this.#even(), leases: this.#acks } } });
    }
    if (this.#isDraining) requests.push({ kind: { case: "drain", value: {} } });
    this.#isDraining = false;
    if (this.#starts.length > 0) {
      requests.push({ kind: { case: "start", value: { request: this.#even() + 1n, leases: this.#starts } } });
    }
    this.#acks = [];
    this.#starts = [];
    const room = this.#context.owner.room();
    if (JSON.stringify(room.lanes) !== this.#lanes) {
      requests.push({ kind: { case: "lanes", value: { lanes: this.#lanesOf(room) } } });
    }
    if (this.#seen + BigInt(room.jobs) !== this.#limit || room.bytes !== this.#bytes) {
      requests.push({ kind: { case: "flow", value: this.#flowOf(room) } });
    }
    return requests;
  }

  #flowOf({ jobs, bytes }: Room): { seen: bigint; window: number; windowBytes: bigint } {
    this.#limit = this.#seen + BigInt(jobs);
    this.#bytes = bytes;
    return { seen: this.#seen, window: jobs, windowBytes: BigInt(bytes) };
  }

  #lanesOf({ lanes }: Room): { minPriority: number; window: number }[] {
    this.#lanes = JSON.stringify(lanes);
    return lanes.map(({ minPriority, window }) => ({ minPriority, window }));
  }

  #nackOf(lease: LeaseLike, outcome: Exclude<Outcome, { kind: "ack" }>) {
    const { reason } = outcome;
    const notBefore = outcome.kind === "retry" ? outcome.notBefore : 0n;
    return { request: this.#even(), lease, kind: NACK_KINDS[outcome.kind], notBefore, reason };
  }

  /** QS4 */
  #even(): bigint {
    return (this.#request += 2n);
  }

  #take({ kind }: WorkResponse): void {
    const { owner } = this.#context;
    switch (kind.case) {
      case "session":
        this.#isAnswered = true;
        return owner.onSession(kind.value);
      case "delivery":
        this.#seen = kind.value.number;
        return owner.onDelivery(kind.value);
      case "results":
        for (const result of kind.value.results) {
          if (kind.value.request % 2n === 1n) owner.onStarted(result);
          else owner.onEnded(result);
        }
        return undefined;
      case "recall":
        return owner.onRecall(kind.value);
      case "leaseLost":
        return owner.onLeaseLost(kind.value.leases);
      case "flowState":
        return this.#compare(kind.value);
      case "drained":
        this.#isDrained = true;
        return this.#changed.open();
      case undefined:
        return undefined; // of a newer contract
      default:
        return kind satisfies never;
    }
  }

  /** QS1: a server that counts otherwise is told again. */
  #compare({ sent, credit }: FlowState): void {
    const isSame = sent !== this.#seen || this.#limit - this.#seen === BigInt(credit);
    if (isSame) return;
    this.#limit = -1n;
    this.#changed.open();
  }
}

const NACK_KINDS = { return: NackKind.RETURN, retry: NackKind.RETRY, reject: NackKind.REJECT } as const;

/** Several requests as one piece of bytes. */
function framesOf(sayings: readonly Saying[]): Frames {
  const frames = sayings.map((saying) => frameOf(toBinary(WorkRequestSchema, create(WorkRequestSchema, saying))));
  return new Frames(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
}
