// The same history from plain and from compressed segments: what compression saves on disk, and what it costs a reader.

import { cp, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runClient } from "../client-run.ts";
import type { HistoryOutcome, HistoryTask } from "../clients/history.ts";
import { takeTurns, withServers } from "../contest.ts";
import type { CaseOutcome } from "../report.ts";
import { versionsOf, type Scenario } from "../scenario.ts";
import { ServerProcess } from "../server-process.ts";
import { countEntries, fillDataFolder, ourVersion, sluice, us } from "../sluice-server.ts";

const path = "/LogService/StreamLogs";
const timeoutMs = 180_000;
const plain = `${us}, plain`;
const compressed = `${us}, compressed`;
/** Enough for the last segment to be a small part of the log. */
const segmentBytes = 16 * 1024 * 1024;
const settings = ["--segment-bytes", `${segmentBytes / 1024 / 1024}MiB`];
const compressTimeoutMs = 120_000;

export const logsCompressed: Scenario = {
  name: "logs-compressed",
  summary: "one stream of a log's whole history (1 M entries) from plain and from compressed segments; entries/s, disk",
  async run(context) {
    const count = context.isQuick ? 200_000 : 1_000_000;
    const folders = { [plain]: join(context.folder, "plain"), [compressed]: join(context.folder, "compressed") };
    context.say(`filling a log with ${count} entries`);
    await fillDataFolder(folders[plain], context.entriesFile, count, settings);
    await cp(folders[plain], folders[compressed], { recursive: true });
    context.say("compressing a copy of it");
    await compress(folders[compressed]);
    const contestants = Object.entries(folders).map(([who, data]) => sluice(data, { who, settings }));
    return await withServers(contestants, async (servers) => {
      const measured = await takeTurns(servers, context.runs, async ({ who, process: { address } }) => {
        context.say(who);
        const { all } = await countEntries(address);
        const outcome = await runClient<HistoryTask, HistoryOutcome>("history", { address, path }, { timeoutMs });
        if (outcome.entries !== all || all < count) throw new Error(`${outcome.entries} of ${all} entries came`);
        return outcome.entries / outcome.seconds;
      });
      return {
        scenario: "logs-compressed",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion },
        missing: [],
        cases: [
          { title: `one stream of ${count} entries`, unit: "entries/s", measured, notes: [] },
          await sizes(folders),
        ],
        notes: [
          "the client is our own; files are in the page cache; the last segment of either is plain",
          "1,000 different entries go round and round, so the ratio is better than that of real logs: see the decision record",
        ],
      };
    });
  },
};

/** Serves the folder until all but the last segment are compressed. */
async function compress(data: string): Promise<void> {
  await using _server = await ServerProcess.start(
    sluice(data, { settings: [...settings, "--compress-after", "1s"] }).command,
  );
  const deadline = performance.now() + compressTimeoutMs;
  while ((await segmentsOf(data)).filter((name) => name.endsWith(".frames")).length > 1) {
    if (performance.now() > deadline) throw new Error(`Not compressed within ${compressTimeoutMs} ms`);
    await sleep(200);
  }
}

async function segmentsOf(data: string): Promise<string[]> {
  return (await readdir(join(data, "logs/default"))).filter((name) => /\.frames(\.zst)?$/.test(name));
}

async function sizes(folders: Record<string, string>): Promise<CaseOutcome> {
  const measured = await Promise.all(
    Object.entries(folders).map(async ([who, data]) => {
      // Of sealed segments alone: the last one is plain in both.
      const segments = (await segmentsOf(data)).sort();
      const files = await Promise.all(segments.slice(0, -1).map((name) => stat(join(data, "logs/default", name))));
      // The last segment is named for the entry behind them.
      const entries = Number(segments.at(-1)?.slice(0, 20)) - 1;
      return { who, samples: [files.reduce((sum, { size }) => sum + size, 0) / entries] };
    }),
  );
  return { title: "sealed frames on disk, an entry", unit: "bytes", isSmallerBetter: true, measured, notes: [] };
}
