// What a tenant's single job waits while another tenant has a million jobs of the same priority waiting.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { Latencies } from "../clients/percentiles.ts";
import type { QueueFairnessTask } from "../clients/queue-fairness.ts";
import { withServers } from "../contest.ts";
import { fillQueue } from "../filled-queue.ts";
import type { CaseOutcome } from "../report.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const queue = "fairness";
const workers = 4;
const slotMs = 20;
const timeoutMs = 120_000;

export const queueFairness: Scenario = {
  name: "queue-fairness",
  summary: "wait of a tenant's single job while another tenant has 1 M jobs waiting and holds all workers",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    const jobs = context.isQuick ? 100_000 : 1_000_000;
    return await withServers([sluice(data)], async ([server]) => {
      const { address } = server!.process;
      await fillQueue({ address, queue, jobs, fairnessKey: "large" });
      const outcomes: Latencies[] = [];
      for (let run = 0; run < context.runs; run++) {
        context.say(`run ${run + 1}`);
        const task = { address, queue, workers, slotMs, jobs: context.isQuick ? 50 : 200 };
        outcomes.push(await runClient<QueueFairnessTask, Latencies>("queue-fairness", task, { timeoutMs }));
      }
      const caseOf = (title: string, what: keyof Latencies): CaseOutcome => {
        const samples = outcomes.map((each) => each[what] / 1000);
        return { title, unit: "ms", isSmallerBetter: true, measured: [{ who: us, samples }], notes: [] };
      };
      return {
        scenario: "queue-fairness",
        runs: context.runs,
        versions: { [us]: ourVersion },
        missing: [],
        cases: [caseOf("wait, p50", "p50Microseconds"), caseOf("wait, p99", "p99Microseconds")],
        notes: [`${workers} workers with a slot each, all busy for ${slotMs} ms with each job of the large tenant`],
      };
    });
  },
};
