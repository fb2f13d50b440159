// The history of metrics that stands in test/fixtures/metrics-format-1: made again from nothing, always with the same points.
//
// `node --conditions=sluice-source test/support/golden-metrics.ts FOLDER` writes it. That is for a new version of the format, into
// a new folder: the old one stays, every later version must read it.
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import type { HistoryLog } from "../../packages/server/src/metrics/history/history-log.ts";
import { openHistoryLog } from "../../packages/server/src/metrics/history/history-log.ts";
import { restoreSeries } from "../../packages/server/src/metrics/history/open-history.ts";
import { MetricIntake } from "../../packages/server/src/metrics/intake.ts";
import { keyOf } from "../../packages/server/src/metrics/series-key.ts";
import { type Point, type SeriesDescription, SeriesTable } from "../../packages/server/src/metrics/series.ts";
import { nodeFileSystem } from "../../packages/server/src/store/file-system-node.ts";

const SECOND_NS = 1_000_000_000n;
const EVERYTHING = { fromNs: -(2n ** 63n), toNs: 2n ** 63n };
const ROUNDS = 240;
/** Rounds after which a checkpoint is written; what comes behind the last one is in records only. */
const CHECKPOINTS = new Set([100, 180]);

type Kind = (i: number) => Partial<Point> & Pick<Point, "value">;

/** Series, each with something of its own. */
const SERIES: Readonly<Record<string, Kind>> = {
  "shop.orders": (i) => ({ value: 3 * i, intValue: BigInt(3 * i), startNs: 5n }),
  "shop.temperature": (i) => ({ value: Math.round(2000 + 300 * Math.sin(i)) / 100 }),
  "shop.noise": (i) => ({ value: Math.sin(i * 7919) * 1e6 }),
  "shop.still": () => ({ value: 1 }),
  "shop.wide": (i) => ({ value: 2 ** 60, intValue: 2n ** 60n + BigInt(i) }),
  "shop.odd": (i) => ({ value: [Number.NaN, Infinity, -Infinity, -0, 1e-300][i % 5]! }),
  "shop.latency": (i) => ({ value: i, shape: Buffer.from(`histogram ${i} ${"bucket ".repeat(i % 9)}`) }),
};

function described(name: string): SeriesDescription {
  const type = name === "shop.orders" ? "counter" : name === "shop.latency" ? "histogram" : "gauge";
  const labels = [
    ["city", "Łódź"],
    ["formula", "a=b,c\\d"],
  ] as const;
  return { name, type, unit: "1", description: `of ${name}`, labels, origin: "golden", owner: "ada" };
}

async function openHistory(folder: string, clock: ManualClock) {
  const table = new SeriesTable({ clock, seriesMax: 100, silentMs: 1e12 });
  const log = await openHistoryLog({
    folder,
    parent: resolve(folder, ".."),
    fileSystem: nodeFileSystem,
    clock,
    options: { keepMs: 1e15, bytesMax: 1e9, segmentBytes: 8192, slabBytes: 4096 },
    isLive: () => true,
  });
  restoreSeries(log.history, table, 100);
  const intake = new MetricIntake({ table, log });
  return {
    log,
    intake,
    async [Symbol.asyncDispose]() {
      intake[Symbol.dispose]();
      await log[Symbol.asyncDispose]();
      table[Symbol.dispose]();
    },
  };
}

/** Writes the history into a folder that is not there yet, and answers its points. */
export async function makeGoldenMetrics(folder: string): Promise<GoldenPoint[]> {
  const clock = new ManualClock();
  await using opened = await openHistory(folder, clock);
  const startNs = clock.nowNs();
  for (let round = 0; round < ROUNDS; round++) {
    clock.advance(15_000);
    const batch = opened.intake.begin();
    for (const [name, pointOf] of Object.entries(SERIES)) {
      const description = described(name);
      const key = keyOf(description);
      // Some come at a time of their own, some late, and one has ended for a while.
      const late = name === "shop.noise" && round % 10 === 9 ? -40n * SECOND_NS : 0n;
      const timestampNs =
        startNs + BigInt(round) * 15n * SECOND_NS + late + (name === "shop.wide" ? BigInt(round) : 0n);
      if (name === "shop.still" && round === 50) batch.end(key, timestampNs);
      if (name === "shop.still" && round >= 50 && round < 60) continue;
      batch.write(key, { startNs: 0n, ...pointOf(round), timestampNs }, () => description);
    }
    await batch.commit();
    if (CHECKPOINTS.has(round)) await opened.log.checkpoint();
  }
  return pointsOf(opened.log);
}

/** A point as a line of expected.jsonl. */
export interface GoldenPoint {
  readonly name: string;
  readonly labels: readonly string[];
  readonly timestamp: string;
  readonly start: string;
  readonly value: string;
  readonly int: string | null;
  readonly shape: string | null;
  readonly stale: boolean;
}

/** What is found in a history's folder. The folder is opened for it, and changed. */
export async function readGoldenMetrics(folder: string): Promise<GoldenPoint[]> {
  await using opened = await openHistory(folder, new ManualClock());
  return pointsOf(opened.log);
}

/** By name and time. */
function pointsOf({ history }: HistoryLog): GoldenPoint[] {
  const all = [...history.all()].toSorted(([, a], [, b]) => (a.key < b.key ? -1 : 1));
  return all.flatMap(([id, { description }]) =>
    history.points(id, EVERYTHING).map((point): GoldenPoint => ({
      name: description.name,
      labels: description.labels.flat(),
      timestamp: String(point.timestampNs),
      start: String(point.isStale ? 0n : point.startNs),
      value: point.isStale ? "" : bitsOf(point.value),
      int: point.isStale || point.intValue === undefined ? null : String(point.intValue),
      shape: point.shape === undefined ? null : Buffer.from(point.shape).toString(),
      stale: point.isStale,
    })),
  );
}

/** A double by its bits, so that any NaN and any zero is told from the others. */
function bitsOf(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes.toString("hex");
}

if (import.meta.main) {
  const folder = resolve(process.argv[2] ?? "");
  await mkdir(folder, { recursive: true });
  const points = await makeGoldenMetrics(join(folder, "golden"));
  await writeFile(join(folder, "expected.jsonl"), points.map((point) => `${JSON.stringify(point)}\n`).join(""));
}
