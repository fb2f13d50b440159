// Our own server with V8's heap allowed to grow by different amounts before all of it is marked again (decision 0006).

import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "../client-run.ts";
import type { HistoryOutcome, HistoryTask } from "../clients/history.ts";
import type { IngestOutcome, IngestTask } from "../clients/ingest.ts";
import { takeTurns, withServers, type Contestant, type Server } from "../contest.ts";
import type { CaseOutcome } from "../report.ts";
import type { Scenario, ScenarioContext } from "../scenario.ts";
import { fillDataFolder, ourVersion, sluice } from "../sluice-server.ts";

/** Ours first; 0 leaves the pace to V8. */
const percents = [400, 0, 100, 200, 800, 1600];
const timeoutMs = 120_000;
const entriesPerMessage = 250;

export const heapGrowth: Scenario = {
  name: "heap-growth",
  summary: "our server under different --heap-growing-percent: entries/s out and in, and memory",
  async run(context) {
    const count = context.isQuick ? 100_000 : 500_000;
    const filled = join(context.folder, "filled");
    context.say(`filling a log with ${count} entries`);
    await fillDataFolder(filled, context.entriesFile, count);
    const contestants = await Promise.all(percents.map((percent) => openContestant(context, filled, percent)));
    return await withServers(contestants, async (servers) => ({
      scenario: "heap-growth",
      runs: context.runs,
      versions: { sluice: ourVersion },
      missing: [],
      cases: [
        await measureHistory(context, servers),
        await measureIngest(context, servers),
        ...(process.platform === "linux" ? [await measureMemory(servers)] : []),
      ],
      notes: ["0 %: as V8 does it without the flag; the client is our own, on raw sockets"],
    }));
  },
};

async function openContestant(context: ScenarioContext, filled: string, percent: number): Promise<Contestant> {
  const data = join(context.folder, `percent-${percent}`);
  await cp(filled, data, { recursive: true });
  return sluice(data, { who: `${percent} %`, nodeFlags: [`--heap-growing-percent=${percent}`] });
}

async function measureHistory(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome> {
  const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
    context.say(`history: ${who}`);
    const task = { address, path: "/LogService/StreamLogs" };
    const { entries, seconds } = await runClient<HistoryTask, HistoryOutcome>("history", task, { timeoutMs });
    return entries / seconds;
  });
  return { title: "one stream of a log's whole history", unit: "entries/s", measured, notes: [] };
}

async function measureIngest(context: ScenarioContext, servers: readonly Server[]): Promise<CaseOutcome> {
  let round = 0;
  const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
    context.say(`ingest: ${who}`);
    const { entriesFile } = context;
    const load = {
      protocol: "stream",
      writers: 4,
      messagesPerWriter: context.isQuick ? 20 : 100,
      messagesUnderWay: 8,
    } as const;
    const task = { address, ...load, entriesPerMessage, entriesFile, run: `heap-${round++}` };
    const { seconds } = await runClient<IngestTask, IngestOutcome>("ingest", task, { timeoutMs });
    return (load.writers * load.messagesPerWriter * entriesPerMessage) / seconds;
  });
  return { title: "4 writers, acknowledged after fdatasync", unit: "entries/s", measured, notes: [] };
}

/** What the system says of each process; measured once, at the end. */
async function measureMemory(servers: readonly Server[]): Promise<CaseOutcome> {
  const measured = await Promise.all(
    servers.map(async ({ who, process: { pid } }) => {
      const status = await readFile(`/proc/${pid}/status`, "utf8");
      return { who, samples: [Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]) / 1024] };
    }),
  );
  return { title: "most memory resident at any time", unit: "MiB", isSmallerBetter: true, measured, notes: [] };
}
