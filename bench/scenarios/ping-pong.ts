// Streams of requests: how long an answer on an open stream takes, and how fast uploads are taken.

import { join } from "node:path";
import { root } from "../build.ts";
import { runClient } from "../client-run.ts";
import type { PingPongOutcome, PingPongTask } from "../clients/ping-pong.ts";
import { Pacer, takeTurns, withServers, type Server } from "../contest.ts";
import { CostMeter } from "../costs.ts";
import { findPeer, nodeServer, serverArguments, type PeerName } from "../peers.ts";
import type { CaseOutcome, Measured } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, us } from "../sluice-server.ts";

const messageBytes = 100;
const timeoutMs = 120_000;
const peers: readonly PeerName[] = ["grpc-js", "connect-es", "grpc-go", "tonic"];

export const pingPong: Scenario = {
  name: "ping-pong",
  summary: "bidi stream, one message under way: latency p50 and p99; client streaming: messages/s; CPU, allocation",
  async run(context) {
    const options = { entriesFile: context.entriesFile, count: 1, withMemoryProbe: true };
    const { contestants, missing } = partEntrants(await Promise.all(peers.map((who) => findPeer(who, options))));
    const words = [join(root, "bench/servers/sluice-rpc.ts"), ...serverArguments(options, "plain")];
    const ours = { who: us, command: nodeServer(words, true) };
    return await withServers([ours, ...contestants], async (servers) => ({
      scenario: "ping-pong",
      runs: context.runs,
      versions: { ...versionsOf(servers), [us]: ourVersion },
      missing,
      cases: [...(await measureChat(context, servers)), ...(await measureUpload(context, servers))],
      notes: [
        `messages of ${messageBytes} B; the client is our own, on a raw socket, with messages prepared beforehand`,
        "each server's handlers take and give message objects; ours are an async generator and a loop over the requests",
      ],
    }));
  },
};

async function measureChat(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome[]> {
  const pacer = new Pacer({ first: 2000, most: 100_000, seconds: context.isQuick ? 0.4 : 1.5 });
  const meter = new CostMeter("message");
  const p99 = new Map<string, number[]>(servers.map(({ who }) => [who, []]));
  const p50 = new Map<string, number[]>(servers.map(({ who }) => [who, []]));
  const rates = await takeTurns(
    servers,
    context.runs,
    meter.around(async ({ who, process: { address } }) => {
      context.say(`chat: ${who}`);
      const messages = pacer.units(who);
      const task: PingPongTask = { address, kind: "chat", messages, messageBytes };
      const { seconds, latencies } = await runClient<PingPongTask, PingPongOutcome>("ping-pong", task, { timeoutMs });
      pacer.learn(who, messages / seconds);
      p50.get(who)?.push(latencies?.p50Microseconds ?? Number.NaN);
      p99.get(who)?.push(latencies?.p99Microseconds ?? Number.NaN);
      return { units: messages, seconds };
    }),
  );
  const title = "bidi stream, one message under way";
  const latency = (part: string, samples: ReadonlyMap<string, readonly number[]>): CaseOutcome => ({
    title: `${title}: ${part} of the round trip`,
    unit: "µs",
    isSmallerBetter: true,
    measured: countedRounds(samples),
    notes: [],
  });
  return [
    latency("p50", p50),
    latency("p99", p99),
    { title, unit: "round trips/s", measured: rates, notes: [] },
    ...meter.cases(title),
  ];
}

/** Without the first round, which warms up. */
function countedRounds(samples: ReadonlyMap<string, readonly number[]>): Measured[] {
  return [...samples].map(([who, taken]) => ({ who, samples: taken.slice(1) }));
}

async function measureUpload(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome[]> {
  const pacer = new Pacer({ first: 20_000, most: 2_000_000, seconds: context.isQuick ? 0.4 : 1.5 });
  const meter = new CostMeter("message");
  const measured = await takeTurns(
    servers,
    context.runs,
    meter.around(async ({ who, process: { address } }) => {
      context.say(`upload: ${who}`);
      const messages = pacer.units(who);
      const task: PingPongTask = { address, kind: "upload", messages, messageBytes };
      const { seconds } = await runClient<PingPongTask, PingPongOutcome>("ping-pong", task, { timeoutMs });
      pacer.learn(who, messages / seconds);
      return { units: messages, seconds };
    }),
  );
  const title = "client streaming, one stream";
  return [{ title, unit: "messages/s", measured, notes: [] }, ...meter.cases(title)];
}
