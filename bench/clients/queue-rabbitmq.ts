// RabbitMQ by amqplib: confirms for publishing; consumers with a prefetch, whose acks nobody answers.

import { connect, type Channel } from "amqplib";
import { carryOut } from "./client-process.ts";
import { Goal, type QueuePeerOutcome, type QueuePeerTask, sendAll, timed } from "./queue-peer.ts";

const PERSISTENT = { persistent: true };

async function enqueue(task: QueuePeerTask): Promise<number> {
  const connection = await connect(`amqp://${task.address}`);
  const channel = await connection.createConfirmChannel();
  const body = Buffer.alloc(task.bodyBytes, "x");
  const publish = () =>
    new Promise<void>((resolve, reject) => {
      channel.sendToQueue(task.queue, body, PERSISTENT, (error: unknown) => {
        if (error === null || error === undefined) resolve();
        else reject(error instanceof Error ? error : new Error("A job was refused"));
      });
    });
  const seconds = await timed(() => sendAll(task.jobs, task.batch * task.batchesUnderWay, publish));
  await connection.close();
  return seconds;
}

/** One ack a job: `multiple` would end all jobs before it as well, which a worker with several slots cannot say. */
async function consume(channel: Channel, { queue, window }: QueuePeerTask, goal: Goal): Promise<void> {
  await channel.prefetch(window);
  await channel.consume(queue, (message) => {
    if (message === null) throw new Error("The queue is gone");
    channel.ack(message);
    goal.countOne();
  });
}

async function work(task: QueuePeerTask): Promise<number> {
  const connections = await Promise.all(Array.from({ length: task.workers }, () => connect(`amqp://${task.address}`)));
  const channels = await Promise.all(connections.map((connection) => connection.createChannel()));
  const goal = new Goal(task.jobs);
  const seconds = await timed(async () => {
    await Promise.all(channels.map((channel) => consume(channel, task, goal)));
    await goal.reached;
  });
  // What was on its way when a channel closes is taken: closing is answered behind the acks.
  for (const channel of channels) await channel.close();
  for (const connection of connections) await connection.close();
  return seconds;
}

/** Makes the queue, unless it is there. */
async function assertQueue({ address, queue, kind }: QueuePeerTask): Promise<void> {
  const connection = await connect(`amqp://${address}`);
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { durable: true, arguments: { "x-queue-type": kind } });
  await connection.close();
}

await carryOut<QueuePeerTask, QueuePeerOutcome>(async (task) => {
  await assertQueue(task);
  const seconds = task.what === "enqueue" ? await enqueue(task) : await work(task);
  return { jobs: task.jobs, seconds };
});
