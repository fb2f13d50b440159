// One local worker, and its Work streams at the server, one after the other. The worker's own stream outlasts them.
//
// WR1. No job waits here: the server hands out what the worker has room for, and a delivery goes to the worker as it comes. What
//      a worker does not read stays with the server.
// WR2. A stream to the server that is lost is opened again in the worker's session, with the leases that it holds and everything
//      that it said and was not answered. Of the change the worker hears as from the server: of offers that are gone by a
//      Recall, of leases that are lost by a LeaseLost.
// WR3. A worker that is gone gives everything back at once: offers by a drain, started jobs by a Nack each. What it had said
//      before counts.
// WR4. In a drain the worker gets nothing more, and its stream ends when it has nothing left.
import { type Lease, NackKind, RecallReason, ResultCode, type Session, type Subscribe } from "@sluice/api";
import { Code, frameOf, RpcError } from "@sluice/rpc";
import { abortWith } from "../abort.ts";
import { Gate } from "../gate.ts";
import { Retrier, STREAM_RETRY } from "../retry.ts";
import { pause } from "../time.ts";
import { Heartbeats } from "./heartbeats.ts";
import { endOf, LeaseLedger, type Question } from "./lease-ledger.ts";
import { type RelayContext, sidecarDraining } from "./relay-context.ts";
import { RelayOutbox } from "./relay-outbox.ts";
import { UpstreamStream } from "./upstream-stream.ts";
import {
  badRequest,
  frameOfRequest,
  frameOfResponse,
  type Heard,
  readRequest,
  readResponse,
  renumbered,
} from "./work-messages.ts";
import { WorkerCredit } from "./worker-credit.ts";

/** What a worker said before it went is said to a server that is away for so long. */
const LINGER_MS = 300_000;
const THROTTLES_MAX = 1000;

export class WorkRelay {
  readonly outbox = new RelayOutbox();
  readonly #context: RelayContext;
  readonly #subscribe: Subscribe;
  readonly #ledger = new LeaseLedger();
  readonly #credit = new WorkerCredit();
  readonly #throttles = new Map<string, bigint>();
  readonly #answered = new Gate();
  readonly #heartbeats: Heartbeats;
  readonly #stop = new AbortController();
  /** "finished": half-closed. */
  #worker: "here" | "finished" | "gone" = "here";
  #goneMs = 0;
  /** The worker's own. */
  #drainMs: number | undefined;
  #isDraining = false;
  #stream: UpstreamStream | undefined;
  #hasSession = false;
  #isAttached = false;
  #isOver = false;

  /**
   * @param subscribe the worker's first request, with the queue's name in it
   * @throws RpcError INVALID_ARGUMENT
   */
  constructor(subscribe: Subscribe, context: RelayContext) {
    this.#subscribe = subscribe;
    this.#context = context;
    this.#heartbeats = new Heartbeats(context.clock, subscribe.heartbeatMs, () => {
      const value = { sent: this.#credit.sent, credit: this.#credit.free };
      this.outbox.push(frameOfResponse({ case: "flowState", value }));
    });
    if (subscribe.flow !== undefined) this.#credit.set(subscribe.flow);
  }

  /** Its worker has not gone. */
  get isHere(): boolean {
    return this.#worker !== "gone";
  }

  get isAttached(): boolean {
    return this.#isAttached;
  }

  /** Jobs that the worker would take more. */
  get free(): number {
    return this.#worker === "here" && !this.#isDraining ? this.#credit.free : 0;
  }

  get offered(): number {
    return this.#ledger.offered;
  }

  /** Jobs that the worker runs, as far as the server has heard. */
  get running(): number {
    return this.#ledger.started;
  }

  get unanswered(): number {
    return this.#ledger.unanswered.length;
  }

  /** Stream after stream, until there is nothing left to do or to say. Never rejects. */
  async run(requests: AsyncIterator<Uint8Array>): Promise<void> {
    const { clock, random, listener } = this.#context;
    const retrier = new Retrier(STREAM_RETRY, random);
    void this.#listen(requests);
    let ending: unknown;
    try {
      while (!this.#stop.signal.aborted) {
        try {
          await this.#attend();
          break;
        } catch (error) {
          if (this.#stop.signal.aborted || this.#isDone) break;
          if (!this.#hasSession && !(error instanceof RpcError && error.code === Code.UNAVAILABLE)) throw error;
          if (this.#isAttached) retrier.succeeded();
          this.#lose();
          const retryInMs = retrier.failed(error);
          listener.onLost(error, retryInMs);
          await pause(clock, retryInMs, this.#stop.signal);
        }
      }
      if (this.#isDraining && this.#drainMs === undefined) ending = sidecarDraining();
    } catch (error) {
      ending = error;
      if (this.#worker !== "gone") listener.onRefused(error);
    } finally {
      this.#isOver = true;
      this.#isAttached = false;
      this.#heartbeats.stop();
      this.#answered.open();
    }
    if (ending === undefined) {
      const value = { lastNumber: this.#credit.sent };
      if (this.#drainMs !== undefined) this.outbox.push(frameOfResponse({ case: "drained", value }));
      this.outbox.end();
    } else this.outbox.fail(ending);
    listener.onOver();
  }

  /** WR4 */
  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#stream?.say(frameOfRequest({ case: "drain", value: { deadlineMs: 0 } }));
    this.#stopWhenDone();
  }

  /** What the worker still runs goes to others; it hears of that. */
  returnAll(): void {
    const leases = this.#ledger.unended();
    if (leases.length === 0) return;
    this.#giveBack(leases);
    this.outbox.push(frameOfResponse({ case: "leaseLost", value: { leases } }));
  }

  /** At once, with whatever is unsaid. */
  close(): void {
    this.#stop.abort();
  }

  /** The worker's stream is over. */
  leave(): void {
    this.outbox.close();
    this.#depart();
  }

  /** WR3 */
  #depart(): void {
    if (this.#worker === "gone" || this.#isOver) return;
    this.#worker = "gone";
    this.#goneMs = this.#context.clock.monotonicMs();
    this.drain();
    this.#giveBack(this.#ledger.unended());
    this.#answered.open();
    this.#stopWhenDone();
  }

  /** Nothing is left that the server must be told. */
  get #isDone(): boolean {
    if (this.#worker === "gone") {
      // What only gives back, the server does by itself when the stream is gone.
      const isSilent = this.#ledger.unanswered.every(({ isOwn }) => isOwn);
      return isSilent || this.#context.clock.monotonicMs() - this.#goneMs > LINGER_MS;
    }
    return this.#isDraining && this.#ledger.isEmpty;
  }

  #stopWhenDone(): void {
    if (!this.#hasSession && this.#isDraining) this.#stop.abort();
    else if (this.#stream === undefined && this.#isDone) this.#stop.abort();
  }

  /** One stream, to its good end. @throws what ended it otherwise */
  async #attend(): Promise<void> {
    const attempt = new AbortController();
    const unlink = abortWith(attempt, [this.#stop.signal]);
    const alarm = this.#heartbeats.watch(attempt);
    const stream = this.#openStream();
    try {
      for await (const bytes of this.#context.call(stream.requests(), { raw: true, signal: attempt.signal })) {
        alarm?.heard();
        this.#hear(readResponse(bytes), bytes);
        const room = this.outbox.room();
        if (room !== undefined) await room;
        alarm?.listen();
      }
    } catch (error) {
      attempt.signal.throwIfAborted(); // the reason says more than the cancellation that it caused
      throw error;
    } finally {
      this.#stream = undefined;
      alarm?.stop();
      stream.finish();
      unlink();
      attempt.abort();
    }
  }

  /** WR2 */
  #openStream(): UpstreamStream {
    const stream = new UpstreamStream();
    this.#credit.restart();
    const { flow: _, held, $typeName: __, ...subscribe } = this.#subscribe;
    const flow = this.#isDraining ? undefined : this.#credit.flow();
    const leases = this.#hasSession ? this.#ledger.held() : held;
    const value = { ...subscribe, held: leases, ...(flow === undefined ? {} : { flow }) };
    stream.say(frameOfRequest({ case: "subscribe", value }));
    // Before the jobs that go back: they would be handed out at once.
    for (const [fairnessKey, until] of this.#throttles) {
      stream.say(frameOfRequest({ case: "throttle", value: { fairnessKey, until } }));
    }
    this.#throttles.clear();
    for (const { frame } of this.#ledger.unanswered) stream.say(frame);
    if (this.#isDraining) stream.say(frameOfRequest({ case: "drain", value: { deadlineMs: this.#drainMs ?? 0 } }));
    if (this.#worker === "finished") stream.finish();
    this.#stream = stream;
    return stream;
  }

  /** The stream is gone (WR2). */
  #lose(): void {
    this.#isAttached = false;
    const gone = this.#ledger.cut();
    if (gone.length > 0) {
      this.#credit.takeBack(gone.length);
      this.outbox.push(frameOfResponse({ case: "recall", value: { leases: gone, reason: RecallReason.REBALANCE } }));
    }
    if (this.#hasSession) this.#heartbeats.replace();
  }

  // What the server says.

  #hear(heard: Heard, bytes: Uint8Array): void {
    const { listener } = this.#context;
    switch (heard.case) {
      case "session":
        return this.#onSession(heard.value, bytes);
      case "delivery":
        return this.#onDelivery(heard, bytes);
      case "results": {
        const question = this.#ledger.answer(heard.value.results);
        this.#answered.open();
        if (question?.isOwn === true) return undefined;
        if (question !== undefined && question.kind !== "start") {
          listener.onEnded(question.kind, heard.value.results.filter(({ code }) => code === ResultCode.OK).length);
        }
        return this.outbox.push(frameOf(bytes));
      }
      case "recall":
        this.#credit.takeBack(this.#ledger.drop(heard.value.leases).length);
        return this.outbox.push(frameOf(bytes));
      case "leaseLost":
        this.#ledger.drop(heard.value.leases);
        return this.outbox.push(frameOf(bytes));
      case "flowState": {
        const value = { ...heard.value, sent: this.#credit.numberOf(heard.value.sent) };
        return this.outbox.push(this.#credit.isPlain ? frameOf(bytes) : frameOfResponse({ case: "flowState", value }));
      }
      case "drained":
        return undefined; // said at the end, to a worker that asked
      case "other":
        return this.outbox.push(frameOf(bytes));
      default:
        return heard satisfies never;
    }
  }

  #onSession({ sessionToken, workerId, kept, lost }: Session, bytes: Uint8Array): void {
    const isFirst = !this.#hasSession;
    this.#hasSession = true;
    this.#isAttached = true;
    this.#heartbeats.stop();
    this.#subscribe.sessionToken = sessionToken;
    this.#subscribe.workerId = workerId;
    if (isFirst) {
      this.#ledger.keep(kept);
      this.outbox.push(frameOf(bytes));
    } else {
      // Of those that something was said of, the answer to that will tell.
      const asked = new Set(this.#ledger.unanswered.flatMap(({ leases }) => leases.map(({ attempt }) => attempt)));
      const gone = this.#ledger.drop(lost.filter(({ attempt }) => !asked.has(attempt)));
      if (gone.length > 0) this.outbox.push(frameOfResponse({ case: "leaseLost", value: { leases: gone } }));
    }
    this.#context.listener.onAttached();
  }

  #onDelivery(delivery: { readonly lease: Lease; readonly isStarted: boolean }, bytes: Uint8Array): void {
    const { lease } = delivery;
    const number = this.#credit.deliver();
    this.#ledger.deliver(lease, delivery);
    this.#context.listener.onDelivered();
    if (this.#worker !== "gone") {
      this.outbox.push(this.#credit.isPlain ? frameOf(bytes) : renumbered(bytes, number));
    } else if (delivery.isStarted) this.#giveBack([lease]); // it crossed the drain
  }

  // What the worker says.

  /** Never rejects. */
  async #listen(requests: AsyncIterator<Uint8Array>): Promise<void> {
    try {
      for (let next = await requests.next(); next.done !== true; next = await requests.next()) {
        this.#said(next.value);
        while (this.#ledger.isFull && !this.#isOver && this.#worker === "here") await this.#answered.wait();
      }
      if (this.#worker !== "here") return;
      this.#worker = "finished";
      this.#stream?.finish();
    } catch (error) {
      this.outbox.fail(error);
      this.#depart();
    }
  }

  /** @throws RpcError INVALID_ARGUMENT */
  #said(bytes: Uint8Array): void {
    const request = readRequest(bytes);
    switch (request.case) {
      case "flow":
        this.#credit.set(request.value);
        this.#say(
          this.#credit.isPlain ? frameOf(bytes) : frameOfRequest({ case: "flow", value: this.#credit.flow()! }),
        );
        return;
      case "start":
      case "ack":
        this.#ask(request.case, request.value.leases, frameOf(bytes));
        return;
      case "nack":
        this.#ask(endOf(request.value), request.value.lease === undefined ? [] : [request.value.lease], frameOf(bytes));
        return;
      case "throttle":
        if (this.#stream === undefined) this.#keepThrottle(request.value.fairnessKey, request.value.until);
        this.#say(frameOf(bytes));
        return;
      case "drain":
        this.#drainMs = request.value.deadlineMs;
        this.#isDraining = true;
        this.#say(frameOf(bytes));
        this.#stopWhenDone();
        return;
      case "lanes":
        this.#subscribe.lanes = request.value.lanes;
        this.#say(frameOf(bytes));
        return;
      case "progress":
        this.#say(frameOf(bytes));
        return;
      case "subscribe":
        throw badRequest("subscribe", "comes once, as the first request");
      case undefined:
        throw badRequest("kind", "is missing, or of a newer version than this sidecar");
      default:
        request satisfies never;
    }
  }

  #ask(kind: Question["kind"], leases: readonly Lease[], frame: Uint8Array): void {
    this.#ledger.ask({ kind, leases, frame, isOwn: false });
    this.#say(frame);
  }

  /** What is said to nobody is not kept here: questions are in the ledger. */
  #say(frame: Uint8Array): void {
    this.#stream?.say(frame);
  }

  #keepThrottle(fairnessKey: string, until: bigint): void {
    if (this.#throttles.size < THROTTLES_MAX) this.#throttles.set(fairnessKey, until);
  }

  /** In the place of the worker. */
  #giveBack(leases: readonly Lease[]): void {
    for (const lease of leases) {
      const frame = frameOfRequest({ case: "nack", value: { lease, kind: NackKind.RETURN } });
      this.#ledger.ask({ kind: "return", leases: [lease], frame, isOwn: true });
      this.#say(frame);
    }
    if (leases.length > 0) this.#context.listener.onReturned(leases.length);
  }
}
