// Ten million jobs waiting: what they take in memory, and how fast jobs come and go beside them.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { QueueWorkOutcome, QueueWorkTask } from "../clients/queue-work.ts";
import { withServers } from "../contest.ts";
import { fillQueue } from "../filled-queue.ts";
import type { CaseOutcome } from "../report.ts";
import { residentBytes } from "../resident-bytes.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const queue = "depth";
const timeoutMs = 280_000;
/** Enqueued, and taken, in one measurement. */
const sampleJobs = 50_000;

export const queueDepth: Scenario = {
  name: "queue-depth",
  summary:
    "10 M jobs of 200 B waiting: resident memory; enqueue and work, jobs/s, beside them and in an empty queue; opening them again",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    const depth = context.isQuick ? 200_000 : 10_000_000;
    const runs = context.isQuick ? 1 : context.runs;
    const cases: CaseOutcome[] = [];
    const note = (title: string, unit: string, samples: readonly number[]) => {
      const isSmallerBetter = unit !== "jobs/s";
      cases.push({ title, unit, isSmallerBetter, measured: [{ who: us, samples: [...samples] }], notes: [] });
    };
    await withServers([sluice(data)], async ([server]) => {
      const { address, pid } = server!.process;
      const measure = async (where: string): Promise<void> => {
        const enqueued: number[] = [];
        const worked: number[] = [];
        for (let run = 0; run <= runs; run++) {
          context.say(`${where}: run ${run}`);
          const { seconds } = await fillQueue({ address, queue, jobs: sampleJobs, fairnessKey: "" });
          const taken = await takeSome(address);
          if (run === 0) continue;
          enqueued.push(sampleJobs / seconds);
          worked.push(sampleJobs / taken.seconds);
        }
        note(`${where}: enqueue`, "jobs/s", enqueued);
        note(`${where}: work, window 100`, "jobs/s", worked);
      };
      await measure("an empty queue");
      context.say(`enqueueing ${depth} jobs`);
      const filled = await fillQueue({ address, queue, jobs: depth, fairnessKey: "" });
      note(`enqueueing ${depth} jobs`, "jobs/s", [depth / filled.seconds]);
      note(`resident memory, ${depth} jobs waiting`, "MiB", [residentBytes(pid, "VmRSS") / 2 ** 20]);
      await measure(`${depth} jobs waiting`);
    });
    context.say(`opening it again with ${depth} jobs`);
    const beginMs = performance.now();
    const { who, command } = sluice(data);
    await withServers([{ who, command: { ...command, startTimeoutMs: timeoutMs } }], async ([server]) => {
      note(`opening it again, ${depth} jobs waiting`, "s", [(performance.now() - beginMs) / 1000]);
      const megabytes = residentBytes(server!.process.pid, "VmRSS") / 2 ** 20;
      note(`resident memory, ${depth} jobs waiting, opened again`, "MiB", [megabytes]);
      await takeSome(server!.process.address);
    });
    return {
      scenario: "queue-depth",
      runs,
      versions: { [us]: ourVersion },
      missing: [],
      cases,
      notes: ["the jobs that are taken are the oldest: their bodies come from disk"],
    };
  },
};

/** Four workers take and acknowledge some jobs. */
async function takeSome(address: string): Promise<QueueWorkOutcome> {
  const producing = { fairnessKey: "", jobs: sampleJobs, bodyBytes: 200, batch: 1000, batchesUnderWay: 8 };
  const working = { workers: 4, window: 100, explicitStart: false };
  const task: QueueWorkTask = { address, queue, what: "work", ...producing, ...working };
  return await runClient<QueueWorkTask, QueueWorkOutcome>("queue-work", task, { timeoutMs });
}
