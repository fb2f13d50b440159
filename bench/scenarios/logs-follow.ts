// A thousand followers, one producer: each entry that is appended goes out a thousand times.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { FollowOutcome, FollowTask } from "../clients/follow.ts";
import { Pacer, takeTurns, withServers, type Server } from "../contest.ts";
import { findPeer, isOnNode, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const connections = 10;
const followersPerConnection = 100;
const followers = connections * followersPerConnection;
const timeoutMs = 120_000;
const entriesPipelined = 16;
const peers: readonly PeerName[] = ["node:http2", "grpc-js", "grpc-go", "grpc-go tuned", "tonic"];

export const logsFollow: Scenario = {
  name: "logs-follow",
  summary: "1,000 followers on 10 connections, entries appended one by one; deliveries/s, and memory per idle follower",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    const options = { entriesFile: context.entriesFile, count: 1, withMemoryProbe: true };
    const { contestants, missing } = partEntrants(await Promise.all(peers.map((who) => findPeer(who, options))));
    return await withServers([sluice(data, { withMemoryProbe: true }), ...contestants], async (servers) => ({
      scenario: "logs-follow",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion },
      missing,
      cases: [
        await measureDeliveries(context, servers, 1),
        await measureDeliveries(context, servers, entriesPipelined),
        await measureMemory(
          context,
          servers.filter(({ who }) => isOnNode(who)),
        ),
      ],
      notes: [
        "deliveries are counted where they arrive; every follower has every entry, byte for byte the same for all",
        "the client is our own, on raw sockets; each entry is appended by a WriteLogStream message of its own",
        "ours: validated, appended to the log and fdatasync'ed before it is delivered, with our own fields; peers keep nothing and deliver the stored bytes",
      ],
    }));
  },
};

async function measureDeliveries(
  context: ScenarioContext,
  servers: readonly Server[],
  entriesUnderWay: number,
): Promise<CaseOutcome> {
  const pacer = new Pacer({ first: 50, most: 10_000, seconds: context.isQuick ? 0.5 : 2 });
  const title = entriesUnderWay === 1 ? "one by one" : `up to ${entriesUnderWay} entries under way`;
  const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
    context.say(`${title}: ${who}`);
    const task = { address, entries: pacer.units(who), entriesUnderWay };
    const { deliveries, seconds } = await follow(context, task);
    pacer.learn(who, deliveries / followers / seconds);
    return deliveries / seconds;
  });
  const pace =
    entriesUnderWay === 1
      ? "the next entry is appended when all followers have the one before"
      : `one producer, each entry a message of its own, at most ${entriesUnderWay} of them not yet with all followers`;
  return { title: `${followers} followers, ${title}`, unit: "deliveries/s", measured, notes: [pace] };
}

async function measureMemory(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome> {
  const measured = await takeTurns(servers, context.runs, async ({ who, process }) => {
    context.say(`memory: ${who}`);
    const before = await process.memory();
    let idle = before;
    await follow(context, { address: process.address, entries: 0, entriesUnderWay: 1 }, async () => {
      idle = await process.memory();
    });
    return (idle.usedBytes - before.usedBytes) / followers;
  });
  return {
    title: `memory of an idle follower, ${followers} on ${connections} connections`,
    unit: "bytes",
    isSmallerBetter: true,
    measured,
    notes: [
      "heap and external memory in use after a garbage collection, with the followers less without, per follower",
    ],
  };
}

async function follow(
  context: ScenarioContext,
  task: Pick<FollowTask, "address" | "entries" | "entriesUnderWay">,
  onPause: (at: string) => Promise<void> = () => Promise.resolve(),
): Promise<FollowOutcome> {
  const { entriesFile } = context;
  return await runClient<FollowTask, FollowOutcome>(
    "follow",
    { ...task, connections, followersPerConnection, entriesFile },
    { timeoutMs, onPause },
  );
}
