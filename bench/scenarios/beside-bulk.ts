// A small call beside a bulk stream: what it waits on the same connection, and on another one.

import { join } from "node:path";
import { root } from "../build.ts";
import { runClient } from "../client-run.ts";
import type { BesideBulkOutcome, BesideBulkTask } from "../clients/beside-bulk.ts";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { findPeer, nodeServer, serverArguments, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, us } from "../sluice-server.ts";

const messageBytes = 100;
const bulkMessageBytes = 16_000;
const timeoutMs = 120_000;
const peers: readonly PeerName[] = ["grpc-js", "grpc-go", "tonic"];
/** What the client lets a stream have under way: HTTP/2's default, grpc-java's, and no limit. */
const windows: readonly { readonly title: string; readonly bytes: number }[] = [
  { title: "a client's stream window of 1 MiB", bytes: 2 ** 20 },
  { title: "a client's stream window of 64 KiB", bytes: 65_535 },
  { title: "a client without windows", bytes: 2 ** 31 - 1 },
];

export const besideBulk: Scenario = {
  name: "beside-bulk",
  summary: "latency of a unary call beside a bulk stream, on the same connection and on another one; p99",
  async run(context) {
    const options = { entriesFile: context.entriesFile, count: 1 };
    const { contestants, missing } = partEntrants(await Promise.all(peers.map((who) => findPeer(who, options))));
    const words = [join(root, "bench/servers/sluice-rpc.ts"), ...serverArguments(options, "plain")];
    return await withServers([{ who: us, command: nodeServer(words) }, ...contestants], async (servers) => {
      const cases: CaseOutcome[] = [];
      for (const window of windows) cases.push(...(await measure(context, servers, window)));
      return {
        scenario: "beside-bulk",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion },
        missing,
        cases,
        notes: [
          `calls of ${messageBytes} B, one after the other; the bulk stream has messages of ${bulkMessageBytes} B and is read as fast as it comes`,
          `the ratio to "${us}, another connection" is what it costs to share the connection`,
          "the client is our own, one process for both; with two cores, it and the server have one each",
        ],
      };
    });
  },
};

async function measure(
  context: ScenarioContext,
  servers: readonly Server[],
  window: { readonly title: string; readonly bytes: number },
): Promise<CaseOutcome[]> {
  const entries = servers.flatMap(({ who, process }) => [
    { who: `${who}, same connection`, process, isTogether: true },
    { who: `${who}, another connection`, process, isTogether: false },
  ]);
  const bulk = new Map<string, number[]>(entries.map(({ who }) => [who, []]));
  const p50 = new Map<string, number[]>(entries.map(({ who }) => [who, []]));
  const p99 = await takeTurns(entries, context.runs, async ({ who, process: { address } }) => {
    context.say(`${window.title}: ${who}`);
    const task: BesideBulkTask = {
      address,
      isTogether: who.endsWith("same connection"),
      calls: context.isQuick ? 200 : 1000,
      messageBytes,
      bulkMessageBytes,
      streamWindowBytes: window.bytes,
    };
    const outcome = await runClient<BesideBulkTask, BesideBulkOutcome>("beside-bulk", task, { timeoutMs });
    bulk.get(who)?.push(outcome.bulkBytesPerSecond / 1e6);
    p50.get(who)?.push(outcome.latencies.p50Microseconds);
    return outcome.latencies.p99Microseconds;
  });
  const counted = (samples: ReadonlyMap<string, readonly number[]>) =>
    [...samples].map(([who, taken]) => ({ who, samples: taken.slice(1) }));
  return [
    { title: `${window.title}: p99 of a call`, unit: "µs", isSmallerBetter: true, measured: p99, notes: [] },
    { title: `${window.title}: p50 of a call`, unit: "µs", isSmallerBetter: true, measured: counted(p50), notes: [] },
    { title: `${window.title}: the bulk stream meanwhile`, unit: "MB/s", measured: counted(bulk), notes: [] },
  ];
}
