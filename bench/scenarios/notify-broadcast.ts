// One notification for ten thousand devices: how fast it is with all of them, beside WebSockets and NATS.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { Protocol } from "../clients/audience.ts";
import type { BroadcastOutcome, BroadcastTask } from "../clients/notify-broadcast.ts";
import { Pacer, type Server, takeTurns, withServers } from "../contest.ts";
import { nodeServer } from "../peers.ts";
import { findNats } from "../queue-peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, type Scenario, type ScenarioContext, versionsOf } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";
import { root } from "../build.ts";

const devices = 10_000;
const connections = 100;
const perSecond = 100;
/** Of title and text; with id, time, type and cursor a message of ours has some 60 bytes more. */
const payloadBytes = 140;
const ourMessageBytes = 60;
const timeoutMs = 240_000;

export const notifyBroadcast: Scenario = {
  name: "notify-broadcast",
  summary:
    "10,000 connected devices, one notification for everyone: deliveries/s beside ws and NATS, p99 at 100 a second",
  async run(context) {
    const data = join(context.folder, us);
    await mkdir(data);
    const ws = { who: "ws", command: nodeServer([join(root, "bench/servers/ws.ts")]) };
    const { contestants, missing } = partEntrants([await findNats(context.folder)]);
    return await withServers([sluice(data), ws, ...contestants], async (servers) => ({
      scenario: "notify-broadcast",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion },
      missing,
      cases: [await measureRate(context, servers), ...(await measureDelay(context, servers[0]!))],
      notes: [
        `ours: ${connections} connections with ${devices / connections} users each, on disk before it is delivered; NATS: as many subscriptions on as many connections; ws: a connection for each device; neither keeps anything`,
        "the client is our own, on raw sockets, on the same cores",
      ],
    }));
  },
};

function taskOf({ who, process: { address } }: Server): Omit<BroadcastTask, "broadcasts" | "perSecond"> {
  const protocol: Protocol = who === us ? "sluice" : who === "ws" ? "ws" : "nats";
  const count = protocol === "ws" ? devices : connections;
  return {
    address,
    protocol,
    connections: count,
    devicesPerConnection: devices / count,
    payloadBytes: protocol === "sluice" ? payloadBytes : payloadBytes + ourMessageBytes,
  };
}

async function measureRate(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome> {
  const pacer = new Pacer({ first: 20, most: 5000, seconds: context.isQuick ? 0.5 : 2 });
  const measured = await takeTurns(servers, context.runs, async (server) => {
    context.say(`deliveries: ${server.who}`);
    const task = { ...taskOf(server), broadcasts: pacer.units(server.who), perSecond: 0 };
    const { deliveries, seconds } = await runClient<BroadcastTask, BroadcastOutcome>("notify-broadcast", task, {
      timeoutMs,
    });
    pacer.learn(server.who, deliveries / devices / seconds);
    return deliveries / seconds;
  });
  return {
    title: `${devices} devices, the next broadcast when all have the one before`,
    unit: "deliveries/s",
    measured,
    notes: [],
  };
}

async function measureDelay(context: ScenarioContext, server: Server): Promise<CaseOutcome[]> {
  const outcomes: BroadcastOutcome[] = [];
  for (let run = 0; run < context.runs; run++) {
    context.say(`delay: ${server.who}`);
    const broadcasts = perSecond * (context.isQuick ? 3 : 10);
    const task = { ...taskOf(server), broadcasts, perSecond };
    outcomes.push(await runClient<BroadcastTask, BroadcastOutcome>("notify-broadcast", task, { timeoutMs }));
  }
  const rest = { unit: "ms", isSmallerBetter: true, notes: [] };
  return [
    {
      ...rest,
      title: `p99 from Publish's answer to delivery, ${perSecond} broadcasts a second`,
      measured: [{ who: us, samples: outcomes.map(({ sinceAnswerP99Ms }) => sinceAnswerP99Ms) }],
    },
    {
      ...rest,
      title: "how late the client published at worst: what it measures of itself",
      measured: [{ who: us, samples: outcomes.map(({ publisherLateMs }) => publisherLateMs) }],
    },
  ];
}
