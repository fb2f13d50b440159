// Producers and workers of a queue, at the highest rate that a server answers.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type EnqueueStreamRequestSchema,
  type Lease,
  QueueService,
  ResultCode,
  type WorkRequest,
  WorkRequestSchema,
} from "@sluice/api";
import { type Client, createClient, openChannel } from "@sluice/rpc";
import { carryOut } from "./client-process.ts";
import { Outgoing } from "./outgoing.ts";

export interface QueueWorkTask {
  readonly address: string;
  /** Made when it is missing. */
  readonly queue: string;
  readonly what: "enqueue" | "work";
  /** For "enqueue": of all jobs. */
  readonly fairnessKey: string;
  readonly jobs: number;
  readonly bodyBytes: number;
  /** Jobs of a batch, and batches that wait for their answer. */
  readonly batch: number;
  readonly batchesUnderWay: number;
  /** Each has a connection of its own. */
  readonly workers: number;
  /** Of each worker. */
  readonly window: number;
  /** Deliveries are offers, started by a request of their own. */
  readonly explicitStart: boolean;
}

export interface QueueWorkOutcome {
  readonly jobs: number;
  readonly seconds: number;
}

/** Of a queue: more than are enqueued beside the ten million of `queue-depth`. */
const JOBS_MAX = 20_000_000n;

/** Enqueues all jobs over one stream. */
async function enqueueAll(queues: Client<typeof QueueService>, task: QueueWorkTask): Promise<void> {
  const { queue, batch, batchesUnderWay } = task;
  const body = Buffer.alloc(task.bodyBytes, "x");
  const jobs = Array.from({ length: batch }, () => ({ body, fairnessKey: task.fairnessKey }));
  const requests = new Outgoing<MessageInitShape<typeof EnqueueStreamRequestSchema>>();
  const batches = Math.ceil(task.jobs / batch);
  let sent = 0;
  const sendMore = (answered: number) => {
    for (; sent < batches && sent - answered < batchesUnderWay; sent++) requests.send({ queue, jobs });
    if (answered === batches) requests.end();
  };
  sendMore(0);
  let answered = 0;
  for await (const answer of queues.enqueueStream(requests)) {
    if (answer.jobs.length !== batch) throw new Error(`${answer.jobs.length} of ${batch} jobs were taken`);
    sendMore(++answered);
  }
  if (answered !== batches) throw new Error(`${answered} of ${batches} batches were answered`);
}

/** Takes jobs until all workers together have had `jobs` acks answered. */
async function work(
  address: string,
  task: QueueWorkTask,
  progress: { acked: number; readonly ends: (() => void)[] },
): Promise<void> {
  const { queue, window, explicitStart } = task;
  await using channel = openChannel(address);
  const requests = new Outgoing<WorkRequest>();
  const say = (kind: NonNullable<MessageInitShape<typeof WorkRequestSchema>["kind"]>) =>
    requests.send(create(WorkRequestSchema, { kind }));
  const flow = (seen: number, free: number) => ({ seen: BigInt(seen), window: free, windowBytes: 0n });
  say({ case: "subscribe", value: { queue, explicitStart, heartbeatMs: 0, flow: flow(0, window) } });
  const responses = createClient(QueueService, channel).work(requests);
  progress.ends.push(() => requests.end());
  let seen = 0;
  let isTelling = false;
  let arrived: Lease[] = [];
  /** What came in one turn is answered by one request; the window is open again with it. */
  const tell = () => {
    isTelling = false;
    const leases = arrived;
    arrived = [];
    if (explicitStart) {
      say({ case: "start", value: { request: 1n, leases } });
      return;
    }
    say({ case: "ack", value: { request: 2n, leases } });
    say({ case: "flow", value: flow(seen, window) });
  };
  for await (const { kind } of responses) {
    if (kind.case === "delivery") {
      seen = Number(kind.value.number);
      arrived.push(kind.value.lease!);
      if (!isTelling) {
        isTelling = true;
        // With one at a time nothing else comes in this turn.
        if (window === 1) queueMicrotask(tell);
        else setImmediate(tell);
      }
    }
    if (kind.case !== "results") continue;
    const { request, results } = kind.value;
    const leases = results.flatMap(({ code, lease }) => (code === ResultCode.OK ? [lease!] : []));
    if (request === 1n) {
      // Offers that an idle worker was given instead are not among them.
      if (leases.length > 0) say({ case: "ack", value: { request: 2n, leases } });
      say({ case: "flow", value: flow(seen, window) });
      continue;
    }
    if (leases.length < results.length) throw new Error("An ack was not answered OK");
    progress.acked += leases.length;
    if (progress.acked >= task.jobs) for (const end of progress.ends) end();
  }
}

await carryOut<QueueWorkTask, QueueWorkOutcome>(async (task) => {
  await using channel = openChannel(task.address);
  const queues = createClient(QueueService, channel);
  const known = await queues.listQueues({ pageSize: 1000 });
  if (!known.queues.some(({ name }) => name === task.queue)) {
    await queues.createQueue({ name: task.queue, settings: { jobsMax: JOBS_MAX } });
  }
  const beginMs = performance.now();
  if (task.what === "enqueue") await enqueueAll(queues, task);
  else {
    const progress = { acked: 0, ends: [] };
    await Promise.all(Array.from({ length: task.workers }, () => work(task.address, task, progress)));
  }
  return { jobs: task.jobs, seconds: (performance.now() - beginMs) / 1000 };
});
