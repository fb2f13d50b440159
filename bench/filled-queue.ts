// A queue with many jobs waiting.

import { runClient } from "./client-run.ts";
import type { QueueWorkOutcome, QueueWorkTask } from "./clients/queue-work.ts";

const timeoutMs = 1_800_000;
const bodyBytes = 200;
const batch = 1000;

export interface FillQueueRequest {
  readonly address: string;
  /** Made when it is missing. */
  readonly queue: string;
  /** A multiple of 1,000. */
  readonly jobs: number;
  readonly fairnessKey: string;
}

/** Enqueues jobs of 200 B. */
export async function fillQueue({ address, queue, jobs, fairnessKey }: FillQueueRequest): Promise<QueueWorkOutcome> {
  const producing = { fairnessKey, jobs, bodyBytes, batch, batchesUnderWay: 8 };
  const working = { workers: 0, window: 0, explicitStart: false };
  const task: QueueWorkTask = { address, queue, what: "enqueue", ...producing, ...working };
  return await runClient<QueueWorkTask, QueueWorkOutcome>("queue-work", task, { timeoutMs });
}
