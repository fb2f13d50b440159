// npm run bench -- list | SCENARIO [--quick] [--runs N] [--json FILE]
//
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
import { heapGrowth } from "./scenarios/heap-growth.ts";
import { logsFollow } from "./scenarios/logs-follow.ts";
import { logsHistory } from "./scenarios/logs-history.ts";
import { logsIngest } from "./scenarios/logs-ingest.ts";
import { sdkHistory } from "./scenarios/sdk-history.ts";
import { unary } from "./scenarios/unary.ts";
import { killServers } from "./server-process.ts";

const scenarios: readonly Scenario[] = [logsHistory, logsFollow, logsIngest, unary, sdkHistory, heapGrowth];
const usage = "npm run bench -- list | SCENARIO [--quick] [--runs N] [--json FILE]";
const runsMax = 50;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: "boolean", default: false }, runs: { type: "string" }, json: { type: "string" } },
  });
  const [name] = positionals;
  if (name === undefined || name === "list" || positionals.length > 1) {
    for (const { name: listed, summary } of scenarios) process.stdout.write(`${listed.padEnd(14)}${summary}\n`);
    if (name !== "list") throw new Error(usage);
    return;
  }
  const scenario = scenarios.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`There is no scenario ${name}; see: npm run bench -- list`);
  const report = await runScenario(scenario, { isQuick: values.quick, runs: parseRuns(values.runs, values.quick) });
  process.stdout.write(formatReport(report));
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(report, undefined, 2)}\n`);
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
