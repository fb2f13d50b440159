// Writers, acknowledged when what they wrote is on disk.

import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { HistoryOutcome, HistoryTask } from "../clients/history.ts";
import type { IngestOutcome, IngestTask } from "../clients/ingest.ts";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { entryFrameBytes } from "../entries.ts";
import { findPeer, type PeerName } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const writers = 4;
const timeoutMs = 120_000;
const peers: readonly PeerName[] = ["grpc-js", "connect-es", "grpc-go", "grpc-go tuned", "tonic"];

interface Shape {
  readonly protocol: IngestTask["protocol"];
  readonly entriesPerMessage: number;
  readonly messagesUnderWay: number;
  readonly messagesPerWriter: number;
}

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
    const stream: Shape = {
      protocol: "stream",
      entriesPerMessage: 250,
      messagesUnderWay: 8,
      messagesPerWriter: context.isQuick ? 100 : 400,
    };
    const otlp: Shape = {
      protocol: "otlp",
      entriesPerMessage: 512,
      messagesUnderWay: 2,
      messagesPerWriter: context.isQuick ? 25 : 100,
    };
    return await withServers([sluice(folderOf(us)), ...contestants], async (servers) => {
      const streamed = await measureWriters(context, servers, stream);
      await verifyStored(
        servers,
        folderOf,
        (context.runs + 1) * writers * stream.messagesPerWriter * stream.entriesPerMessage,
      );
      return {
        scenario: "logs-ingest",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion },
        missing,
        cases: [streamed, await measureWriters(context, servers, otlp)],
        notes: [
          "the client is our own: each writer has a connection; entries are encoded beforehand",
          "all append to a file and answer after fdatasync, with group commit; ours also checks every byte, refuses duplicates by the producer's numbers, stamps sequence, cursor and checksum, and indexes",
          "after WriteLogStream every contestant's entries were counted on disk (ours: read back through StreamLogs)",
        ],
      };
    });
  },
};

async function measureWriters(
  context: ScenarioContext,
  servers: readonly Server[],
  shape: Shape,
): Promise<CaseOutcome> {
  const isStream = shape.protocol === "stream";
  let run = 0;
  const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
    context.say(`${shape.protocol}: ${who}`);
    const task = { address, writers, ...shape, entriesFile: context.entriesFile, run: `run-${run++}` };
    const outcome = await runClient<IngestTask, IngestOutcome>("ingest", task, { timeoutMs });
    return outcome.entries / outcome.seconds;
  });
  const each = `messages of ${shape.entriesPerMessage}, ${shape.messagesUnderWay} of each writer under way`;
  return {
    title: isStream ? `WriteLogStream, ${writers} writers` : `OTLP Export, ${writers} exporters`,
    unit: isStream ? "entries/s" : "records/s",
    measured,
    notes: [isStream ? `${each}, each writer an idempotent producer` : `${each}; two attributes, trace and span id`],
  };
}

/** @throws Error when a contestant acknowledged what it does not have */
async function verifyStored(
  servers: readonly Server[],
  folderOf: (who: string) => string,
  count: number,
): Promise<void> {
  for (const {
    who,
    process: { address },
  } of servers) {
    let stored: number;
    if (who === us) {
      const task = { address, path: "/LogService/StreamLogs" };
      stored = (await runClient<HistoryTask, HistoryOutcome>("history", task, { timeoutMs })).entries;
    } else {
      stored = (await stat(join(folderOf(who), "entries.frames"))).size / entryFrameBytes;
    }
    if (stored !== count) throw new Error(`${who} has ${stored} of ${count} acknowledged entries`);
  }
}
