// `npm run soak -- --minutes 60`: a server under load that is killed at random, over connections that break, with slow
// readers; canaries count what is missing, came twice or out of order. See test/soak/README.md.
//
//   npm run soak -- --minutes 2 --seed 7     the faults of seed 7, at the same times
//
// The exit code is 0 only when nothing was wrong. On a failure the data folder is kept.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { type CanarySummary, soak, type SoakResult } from "../test/soak/soak.ts";
import { leaveTestReport } from "./test-report.ts";

const options = {
  minutes: { type: "string", default: "60" },
  seed: { type: "string" },
  /** Entries a second of the load, beside the canaries' own. */
  load: { type: "string", default: "2000" },
} as const;
/** Entries a second: one canary at a rate at which each entry counts, one that is a load itself. */
const CANARY_RATES = [50, 1000];

async function main(): Promise<number> {
  const { values } = parseArgs({ options });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  const [minutes, load] = [Number(values.minutes), Number(values.load)];
  if (!(minutes > 0) || !Number.isInteger(seed) || !(load >= 0)) {
    process.stderr.write("usage: npm run soak -- [--minutes N] [--seed N] [--load ENTRIES_A_SECOND]\n");
    return 2;
  }
  const folder = await mkdtemp(join(tmpdir(), "sluice-soak-"));
  const startMs = performance.now();
  const say = (text: string): void => {
    process.stdout.write(`${((performance.now() - startMs) / 1000).toFixed(1).padStart(7)} s  ${text}\n`);
  };
  say(`seed ${seed}, ${minutes} minutes, ${load} entries/s beside canaries of ${CANARY_RATES.join(" and ")}/s`);
  const result = await soak({ minutes, seed, folder, load, canaries: CANARY_RATES, say });
  process.stdout.write(`\n${describe(result)}\n`);
  const isGood = result.wrong.length === 0;
  await leaveTestReport("soak", { [`soak ${minutes} minutes`]: isGood ? "passed" : "failed" });
  if (isGood) await rm(folder, { recursive: true, force: true });
  else process.stdout.write(`\n${result.wrong.join("\n")}\n\nseed ${seed}; the data is kept in ${folder}\n`);
  return isGood ? 0 : 1;
}

function describe({ canaries, readers, loadEntries, faults, residentBytesMax }: SoakResult): string {
  const rows = readers.map(({ name, entries, gaps, gapEntries, wrong }) =>
    [name.padEnd(20), `${entries} entries, ${gaps} gaps of ${gapEntries} entries, ${wrong.length} wrong`].join("  "),
  );
  return [
    `faults                ${Object.entries(faults)
      .map(([kind, count]) => `${kind} ${count}`)
      .join(", ")}`,
    ...canaries.map(
      (summary, i) => `canary ${i + 1}              ${summary === undefined ? "nothing" : describeCanary(summary)}`,
    ),
    `load                  ${loadEntries} entries acknowledged`,
    ...rows,
    `server                at most ${Math.round(residentBytesMax / 1024 / 1024)} MiB`,
  ].join("\n");
}

function describeCanary(summary: CanarySummary): string {
  const { acknowledged, seen, missing, duplicates, outOfOrder, readerDisconnects, writerDisconnects } = summary;
  const { p50Ms, p99Ms, maxMs } = summary.delivery;
  return [
    `${acknowledged} acknowledged, ${seen} seen, ${missing} missing, ${duplicates} duplicate, ${outOfOrder} out of order`,
    `${readerDisconnects} + ${writerDisconnects} connections lost`,
    `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(0)} ms, max ${maxMs.toFixed(0)} ms`,
  ].join("; ");
}

process.exitCode = await main();
