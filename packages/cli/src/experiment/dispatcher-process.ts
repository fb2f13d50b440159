// A dispatcher as one writes it first: each worker has a stream of jobs, and gets the next one as soon as HTTP/2 takes it;
// or, with a prefetch, as long as fewer than so many are unacknowledged (RabbitMQ's basic.qos). It speaks just as much of
// QueueService as that takes. What it has sent it cannot take back.
//
//   node dispatcher-process.js PREFETCH    0: as much as HTTP/2 takes
import { randomUUID } from "node:crypto";
import { QueueService, type WorkRequest } from "@sluice/api";
import { createServer, listen, serve } from "@sluice/rpc";
import { Backlog } from "./backlog.ts";
import { nowMs } from "./scenario.ts";
import { tell } from "./tell.ts";

const prefetch = Number(process.argv[2]);
const backlog = new Backlog();

interface Consumer {
  worker: string;
  unacknowledged: number;
}

async function readAcks(requests: AsyncIterable<WorkRequest>, consumer: Consumer): Promise<void> {
  for await (const { kind } of requests) {
    if (kind.case === "subscribe") consumer.worker = kind.value.workerId;
    if (kind.case === "ack") consumer.unacknowledged -= kind.value.leases.length;
    backlog.handOut();
  }
}

const service = serve(QueueService, {
  enqueue({ jobs }) {
    const added = jobs.map((job) => {
      const jobId = job.jobId === "" ? randomUUID() : job.jobId;
      return { jobId, priority: job.priority ?? 3, body: job.body };
    });
    for (const job of added) backlog.add(job);
    return { jobs: added.map(({ jobId }) => ({ jobId })) };
  },
  async *work(requests, call) {
    const consumer: Consumer = { worker: "", unacknowledged: 0 };
    call.sendHeaders();
    readAcks(requests, consumer).catch(() => undefined); // its end is the call's
    for (let number = 1; ; number++) {
      const mayTake = (): boolean => prefetch === 0 || consumer.unacknowledged < prefetch;
      const job = await backlog.take(mayTake, call.signal);
      if (job === undefined) return;
      consumer.unacknowledged++;
      await tell({ event: "sent", job: job.jobId, worker: consumer.worker, atMs: nowMs() });
      const lease = { jobId: job.jobId, attempt: 1n };
      yield { kind: { case: "delivery", value: { number: BigInt(number), lease, job, leaseUntil: 1n } } };
    }
  },
});

const listener = await listen(createServer({ services: [service] }), { host: "127.0.0.1", port: 0 });
await tell({ event: "listening", address: listener.address });
process.stdin.resume().once("end", () => void listener[Symbol.asyncDispose]());
