// Beside Grafana Loki, by what both have: OpenTelemetry's records over HTTP in, everything of an application out, and one line
// among all of them.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { LogStreamRequestSchema } from "@sluice/api";
import { runClient } from "../client-run.ts";
import type { HistoryOutcome, HistoryTask } from "../clients/history.ts";
import { grpcFrame } from "../clients/http2-wire.ts";
import type { IngestOutcome, IngestTask } from "../clients/ingest.ts";
import { Pacer, type Server, takeTurns, withServers } from "../contest.ts";
import { writtenApplication } from "../entries.ts";
import { findLoki } from "../peers.ts";
import type { CaseOutcome } from "../report.ts";
import { partEntrants, type Scenario, type ScenarioContext, versionsOf } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const writers = 4;
const messagesUnderWay = 2;
const entriesPerMessage = 512;
const timeoutMs = 300_000;
/** The most that Loki answers at once by default. */
const pageSize = 5000;
const needle = "kraken-surfaced";

export const logsLoki: Scenario = {
  name: "logs-loki",
  summary: "beside Loki: OTLP over HTTP, records/s (ours synced); all of 409,600 lines back, and one of them found",
  async run(context) {
    const data = join(context.folder, us);
    const { contestants, missing } = partEntrants([await findLoki(context.folder)]);
    await mkdir(data);
    return await withServers([sluice(data), ...contestants], async (servers) => {
      const records = context.isQuick ? 40_960 : 409_600;
      const range = await fill(context, servers, records);
      return {
        scenario: "logs-loki",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion },
        missing,
        cases: [
          await measureReading(context, servers, range, records),
          await measureNeedle(context, servers, range),
          await measureIngest(context, servers),
        ],
        notes: [
          "ours answers a write when it is on disk; Loki's write-ahead log is not synced before it answers",
          "Loki runs as one binary with its file system store, limits raised so that nothing is refused",
        ],
      };
    });
  },
};

/** Of event time, Unix ns; the end is not in it. */
interface Range {
  readonly startNs: bigint;
  readonly endNs: bigint;
}

const nowNs = (): bigint => BigInt(Date.now()) * 1_000_000n;
const pathOf = (who: string): string => (who === us ? "/v1/logs" : "/otlp/v1/logs");

async function ingest(
  context: ScenarioContext,
  { who, process: { address } }: Server,
  messagesPerWriter: number,
): Promise<IngestOutcome> {
  const task: IngestTask = {
    address,
    protocol: "otlp-http",
    writers,
    messagesPerWriter,
    entriesPerMessage,
    messagesUnderWay,
    entriesFile: context.entriesFile,
    run: "",
    path: pathOf(who),
    startNs: String(nowNs()),
  };
  return await runClient<IngestTask, IngestOutcome>("ingest", task, { timeoutMs });
}

/** The same records to each, and in their midst the one that is looked for. */
async function fill(context: ScenarioContext, servers: readonly Server[], records: number): Promise<Range> {
  const startNs = nowNs();
  for (const server of servers) {
    context.say(`filling ${server.who} with ${records} records`);
    for (const half of [1, 2]) {
      await ingest(context, server, records / 2 / writers / entriesPerMessage);
      if (half === 1) await writeNeedle(server);
    }
  }
  return { startNs, endNs: nowNs() + 60_000_000_000n };
}

async function writeNeedle({ who, process: { address } }: Server): Promise<void> {
  const resource = { attributes: [{ key: "service.name", value: { stringValue: writtenApplication } }] };
  const record = { timeUnixNano: String(nowNs()), body: { stringValue: `${needle} at 03:07` } };
  const response = await fetch(`http://${address}${pathOf(who)}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ resourceLogs: [{ resource, scopeLogs: [{ logRecords: [record] }] }] }),
  });
  if (!response.ok) throw new Error(`${who} did not take a record: ${response.status} ${await response.text()}`);
}

async function measureReading(
  context: ScenarioContext,
  servers: readonly Server[],
  range: Range,
  records: number,
): Promise<CaseOutcome> {
  const measured = await takeTurns(servers, context.runs, async (server) => {
    context.say(`reading: ${server.who}`);
    const { entries, seconds } = await read(server, range, "");
    if (entries !== records + 1) throw new Error(`${entries} of ${records + 1} lines came back`);
    return entries / seconds;
  });
  const how = `query_range in pages of ${pageSize}, its JSON parsed`;
  return {
    title: "all lines of an application",
    unit: "entries/s",
    measured,
    notes: [`ours: StreamLogs; Loki: ${how}`],
  };
}

async function measureNeedle(context: ScenarioContext, servers: readonly Server[], range: Range): Promise<CaseOutcome> {
  const measured = await takeTurns(servers, context.runs, async (server) => {
    context.say(`needle: ${server.who}`);
    const { entries, seconds } = await read(server, range, needle);
    if (entries !== 1) throw new Error(`${entries} lines have the needle, not 1`);
    return seconds * 1000;
  });
  return { title: "one line that has a text", unit: "ms", isSmallerBetter: true, measured, notes: [] };
}

async function measureIngest(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome> {
  const pacer = new Pacer({ first: 40, most: 1000, seconds: context.isQuick ? 0.5 : 2 });
  const measured = await takeTurns(servers, context.runs, async (server) => {
    context.say(`ingest: ${server.who}`);
    const { entries, seconds } = await ingest(context, server, pacer.units(server.who));
    pacer.learn(server.who, entries / (writers * entriesPerMessage) / seconds);
    return entries / seconds;
  });
  return {
    title: `OTLP over HTTP/1.1, ${writers * messagesUnderWay} connections`,
    unit: "records/s",
    measured,
    notes: [
      `protobuf, batches of ${entriesPerMessage}; two attributes, trace and span id; each record has a time of its own`,
    ],
  };
}

/** @param text that the lines have; empty: all of them */
async function read(
  { who, process: { address } }: Server,
  range: Range,
  text: string,
): Promise<{ entries: number; seconds: number }> {
  if (who !== us) return await readLoki(address, range, text);
  const query: MessageInitShape<typeof LogStreamRequestSchema> = {
    application: writtenApplication,
    filters: text === "" ? [] : [text],
    startTimestamp: range.startNs,
    endTimestamp: range.endNs,
    controlFrames: false,
  };
  const request = grpcFrame(toBinary(LogStreamRequestSchema, create(LogStreamRequestSchema, query))).toString("base64");
  const path = "/sluice.logs.v1.LogService/StreamLogs";
  return await runClient<HistoryTask, HistoryOutcome>("history", { address, path, request }, { timeoutMs });
}

interface LokiAnswer {
  readonly data: { readonly result: readonly { readonly values: readonly (readonly [ns: string, line: string])[] }[] };
}

async function readLoki(address: string, range: Range, text: string): Promise<{ entries: number; seconds: number }> {
  const query = `{service_name="${writtenApplication}"}${text === "" ? "" : ` |= "${text}"`}`;
  const started = performance.now();
  let entries = 0;
  for (let { startNs } = range; ;) {
    const words = { query, start: `${startNs}`, end: `${range.endNs}`, limit: `${pageSize}`, direction: "forward" };
    const response = await fetch(`http://${address}/loki/api/v1/query_range?${new URLSearchParams(words).toString()}`);
    if (!response.ok) throw new Error(`Loki answered ${response.status}: ${await response.text()}`);
    const { data } = (await response.json()) as LokiAnswer;
    const times = data.result.flatMap(({ values }) => values.map(([ns]) => BigInt(ns)));
    entries += times.length;
    if (times.length < pageSize) return { entries, seconds: (performance.now() - started) / 1000 };
    startNs = times.reduce((newest, ns) => (ns > newest ? ns : newest)) + 1n;
  }
}
