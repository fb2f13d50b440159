// How long a job takes from its enqueueing to an idle worker.

import { create } from "@bufbuild/protobuf";
import { QueueService, type WorkRequest, WorkRequestSchema } from "@sluice/api";
import { createClient, openChannel } from "@sluice/rpc";
import { carryOut } from "./client-process.ts";
import { Outgoing } from "./outgoing.ts";
import { type Latencies, summarizeLatencies } from "./percentiles.ts";

export interface QueueLatencyTask {
  readonly address: string;
  readonly queue: string;
  /** One after the other. */
  readonly jobs: number;
  readonly bodyBytes: number;
  /** No job of this fairness key is handed out meanwhile; "": none is held back. */
  readonly heldBackKey: string;
}

const HOUR_NS = 3_600_000_000_000n;

/** From the call of Enqueue to the arrival of the delivery that starts the job. */
await carryOut<QueueLatencyTask, Latencies>(async ({ address, queue, jobs, bodyBytes, heldBackKey }) => {
  await using producer = openChannel(address);
  await using consumer = openChannel(address);
  const queues = createClient(QueueService, producer);
  const requests = new Outgoing<WorkRequest>();
  const flow = (seen: bigint, window: number) => ({ seen, window, windowBytes: 0n });
  requests.send(create(WorkRequestSchema, { kind: { case: "subscribe", value: { queue, heartbeatMs: 0 } } }));
  if (heldBackKey !== "") {
    const until = BigInt(Date.now()) * 1_000_000n + HOUR_NS;
    const value = { fairnessKey: heldBackKey, until };
    requests.send(create(WorkRequestSchema, { kind: { case: "throttle", value } }));
  }
  requests.send(create(WorkRequestSchema, { kind: { case: "flow", value: flow(0n, 1) } }));
  const responses = createClient(QueueService, consumer).work(requests);
  await responses.next();
  const body = Buffer.alloc(bodyBytes, "x");
  const latencies = new Float64Array(jobs);
  for (let i = 0; i < jobs; i++) {
    const beginMs = performance.now();
    const enqueued = queues.enqueue({ queue, jobs: [{ body }] });
    let next = await responses.next();
    while (next.done !== true && next.value.kind.case !== "delivery") next = await responses.next();
    latencies[i] = performance.now() - beginMs;
    await enqueued;
    if (next.done === true || next.value.kind.case !== "delivery") throw new Error("The stream has ended");
    const { number, lease } = next.value.kind.value;
    requests.send(create(WorkRequestSchema, { kind: { case: "ack", value: { leases: [lease!] } } }));
    // Its answer: the worker is idle, and nothing is on its way to disk.
    await responses.next();
    requests.send(create(WorkRequestSchema, { kind: { case: "flow", value: flow(number, 1) } }));
  }
  requests.end();
  return summarizeLatencies(latencies);
});
