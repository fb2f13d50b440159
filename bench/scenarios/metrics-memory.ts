// What 100,000 series over two hours, a point every 15 s, take in memory and on disk.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Server, withServers } from "../contest.ts";
import { MetricGroup, otlpPaths, sendMetrics, seriesPerRequest } from "../metric-load.ts";
import { findPrometheus } from "../peers.ts";
import type { CaseOutcome, Measured } from "../report.ts";
import { residentBytes } from "../resident-bytes.ts";
import { partEntrants, type Scenario, versionsOf } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const mib = 2 ** 20;
const stepNs = 15_000_000_000n;
/** Requests under way. */
const atOnce = 4;
/** After two hours were written within minutes, until what that left behind has been collected. */
const restMs = 60_000;

export const metricsMemory: Scenario = {
  name: "metrics-memory",
  summary: "100,000 series × 2 h at 15 s through OTLP/HTTP: resident memory, MiB, and points/s; beside Prometheus",
  async run(context) {
    const data = join(context.folder, "sluice");
    await mkdir(data);
    const series = context.isQuick ? 10_000 : 100_000;
    const moments = context.isQuick ? 60 : 480;
    const { contestants, missing } = partEntrants([
      { kind: "ready", contestant: sluice(data) },
      await findPrometheus(context.folder),
    ]);
    const memory: Measured[] = [];
    const rested: Measured[] = [];
    const rates: Measured[] = [];
    const versions: Record<string, string> = {};
    // One after the other: each has the machine for itself.
    for (const contestant of contestants) {
      await withServers([contestant], async ([server]) => {
        const { who } = server!;
        Object.assign(versions, versionsOf([server!]), who === us ? { [us]: ourVersion } : {});
        const seconds = await write(server!, { series, moments, say: (text) => context.say(text) });
        memory.push({ who, samples: [residentBytes(pidOf(server!), "VmRSS") / mib] });
        rates.push({ who, samples: [(series * moments) / seconds] });
        await setTimeout(context.isQuick ? restMs / 10 : restMs);
        rested.push({ who, samples: [residentBytes(pidOf(server!), "VmRSS") / mib] });
      });
    }
    const title = `${series} series × ${moments} points`;
    const cases: CaseOutcome[] = [
      {
        title: `resident memory, ${title}`,
        unit: "MiB",
        isSmallerBetter: true,
        measured: memory,
        notes: [
          "two hours are written as fast as they are taken, and leave more garbage at once than points every 15 s do",
        ],
      },
      { title: "the same after a rest", unit: "MiB", isSmallerBetter: true, measured: rested, notes: [] },
      {
        title: `written, ${title}`,
        unit: "points/s",
        measured: rates,
        notes: ["one client with four requests under way"],
      },
      {
        title: "on disk, ours",
        unit: "MiB",
        isSmallerBetter: true,
        measured: [{ who: us, samples: [folderBytes(join(data, "metrics")) / mib] }],
        notes: [],
      },
    ];
    const notes = [
      "half counters, half gauges; a third of them does not change, a third are whole numbers, a third (of the gauges) have two digits",
    ];
    return { scenario: "metrics-memory", runs: 1, versions, missing, cases, notes };
  },
};

/** Seconds that it took. */
async function write(
  { who, process }: Server,
  { series, moments, say }: { readonly series: number; readonly moments: number; readonly say: (text: string) => void },
): Promise<number> {
  const url = `http://${process.address}${who === us ? otlpPaths.sluice : otlpPaths.prometheus}`;
  const groups = Array.from(
    { length: series / seriesPerRequest },
    (_, i) => new MetricGroup(i * seriesPerRequest, seriesPerRequest),
  );
  const firstNs = BigInt(Math.floor(Date.now() / 60_000)) * 60_000_000_000n - BigInt(moments) * stepNs;
  const startMs = performance.now();
  for (let moment = 0; moment < moments; moment++) {
    if (moment % 60 === 0) say(`${who}: ${moment} of ${moments}`);
    const timestampNs = firstNs + BigInt(moment) * stepNs;
    const rest = [...groups];
    const writers = Array.from({ length: atOnce }, async () => {
      for (let group = rest.pop(); group !== undefined; group = rest.pop())
        await sendMetrics(url, group.at(timestampNs));
    });
    await Promise.all(writers);
  }
  return (performance.now() - startMs) / 1000;
}

/** A peer that is no Node program runs below the one that started it. */
function pidOf({ who, process: { pid } }: Server): number {
  if (who === us) return pid;
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ")[0]);
}

function folderBytes(folder: string): number {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}
