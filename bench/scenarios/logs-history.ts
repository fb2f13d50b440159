// One reader streams the whole history of a log.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { HistoryOutcome, HistoryTask } from "../clients/history.ts";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { entryFrameBytes } from "../entries.ts";
import { findH2load, runH2load, verifyLoad } from "../h2load.ts";
import { findPeer, type PeerName } from "../peers.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { countEntries, fillDataFolder, ourVersion, sluice, us } from "../sluice-server.ts";

const path = "/LogService/StreamLogs";
const timeoutMs = 180_000;
const peers: readonly PeerName[] = [
  "grpc-js",
  "grpc-js encoded",
  "connect-es",
  "node:http2",
  "grpc-go",
  "grpc-go tuned",
  "grpc-go encoded",
  "tonic",
  "tonic tuned",
  "tonic encoded",
];

export const logsHistory: Scenario = {
  name: "logs-history",
  summary: "one stream of a log's whole history (1 M entries), from disk; entries/s",
  async run(context) {
    const count = context.isQuick ? 200_000 : 1_000_000;
    const data = join(context.folder, "sluice");
    context.say(`filling a log with ${count} entries`);
    await fillDataFolder(data, context.entriesFile, count);
    const found = await Promise.all(peers.map((who) => findPeer(who, { entriesFile: context.entriesFile, count })));
    const { contestants, missing } = partEntrants(found);
    const h2load = await findH2load();
    return await withServers([sluice(data), ...contestants], async (servers) => {
      const measure = await prepareMeasure(context, count, h2load !== undefined);
      const measured = await takeTurns(servers, context.runs, measure);
      return {
        scenario: "logs-history",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion, h2load: h2load ?? "missing" },
        missing,
        cases: [{ title: `one stream of ${count} entries`, unit: "entries/s", measured, notes: [] }],
        notes: [
          `entries are stored as ${entryFrameBytes} bytes (two fields); ours come from disk with our own fields appended, peers send the stored bytes from memory, 1,000 entries round and round`,
          "ours also has the few entries that the server wrote about itself",
          "before the first counted run each server's answer was read whole by our own client: count, bytes, status",
          h2load === undefined ? "h2load is not installed: read by our own client" : "the client is h2load -n1 -c1 -m1",
        ],
      };
    });
  },
};

/** Measures by h2load where it is there, once our own reader has learnt from the same server what is right. */
async function prepareMeasure(
  context: ScenarioContext,
  count: number,
  hasH2load: boolean,
): Promise<(server: Server) => Promise<number>> {
  const bodyFile = join(context.folder, "empty-request.bin");
  await writeFile(bodyFile, Buffer.alloc(5));
  const dataBytes = new Map<string, number>();
  return async ({ who, process: { address } }) => {
    const known = dataBytes.get(who);
    context.say(`${who}${known === undefined ? " (warming up)" : ""}`);
    if (known === undefined || !hasH2load) {
      const outcome = await runClient<HistoryTask, HistoryOutcome>("history", { address, path }, { timeoutMs });
      await verifyHistory(who, address, count, outcome);
      dataBytes.set(who, outcome.dataBytes);
      return outcome.entries / outcome.seconds;
    }
    const load = { address, path, requests: 1, connections: 1, inFlightPerConnection: 1, bodyFile, timeoutMs };
    const outcome = await runH2load(load);
    verifyLoad(outcome, { requests: 1, dataBytes: known });
    return count / outcome.seconds;
  };
}

/** @throws Error unless the history is whole */
async function verifyHistory(who: string, address: string, count: number, outcome: HistoryOutcome): Promise<void> {
  const stored = who === us ? await countEntries(address) : { written: count, all: count };
  if (stored.written !== count) throw new Error(`The log has ${stored.written} of ${count} written entries`);
  if (outcome.entries !== stored.all) throw new Error(`${outcome.entries} of ${stored.all} entries came`);
  const least = count * entryFrameBytes;
  if (who === us ? outcome.dataBytes <= least : outcome.dataBytes !== least) {
    throw new Error(`${outcome.dataBytes} bytes came, of stored ones there are ${least}`);
  }
}
