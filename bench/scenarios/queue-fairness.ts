// What a tenant's single job waits while another tenant has a million jobs of the same priority waiting, beside what a slot
// takes: from the start of a job to the start of the next one in it, with the end and the start on disk between them.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { Latencies } from "../clients/percentiles.ts";
import type { QueueFairnessOutcome, QueueFairnessTask } from "../clients/queue-fairness.ts";
import { withServers } from "../contest.ts";
import { fillQueue } from "../filled-queue.ts";
import type { CaseOutcome } from "../report.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const queue = "fairness";
const workers = 4;
const slotMs = 20;
const timeoutMs = 120_000;

const inSlots = ({ wait, slot }: QueueFairnessOutcome): number => wait.p99Microseconds / slot.p99Microseconds;
const overtakenMaxOf = ({ overtakenMax }: QueueFairnessOutcome): number => overtakenMax;

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
      const outcomes: QueueFairnessOutcome[] = [];
      for (let run = 0; run < context.runs; run++) {
        context.say(`run ${run + 1}`);
        const task = { address, queue, workers, slotMs, jobs: context.isQuick ? 50 : 200 };
        outcomes.push(await runClient<QueueFairnessTask, QueueFairnessOutcome>("queue-fairness", task, { timeoutMs }));
      }
      const caseOf = (title: string, unit: string, samples: readonly number[]): CaseOutcome => {
        return { title, unit, isSmallerBetter: true, measured: [{ who: us, samples }], notes: [] };
      };
      const millisecondsOf = (what: "wait" | "slot", part: keyof Latencies): number[] =>
        outcomes.map((each) => each[what][part] / 1000);
      return {
        scenario: "queue-fairness",
        runs: context.runs,
        versions: { [us]: ourVersion },
        missing: [],
        cases: [
          caseOf("wait, p50", "ms", millisecondsOf("wait", "p50Microseconds")),
          caseOf("wait, p99", "ms", millisecondsOf("wait", "p99Microseconds")),
          caseOf("slot, p50", "ms", millisecondsOf("slot", "p50Microseconds")),
          caseOf("slot, p99", "ms", millisecondsOf("slot", "p99Microseconds")),
          caseOf("wait, p99, in slots (p99)", "×", outcomes.map(inSlots)),
          caseOf("jobs of the large tenant begun during one wait, the most", "jobs", outcomes.map(overtakenMaxOf)),
        ],
        notes: [`${workers} workers with a slot each, all busy for ${slotMs} ms with each job of the large tenant`],
      };
    });
  },
};
