// NATS JetStream by its own client: a stream as a work queue, a durable consumer that the workers pull from; acks are answered.

import { AckPolicy, jetstream, jetstreamManager, type JsMsg, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { carryOut } from "./client-process.ts";
import { Goal, type QueuePeerOutcome, type QueuePeerTask, sendAll, timed } from "./queue-peer.ts";

const CONSUMER = "workers";
const MINUTE_NS = 60_000_000_000;

async function enqueue(task: QueuePeerTask): Promise<number> {
  await using connection = await connect({ servers: task.address });
  const stream = jetstream(connection);
  const body = new Uint8Array(Buffer.alloc(task.bodyBytes, "x"));
  const underWay = task.batch * task.batchesUnderWay;
  return await timed(() => sendAll(task.jobs, underWay, () => stream.publish(task.queue, body, { timeout: 60_000 })));
}

async function work(task: QueuePeerTask): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const goal = new Goal(task.jobs);
  const failed = Promise.withResolvers<never>();
  const end = async (message: JsMsg): Promise<void> => {
    if (!(await message.ackAck())) throw new Error("An ack was not answered");
    goal.countOne();
  };
  const workers = Array.from({ length: task.workers }, async () => {
    const connection = stack.use(await connect({ servers: task.address }));
    const consumer = await jetstream(connection).consumers.get(task.queue, CONSUMER);
    const messages = await consumer.consume({ max_messages: task.window });
    stack.defer(async () => void (await messages.close()));
    return async () => {
      for await (const message of messages) {
        const ended = end(message);
        if (task.window === 1) await ended;
        else ended.catch(failed.reject);
      }
    };
  });
  const ready = await Promise.all(workers);
  return await timed(async () => {
    for (const run of ready) run().catch(failed.reject);
    await Promise.race([goal.reached, failed.promise]);
  });
}

async function makeStream({ address, queue, workers, window }: QueuePeerTask): Promise<void> {
  await using connection = await connect({ servers: address });
  const manager = await jetstreamManager(connection);
  for await (const { config } of manager.streams.list()) if (config.name === queue) return;
  const storage = { storage: StorageType.File, retention: RetentionPolicy.Workqueue };
  await manager.streams.add({ name: queue, subjects: [queue], ...storage });
  await manager.consumers.add(queue, {
    durable_name: CONSUMER,
    ack_policy: AckPolicy.Explicit,
    ack_wait: MINUTE_NS,
    // Of all workers together.
    max_ack_pending: Math.max(1000, workers * window),
  });
}

await carryOut<QueuePeerTask, QueuePeerOutcome>(async (task) => {
  await makeStream(task);
  const seconds = task.what === "enqueue" ? await enqueue(task) : await work(task);
  return { jobs: task.jobs, seconds };
});
