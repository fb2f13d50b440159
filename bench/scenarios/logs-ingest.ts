// Writers, acknowledged when what they wrote is on disk.

import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { HistoryOutcome, HistoryTask } from "../clients/history.ts";
import type { IngestOutcome, IngestTask } from "../clients/ingest.ts";
import { Pacer, takeTurns, withServers, type Server } from "../contest.ts";
import { entryFrameBytes } from "../entries.ts";
import { findPeer, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { countEntries, ourVersion, sluice, us } from "../sluice-server.ts";

const writers = 4;
const timeoutMs = 120_000;
const peers: readonly PeerName[] = ["grpc-js", "connect-es", "grpc-go", "grpc-go tuned", "tonic"];

interface Shape {
  readonly protocol: IngestTask["protocol"];
  readonly entriesPerMessage: number;
  readonly messagesUnderWay: number;
}

const stream: Shape = { protocol: "stream", entriesPerMessage: 250, messagesUnderWay: 8 };
const otlp: Shape = { protocol: "otlp", entriesPerMessage: 512, messagesUnderWay: 2 };
const otlpHttp: Shape = { ...otlp, protocol: "otlp-http" };

const titles: Readonly<Record<IngestTask["protocol"], string>> = {
  stream: `WriteLogStream, ${writers} writers`,
  otlp: `OTLP Export, ${writers} exporters`,
  "otlp-http": `OTLP over HTTP/1.1, ${writers} exporters`,
};

export const logsIngest: Scenario = {
  name: "logs-ingest",
  summary: "4 writers, acknowledged after fdatasync: WriteLogStream, entries/s, and OTLP Export, records/s",
  async run(context) {
    const folderOf = (who: string): string => join(context.folder, who.replaceAll(/\W/g, "-"));
    const found = await Promise.all(
      peers.map((who) => findPeer(who, { entriesFile: context.entriesFile, count: 1, data: folderOf(who) })),
    );
    const { contestants, missing } = partEntrants(found);
    for (const who of [us, ...peers]) await mkdir(folderOf(who));
    return await withServers([sluice(folderOf(us)), ...contestants], async (servers) => {
      const acknowledged = new Map<string, number>();
      const streamed = await measureWriters(context, servers, stream, acknowledged);
      for (const server of servers) await verifyStored(server, folderOf(server.who), acknowledged.get(server.who) ?? 0);
      return {
        scenario: "logs-ingest",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion },
        missing,
        cases: [
          streamed,
          await measureWriters(context, servers, otlp, new Map()),
          // The peers have no such entrance.
          await measureWriters(context, servers.slice(0, 1), otlpHttp, new Map()),
        ],
        notes: [
          "the client is our own: each writer has a connection; entries are encoded beforehand",
          "all append to a file and answer after fdatasync, with group commit; ours also checks every byte, refuses duplicates by the producer's numbers, stamps sequence, cursor and checksum, and indexes",
          "after WriteLogStream every contestant's entries were counted on disk (ours: read back through StreamLogs)",
        ],
      };
    });
  },
};

/** @param acknowledged gets the entries of each contestant that were acknowledged in all runs */
async function measureWriters(
  context: ScenarioContext,
  servers: readonly Server[],
  shape: Shape,
  acknowledged: Map<string, number>,
): Promise<CaseOutcome> {
  const isStream = shape.protocol === "stream";
  const entriesPerRound = writers * shape.entriesPerMessage;
  const pacer = new Pacer({ first: 40, most: 1000, seconds: context.isQuick ? 0.5 : 1.5 });
  let run = 0;
  const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
    context.say(`${shape.protocol}: ${who}`);
    const messagesPerWriter = pacer.units(who);
    const { entriesFile } = context;
    const task = { address, writers, ...shape, messagesPerWriter, entriesFile, run: `run-${run++}` };
    const { entries, seconds } = await runClient<IngestTask, IngestOutcome>("ingest", task, { timeoutMs });
    pacer.learn(who, entries / entriesPerRound / seconds);
    acknowledged.set(who, (acknowledged.get(who) ?? 0) + entries);
    return entries / seconds;
  });
  const each = `messages of ${shape.entriesPerMessage}, ${shape.messagesUnderWay} of each writer under way`;
  return {
    title: titles[shape.protocol],
    unit: isStream ? "entries/s" : "records/s",
    measured,
    notes: [isStream ? `${each}, each writer an idempotent producer` : `${each}; two attributes, trace and span id`],
  };
}

/** @throws Error when the contestant acknowledged what it does not have */
async function verifyStored({ who, process: { address } }: Server, folder: string, count: number): Promise<void> {
  if (who !== us) {
    const stored = (await stat(join(folder, "entries.frames"))).size / entryFrameBytes;
    if (stored !== count) throw new Error(`${who} has ${stored} of ${count} acknowledged entries`);
    return;
  }
  const { written, all } = await countEntries(address);
  if (written !== count) throw new Error(`${who} has ${written} of ${count} acknowledged entries`);
  const task = { address, path: "/LogService/StreamLogs" };
  const { entries } = await runClient<HistoryTask, HistoryOutcome>("history", task, { timeoutMs });
  if (entries !== all) throw new Error(`${who} streams ${entries} of its ${all} entries`);
}
