// The queue service as local workers see it: Work and ExtendLeases, each handed on to the server.
//
// RS1. Each worker has a stream of its own at the server, all on one connection: so what the server may send is exactly what
//      its workers have free, and nobody here decides who gets a job.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ExtendLeasesRequestSchema, type QueueService, type Subscribe } from "@sluice/api";
import {
  type Call,
  type Client,
  Code,
  errorDetail,
  Frames,
  type FrameSource,
  frameOf,
  QuotaFailureSchema,
  retryAfter,
  RpcError,
  type ServiceHandlers,
} from "@sluice/rpc";
import type { Clock, Random } from "../time.ts";
import { badRequest, readRequest } from "./work-messages.ts";
import { type RelayListener, sidecarDraining } from "./relay-context.ts";
import { WorkRelay } from "./work-relay.ts";

export interface RelayServiceContext {
  readonly rpc: Client<typeof QueueService>;
  readonly queue: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: Omit<RelayListener, "onOver">;
  /** Workers at a time, those included that are gone and have still something to say. */
  readonly workersMax: number;
}

const EXTEND_TIMEOUT_MS = 10_000;

export class RelayService {
  readonly handlers: ServiceHandlers<typeof QueueService>;
  readonly #context: RelayServiceContext;
  readonly #relays = new Set<WorkRelay>();
  #isDraining = false;
  #onIdle: (() => void) | undefined;

  constructor(context: RelayServiceContext) {
    this.#context = context;
    this.handlers = {
      work: { raw: true, bidi: (requests, call) => this.#work(requests, call) },
      extendLeases: { raw: true, unary: (bytes, call) => this.#extendLeases(bytes, call) },
    };
  }

  get relays(): ReadonlySet<WorkRelay> {
    return this.#relays;
  }

  /** Takes nothing new. */
  drain(): void {
    this.#isDraining = true;
    for (const relay of this.#relays) relay.drain();
  }

  /** Resolves when no worker is left. */
  async idle(): Promise<void> {
    if (this.#relays.size > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
  }

  async #work(requests: AsyncIterable<Uint8Array>, call: Call): Promise<FrameSource> {
    const iterator = requests[Symbol.asyncIterator]();
    const subscribe = this.#subscribeOf(await iterator.next());
    if (this.#isDraining) throw sidecarDraining();
    this.#checkRoom();
    const { rpc, clock, random, listener } = this.#context;
    const relay = new WorkRelay(subscribe, {
      call: rpc.work,
      clock,
      random,
      listener: { ...listener, onOver: () => this.#forget(relay) },
    });
    this.#relays.add(relay);
    call.onEnd(() => relay.leave());
    void relay.run(iterator);
    return relay.outbox;
  }

  #forget(relay: WorkRelay): void {
    this.#relays.delete(relay);
    if (this.#relays.size === 0) this.#onIdle?.();
  }

  #subscribeOf(first: IteratorResult<Uint8Array>): Subscribe {
    const wanted = "the first request is `subscribe`";
    if (first.done === true) throw badRequest("kind", wanted);
    const request = readRequest(first.value);
    if (request.case !== "subscribe") throw badRequest("kind", wanted);
    request.value.queue = this.#queueOf(request.value.queue, "subscribe.queue");
    return request.value;
  }

  async #extendLeases(bytes: Uint8Array, call: Call): Promise<Frames> {
    const { rpc, clock } = this.#context;
    const request = parseExtend(bytes);
    request.queue = this.#queueOf(request.queue, "queue");
    const leftMs = call.deadlineMs === undefined ? EXTEND_TIMEOUT_MS : call.deadlineMs - clock.monotonicMs();
    const timeoutMs = Math.max(1, Math.min(EXTEND_TIMEOUT_MS, leftMs));
    const frames = new Frames(frameOf(toBinary(ExtendLeasesRequestSchema, request)));
    return new Frames(frameOf(await rpc.extendLeases(frames, { raw: true, timeoutMs, signal: call.signal })));
  }

  /** A worker need not name the queue: there is one. */
  #queueOf(name: string, field: string): string {
    const { queue } = this.#context;
    if (name === "" || name === queue) return queue;
    throw badRequest(field, `this sidecar is one of the queue "${queue}": name that one or none, not "${name}"`);
  }

  #checkRoom(): void {
    const { workersMax } = this.#context;
    if (this.#relays.size < workersMax) return;
    const text = `Cannot take another worker: the sidecar's limit of ${workersMax} is reached`;
    const violations = [{ subject: "workers of the sidecar", description: `the limit is ${workersMax}` }];
    throw new RpcError(Code.RESOURCE_EXHAUSTED, text, {
      details: [errorDetail(QuotaFailureSchema, { violations }), retryAfter(5000)],
    });
  }
}

function parseExtend(bytes: Uint8Array) {
  try {
    return fromBinary(ExtendLeasesRequestSchema, bytes);
  } catch {
    throw badRequest("", "is no ExtendLeasesRequest");
  }
}
