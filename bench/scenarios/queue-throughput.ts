// Jobs through a queue: enqueued, delivered, started, acknowledged, each step on disk before it is answered. Beside the queues
// of others, each by its own client.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { QueueWorkOutcome, QueueWorkTask } from "../clients/queue-work.ts";
import { Pacer, type Server, takeTurns, withServers } from "../contest.ts";
import { findQueueServers, peerQueues, type RunningPeerQueue } from "../queue-peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, type Scenario, type ScenarioContext, versionsOf } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const workers = 4;
const bodyBytes = 200;
const batch = 100;
const batchesUnderWay = 32;
const timeoutMs = 120_000;

/** One that takes part in a case. */
interface Runner {
  readonly who: string;
  /** Enqueues all, or works until all have been acknowledged. @returns seconds */
  readonly run: (what: "enqueue" | "work", queue: string, jobs: number) => Promise<number>;
}

const windows: readonly number[] = [1, 100];

export const queueThroughput: Scenario = {
  name: "queue-throughput",
  summary:
    "jobs of 200 B, every step durable: enqueue in batches; 4 workers at window 1 and 100, jobs/s; beside others",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    const { contestants, missing } = partEntrants(await findQueueServers(context.folder));
    return await withServers([sluice(data), ...contestants], async ([server, ...others]) => {
      const peers = peerQueues(others);
      const cases: CaseOutcome[] = [await measureEnqueue(context, server!, peers)];
      for (const window of windows) cases.push(await measureWork(context, server!, { peers, window }));
      return {
        scenario: "queue-throughput",
        runs: context.runs,
        versions: { [us]: ourVersion, ...versionsOf(others) },
        missing,
        cases,
        notes: [
          "each client is a process of its own, on the same cores: our RPC client with protobuf-es, amqplib, BullMQ on ioredis, @nats-io/jetstream",
          "synced before it is answered: all of ours, of RabbitMQ's quorum queue, of Redis (appendfsync always) and what JetStream stores (sync_interval always)",
          "not synced: RabbitMQ's classic queue notes acks lazily (strace counts 3 syncs for 4,000 jobs worked at window 1, and 2,044 for a quorum queue), JetStream what its consumers have acknowledged: neither waits for the disk",
        ],
      };
    });
  },
};

/** Ourselves, in one of our two ways. */
function ours(server: Server, flow: { readonly window: number; readonly explicitStart: boolean }): Runner {
  const { address } = server.process;
  return {
    who: flow.explicitStart ? `${us}, offered and started` : us,
    async run(what, queue, jobs) {
      const producing = { batch, batchesUnderWay, fairnessKey: "" };
      const task: QueueWorkTask = { address, queue, what, jobs, bodyBytes, ...producing, workers, ...flow };
      return (await runClient<QueueWorkTask, QueueWorkOutcome>("queue-work", task, { timeoutMs })).seconds;
    },
  };
}

function theirs(peer: RunningPeerQueue, window: number): Runner {
  return {
    who: peer.who,
    run: (what, queue, jobs) => peer.run({ queue, what, jobs, bodyBytes, batch, batchesUnderWay, workers, window }),
  };
}

/** Of each contestant its own, also where two have the same server. */
function queueName(what: string, who: string): string {
  return `${what}-${who}`.replaceAll(/\W+/gu, "-");
}

async function measureEnqueue(
  context: ScenarioContext,
  server: Server,
  peers: readonly RunningPeerQueue[],
): Promise<CaseOutcome> {
  const pacer = new Pacer({ first: 20_000, most: 500_000, seconds: context.isQuick ? 0.5 : 1.5 });
  const runners = [ours(server, { window: 1, explicitStart: false }), ...peers.map((peer) => theirs(peer, 1))];
  const measured = await takeTurns(runners, context.runs, async (runner) => {
    context.say(`enqueue: ${runner.who}`);
    const jobs = Math.ceil(pacer.units(runner.who) / batch) * batch;
    const rate = jobs / (await runner.run("enqueue", queueName("enqueue", runner.who), jobs));
    pacer.learn(runner.who, rate);
    return rate;
  });
  const notes = [
    `EnqueueStream and BullMQ's addBulk: batches of ${batch}, ${batchesUnderWay} of them under way; the others, who know no batches: ${batch * batchesUnderWay} jobs under way`,
  ];
  return { title: "enqueue, one producer", unit: "jobs/s", measured, notes };
}

/** The jobs wait when the clock begins. */
async function measureWork(
  context: ScenarioContext,
  server: Server,
  { peers, window }: { readonly peers: readonly RunningPeerQueue[]; readonly window: number },
): Promise<CaseOutcome> {
  const title = `work, window ${window}`;
  // Without prefetch there is nothing that could be taken back: no offers.
  const ourWays = window === 1 ? [false] : [false, true];
  const runners = [
    ...ourWays.map((explicitStart) => ({ ...ours(server, { window, explicitStart }), depth: window - 1 })),
    ...peers.map((peer) => ({ ...theirs(peer, window), depth: peer.depth(window) })),
  ].map(({ who, depth, run }) => ({
    who: `${who}: depth ${depth}`,
    queue: queueName(`work-${window}`, who),
    run,
  }));
  const pacer = new Pacer({ first: 2000, most: 300_000, seconds: context.isQuick ? 0.5 : 1.5 });
  const measured = await takeTurns(runners, context.runs, async ({ who, queue, run }) => {
    context.say(`${title}: ${who}`);
    const jobs = Math.ceil(pacer.units(who) / batch) * batch;
    await run("enqueue", queue, jobs);
    const rate = jobs / (await run("work", queue, jobs));
    pacer.learn(who, rate);
    return rate;
  });
  const notes = [
    `${workers} workers, a connection each; depth: jobs that a worker has beyond those that it has begun`,
    "window: a prefetch of RabbitMQ's, a concurrency of BullMQ's, a pull of JetStream's; the answer to an ack is waited for, where there is one",
  ];
  return { title, unit: "jobs/s", measured, notes };
}
