// What can be asked of a server's queues.
import {
  type EnqueuedJob,
  type ExplainJobResponse,
  type JobState,
  type JobView,
  type Queue,
  type QueueService,
  QueueSettingsSchema,
  type Schedule,
} from "@sluice/api";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ChannelOptions, Client } from "@sluice/rpc";
import { pages } from "./pages.ts";
import { enqueueJobs, type EnqueueOptions } from "./queue-enqueue.ts";
import { LeaseHeartbeat } from "./queue-heartbeat.ts";
import { type JobHandler, type NewQueueJob, toNewJob } from "./queue-job.ts";
import type { LeaseLike } from "./queue-session.ts";
import type { QueueWorkerOptions } from "./queue-worker-options.ts";
import { QueueWorker } from "./queue-worker.ts";
import type { RetryPolicy, UnaryOptions } from "./retry.ts";
import type { Clock, Random } from "./time.ts";

/** Settings of a queue; those that are absent are the server's defaults, or stay as they are. */
export type NewQueueSettings = Omit<MessageInitShape<typeof QueueSettingsSchema>, "$typeName" | "$unknown">;

/** A job that is enqueued again and again. */
export interface NewSchedule {
  readonly name: string;
  /** Five fields, or six with seconds first: "0 3 * * 1-5". */
  readonly cron: string;
  /** Of the IANA database. Default: UTC. */
  readonly timeZone?: string;
  readonly job: NewQueueJob;
}

export interface QueueClientContext {
  readonly rpc: Client<typeof QueueService>;
  readonly address: string;
  readonly channel: ChannelOptions;
  /** A call with one answer, tried again where that may help. */
  readonly ask: <T>(
    call: (options: { signal: AbortSignal; timeoutMs?: number }) => Promise<T>,
    options: UnaryOptions,
  ) => Promise<T>;
  /** Drained when the client is closed. */
  readonly own: (worker: QueueWorker) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  readonly closed: AbortSignal;
}

/** Neither is tried again by itself: after an answer that was lost, a second try would fail. */
const ONCE = { retry: { attemptsMax: 1 } };

/** The queues of a server. */
export class QueueClient {
  readonly #context: QueueClientContext;

  constructor(context: QueueClientContext) {
    this.#context = context;
  }

  /**
   * Adds jobs; resolves when they are on disk. A lost answer does not make two of one. Of more than 1,000 jobs, or a MiB
   * of bodies, those of the batches before the one that failed are there. @throws RpcError
   */
  async enqueue(
    queue: string,
    jobs: NewQueueJob | Iterable<NewQueueJob>,
    options: UnaryOptions & EnqueueOptions = {},
  ): Promise<EnqueuedJob[]> {
    const { rpc, random, ask } = this.#context;
    return await enqueueJobs(queue, "body" in jobs ? [jobs] : jobs, {
      ...options,
      random,
      call: (request) => ask((call) => rpc.enqueue(request, call), options),
    });
  }

  /**
   * Works on a queue: runs the handler for each job, as many at a time as there are slots, until it is drained. It survives
   * lost connections, with the jobs that run meanwhile.
   * @throws RangeError when the options do not fit
   */
  worker(queue: string, handler: JobHandler, options: QueueWorkerOptions): QueueWorker {
    const { rpc, address, channel, clock, random, retry, closed, own } = this.#context;
    const extend = (leases: readonly LeaseLike[], leaseMs: number, timeoutMs: number) =>
      rpc.extendLeases({ queue, leases: [...leases], leaseMs }, { timeoutMs, signal: closed });
    const worker = new QueueWorker(queue, handler, {
      ...options,
      context: {
        call: rpc.work,
        extend,
        openHeartbeat: (own) => new LeaseHeartbeat({ ...own, address, queue, channel, clock, call: extend }),
        clock,
        random,
        retry,
        closed,
      },
    });
    own(worker);
    return worker;
  }

  /** @throws RpcError: ALREADY_EXISTS */
  async create(name: string, options: UnaryOptions & { readonly settings?: NewQueueSettings } = {}): Promise<Queue> {
    const { settings = {}, ...unary } = options;
    const { rpc, ask } = this.#context;
    const { queue } = await ask((call) => rpc.createQueue({ name, settings }, call), { ...ONCE, ...unary });
    return queue!;
  }

  /** Fields that are there are set. @throws RpcError */
  async update(name: string, settings: NewQueueSettings, options: UnaryOptions = {}): Promise<Queue> {
    const { rpc, ask } = this.#context;
    const { queue } = await ask((call) => rpc.updateQueue({ name, settings }, call), options);
    return queue!;
  }

  /** With its counts. @throws RpcError: NOT_FOUND */
  async get(name: string, options: UnaryOptions = {}): Promise<Queue> {
    const { rpc, ask } = this.#context;
    const { queue } = await ask((call) => rpc.getQueue({ name }, call), options);
    return queue!;
  }

  /** By name. @throws RpcError */
  async *list(options: UnaryOptions = {}): AsyncGenerator<Queue> {
    const { rpc, ask } = this.#context;
    yield* pages(async (pageToken) => {
      const page = await ask((call) => rpc.listQueues({ pageToken }, call), options);
      return { rows: page.queues, next: page.nextPageToken };
    });
  }

  /** `force`: with the jobs that are in it. @throws RpcError: FAILED_PRECONDITION */
  async delete(name: string, options: UnaryOptions & { readonly force?: boolean } = {}): Promise<void> {
    const { force = false, ...unary } = options;
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.deleteQueue({ name, force }, call), { ...ONCE, ...unary });
  }

  /** No more jobs are handed out; those that run go on. @throws RpcError */
  async pause(queue: string, options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.pause({ queue }, call), options);
  }

  /** @throws RpcError */
  async resume(queue: string, options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.resume({ queue }, call), options);
  }

  /** The first jobs of a state (default: those that wait, in their order), without taking them. @throws RpcError */
  async peek(
    queue: string,
    options: UnaryOptions & { readonly state?: JobState; readonly limit?: number; readonly bodyBytes?: number } = {},
  ): Promise<JobView[]> {
    const { state, limit = 0, bodyBytes = 0, ...unary } = options;
    const { rpc, ask } = this.#context;
    const request = { queue, limit, bodyBytes, ...(state === undefined ? {} : { state }) };
    return (await ask((call) => rpc.peekJobs(request, call), unary)).jobs;
  }

  /** Why a job is not running, or who runs it. @throws RpcError: NOT_FOUND */
  async explain(queue: string, jobId: string, options: UnaryOptions = {}): Promise<ExplainJobResponse> {
    const { rpc, ask } = this.#context;
    return await ask((call) => rpc.explainJob({ queue, jobId }, call), options);
  }

  /** A job that runs is taken from its worker. @throws RpcError: NOT_FOUND */
  async cancel(queue: string, jobId: string, options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.cancelJob({ queue, jobId }, call), { ...ONCE, ...options });
  }

  /** Removes jobs that wait, are delayed or dead (`state`: one of these). Resolves with how many. @throws RpcError */
  async purge(queue: string, options: UnaryOptions & { readonly state?: JobState } = {}): Promise<bigint> {
    const { state, ...unary } = options;
    const { rpc, ask } = this.#context;
    const request = { queue, ...(state === undefined ? {} : { state }) };
    return (await ask((call) => rpc.purge(request, call), unary)).removed;
  }

  /** Jobs that failed for good, oldest first. @throws RpcError */
  async *listDead(
    queue: string,
    options: UnaryOptions & { readonly bodyBytes?: number } = {},
  ): AsyncGenerator<JobView> {
    const { bodyBytes = 0, ...unary } = options;
    const { rpc, ask } = this.#context;
    yield* pages(async (pageToken) => {
      const page = await ask((call) => rpc.listDeadJobs({ queue, pageToken, bodyBytes }, call), unary);
      return { rows: page.jobs, next: page.nextPageToken };
    });
  }

  /** Dead jobs wait again; none named: all. Resolves with how many. @throws RpcError */
  async redrive(queue: string, jobIds: readonly string[] = [], options: UnaryOptions = {}): Promise<bigint> {
    const { rpc, ask } = this.#context;
    return (await ask((call) => rpc.redrive({ queue, jobIds: [...jobIds] }, call), options)).redriven;
  }

  /** Putting one with the same name replaces it. @throws RpcError: INVALID_ARGUMENT */
  async putSchedule(queue: string, schedule: NewSchedule, options: UnaryOptions = {}): Promise<Schedule> {
    const { name, cron, timeZone = "", job } = schedule;
    const { rpc, ask } = this.#context;
    const request = { queue, schedule: { name, cron, timeZone, job: toNewJob(job) } };
    const { schedule: put } = await ask((call) => rpc.putSchedule(request, call), options);
    return put!;
  }

  /** @throws RpcError */
  async listSchedules(queue: string, options: UnaryOptions = {}): Promise<Schedule[]> {
    const { rpc, ask } = this.#context;
    return (await ask((call) => rpc.listSchedules({ queue }, call), options)).schedules;
  }

  /** @throws RpcError: NOT_FOUND */
  async deleteSchedule(queue: string, name: string, options: UnaryOptions = {}): Promise<void> {
    const { rpc, ask } = this.#context;
    await ask((call) => rpc.deleteSchedule({ queue, name }, call), { ...ONCE, ...options });
  }
}
