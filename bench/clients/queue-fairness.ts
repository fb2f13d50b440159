// One tenant has a great many jobs waiting, all workers are busy with them; how long does another tenant's single job wait?

import { setTimeout as slot } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { type Delivery, QueueService, type WorkRequest, WorkRequestSchema } from "@sluice/api";
import { createClient, openChannel } from "@sluice/rpc";
import { carryOut } from "./client-process.ts";
import { Outgoing } from "./outgoing.ts";
import { type Latencies, summarizeLatencies } from "./percentiles.ts";

export interface QueueFairnessTask {
  readonly address: string;
  readonly queue: string;
  /** Each has a connection of its own, and one slot. */
  readonly workers: number;
  /** How long a worker is busy with a job. */
  readonly slotMs: number;
  /** Of the other tenant, one after the other. */
  readonly jobs: number;
}

const TENANT = "small";
const NOTHING = new Uint8Array(0);

/** Works until it is told to stop; tells of each job of the small tenant. */
async function work(task: QueueFairnessTask, onJob: (delivery: Delivery) => void, stop: Promise<void>): Promise<void> {
  await using channel = openChannel(task.address);
  const requests = new Outgoing<WorkRequest>();
  const flow = (seen: bigint, window: number) => ({ seen, window, windowBytes: 0n });
  const value = { queue: task.queue, heartbeatMs: 0, flow: flow(0n, 1) };
  requests.send(create(WorkRequestSchema, { kind: { case: "subscribe", value } }));
  void stop.then(() => requests.end());
  for await (const { kind } of createClient(QueueService, channel).work(requests)) {
    if (kind.case !== "delivery") continue;
    const { number, lease, job } = kind.value;
    if (job?.fairnessKey === TENANT) onJob(kind.value);
    await slot(task.slotMs);
    requests.send(create(WorkRequestSchema, { kind: { case: "ack", value: { leases: [lease!] } } }));
    requests.send(create(WorkRequestSchema, { kind: { case: "flow", value: flow(number, 1) } }));
  }
}

await carryOut<QueueFairnessTask, Latencies>(async (task) => {
  await using channel = openChannel(task.address);
  const queues = createClient(QueueService, channel);
  const { promise: stop, resolve: end } = Promise.withResolvers<void>();
  let arrived = Promise.withResolvers<void>();
  const workers = Array.from({ length: task.workers }, () => work(task, () => arrived.resolve(), stop));
  await slot(10 * task.slotMs);
  const latencies = new Float64Array(task.jobs);
  for (let i = 0; i < task.jobs; i++) {
    arrived = Promise.withResolvers<void>();
    await queues.enqueue({ queue: task.queue, jobs: [{ body: NOTHING, fairnessKey: TENANT }] });
    const beginMs = performance.now();
    await arrived.promise;
    latencies[i] = performance.now() - beginMs;
  }
  end();
  await Promise.all(workers);
  return summarizeLatencies(latencies);
});
