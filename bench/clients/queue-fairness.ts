// One tenant has a great many jobs waiting, all workers are busy with them; how long does another tenant's single job wait?

import { setTimeout as pause } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { QueueService, type WorkRequest, WorkRequestSchema } from "@sluice/api";
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

/** What a single job waits, and how long a slot really is: from the start of a job to the start of the next one in it. */
export interface QueueFairnessOutcome {
  readonly wait: Latencies;
  readonly slot: Latencies;
  /** Jobs of the other tenant that began during one wait, the most of them. In one slot's time each worker begins one. */
  readonly overtakenMax: number;
}

const TENANT = "small";
const NOTHING = new Uint8Array(0);

interface Working {
  readonly onJob: (isSingle: boolean) => void;
  /** A slot had its next job after so long. */
  readonly onSlot: (milliseconds: number) => void;
  readonly stop: Promise<void>;
}

/** Works until it is told to stop. */
async function work(task: QueueFairnessTask, { onJob, onSlot, stop }: Working): Promise<void> {
  await using channel = openChannel(task.address);
  const requests = new Outgoing<WorkRequest>();
  const flow = (seen: bigint, window: number) => ({ seen, window, windowBytes: 0n });
  const value = { queue: task.queue, heartbeatMs: 0, flow: flow(0n, 1) };
  requests.send(create(WorkRequestSchema, { kind: { case: "subscribe", value } }));
  void stop.then(() => requests.end());
  let beganMs: number | undefined;
  for await (const { kind } of createClient(QueueService, channel).work(requests)) {
    if (kind.case !== "delivery") continue;
    const { number, lease, job } = kind.value;
    const nowMs = performance.now();
    if (beganMs !== undefined) onSlot(nowMs - beganMs);
    beganMs = nowMs;
    onJob(job?.fairnessKey === TENANT);
    await pause(task.slotMs);
    requests.send(create(WorkRequestSchema, { kind: { case: "ack", value: { leases: [lease!] } } }));
    requests.send(create(WorkRequestSchema, { kind: { case: "flow", value: flow(number, 1) } }));
  }
}

await carryOut<QueueFairnessTask, QueueFairnessOutcome>(async (task) => {
  await using channel = openChannel(task.address);
  const queues = createClient(QueueService, channel);
  const { promise: stop, resolve: end } = Promise.withResolvers<void>();
  let arrived = Promise.withResolvers<void>();
  const slots: number[] = [];
  let overtaken = 0;
  let overtakenMax = 0;
  const onJob = (isSingle: boolean): void => {
    if (isSingle) arrived.resolve();
    else overtaken++;
  };
  const working = { onJob, onSlot: (ms: number) => void slots.push(ms), stop };
  const workers = Array.from({ length: task.workers }, () => work(task, working));
  await pause(10 * task.slotMs);
  slots.length = 0;
  const latencies = new Float64Array(task.jobs);
  for (let i = 0; i < task.jobs; i++) {
    arrived = Promise.withResolvers<void>();
    await queues.enqueue({ queue: task.queue, jobs: [{ body: NOTHING, fairnessKey: TENANT }] });
    const beginMs = performance.now();
    overtaken = 0;
    await arrived.promise;
    latencies[i] = performance.now() - beginMs;
    overtakenMax = Math.max(overtakenMax, overtaken);
  }
  end();
  await Promise.all(workers);
  const slot = summarizeLatencies(Float64Array.from(slots));
  return { wait: summarizeLatencies(latencies), slot, overtakenMax };
});
