// BullMQ on Redis: jobs added in bulk; workers with a concurrency. An ended job's answer brings the next job.

import { Queue, Worker } from "bullmq";
import { carryOut } from "./client-process.ts";
import { Goal, type QueuePeerOutcome, type QueuePeerTask, sendAll, timed } from "./queue-peer.ts";

// Nothing is kept of what was done, as with the other queues.
const OPTIONS = { removeOnComplete: true };

function connectionOf({ address }: QueuePeerTask) {
  const [host = "", port] = address.split(":");
  return { host, port: Number(port), maxRetriesPerRequest: null };
}

async function enqueue(task: QueuePeerTask): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const queue = new Queue(task.queue, { connection: connectionOf(task) });
  stack.defer(() => queue.close());
  await queue.waitUntilReady();
  const job = { name: "job", data: "x".repeat(task.bodyBytes), opts: OPTIONS };
  const jobs = Array.from({ length: task.batch }, () => job);
  const batches = Math.ceil(task.jobs / task.batch);
  return await timed(() => sendAll(batches, task.batchesUnderWay, () => queue.addBulk(jobs)));
}

async function work(task: QueuePeerTask): Promise<number> {
  const goal = new Goal(task.jobs);
  const workers = Array.from(
    { length: task.workers },
    () =>
      new Worker(task.queue, () => Promise.resolve(), {
        connection: connectionOf(task),
        concurrency: task.window,
        autorun: false,
      }),
  );
  const failed = Promise.withResolvers<never>();
  for (const worker of workers) {
    worker.on("completed", () => goal.countOne());
    worker.on("failed", (_job, error) => failed.reject(error));
    worker.on("error", failed.reject);
    await worker.waitUntilReady();
  }
  const seconds = await timed(async () => {
    for (const worker of workers) worker.run().catch(failed.reject);
    await Promise.race([goal.reached, failed.promise]);
  });
  await Promise.all(workers.map((worker) => worker.close(true)));
  return seconds;
}

await carryOut<QueuePeerTask, QueuePeerOutcome>(async (task) => {
  const seconds = task.what === "enqueue" ? await enqueue(task) : await work(task);
  return { jobs: task.jobs, seconds };
});
