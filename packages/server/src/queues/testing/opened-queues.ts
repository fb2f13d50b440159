// A queue service on files of its own, with a clock that the test moves.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { CreateQueueRequestSchema, EnqueueRequestSchema, QueueService } from "@sluice/api";
import type { Call } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { DEFAULT_LIMITS, type Limits } from "../../limits.ts";
import { type Authorize, allowAll } from "../../security/authorize.ts";
import { openDataFolder } from "../../store/data-folder.ts";
import type { FileSystem } from "../../store/file-system.ts";
import { nodeFileSystem } from "../../store/file-system-node.ts";
import { FakeCall } from "../../stream/testing/fake-call.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { createEngine } from "../engine/queue.ts";
import { type OpenQueues, openQueues } from "../open-queues.ts";
import { createQueueService, type QueueServiceHandle } from "../service.ts";
import { TestWorker } from "./test-worker.ts";

type Methods = (typeof QueueService)["method"];
type UnaryName = { [K in keyof Methods]: Methods[K]["methodKind"] extends "unary" ? K : never }[keyof Methods];
type Settings = MessageInitShape<typeof CreateQueueRequestSchema>["settings"];
type NewJobs = NonNullable<MessageInitShape<typeof EnqueueRequestSchema>["jobs"]>;
type Subscribe = Parameters<typeof TestWorker.open>[1];

export class OpenedQueues implements AsyncDisposable {
  service: QueueServiceHandle;
  queues: OpenQueues;
  readonly clock: ManualClock;
  readonly #folder: string;
  readonly #options: OpenedOptions;
  readonly #workers: TestWorker[] = [];
  #close: () => Promise<void>;

  private constructor(parts: Parts & { clock: ManualClock; folder: string; options: OpenedOptions }) {
    this.service = parts.service;
    this.queues = parts.queues;
    this.clock = parts.clock;
    this.#folder = parts.folder;
    this.#options = parts.options;
    this.#close = parts.close;
  }

  static async open(options: OpenedOptions = {}): Promise<OpenedQueues> {
    const folder = await mkdtemp(join(tmpdir(), "sluice-queues-"));
    const clock = new ManualClock();
    return new OpenedQueues({ ...(await openParts(folder, clock, options)), clock, folder, options });
  }

  /** The server stops, and another one opens the same files. */
  async restart(): Promise<void> {
    this.service.drain();
    await this.#close();
    const parts = await openParts(this.#folder, this.clock, this.#options);
    this.service = parts.service;
    this.queues = parts.queues;
    this.#close = parts.close;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const worker of this.#workers) worker.cut();
    await this.#close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Calls a unary method. */
  async call<K extends UnaryName>(
    name: K,
    request: MessageInitShape<Methods[K]["input"]>,
  ): Promise<MessageInitShape<Methods[K]["output"]>> {
    const handler: unknown = this.service.handlers[name];
    const message = create(QueueService.method[name].input as never, request as never);
    const call = new FakeCall();
    if (typeof handler === "function") {
      return (await (handler as (request: unknown, call: Call) => unknown)(message, call)) as never;
    }
    const { unary } = handler as { unary: (bytes: Uint8Array, call: Call) => unknown };
    return (await unary(toBinary(QueueService.method[name].input as never, message), call)) as never;
  }

  async createQueue(name: string, settings?: Settings): Promise<void> {
    await this.call("createQueue", settings === undefined ? { name } : { name, settings });
  }

  /** Answers the ids. */
  async enqueue(queue: string, jobs: NewJobs): Promise<string[]> {
    const { jobs: rows = [] } = await this.call("enqueue", { queue, jobs });
    return rows.map(({ jobId = "" }) => jobId);
  }

  async worker(subscribe: Subscribe): Promise<TestWorker> {
    const worker = await TestWorker.open(this.service, subscribe);
    this.#workers.push(worker);
    return worker;
  }
}

interface OpenedOptions {
  readonly authorize?: Authorize;
  readonly limits?: Partial<Limits>;
  readonly fileSystem?: FileSystem;
}

interface Parts {
  readonly service: QueueServiceHandle;
  readonly queues: OpenQueues;
  readonly close: () => Promise<void>;
}

async function openParts(path: string, clock: ManualClock, options: OpenedOptions): Promise<Parts> {
  const { fileSystem = nodeFileSystem } = options;
  const folder = await openDataFolder({ folder: path, fileSystem });
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const logger = createLogger({ format: "text", level: "fatal", clock, write: () => {} });
  const { queuesMax } = limits;
  const random = () => 0.5;
  const queues = await openQueues({
    folder,
    fileSystem,
    clock,
    random,
    logger,
    queuesMax,
    createEngine,
  });
  const service = createQueueService({ catalog: queues, authorize: options.authorize ?? allowAll, clock, limits });
  const close = async () => {
    await queues[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  return { service, queues, close };
}
