// Memory of streams that are open and have nothing to say, as most subscriptions are most of the time.

import { join } from "node:path";
import { root } from "../build.ts";
import { runClient } from "../client-run.ts";
import type { FollowOutcome, FollowTask } from "../clients/follow.ts";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { findPeer, nodeServer, serverArguments, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, us } from "../sluice-server.ts";

const peers: readonly PeerName[] = ["grpc-js", "node:http2"];
const streamsPerConnection = 1000;
const timeoutMs = 120_000;
/** Peers hold a tenth: with all they would take minutes and gigabytes. */
const connectionsOf = (who: string, isQuick: boolean): number => (who.startsWith(us) ? (isQuick ? 20 : 100) : 10);

export const idleStreams: Scenario = {
  name: "idle-streams",
  summary: "100,000 open, idle streams on 100 connections (peers: 10,000 on 10); server memory for each",
  async run(context) {
    const options = { entriesFile: context.entriesFile, count: 1, withMemoryProbe: true };
    const { contestants, missing } = partEntrants(await Promise.all(peers.map((who) => findPeer(who, options))));
    // "encoded" is the form whose subscriptions are generators.
    const ours = ["plain", "encoded"].map((form) => ({
      who: form === "plain" ? us : `${us}, a generator each`,
      command: nodeServer([join(root, "bench/servers/sluice-rpc.ts"), ...serverArguments(options, form)], true),
    }));
    return await withServers([...ours, ...contestants], async (servers) => ({
      scenario: "idle-streams",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion },
      missing,
      cases: await measure(context, servers),
      notes: [
        ...servers.map(
          ({ who }) =>
            `${who}: ${streamsPerConnection} streams on each of ${connectionsOf(who, context.isQuick)} connections`,
        ),
        "response headers have been sent, so each stream shows as open; connections count into the figure",
        `"${us}" answers with a FrameSource, "${us}, a generator each" with an async generator that waits for a promise`,
      ],
    }));
  },
};

async function measure(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome[]> {
  const resident = new Map<string, number[]>(servers.map(({ who }) => [who, []]));
  const used = await takeTurns(servers, context.runs, async ({ who, process }) => {
    context.say(who);
    const connections = connectionsOf(who, context.isQuick);
    const streams = connections * streamsPerConnection;
    const task: FollowTask = {
      address: process.address,
      connections,
      followersPerConnection: streamsPerConnection,
      entries: 0,
      producers: 1,
      pace: "delivered",
      entriesFile: context.entriesFile,
    };
    const before = await process.memory();
    let open = before;
    await runClient<FollowTask, FollowOutcome>("follow", task, {
      timeoutMs,
      onPause: async () => {
        open = await process.memory();
      },
    });
    resident.get(who)?.push((open.residentBytes - before.residentBytes) / streams);
    return (open.usedBytes - before.usedBytes) / streams;
  });
  return [
    {
      title: "memory of an idle stream",
      unit: "bytes",
      isSmallerBetter: true,
      measured: used,
      notes: ["heap and external memory in use after a garbage collection, with the streams less without, per stream"],
    },
    {
      title: "resident memory that an idle stream adds",
      unit: "bytes",
      isSmallerBetter: true,
      // The first time: afterwards the process keeps what it has, and a difference says nothing.
      measured: [...resident].map(([who, samples]) => ({ who, samples: samples.slice(0, 1) })),
      notes: ["of the process, in the first round: later ones find memory that the process has kept"],
    },
  ];
}
