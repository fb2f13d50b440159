// Jobs through a queue: enqueued, delivered, started, acknowledged, each step on disk before it is answered.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { QueueWorkOutcome, QueueWorkTask } from "../clients/queue-work.ts";
import { Pacer, takeTurns, withServers, type Server } from "../contest.ts";
import type { CaseOutcome } from "../report.ts";
import type { Scenario, ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const workers = 4;
const bodyBytes = 200;
const batch = 100;
const batchesUnderWay = 32;
const timeoutMs = 120_000;

interface Shape {
  readonly title: string;
  readonly window: number;
  readonly explicitStart: boolean;
}

const shapes: readonly Shape[] = [
  { title: "work, window 1: prefetch depth 0", window: 1, explicitStart: false },
  { title: "work, window 100: prefetch depth 99, started when delivered", window: 100, explicitStart: false },
  { title: "work, window 100: prefetch depth 99, offered and started", window: 100, explicitStart: true },
];

export const queueThroughput: Scenario = {
  name: "queue-throughput",
  summary: "jobs of 200 B, every step durable: enqueue in batches; 4 workers at window 1 and 100, jobs/s",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    return await withServers([sluice(data)], async (servers) => {
      const cases: CaseOutcome[] = [await measureEnqueue(context, servers)];
      for (const shape of shapes) cases.push(await measureWork(context, servers, shape));
      return {
        scenario: "queue-throughput",
        runs: context.runs,
        versions: { [us]: ourVersion },
        missing: [],
        cases,
        notes: ["the client is our RPC client with protobuf-es, a process of its own, on the same cores"],
      };
    });
  },
};

function taskFor(server: Server, what: QueueWorkTask["what"], queue: string): Omit<QueueWorkTask, "jobs"> {
  const { address } = server.process;
  const producing = { batch, batchesUnderWay, fairnessKey: "" };
  return { address, queue, what, bodyBytes, ...producing, workers, window: 1, explicitStart: false };
}

const run = (task: QueueWorkTask) => runClient<QueueWorkTask, QueueWorkOutcome>("queue-work", task, { timeoutMs });

async function measureEnqueue(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome> {
  const pacer = new Pacer({ first: 20_000, most: 500_000, seconds: context.isQuick ? 0.5 : 1.5 });
  const measured = await takeTurns(servers, context.runs, async (server) => {
    context.say(`enqueue: ${server.who}`);
    const jobs = Math.ceil(pacer.units(server.who) / batch) * batch;
    const { seconds } = await run({ ...taskFor(server, "enqueue", "enqueue"), jobs });
    pacer.learn(server.who, jobs / seconds);
    return jobs / seconds;
  });
  return {
    title: "enqueue, one producer",
    unit: "jobs/s",
    measured,
    notes: [`EnqueueStream, batches of ${batch}, ${batchesUnderWay} of them under way`],
  };
}

/** The jobs wait when the clock begins. */
async function measureWork(context: ScenarioContext, servers: readonly Server[], shape: Shape): Promise<CaseOutcome> {
  const { title, ...flow } = shape;
  const queue = `work-${shape.window}-${shape.explicitStart}`;
  const pacer = new Pacer({ first: 2000, most: 300_000, seconds: context.isQuick ? 0.5 : 1.5 });
  const measured = await takeTurns(servers, context.runs, async (server) => {
    context.say(`${title}: ${server.who}`);
    const jobs = Math.ceil(pacer.units(server.who) / batch) * batch;
    await run({ ...taskFor(server, "enqueue", queue), jobs });
    const { seconds } = await run({ ...taskFor(server, "work", queue), ...flow, jobs });
    pacer.learn(server.who, jobs / seconds);
    return jobs / seconds;
  });
  return {
    title,
    unit: "jobs/s",
    measured,
    notes: [`${workers} workers, a connection each; an ack's answer is waited for`],
  };
}
