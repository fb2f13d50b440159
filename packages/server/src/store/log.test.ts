import { readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import type { EntryRun } from "./contract.ts";
import type { EmbeddedPlace } from "./testing/place.ts";
import { describeLog } from "./log.suite.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range, readThrough, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

/** Everything small, so that a few entries fill pages, segments and the tail. */
const SMALL = {
  segmentBytes: 4096,
  groupBytesMax: 2048,
  tailBytes: 1024,
  historyBytesMax: 8192,
  openFilesMax: 2,
};

describeLog("files", () => openEmbeddedPlace());
describeLog("many small files", () => openEmbeddedPlace(SMALL));

const entries = (count: number, payload = "x".repeat(80)) =>
  range(1, count).map((number) => makeEntry(number, { payload }));

async function fill(place: EmbeddedPlace, count: number): Promise<void> {
  await using log = await place.open();
  for (const number of range(1, count)) await append(log.writer, [makeEntry(number, { payload: "x".repeat(80) })]);
}

async function filesOf(place: EmbeddedPlace, suffix: string): Promise<string[]> {
  return (await readdir(place.logFolder)).filter((name) => name.endsWith(suffix)).sort();
}

/** Flips the bits of a byte. */
async function damage(path: string, position: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[position]! ^= 0xff;
  await writeFile(path, bytes);
}

describe("followers at the head", () => {
  test("share one run, whatever they ask for, when all of it matches", async () => {
    await using place = await openEmbeddedPlace();
    await using log = await place.open();
    await append(log.writer, entries(5));
    const queries = [undefined, { minSeverity: 9 }, { labels: new Set([log.reader.findLabel("shop")!]) }];
    const scans = queries.map((query) => log.reader.scan(5, query));
    await append(log.writer, entries(3));
    const runs = scans.map((scan) => scan.next(4096));
    expect(runs[0]).toMatchObject({ kind: "entries", first: 6, last: 8 });
    expect(runs[1]).toBe(runs[0]);
    expect(runs[2]).toBe(runs[0]);
  });

  test("are handed matching entries side by side, by copy when they lie scattered", async () => {
    await using place = await openEmbeddedPlace();
    await using log = await place.open();
    const scan = log.reader.scan(0, { minSeverity: 17 });
    await append(
      log.writer,
      range(1, 20).map((number) => makeEntry(number, { severity: number % 4 === 0 ? 17 : 9 })),
    );
    const run = scan.next(4096) as EntryRun;
    expect(run).toMatchObject({ first: 4, last: 20, count: 5 });
    expect(scan.next(4096)).toBeUndefined();
  });
});

describe("sealed segments", () => {
  test("get an index, and are trusted by it when the log is opened again", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await fill(place, 100);
    const frames = await filesOf(place, ".frames");
    expect(frames.length).toBeGreaterThan(3);
    expect((await filesOf(place, ".index")).length).toBe(frames.length - 1);
    await using log = await place.open();
    expect(log.report).toMatchObject({ segments: frames.length, rebuiltIndexes: [], cut: undefined });
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 100));
  });

  test("hold what was written and nothing else: any range of them can be sent", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await fill(place, 100);
    await using log = await place.open();
    const { runs } = await readThrough(log.reader);
    const sent = Buffer.concat((runs as EntryRun[]).map(({ bytes }) => bytes));
    const frames = await filesOf(place, ".frames");
    const stored = await Promise.all(frames.map((name) => readFile(`${place.logFolder}/${name}`)));
    expect(sent.equals(Buffer.concat(stored))).toBe(true);
  });

  test("get their index anew when it is lost, cut, or damaged anywhere", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await fill(place, 200);
    const [lost, cut, damagedEnd, damagedColumns] = (await filesOf(place, ".index")).map(
      (name) => `${place.logFolder}/${name}`,
    );
    await writeFile(lost!, "");
    await truncate(cut!, 10_000);
    await damage(damagedEnd!, (await stat(damagedEnd!)).size - 30);
    await damage(damagedColumns!, 100);
    await using log = await place.open();
    expect(log.report.rebuiltIndexes).toHaveLength(3);
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 200));
    // Columns are looked at when they are needed.
    expect(place.events.filter(({ kind }) => kind === "index-rebuilt")).toHaveLength(1);
  });
});

describe("damage", () => {
  test("in a sealed segment is told as a gap of exactly its entries", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    place.isDamaged = true;
    await fill(place, 100);
    const [first] = await filesOf(place, ".frames");
    const bytes = await readFile(`${place.logFolder}/${first}`);
    const frameBytes = 5 + bytes.readUInt32BE(1);
    await damage(`${place.logFolder}/${first}`, frameBytes * 4 + 60);
    await damage(`${place.logFolder}/${first}`, frameBytes * 5 + 60);
    await using log = await place.open();
    const found = await readThrough(log.reader);
    expect(found.gaps).toEqual([{ kind: "gap", first: 5, last: 6, reason: "corruption" }]);
    expect(sequencesOf(found)).toEqual([...range(1, 4), ...range(7, 100)]);
    expect(log.state.damage).toEqual([{ first: 5, last: 6 }]);
    expect(place.events).toContainEqual({ kind: "damage-found", first: 5, last: 6 });
    // It stays so for the next reader, and for one that filters.
    expect((await readThrough(log.reader, { query: { minSeverity: 5 } })).gaps).toEqual(found.gaps);
  });

  test("in the middle of the last segment, before the mark, costs only the damaged entry and no epoch", async () => {
    await using place = await openEmbeddedPlace();
    place.isDamaged = true;
    await fill(place, 20);
    const [last] = await filesOf(place, ".frames");
    await damage(`${place.logFolder}/${last}`, 1000);
    await using log = await place.open();
    expect(log.report).toMatchObject({ damagedEntries: 1, cut: undefined, newEpoch: undefined });
    const found = await readThrough(log.reader);
    expect(found.gaps).toMatchObject([{ reason: "corruption" }]);
    expect(found.entries).toHaveLength(19);
    expect(await append(log.writer, entries(1))).toBe(21);
  });

  test("of a frame's length loses no more than the entries it covers", async () => {
    await using place = await openEmbeddedPlace();
    place.isDamaged = true;
    await fill(place, 20);
    const [last] = await filesOf(place, ".frames");
    const path = `${place.logFolder}/${last}`;
    const frameBytes = 5 + (await readFile(path)).readUInt32BE(1);
    await damage(path, frameBytes * 6 + 3);
    await using log = await place.open();
    const found = await readThrough(log.reader);
    expect(found.gaps).toEqual([{ kind: "gap", first: 7, last: 7, reason: "corruption" }]);
    expect(sequencesOf(found)).toEqual([...range(1, 6), ...range(8, 20)]);
  });

  test("a segment that is gone is told as a gap", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    place.isDamaged = true;
    await fill(place, 100);
    const frames = await filesOf(place, ".frames");
    const [from, to] = frames.slice(1, 3).map((name) => Number(name.slice(0, 20)));
    await rm(`${place.logFolder}/${frames[1]}`);
    await using log = await place.open();
    const found = await readThrough(log.reader);
    expect(found.gaps).toEqual([{ kind: "gap", first: from, last: to! - 1, reason: "corruption" }]);
    expect(found.entries).toHaveLength(100 - (to! - from!));
  });
});

describe("a reader that is closed while it reads", () => {
  test("gets nothing any more, and harms nobody", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await fill(place, 50);
    await using log = await place.open();
    const scan = log.reader.scan(0);
    const reading = scan.next(1000);
    expect(reading).toBeInstanceOf(Promise);
    scan.close();
    expect(await reading).toBeUndefined();
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 50));
  });

  test("may be closed after its log", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await fill(place, 50);
    const log = await place.open();
    const scan = log.reader.scan(0);
    await scan.next(1000);
    await log[Symbol.asyncDispose]();
    scan.close();
    expect(await scan.next(1000)).toBeUndefined();
  });
});

test("segments whose places do not fit into 32 bits are refused", async () => {
  await using place = await openEmbeddedPlace();
  await expect(place.open({ segmentBytes: 2 ** 32 })).rejects.toThrow(/below 4 GiB/);
});
