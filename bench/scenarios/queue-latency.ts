// From the enqueueing of a job to its start by an idle worker, with an empty queue and beside a long one.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { Latencies } from "../clients/percentiles.ts";
import type { QueueLatencyTask } from "../clients/queue-latency.ts";
import { withServers } from "../contest.ts";
import { fillQueue } from "../filled-queue.ts";
import type { CaseOutcome } from "../report.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const bodyBytes = 200;
const timeoutMs = 280_000;
const queue = "latency";
const heldBackKey = "backlog";

export const queueLatency: Scenario = {
  name: "queue-latency",
  summary:
    "from the call of Enqueue to the delivery that starts the job, p50 and p99; alone, and with 1 M jobs waiting",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    const waiting = context.isQuick ? 100_000 : 1_000_000;
    return await withServers([sluice(data)], async ([server]) => {
      const { address } = server!.process;
      const jobs = context.isQuick ? 300 : 2000;
      const measure = async (): Promise<Latencies[]> => {
        const outcomes: Latencies[] = [];
        for (let run = 0; run < context.runs; run++) {
          context.say(`run ${run + 1}`);
          const task = { address, queue, jobs, bodyBytes, heldBackKey };
          outcomes.push(await runClient<QueueLatencyTask, Latencies>("queue-latency", task, { timeoutMs }));
        }
        return outcomes;
      };
      await fillQueue({ address, queue, jobs: 0, fairnessKey: heldBackKey });
      const alone = await measure();
      await fillQueue({ address, queue, jobs: waiting, fairnessKey: heldBackKey });
      const beside = await measure();
      const cases: CaseOutcome[] = [];
      for (const [title, outcomes] of [
        ["an empty queue", alone],
        [`${waiting} jobs waiting`, beside],
      ] as const) {
        for (const what of ["p50Microseconds", "p99Microseconds"] as const) {
          const measured = [{ who: us, samples: outcomes.map((each) => each[what]) }];
          cases.push({
            title: `${title}: ${what.slice(0, 3)}`,
            unit: "µs",
            isSmallerBetter: true,
            measured,
            notes: [],
          });
        }
      }
      return {
        scenario: "queue-latency",
        runs: context.runs,
        versions: { [us]: ourVersion },
        missing: [],
        cases,
        notes: [
          "one job after the other, to one idle worker; both the enqueueing and the start are on disk before the delivery leaves",
          "the jobs that wait are of a fairness key that the worker has throttled, so that it stays idle",
        ],
      };
    });
  },
};
