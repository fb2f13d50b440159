// Many devices, and broadcasts: how many deliveries a second arrive when each follows the one before, and how late they are at
// a steady rate.

import { type AudienceTask, openAudience, openPublisher, type Publisher } from "./audience.ts";
import { carryOut } from "./client-process.ts";
import { DeliveryTimes } from "./delivery-times.ts";

export interface BroadcastTask extends AudienceTask {
  readonly broadcasts: number;
  /** 0: the next one when all devices have the one before. */
  readonly perSecond: number;
}

export interface BroadcastOutcome {
  readonly deliveries: number;
  /** From the first publication until the last device had the last one. */
  readonly seconds: number;
  /** From the first connection until all devices were there. */
  readonly openedSeconds: number;
  /** From a publication's answer to its delivery, 0 where it was delivered before. */
  readonly sinceAnswerP99Ms: number;
  /** How late the client published at worst: one that cannot keep up measures itself. */
  readonly publisherLateMs: number;
}

async function run(task: BroadcastTask): Promise<BroadcastOutcome> {
  const times = new DeliveryTimes();
  let onProgress = (): void => {};
  const beginMs = performance.now();
  const lines = await openAudience(task, (from, to) => {
    times.deliver(from, to, performance.now());
    onProgress();
  });
  const openedSeconds = (performance.now() - beginMs) / 1000;
  const publisher = await openPublisher(task);
  const devices = task.connections * task.devicesPerConnection;
  const untilDelivered = (broadcasts: number): Promise<void> =>
    new Promise((resolve) => {
      onProgress = () => {
        if (times.deliveries >= broadcasts * devices) resolve();
      };
      onProgress();
    });
  const failure = Promise.race([...lines, publisher].map((line) => line.failure));
  const startMs = performance.now();
  const work = task.perSecond === 0 ? inTurn(task, publisher, times, untilDelivered) : steadily(task, publisher, times);
  const publisherLateMs = await Promise.race([work, failure]);
  await Promise.race([untilDelivered(task.broadcasts), failure]);
  const seconds = (performance.now() - startMs) / 1000;
  for (const line of [...lines, publisher]) line.close();
  if (times.deliveries !== task.broadcasts * devices) throw new Error(`${times.deliveries} deliveries were too many`);
  const sinceAnswerP99Ms = times.sinceAck.percentile(0.99);
  return { deliveries: times.deliveries, seconds, openedSeconds, sinceAnswerP99Ms, publisherLateMs };
}

async function publishOne(publisher: Publisher, times: DeliveryTimes): Promise<void> {
  times.appended.push(performance.now());
  await publisher.publish();
  times.acknowledged.push(performance.now());
}

async function inTurn(
  task: BroadcastTask,
  publisher: Publisher,
  times: DeliveryTimes,
  untilDelivered: (broadcasts: number) => Promise<void>,
): Promise<number> {
  for (let i = 1; i <= task.broadcasts; i++) {
    await publishOne(publisher, times);
    await untilDelivered(i);
  }
  return 0;
}

/** Answers how late one was at worst, ms. */
async function steadily(task: BroadcastTask, publisher: Publisher, times: DeliveryTimes): Promise<number> {
  const startMs = performance.now();
  let lateMs = 0;
  for (let i = 0; i < task.broadcasts; i++) {
    const dueMs = startMs + (i * 1000) / task.perSecond;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    lateMs = Math.max(lateMs, performance.now() - dueMs);
    await publishOne(publisher, times);
  }
  return lateMs;
}

await carryOut(run);
