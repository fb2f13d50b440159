// A thousand followers, one producer: each entry that is appended goes out a thousand times.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { FollowOutcome, FollowPace, FollowTask } from "../clients/follow.ts";
import { Pacer, takeTurns, withServers, type Server } from "../contest.ts";
import { findPeer, isOnNode, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const connections = 10;
const followersPerConnection = 100;
const followers = connections * followersPerConnection;
const timeoutMs = 120_000;

/** How entries come: from so many producers, each of which waits before its next one. */
const arrivals: readonly { title: string; note: string; producers: number; pace: FollowPace }[] = [
  {
    title: "one by one",
    note: "one producer; the next entry is appended when all followers have the one before, so this is a round trip, with whatever the server does for an entry in it",
    producers: 1,
    pace: "delivered",
  },
  {
    title: "one by one from each of 4 producers",
    note: "each producer appends an entry when the server has acknowledged its one before",
    producers: 4,
    pace: "acknowledged",
  },
];
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
        ...(await measureArrivals(context, servers)),
        await measureMemory(
          context,
          servers.filter(({ who }) => isOnNode(who)),
        ),
      ],
      notes: [
        "deliveries are counted where they arrive; every follower has every entry, byte for byte the same for all",
        "the client is our own, on raw sockets; each entry is appended by a WriteLogStream message of its own",
        "ours: validated, appended to the log and fdatasync'ed before it is acknowledged and delivered, with our own fields; peers keep nothing and deliver the stored bytes",
      ],
    }));
  },
};

/** Cases for each way in which entries come; for servers of the log service, whoever they are. */
export async function measureArrivals(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome[]> {
  const outcomes: CaseOutcome[] = [];
  for (const { title, note, ...arrival } of arrivals) {
    const pacer = new Pacer({ first: 50, most: 10_000, seconds: context.isQuick ? 0.5 : 2 });
    const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
      context.say(`${title}: ${who}`);
      const { deliveries, seconds } = await follow(context, { address, entries: pacer.units(who), ...arrival });
      pacer.learn(who, deliveries / followers / seconds);
      return deliveries / seconds;
    });
    outcomes.push({ title: `${followers} followers, ${title}`, unit: "deliveries/s", measured, notes: [note] });
  }
  return outcomes;
}

async function measureMemory(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome> {
  const measured = await takeTurns(servers, context.runs, async ({ who, process }) => {
    context.say(`memory: ${who}`);
    const before = await process.memory();
    let idle = before;
    await follow(context, { address: process.address, entries: 0, producers: 1, pace: "delivered" }, async () => {
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
  task: Pick<FollowTask, "address" | "entries" | "producers" | "pace">,
  onPause: (at: string) => Promise<void> = () => Promise.resolve(),
): Promise<FollowOutcome> {
  const { entriesFile } = context;
  return await runClient<FollowTask, FollowOutcome>(
    "follow",
    { ...task, connections, followersPerConnection, entriesFile },
    { timeoutMs, onPause },
  );
}
