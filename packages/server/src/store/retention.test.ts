import { readFile, readdir, stat } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import type { LogWriter } from "./contract.ts";
import type { EmbeddedPlace } from "./testing/place.ts";
import { makeBatch } from "./testing/frames.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { drain, range, readThrough, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

const SMALL = { segmentBytes: 4096, groupBytesMax: 2048, tailBytes: 1024, historyBytesMax: 8192, tickMs: 1000 };
const DAY_MS = 86_400_000;

async function fill(writer: LogWriter, count: number): Promise<void> {
  for (const number of range(1, count)) await append(writer, [makeEntry(number, { payload: "x".repeat(100) })]);
}

async function bytesOnDisk(place: EmbeddedPlace): Promise<number> {
  const names = (await readdir(place.logFolder)).filter((name) => /\.(frames|index)$/.test(name));
  const sizes = await Promise.all(names.map(async (name) => (await stat(`${place.logFolder}/${name}`)).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

const removals = (place: EmbeddedPlace) => place.events.filter((event) => event.kind === "segment-removed");

describe("retention by bytes", () => {
  test("drops the oldest segments, never the open one, and keeps the disk within the bound", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    const retentionBytes = 80_000;
    {
      await using log = await place.open({ retentionBytes });
      await fill(log.writer, 300);
      await expect.poll(() => removals(place).length).toBeGreaterThan(3);
    }
    // The open segment and the one just sealed come on top.
    expect(await bytesOnDisk(place)).toBeLessThan(retentionBytes + 30_000);
    await using log = await place.open();
    expect(log.reader.first).toBeGreaterThan(1);
    expect(sequencesOf(await readThrough(log.reader, { after: log.reader.first - 1 }))).toEqual(
      range(log.reader.first, 300),
    );
  });

  test("tells a reader that was left behind exactly what it misses", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await using log = await place.open({ retentionBytes: 100_000 });
    const write = async (count: number) => {
      for (const number of range(1, count))
        await append(log.writer, [makeEntry(number, { payload: "x".repeat(2500) })]);
    };
    await write(20);
    const scan = log.reader.scan(10);
    await write(300);
    await expect.poll(() => removals(place).length).toBeGreaterThan(250);
    const found = await drain(scan);
    expect(found.gaps[0]).toMatchObject({ first: 11, reason: "retention" });
    // Retention may go on meanwhile, and leave the reader behind once more: every entry is there or told, and none is both.
    const missed = found.gaps.flatMap((gap) => range(gap.first, gap.last));
    expect(missed.length).toBeGreaterThan(200);
    expect([...missed, ...sequencesOf(found)].toSorted((a, b) => a - b)).toEqual(range(11, 320));
    // What is still in the tail is not missed, though its segment is gone.
    expect(Math.max(...missed)).toBeLessThan(log.reader.first);
  });

  test("takes a segment from under its reader without harm", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    {
      await using log = await place.open();
      await fill(log.writer, 200);
    }
    await using log = await place.open({ retentionBytes: 1 });
    const scans = range(0, 15).map((i) => log.reader.scan(i * 12));
    const reading = scans.map((scan) => drain(scan, 200));
    place.clock.advance(1000);
    for (const [i, found] of (await Promise.all(reading)).entries()) {
      const told = [...sequencesOf(found), ...found.gaps.flatMap((gap) => range(gap.first, gap.last))];
      expect(told.toSorted((a, b) => a - b)).toEqual(range(i * 12 + 1, 200));
      expect(found.gaps.every(({ reason }) => reason === "retention")).toBe(true);
    }
    expect(log.state.faults).toEqual([]);
  });

  test("takes what is counted of dropped segments off the applications", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await using log = await place.open({ retentionBytes: 60_000 });
    await append(log.writer, [makeEntry(1, { label: "gone" })]);
    await fill(log.writer, 300);
    await expect.poll(() => log.reader.first).toBeGreaterThan(1);
    const rows = log.reader.labels();
    expect(rows.map(({ name }) => name)).toEqual(["shop"]);
    expect(rows[0]!.count).toBe(301 - log.reader.first + 1);
  });

  test("forgets no producer whose last entry goes", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    {
      await using log = await place.open({ retentionBytes: 60_000 });
      const { writer } = log;
      await writer.append(1, makeBatch(writer, [makeEntry(1)], { id: "idle", first: 41 }));
      await fill(writer, 300);
      await expect.poll(() => log.reader.first).toBeGreaterThan(1);
      expect(writer.producer("idle")).toMatchObject({ lastProducerSequence: 41 });
    }
    await using log = await place.open();
    expect(log.writer.producer("idle")).toMatchObject({ lastProducerSequence: 41, lastSequence: 1 });
  });
});

describe("retention by age", () => {
  test("drops a segment when its newest entry came too long ago", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await using log = await place.open({ retentionAgeMs: 10 * DAY_MS, tickMs: DAY_MS });
    await fill(log.writer, 60);
    place.clock.advance(6 * DAY_MS);
    await fill(log.writer, 60);
    place.clock.advance(5 * DAY_MS);
    await expect.poll(() => removals(place).length).toBeGreaterThan(0);
    expect(removals(place).every(({ reason, last }) => reason === "age" && last <= 60)).toBe(true);
  });

  test("seals a segment that fills too slowly to ever be dropped otherwise", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await using log = await place.open({ retentionAgeMs: 8 * DAY_MS, tickMs: DAY_MS / 4 });
    await fill(log.writer, 3);
    place.clock.advance(DAY_MS / 4);
    // With this tick the store takes down since when the segment has entries.
    await expect.poll(() => readFile(`${place.logFolder}/EPOCHS`, "utf8")).toContain('"sequence":3');
    place.clock.advance(DAY_MS);
    expect(log.state.segments).toBe(1);
    place.clock.advance(DAY_MS / 4);
    await expect.poll(() => log.state.segments).toBe(2);
    place.clock.advance(8 * DAY_MS);
    expect(removals(place)).toEqual([]);
    place.clock.advance(DAY_MS / 4);
    await expect.poll(() => removals(place).length).toBe(1);
    expect(log.reader.first).toBe(4);
    expect(log.reader.head.sequence).toBe(3);
    expect(await readThrough(log.reader, { after: 3 })).toMatchObject({ runs: [] });
  });
});
