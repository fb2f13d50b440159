// History in blocks of many pages: read from disk, filtered by the index, its memory used again.
import { describe, expect, test } from "vitest";
import type { EntryRun, ScanQuery } from "./contract.ts";
import type { Log } from "./log.ts";
import type { StoredEntry } from "./testing/frames.ts";
import type { EmbeddedPlace } from "./testing/place.ts";
import { decodeRun } from "./testing/frames.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { drain, range, readThrough, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

/** About 20 pages in 3 segments. */
const COUNT = 20_000;

/** Severity and application change slowly in some stretches and with every entry in others. */
function entryAt(number: number) {
  const isCalm = Math.floor(number / 3000) % 2 === 0;
  return makeEntry(number, {
    severity: isCalm ? 9 : number % 7 === 0 ? 17 : 5,
    label: isCalm ? `calm-${Math.floor(number / 3000)}` : `app-${number % 5}`,
    payload: "x".repeat(60 + (number % 90)),
  });
}

async function openFilled(place: EmbeddedPlace): Promise<Log> {
  {
    await using log = await place.open();
    for (let from = 1; from <= COUNT; from += 500) await append(log.writer, range(from, from + 499).map(entryAt));
  }
  return place.open();
}

const OPTIONS = { segmentBytes: 1024 * 1024, tailBytes: 64 * 1024, historyBytesMax: 2 * 1024 * 1024 };

describe("history", () => {
  test("is the same whether it is read whole, from the middle, or filtered", async () => {
    await using place = await openEmbeddedPlace(OPTIONS);
    await using log = await openFilled(place);
    const all = range(1, COUNT).map(entryAt);
    const id = (label: string) => log.reader.findLabel(label)!;
    const queries: { query: ScanQuery; matches: (entry: ReturnType<typeof makeEntry>) => boolean }[] = [
      { query: {}, matches: () => true },
      { query: { minSeverity: 9 }, matches: ({ severity }) => severity >= 9 },
      { query: { minSeverity: 17 }, matches: ({ severity }) => severity >= 17 },
      { query: { minSeverity: 20 }, matches: () => false },
      { query: { labels: new Set([id("app-3")]) }, matches: ({ label }) => label === "app-3" },
      {
        query: { labels: new Set([id("calm-2"), id("app-1")]) },
        matches: ({ label }) => label === "calm-2" || label === "app-1",
      },
      { query: { labels: new Set() }, matches: () => false },
      {
        query: { startTimestamp: 7_000_000_000_000n, endTimestamp: 7_100_000_000_000n, minSeverity: 9 },
        matches: ({ timestamp, severity }) =>
          timestamp >= 7_000_000_000_000n && timestamp < 7_100_000_000_000n && severity >= 9,
      },
    ];
    for (const { query, matches } of queries) {
      const expected = all.flatMap((entry, i) => (matches(entry) ? [i + 1] : []));
      for (const [after, maxBytes] of [
        [0, 1_000_000],
        [0, 20_000],
        [9_999, 3000],
      ] as const) {
        const found = await readThrough(log.reader, { query, after, maxBytes });
        expect(sequencesOf(found)).toEqual(expected.filter((sequence) => sequence > after));
      }
      for (const count of [1, 10, 1500]) {
        const position = await log.reader.findTail(count, COUNT + 1, query);
        expect(position).toBe((expected.at(-count) ?? 1) - 1);
      }
    }
  });

  test("is handed out by reference when nothing is filtered: runs of a block share its memory", async () => {
    await using place = await openEmbeddedPlace(OPTIONS);
    await using log = await openFilled(place);
    const scan = log.reader.scan(0);
    const [a, b] = [(await scan.next(10_000)) as EntryRun, (await scan.next(10_000)) as EntryRun];
    expect(b.bytes.buffer).toBe(a.bytes.buffer);
    scan.close();
  });

  test("is read once for readers in company", async () => {
    await using place = await openEmbeddedPlace(OPTIONS);
    await using log = await openFilled(place);
    const [a, b] = [log.reader.scan(0), log.reader.scan(0)];
    const [runA, runB] = await Promise.all([a.next(10_000), b.next(10_000)]);
    expect((runB as EntryRun).bytes.buffer).toBe((runA as EntryRun).bytes.buffer);
  });

  test("uses memory again that readers have released, and none that they have not", async () => {
    await using place = await openEmbeddedPlace({ ...OPTIONS, historyBytesMax: 600_000 });
    await using log = await openFilled(place);
    const careless = log.reader.scan(0);
    const kept = (await careless.next(10_000)) as EntryRun;
    const before = decodeRun(kept);
    const buffers = new Set<ArrayBufferLike>();
    for (const _ of range(1, 3)) {
      const careful = log.reader.scan(0);
      const found: StoredEntry[] = [];
      for (let run = await careful.next(50_000); run !== undefined; run = await careful.next(50_000)) {
        found.push(...decodeRun(run as EntryRun));
        buffers.add((run as EntryRun).bytes.buffer);
        careful.release!();
      }
      expect(found.map(({ sequence }) => sequence)).toEqual(range(1, COUNT));
    }
    // Three times three megabytes went through them.
    expect(buffers.size).toBeLessThan(8);
    expect(decodeRun(kept)).toEqual(before);
  });

  test("uses memory again that a reader releases only now and then", async () => {
    await using place = await openEmbeddedPlace({ tailBytes: 64 * 1024, historyBytesMax: 16 * 1024 * 1024 });
    await using log = await place.open();
    for (let from = 1; from <= 4000; from += 100) {
      const payload = "x".repeat(4000);
      await append(
        log.writer,
        range(from, from + 99).map((number) => makeEntry(number, { payload })),
      );
    }
    const buffers = new Set<ArrayBufferLike>();
    for (const _ of range(1, 4)) {
      const scan = log.reader.scan(0);
      let held = 0;
      for (let run = await scan.next(1_000_000); run !== undefined; run = await scan.next(1_000_000)) {
        const { bytes } = run as EntryRun;
        buffers.add(bytes.buffer);
        held += bytes.length;
        if (held < 7_000_000) continue;
        scan.release!();
        held = 0;
      }
    }
    // Four times sixteen megabytes went through them, in pieces of half of one.
    expect(buffers.size).toBeLessThan(50);
  });

  test("keeps many readers apart, each at a place of its own, in little memory", async () => {
    await using place = await openEmbeddedPlace({ ...OPTIONS, historyBytesMax: 300_000 });
    await using log = await openFilled(place);
    const scans = range(0, 29).map((i) => log.reader.scan(i * 600));
    const found = await Promise.all(scans.map((scan) => drain(scan, 5000)));
    for (const [i, each] of found.entries()) expect(sequencesOf(each)).toEqual(range(i * 600 + 1, COUNT));
  });
});
