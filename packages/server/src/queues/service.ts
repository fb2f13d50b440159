// The queue service: its handlers, and what they share. Each handler reads as the way of the data: parse, authorize, do.
//
// V1. Every entrance asks `authorize` before it looks for the queue, so that nobody learns which queues there are.
// V2. A queue that closes (its journal failed, it was deleted) ends its workers' streams with the reason.
import { fromBinary } from "@bufbuild/protobuf";
import {
  type ExtendLeasesRequest,
  type Lease,
  type QueueService,
  type Subscribe,
  WorkRequestSchema,
} from "@sluice/api";
import type { Call, FrameSource, ServiceHandlers } from "@sluice/rpc";
import { Draining, InvalidRequest, LimitExceeded, NotFound } from "../errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { type Action, type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import type { Clock } from "../store/contract.ts";
import { WriteBudget } from "../stream/write-budget.ts";
import { createAdminHandlers } from "./admin.ts";
import type { OpenQueue, QueueCatalog } from "./contract.ts";
import { enqueue, type EnqueueOptions, EnqueueStream } from "./enqueue.ts";
import { WorkInterrupted } from "./queue-errors.ts";
import { bad, parseLeaseMs, parseQueueName, parseSubscribe } from "./requests.ts";
import { leaseResult } from "./views.ts";
import { jobLeaseOf } from "./work-requests.ts";
import { WorkSession } from "./work-session.ts";
import { WorkSessions } from "./work-sessions.ts";

export interface QueueServiceOptions {
  readonly catalog: QueueCatalog;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly limits?: Limits;
  /** Makes session tokens. Default: the system's random bytes. */
  readonly random?: (bytes: number) => Uint8Array;
}

export interface QueueServiceHandle {
  readonly handlers: ServiceHandlers<typeof QueueService>;
  /**
   * Nothing more is handed out, what was offered and not started returns at once, and streams end with UNAVAILABLE: workers
   * come again with their session, here or elsewhere. Idempotent.
   */
  drain(): void;
  /** Work streams that are open. */
  readonly workers: number;
  /** Those, and workers that may come back. */
  readonly sessions: number;
  /** Bytes of requests to enqueue that came and are not taken yet. */
  readonly enqueuingBytes: number;
}

export function createQueueService(options: QueueServiceOptions): QueueServiceHandle {
  const { catalog, authorize, clock, limits = DEFAULT_LIMITS, random } = options;
  const sessions = new WorkSessions({
    clock,
    max: limits.workSessionsMax,
    ...(random === undefined ? {} : { random }),
  });
  const budget = new WriteBudget(limits.writesBytesMax);
  const producers = new Set<EnqueueStream>();
  let isDraining = false;

  const open: OpenForCaller = (subject, action, text, field) => {
    const name = parseQueueName(text, field);
    authorize(subject, action, { type: "queue", name });
    const queue = catalog.find(name);
    if (queue === undefined) throw new NotFound("queue", name, "it was not created, or deleted since");
    return queue;
  };
  const enqueueFor = (call: Call): EnqueueOptions => {
    return { limits, budget, open: (name) => open(subjectOf(call), "write", name) };
  };

  return {
    handlers: {
      ...createAdminHandlers({ catalog, authorize, limits, open }),
      ...createWorkHandlers({ sessions, limits, open, isDraining: () => isDraining }),
      enqueue: { raw: true, unary: (bytes, call) => enqueue(bytes, enqueueFor(call)) },
      enqueueStream: {
        raw: true,
        bidi(requests, call) {
          if (isDraining) throw new Draining();
          const stream = new EnqueueStream(enqueueFor(call));
          producers.add(stream);
          call.onEnd(() => producers.delete(stream));
          return stream.answers(requests, call);
        },
      },
    },
    drain() {
      isDraining = true;
      sessions.interrupt(new WorkInterrupted());
      for (const producer of producers) producer.stop(new Draining());
    },
    get workers() {
      return sessions.workers;
    },
    get sessions() {
      return sessions.count;
    },
    get enqueuingBytes() {
      return budget.held;
    },
  };
}

/** Checks a name, asks, and finds (V1). @throws InvalidRequest, PermissionDenied, NotFound */
type OpenForCaller = (subject: Subject, action: Action, name: string, field?: string) => OpenQueue;

interface WorkHandlersOptions {
  readonly sessions: WorkSessions;
  readonly limits: Limits;
  readonly open: OpenForCaller;
  readonly isDraining: () => boolean;
}

function createWorkHandlers({ sessions, limits, open, isDraining }: WorkHandlersOptions) {
  const watched = new WeakSet<OpenQueue>();

  /** V2. */
  function watch(queue: OpenQueue): void {
    if (watched.has(queue)) return;
    watched.add(queue);
    queue.onClosed((error) => {
      sessions.interrupt(error, queue);
      sessions.forgetQueue(queue);
    });
  }

  function checkCount(leases: readonly Lease[]): void {
    if (leases.length <= limits.jobBatchMax) return;
    const text = `Cannot take a request with ${leases.length} leases: the limit is ${limits.jobBatchMax}`;
    throw new LimitExceeded(text, "leases of a request");
  }

  async function work(requests: AsyncIterable<Uint8Array>, call: Call): Promise<FrameSource> {
    const iterator = requests[Symbol.asyncIterator]();
    const request = readSubscribe(await iterator.next());
    const subscribe = parseSubscribe(request);
    const queue = open(subjectOf(call), "consume", subscribe.queue);
    if (isDraining()) throw new Draining();
    checkCount(request.held);
    watch(queue);
    const session = new WorkSession({ seat: sessions.admit(queue, subscribe), sessions, subscribe, limits });
    session.open(request.held);
    call.onEnd(() => session.close());
    const { flow } = request;
    const first = flow && { seen: Number(flow.seen), window: flow.window, windowBytes: Number(flow.windowBytes) };
    void session.run(iterator, first);
    return session.outbox;
  }

  function extendLeases({ queue, leases, leaseMs }: ExtendLeasesRequest, call: Call) {
    const { engine } = open(subjectOf(call), "consume", queue);
    checkCount(leases);
    const wanted = leases.map((lease) => jobLeaseOf(lease, (jobId) => engine.find(jobId) ?? 0));
    const outcomes = engine.extend(wanted, parseLeaseMs(leaseMs));
    return { results: outcomes.map((outcome, i) => leaseResult(leases[i]!, outcome)) };
  }

  return { work: { raw: true, bidi: work }, extendLeases } as const;
}

/** @throws InvalidRequest */
function readSubscribe(first: IteratorResult<Uint8Array>): Subscribe {
  const wanted = "the first request is `subscribe`";
  if (first.done === true) throw bad("kind", wanted);
  try {
    const { kind } = fromBinary(WorkRequestSchema, first.value);
    if (kind.case === "subscribe") return kind.value;
  } catch {
    throw new InvalidRequest("MALFORMED_MESSAGE", [{ field: "", description: "is no WorkRequest" }]);
  }
  throw bad("kind", wanted);
}
