// A slow worker: takes so long for each job. It connects when its stdin has a line, and leaves when that ends.
//
//   node worker-process.js WAY ADDRESS NAME JOB_MS WINDOW
import { once } from "node:events";
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { QueueService } from "@sluice/api";
import { connect } from "@sluice/client";
import { createClient, openChannel } from "@sluice/rpc";
import { nowMs, QUEUE, type Way } from "./scenario.ts";
import { tell } from "./tell.ts";

const [way, address = "", name = "", jobMs, window] = process.argv.slice(2);
const stop = new AbortController();

async function work(job: string): Promise<void> {
  await tell({ event: "begun", job, worker: name, atMs: nowMs() });
  await sleep(Number(jobMs));
  await tell({ event: "done", job, worker: name, atMs: nowMs() });
}

/** Reads the stream at its own pace: what it has not read lies in the windows of HTTP/2. */
async function workOnStream(): Promise<void> {
  await using channel = openChannel(address);
  const acks = new PassThrough({ objectMode: true });
  async function* requests() {
    yield { kind: { case: "subscribe" as const, value: { queue: QUEUE, workerId: name } } };
    for await (const jobId of acks as AsyncIterable<string>) {
      yield { kind: { case: "ack" as const, value: { leases: [{ jobId, attempt: 1n }] } } };
    }
  }
  try {
    for await (const { kind } of createClient(QueueService, channel).work(requests(), { signal: stop.signal })) {
      if (kind.case !== "delivery") continue;
      const jobId = kind.value.lease?.jobId ?? "";
      await work(jobId);
      acks.write(jobId);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}

/** One slot; the rest of the window are offers. */
async function workWithCredit(): Promise<void> {
  await using client = connect(address);
  const options = { slots: 1, window: Number(window), workerId: name };
  const worker = client.queues.worker(QUEUE, (job) => work(job.id), options);
  await Promise.race([worker.ended, once(stop.signal, "abort")]);
}

const lines = createInterface({ input: process.stdin });
lines.once("close", () => stop.abort());
await tell({ event: "ready" });
await once(lines, "line");
await ((way as Way) === "credit" ? workWithCredit() : workOnStream());
