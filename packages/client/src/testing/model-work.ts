// A queue's server that a test plays by hand: what came on each Work stream, and what is answered.
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  ExtendLeasesResponseSchema,
  type NackKind,
  ResultCode,
  type WorkRequest,
  WorkRequestSchema,
  type WorkResponse,
  WorkResponseSchema,
} from "@sluice/api";
import { Code, type Frames, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import type { Heartbeat } from "../queue-heartbeat.ts";
import type { JobHandler } from "../queue-job.ts";
import type { LeaseLike, WorkCall } from "../queue-session.ts";
import type { QueueWorkerContext, QueueWorkerOptions } from "../queue-worker-options.ts";
import { QueueWorker } from "../queue-worker.ts";
import { STREAM_RETRY } from "../retry.ts";
import { constantRandom, settle } from "./chance.ts";
import { Feed } from "./feed.ts";

type Answer = NonNullable<MessageInitShape<typeof WorkResponseSchema>["kind"]>;

const FRAME_HEADER_BYTES = 5;

/** One Work stream as the server sees it. */
export class ModelWork {
  readonly requests: WorkRequest["kind"][] = [];
  readonly #responses: Feed<WorkResponse>;
  /** The worker half-closed. */
  isEnded = false;
  #number = 0n;

  constructor(requests: AsyncIterable<Frames>, signal: AbortSignal) {
    this.#responses = new Feed(signal);
    void this.#read(requests, signal);
  }

  get responses(): AsyncIterable<WorkResponse> {
    return this.#responses;
  }

  get subscribe() {
    return this.#values("subscribe")[0]!;
  }

  /** Windows said so far, with what was seen. */
  get flows(): [seen: number, window: number][] {
    const first = this.subscribe.flow;
    const all = [...(first === undefined ? [] : [first]), ...this.#values("flow")];
    return all.map(({ seen, window }) => [Number(seen), window]);
  }

  /** How many more deliveries the worker takes. */
  get credit(): number {
    const [seen, window] = this.flows.at(-1)!;
    return seen + window - Number(this.#number);
  }

  get acks(): string[] {
    return this.#values("ack").flatMap(({ leases }) => leases.map(({ jobId }) => jobId));
  }

  get starts(): string[] {
    return this.#values("start").flatMap(({ leases }) => leases.map(({ jobId }) => jobId));
  }

  get nacks(): { job: string; kind: NackKind; reason: string; notBefore: bigint }[] {
    return this.#values("nack").map(({ lease, kind, reason, notBefore }) => ({
      job: lease?.jobId ?? "",
      kind,
      reason,
      notBefore,
    }));
  }

  get throttles() {
    return this.#values("throttle");
  }

  /** All requests of a kind. */
  #values<K extends NonNullable<WorkRequest["kind"]["case"]>>(name: K) {
    return this.requests.flatMap((kind) =>
      kind.case === name ? [kind.value as Extract<WorkRequest["kind"], { case: K }>["value"]] : [],
    );
  }

  answer(kind: Answer): void {
    this.#responses.push(create(WorkResponseSchema, { kind }));
  }

  session(session: { leaseMs?: number; kept?: LeaseLike[]; lost?: LeaseLike[]; token?: string } = {}): void {
    const { leaseMs = 30_000, kept = [], lost = [], token = "t" } = session;
    const value = { workerId: "w", graceMs: 30_000, leaseMs, kept, lost, sessionToken: Buffer.from(token) };
    this.answer({ case: "session", value });
  }

  /** Hands out a job, whose attempt is its id unless given. */
  deliver(jobId: string, job: { offer?: boolean; priority?: number; body?: string; attempt?: bigint } = {}): void {
    const { offer = false, priority = 3, body = "", attempt = BigInt(jobId) } = job;
    const stored = { jobId, priority, body: Buffer.from(body) };
    const lease = { jobId, attempt };
    const value = { number: ++this.#number, lease, job: stored, leaseUntil: offer ? 0n : 1n };
    this.answer({ case: "delivery", value });
  }

  /** Answers what has been asked of these jobs, by the request's number. */
  results(kind: "start" | "ack" | "nack", code: ResultCode, ...jobIds: string[]): void {
    for (const jobId of jobIds) {
      const asked = this.requests.find((each) => {
        if (each.case === "nack" && kind === "nack") return each.value.lease?.jobId === jobId;
        if (each.case === "start" || each.case === "ack") {
          return each.case === kind && each.value.leases.some((lease) => lease.jobId === jobId);
        }
        return false;
      });
      if (asked?.case !== "start" && asked?.case !== "ack" && asked?.case !== "nack")
        throw new Error(`No ${kind} of ${jobId}`);
      const lease = { jobId, attempt: BigInt(jobId) };
      this.answer({
        case: "results",
        value: { request: asked.value.request, results: [{ lease, code, leaseUntil: 1n }] },
      });
    }
  }

  /** Nothing is left that the worker has: the stream ends. */
  drained(): void {
    this.answer({ case: "drained", value: { lastNumber: this.#number } });
    this.#responses.end();
  }

  /** The connection breaks. */
  lose(): void {
    this.#responses.fail(new RpcError(Code.UNAVAILABLE, "connection lost"));
  }

  fail(error: RpcError): void {
    this.#responses.fail(error);
  }

  async #read(requests: AsyncIterable<Frames>, signal: AbortSignal): Promise<void> {
    for await (const { bytes } of requests) {
      if (signal.aborted) return;
      for (let at = 0; at < bytes.length;) {
        const end = at + FRAME_HEADER_BYTES + Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32BE(at + 1);
        this.requests.push(fromBinary(WorkRequestSchema, bytes.subarray(at + FRAME_HEADER_BYTES, end)).kind);
        at = end;
      }
    }
    this.isEnded = true;
  }
}

/** A heartbeat whose leases last by the test's clock, and are extended by the test. */
class ModelHeartbeat implements Heartbeat {
  readonly held = new Map<number, LeaseLike>();
  readonly #endMs = new Map<number, number>();
  readonly #clock: ManualClock;
  #seats = 0;
  isEnded = false;
  isReady = true;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  hold(lease: LeaseLike, leaseMs: number): number {
    this.held.set(++this.#seats, lease);
    this.setLease(this.#seats, leaseMs);
    return this.#seats;
  }

  release(seat: number): void {
    this.held.delete(seat);
  }

  setLease(seat: number, leaseMs: number): void {
    this.#endMs.set(seat, this.#clock.monotonicMs() + leaseMs);
  }

  leftMs(seat: number): number {
    return this.#endMs.get(seat)! - this.#clock.monotonicMs();
  }

  begin(): void {}

  async end(): Promise<void> {
    this.isEnded = true;
  }
}

/** A worker at a server that the test plays, on a clock that stands still. */
export function openWorker(handler: JobHandler, options: Partial<QueueWorkerOptions> = {}) {
  const clock = new ManualClock();
  const closed = new AbortController();
  const heartbeat = new ModelHeartbeat(clock);
  const calls: ModelWork[] = [];
  const call: WorkCall = (requests, { signal }) => {
    const work = new ModelWork(requests, signal);
    calls.push(work);
    return work.responses;
  };
  let tell: Parameters<QueueWorkerContext["openHeartbeat"]>[0]["report"] | undefined;
  let ready: (() => void) | undefined;
  const extensions: { leases: readonly LeaseLike[]; leaseMs: number; code: ResultCode }[] = [];
  const context: QueueWorkerContext = {
    call,
    extend: async (leases, leaseMs) => {
      const code = extensions.length > 0 ? ResultCode.STALE : ResultCode.OK; // the first one is granted
      extensions.push({ leases, leaseMs, code });
      return create(ExtendLeasesResponseSchema, {
        results: leases.map((lease) => ({ lease, code, leaseUntil: 77n })),
      });
    },
    openHeartbeat: ({ report, onReady }) => {
      tell = report;
      ready = onReady;
      return heartbeat;
    },
    clock,
    random: constantRandom(0),
    retry: STREAM_RETRY,
    closed: closed.signal,
  };
  const worker = new QueueWorker("tax", handler, { slots: 2, ...options, context });
  return {
    worker,
    clock,
    closed,
    heartbeat,
    calls,
    extensions,
    ready: () => ready?.(),
    report: (report: Parameters<NonNullable<typeof tell>>[0]) => tell?.(report),
    /** The newest stream, once all that could be said was said. */
    work: async (): Promise<ModelWork> => {
      await settle();
      return calls.at(-1)!;
    },
    /** Answers the subscription. */
    subscribed: async (...session: Parameters<ModelWork["session"]>): Promise<ModelWork> => {
      await settle();
      const work = calls.at(-1)!;
      work.session(...session);
      await settle();
      return work;
    },
  };
}

/** Handlers that the test ends, by the job's id. */
export function openHandler() {
  const running = new Map<string, PromiseWithResolvers<void> & { signal: AbortSignal }>();
  const begun: string[] = [];
  const handler: JobHandler = (job, { signal }) => {
    const ending = { ...Promise.withResolvers<void>(), signal };
    running.set(job.id, ending);
    begun.push(job.id);
    return ending.promise.finally(() => running.delete(job.id));
  };
  const of = (id: string) => {
    const ending = running.get(id);
    if (ending === undefined) throw new Error(`Job ${id} does not run`);
    return ending;
  };
  return {
    handler,
    begun,
    /** Jobs that run. */
    running: () => [...running.keys()],
    signal: (id: string) => of(id).signal,
    async finish(id: string): Promise<void> {
      of(id).resolve();
      await settle();
    },
    async fail(id: string, error: unknown): Promise<void> {
      of(id).reject(error);
      await settle();
    },
  };
}
