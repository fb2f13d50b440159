// npm run bench -- list | SCENARIO | GROUP [--quick] [--runs N] [--json FILE]
//
// A group's scenarios run one after the other; with --json its reports lie in that folder, a file each.
// Measures us and the peers in the same run, on the same client, as separate processes, in turns. Everything it starts
// ends with it, and what it writes lies in .cache/bench.

import { rmSync } from "node:fs";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cacheFolder } from "./build.ts";
import { encodeEntryFrames } from "./entries.ts";
import { describeMachine, formatReport, makeReport, type Report } from "./report.ts";
import type { Scenario } from "./scenario.ts";
import { besideBulk } from "./scenarios/beside-bulk.ts";
import { fanOut } from "./scenarios/fan-out.ts";
import { filesDownload } from "./scenarios/files-download.ts";
import { filesFairness } from "./scenarios/files-fairness.ts";
import { filesHttp } from "./scenarios/files-http.ts";
import { filesMemory } from "./scenarios/files-memory.ts";
import { filesRtt } from "./scenarios/files-rtt.ts";
import { filesSmall } from "./scenarios/files-small.ts";
import { filesUpload } from "./scenarios/files-upload.ts";
import { filesWatch } from "./scenarios/files-watch.ts";
import { heapGrowth } from "./scenarios/heap-growth.ts";
import { idleStreams } from "./scenarios/idle-streams.ts";
import { logsFilter } from "./scenarios/logs-filter.ts";
import { logsCompressed } from "./scenarios/logs-compressed.ts";
import { logsFollow } from "./scenarios/logs-follow.ts";
import { logsFollowMany } from "./scenarios/logs-follow-many.ts";
import { logsHistory } from "./scenarios/logs-history.ts";
import { logsIngest } from "./scenarios/logs-ingest.ts";
import { logsInterference } from "./scenarios/logs-interference.ts";
import { logsLoki } from "./scenarios/logs-loki.ts";
import { logsMemory } from "./scenarios/logs-memory.ts";
import { metricsIngest } from "./scenarios/metrics-ingest.ts";
import { metricsStream } from "./scenarios/metrics-stream.ts";
import { metricsMemory } from "./scenarios/metrics-memory.ts";
import { metricsQuery } from "./scenarios/metrics-query.ts";
import { notifyBroadcast } from "./scenarios/notify-broadcast.ts";
import { notifyResume } from "./scenarios/notify-resume.ts";
import { notifyUsers } from "./scenarios/notify-users.ts";
import { pingPong } from "./scenarios/ping-pong.ts";
import { queueDepth } from "./scenarios/queue-depth.ts";
import { queueFairness } from "./scenarios/queue-fairness.ts";
import { queueLatency } from "./scenarios/queue-latency.ts";
import { queueThroughput } from "./scenarios/queue-throughput.ts";
import { sdkHistory } from "./scenarios/sdk-history.ts";
import { streamFrames } from "./scenarios/stream-frames.ts";
import { streamMessages } from "./scenarios/stream-messages.ts";
import { unary } from "./scenarios/unary.ts";
import { killServers } from "./server-process.ts";

/** What the RPC core can do, with nothing of the product in it. */
const rpc: readonly Scenario[] = [unary, streamFrames, streamMessages, fanOut, pingPong, idleStreams, besideBulk];
/** Files, both ways. */
const files: readonly Scenario[] = [
  filesDownload,
  filesUpload,
  filesRtt,
  filesSmall,
  filesHttp,
  filesMemory,
  filesFairness,
  filesWatch,
];
const groups: ReadonlyMap<string, readonly Scenario[]> = new Map([
  ["rpc", rpc],
  ["files", files],
]);
const scenarios: readonly Scenario[] = [
  logsHistory,
  logsCompressed,
  logsMemory,
  logsFilter,
  logsInterference,
  logsLoki,
  logsFollow,
  logsFollowMany,
  logsIngest,
  sdkHistory,
  heapGrowth,
  metricsIngest,
  metricsQuery,
  metricsMemory,
  queueThroughput,
  queueLatency,
  queueDepth,
  queueFairness,
  metricsStream,
  ...files,
  ...rpc,
  notifyBroadcast,
  notifyUsers,
  notifyResume,
];
const usage = "npm run bench -- list | SCENARIO | GROUP [--quick] [--runs N] [--json FILE]";
const runsMax = 50;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: "boolean", default: false }, runs: { type: "string" }, json: { type: "string" } },
  });
  const [name] = positionals;
  if (name === undefined || name === "list" || positionals.length > 1) {
    for (const { name: listed, summary } of scenarios) process.stdout.write(`${listed.padEnd(17)}${summary}\n`);
    for (const [group, members] of groups) {
      process.stdout.write(`${group.padEnd(17)}all of ${members.map((member) => member.name).join(", ")}\n`);
    }
    if (name !== "list") throw new Error(usage);
    return;
  }
  const group = groups.get(name);
  const chosen = group ?? scenarios.filter((one) => one.name === name);
  if (chosen.length === 0) throw new Error(`There is no scenario ${name}; see: npm run bench -- list`);
  const runs = parseRuns(values.runs, values.quick);
  if (group !== undefined && values.json !== undefined) await mkdir(values.json, { recursive: true });
  for (const scenario of chosen) {
    const report = await runScenario(scenario, { isQuick: values.quick, runs });
    process.stdout.write(formatReport(report));
    if (values.json === undefined) continue;
    const file = group === undefined ? values.json : join(values.json, `${scenario.name}.json`);
    await writeFile(file, `${JSON.stringify(report, undefined, 2)}\n`);
  }
}

function parseRuns(text: string | undefined, isQuick: boolean): number {
  if (text === undefined) return isQuick ? 2 : 5;
  const runs = Number(text);
  if (!Number.isInteger(runs) || runs < 1 || runs > runsMax) {
    throw new Error(`--runs ${text}: a whole number from 1 to ${runsMax} is needed`);
  }
  return runs;
}

async function runScenario(scenario: Scenario, options: { isQuick: boolean; runs: number }): Promise<Report> {
  await mkdir(cacheFolder, { recursive: true });
  // Not the system's temporary folder: that may be memory, where an fdatasync costs nothing.
  const folder = await mkdtemp(join(cacheFolder, "run-"));
  process.once("exit", () => {
    killServers();
    rmSync(folder, { recursive: true, force: true });
  });
  const entriesFile = join(folder, "entries.frames");
  await writeFile(entriesFile, encodeEntryFrames());
  const say = (text: string): void => void process.stderr.write(`  ${text}\n`);
  return makeReport(await scenario.run({ ...options, entriesFile, folder, say }), describeMachine());
}

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  process.once(signal, () => process.exit(code));

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
