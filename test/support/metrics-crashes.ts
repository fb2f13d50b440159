// A history of metrics that is written to, dies, and is opened again: against a model that forgets nothing.
import { MetricIntake } from "../../packages/server/src/metrics/intake.ts";
import type { TickPoint } from "../../packages/server/src/metrics/history/chunk-reader.ts";
import type { HistoryLog } from "../../packages/server/src/metrics/history/history-log.ts";
import { openHistoryLog } from "../../packages/server/src/metrics/history/history-log.ts";
import { restoreSeries } from "../../packages/server/src/metrics/history/open-history.ts";
import { type Point, type SeriesDescription, SeriesTable } from "../../packages/server/src/metrics/series.ts";
import { seededRandom } from "./crash-random.ts";
import { type Death, Disk, type Outcome } from "./queue-disk.ts";

const SMALL = {
  keepMs: 7_200_000,
  bytesMax: 1e9,
  segmentBytes: 3000,
  slabBytes: 1024,
  checkpointBytes: 1500,
};
const SECOND_NS = 1_000_000_000n;
const BASE_NS = 1_700_000_000_000_000_000n;

/** What was written of a point, as text. */
interface Written {
  readonly series: string;
  readonly text: string;
  /** Head of the log when it was written: it came after that. */
  readonly after: number;
  /** Head of the log when it was acknowledged; undefined: it was not. */
  acknowledged: number | undefined;
}

interface OpenedHistory extends AsyncDisposable {
  readonly table: SeriesTable;
  readonly log: HistoryLog;
  readonly intake: MetricIntake;
}

async function openSmallHistory({ fake, clock }: Disk, faults: string[] = []): Promise<OpenedHistory> {
  const table = new SeriesTable({ clock, seriesMax: 100, silentMs: 300_000 });
  const log = await openHistoryLog({
    folder: "/data/metrics",
    parent: "/data",
    fileSystem: fake.fileSystem,
    clock,
    options: SMALL,
    isLive: ({ key }) => table.find(key) !== undefined,
    onFault: (text) => faults.push(text),
  });
  restoreSeries(log.history, table, 100);
  const intake = new MetricIntake({ table, log });
  return {
    table,
    log,
    intake,
    async [Symbol.asyncDispose]() {
      intake[Symbol.dispose]();
      await log[Symbol.asyncDispose]();
      table[Symbol.dispose]();
    },
  };
}

/** Writes points of all kinds, some late, some twice, some in conflict; waits for commits, and writes checkpoints. */
async function playHistory(
  opened: OpenedHistory,
  random: () => number,
  { rounds, story }: { readonly rounds: number; readonly story: Written[] },
): Promise<string[]> {
  const { intake, log, table } = opened;
  const wrong: string[] = [];
  const pick = (count: number): number => Math.floor(random() * count);
  for (let round = 0; round < rounds; round++) {
    const batch = intake.begin();
    const mine: Written[] = [];
    const key = (i: number): string => `series ${i}`;
    for (let i = pick(12); i >= 0; i--) {
      const series = key(pick(6));
      const newest = table.find(series)?.point.timestampNs ?? BASE_NS;
      const point = randomPoint(pick, random, newest);
      const known = story.find((each) => each.series === series && each.text.startsWith(`${point.timestampNs} `));
      const verdict = batch.write(series, point, () => describe(series));
      const text = textOf(point, false);
      const isOld = newestOf(series, story) - point.timestampNs > 600n * SECOND_NS;
      const isSame = known !== undefined && valueOf(known.text) === valueOf(text);
      const expected = isOld ? "old" : known === undefined ? "taken" : isSame ? "same" : "conflict";
      const found = typeof verdict === "string" ? verdict : verdict.reason;
      if (found !== expected) wrong.push(`${series} ${text} is ${found}, not ${expected}`);
      if (verdict !== "taken") continue;
      mine.push({ series, text, after: log.reader.head.sequence, acknowledged: undefined });
      story.push(mine.at(-1)!);
    }
    if (pick(8) === 0) {
      const series = table.find(key(pick(6)));
      if (series !== undefined && !series.isStale) {
        const timestampNs = series.point.timestampNs + SECOND_NS;
        batch.end(series.key, timestampNs);
        mine.push({
          series: series.key,
          text: `${timestampNs} ends`,
          after: log.reader.head.sequence,
          acknowledged: undefined,
        });
        story.push(mine.at(-1)!);
      }
    }
    const committed = batch.commit();
    if (pick(3) > 0) {
      await committed;
      for (const each of mine) each.acknowledged = log.reader.head.sequence;
    } else committed.catch(() => undefined);
    if (pick(6) === 0) await log.checkpoint();
  }
  return wrong;
}

function randomPoint(pick: (count: number) => number, random: () => number, newestNs: bigint): Point {
  const steps = [1, 1, 1, 15, 15, 15, 0, -1, -15, -300, -601];
  const timestampNs =
    newestNs + BigInt(steps[pick(steps.length)]!) * SECOND_NS + BigInt(pick(3) === 0 ? pick(1000) : 0);
  const startNs = pick(4) === 0 ? BASE_NS + BigInt(pick(3)) : 0n;
  const value = [pick(100), random(), -0, Number.NaN, Infinity, pick(10_000) / 100, pick(10_000) / 1e6][pick(7)]!;
  switch (pick(4)) {
    case 0:
      return { value: 7, intValue: 7n, timestampNs, startNs };
    case 1:
      return { value: 2 ** 60, intValue: 2n ** 60n + BigInt(pick(5)), timestampNs, startNs };
    case 2:
      return { value, timestampNs, startNs, shape: Buffer.from("shape ".repeat(1 + pick(80))) };
    default:
      return { value, timestampNs, startNs };
  }
}

function describe(name: string): SeriesDescription {
  return { name, type: "gauge", unit: "1", description: "", labels: [["a", "b"]], origin: "test" };
}

function textOf({ value, intValue, timestampNs, startNs, shape }: Point, isStale: boolean): string {
  if (isStale) return `${timestampNs} ends`;
  const number = Object.is(value, -0) ? "-0" : String(value);
  return `${timestampNs} ${number} ${intValue ?? ""} ${startNs} ${shape === undefined ? "" : Buffer.from(shape).toString()}`;
}

/** The time of the newest point that was written of a series, or a very early one. */
function newestOf(series: string, story: readonly Written[]): bigint {
  const times = story.flatMap((each) => (each.series === series ? [BigInt(each.text.split(" ")[0]!)] : []));
  return times.reduce((newest, each) => (each > newest ? each : newest), 0n);
}

/** Without the start, which makes no other value. */
function valueOf(text: string): string {
  return text.split(" ").toSpliced(3, 1).join(" ");
}

const EVERYTHING = { fromNs: -(2n ** 63n), toNs: 2n ** 63n };

/** What of the story is not in the history, or the other way round. */
function compareHistory({ log, table }: OpenedHistory, story: readonly Written[]): string[] {
  const { history } = log;
  const wrong: string[] = [];
  const left = new Map(story.map((each) => [`${each.series} ${each.text}`, each]));
  for (const [id, { key }] of history.all()) {
    const points = history.points(id, EVERYTHING);
    for (const point of points) wrong.push(...compareCursor(history.ticks.sequence(point.tick), point, left, key));
    const newest = points.at(-1);
    const live = table.find(key);
    if (newest !== undefined && !newest.isStale && textOf(newest, false) !== (live && textOf(live.point, false))) {
      wrong.push(`the newest point of ${key} is ${textOf(newest, false)}, the table has another`);
    }
  }
  for (const [text, { acknowledged }] of left) if (acknowledged !== undefined) wrong.push(`${text} is lost`);
  return wrong;
}

/** Each point is there once, and came after what was durable when it was written, and before its acknowledgement. */
function compareCursor(sequence: number, point: TickPoint, left: Map<string, Written>, series: string): string[] {
  const text = `${series} ${textOf(point, point.isStale)}`;
  const written = left.get(text);
  if (written === undefined) return [`${text} was never written, or is there twice`];
  left.delete(text);
  if (sequence <= written.after) return [`${text} has cursor ${sequence}, but came after ${written.after}`];
  if (sequence > (written.acknowledged ?? Infinity))
    return [`${text} has cursor ${sequence}, beyond its acknowledgement`];
  return [];
}

export async function crashHistory(death: Death, rounds = 20): Promise<Outcome> {
  const disk = new Disk(death);
  const random = seededRandom(death.at + 17);
  const violations: string[] = [];
  const story: Written[] = [];
  await disk.makeFolders("/data");
  disk.arm();
  try {
    const opened = await openSmallHistory(disk);
    violations.push(...(await playHistory(opened, random, { rounds, story })));
    if (!disk.fake.isDead) await opened[Symbol.asyncDispose]();
  } catch (error) {
    if (!disk.fake.isDead && death.fault === undefined) violations.push(`failed: ${String(error)}`);
  }
  disk.end();
  const { operations, sites } = disk;
  try {
    const again = await openSmallHistory(disk);
    violations.push(...compareHistory(again, story));
    // What was not acknowledged and is not there was never written.
    const kept = story.filter(({ series, text }) => {
      const id = again.log.history.find(series);
      return (
        id !== undefined && again.log.history.points(id, EVERYTHING).some((each) => textOf(each, each.isStale) === text)
      );
    });
    violations.push(...(await playHistory(again, random, { rounds: 6, story: kept })));
    await again.log.commit();
    for (const each of kept) each.acknowledged ??= again.log.reader.head.sequence;
    await again[Symbol.asyncDispose]();
    const faults: string[] = [];
    const last = await openSmallHistory(disk, faults);
    violations.push(...compareHistory(last, kept), ...faults);
    await last[Symbol.asyncDispose]();
    if (disk.clock.timers > 0) violations.push(`${disk.clock.timers} timers were left`);
  } catch (error) {
    violations.push(`cannot be opened: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
  return { violations, operations, sites };
}
