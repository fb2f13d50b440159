import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { forwardHistory, ForwardPlaces } from "./forward-history.ts";
import { Forwarder, type ForwardedPoint, type ForwardOutcome } from "./forward.ts";
import { type HistoryLog, openHistoryLog } from "./history/history-log.ts";
import { restoreSeries } from "./history/open-history.ts";
import { MetricIntake } from "./intake.ts";
import { SeriesTable } from "./series.ts";

const TAKEN: ForwardOutcome = { kind: "taken", refused: 0 };
const LATER: ForwardOutcome = { kind: "later", reason: "503" };

let clock: ManualClock;
let folder: string;
let life: Life;
let lines: { readonly event: string }[];

function openLogger() {
  const write = (line: string) => void lines.push(JSON.parse(line) as { event: string });
  return pino({ level: "info" }, { write });
}

/** A server from its start to its end, as far as one target is concerned. */
class Life implements AsyncDisposable {
  readonly values: number[] = [];
  isUp = true;
  readonly table: SeriesTable;
  readonly log: HistoryLog;
  readonly intake: MetricIntake;
  readonly places: ForwardPlaces;
  readonly forwarder: Forwarder;

  constructor(parts: { table: SeriesTable; log: HistoryLog; places: ForwardPlaces; pointsMax: number }) {
    const { table, log, places, pointsMax } = parts;
    this.table = table;
    this.log = log;
    this.places = places;
    this.intake = new MetricIntake({ table, log });
    const target = {
      name: "http://target",
      send: async (points: readonly ForwardedPoint[]) => {
        if (!this.isUp) return LATER;
        this.values.push(...points.map(({ value }) => value));
        return TAKEN;
      },
      async [Symbol.asyncDispose]() {},
    };
    const logger = openLogger();
    const from = places.find(target.name);
    if (from === "lost") throw new Error("The place is lost");
    const history = forwardHistory(log);
    this.forwarder = new Forwarder({
      source: table,
      target,
      clock,
      random: () => 0.5,
      logger,
      pointsMax,
      history,
      from,
    });
  }

  async write(...values: number[]): Promise<void> {
    const batch = this.intake.begin();
    const plain = { name: "a", type: "gauge" as const, unit: "", description: "", labels: [], origin: "" };
    for (const value of values) {
      clock.skip(1);
      expect(batch.write("a", { value, timestampNs: clock.nowNs(), startNs: 0n }, () => plain)).toBe("taken");
    }
    await batch.commit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.forwarder[Symbol.asyncDispose]();
    this.places.note("http://target", this.forwarder.place);
    await this.places.save();
    this.intake[Symbol.dispose]();
    await this.log[Symbol.asyncDispose]();
    this.table[Symbol.dispose]();
  }
}

async function begin(pointsMax = 1000): Promise<Life> {
  const table = new SeriesTable({ clock, seriesMax: 100, silentMs: 3_600_000 });
  const fileSystem = nodeFileSystem;
  const log = await openHistoryLog({
    folder: join(folder, "metrics"),
    parent: folder,
    fileSystem,
    clock,
    options: { keepMs: 7_200_000, bytesMax: 1e9 },
    isLive: ({ key }) => table.find(key) !== undefined,
  });
  restoreSeries(log.history, table, 100);
  const places = await ForwardPlaces.open({ log, folder: join(folder, "metrics"), fileSystem });
  return new Life({ table, log, places, pointsMax });
}

beforeEach(async () => {
  clock = new ManualClock();
  lines = [];
  folder = await mkdtemp(join(tmpdir(), "sluice-forward-"));
  life = await begin(3);
});
afterEach(async () => {
  await life[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** Goes on until the target has all of them, each once and in order. */
async function expectValues(...expected: number[]): Promise<void> {
  await expect
    .poll(() => {
      clock.advance(1000);
      return life.values;
    })
    .toEqual(expected);
}

test("what is too much for memory is read from the history: in order, nothing twice, nothing lost", async () => {
  life.isUp = false;
  for (let i = 1; i <= 10; i++) await life.write(i);
  await expect
    .poll(() => {
      clock.advance(500);
      return life.forwarder.counts;
    })
    .toMatchObject({ full: 0, retries: 1, waiting: 0 });
  life.isUp = true;
  await expectValues(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
  await life.write(11);
  await expectValues(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
  expect(lines.map(({ event }) => event)).toEqual(["forward-failed", "forward-resumed"]);
});

test("a target that was away gets after a restart what came before it, and what comes behind that", async () => {
  await life.write(1, 2);
  await expectValues(1, 2);
  life.isUp = false;
  await life.write(3, 4);
  await life[Symbol.asyncDispose]();
  life = await begin();
  await life.write(5);
  await expectValues(3, 4, 5);
});

test("a target that had all of it gets nothing again after a restart", async () => {
  await life.write(1, 2);
  await expectValues(1, 2);
  await life[Symbol.asyncDispose]();
  life = await begin();
  await life.write(3);
  await expectValues(3);
});

test("a target that is new gets the newest point of each series, and then what comes", async () => {
  await life.write(1, 2);
  await expectValues(1, 2);
  await life[Symbol.asyncDispose]();
  await rm(join(folder, "metrics/forward.json"));
  life = await begin();
  await expectValues(2);
});

test("a target that was away for too long is told of in the log, and gets what is left", async () => {
  const send = (): Promise<ForwardOutcome> => Promise.resolve(TAKEN);
  const target = { name: "http://other", send, async [Symbol.asyncDispose]() {} };
  const read: (readonly [number, number])[] = [];
  const history = {
    next: 9,
    isWhole: () => false,
    async *read(from: number, to: number) {
      read.push([from, to]);
      yield { points: [], next: to };
    },
  };
  const logger = openLogger();
  await using other = new Forwarder({ source: life.table, target, clock, random: () => 0, logger, history, from: 4 });
  await expect
    .poll(() => {
      clock.advance(500);
      return other.place;
    })
    .toBe(9);
  expect([read, lines.map(({ event }) => event)]).toEqual([[[4, 9]], ["forward-lost"]]);
});

test("how far a target has got is forgotten with it, and what cannot be read is not believed", async () => {
  const { places } = life;
  places.note("http://gone", 0);
  expect(places.find("http://gone")).toBe(0);
  places.keepOnly(new Set(["http://target"]));
  expect(places.find("http://gone")).toBeUndefined();
  const { log } = life;
  const text = JSON.stringify({ cursors: { "http://target": "nonsense" } });
  const fileSystem = nodeFileSystem;
  const file = await fileSystem.open(join(folder, "metrics/forward.json"), "create");
  await file.write([Buffer.from(text)], 0);
  await file.close();
  const again = await ForwardPlaces.open({ log, folder: join(folder, "metrics"), fileSystem });
  expect(again.find("http://target")).toBe("lost");
});
