// Compressed segments: the same answers from less disk, and damage that stays where it is.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import type { ScanQuery } from "./contract.ts";
import type { Log } from "./log.ts";
import type { EmbeddedPlace } from "./testing/place.ts";
import { readGroups } from "./compressed-file.ts";
import { describeLog } from "./log.suite.ts";
import { readGroupTable } from "./group-table.ts";
import { nodeFileSystem } from "./file-system-node.ts";
import { openCompressed } from "./segment-files.ts";
import { compressAll, filesOf } from "./testing/compressing.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range, readThrough, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

/** About 10 pages in 4 segments, the last of them open. */
const COUNT = 9000;
const OPTIONS = { segmentBytes: 256 * 1024, tailBytes: 4096, historyBytesMax: 1024 * 1024 };

function entryAt(number: number) {
  return makeEntry(number, {
    severity: (number % 24) + 1,
    label: `app-${Math.floor(number / 1500)}`,
    payload: `order ${number} took ${(number * 7919) % 1000} ms ${"x".repeat(number % 60)}`,
  });
}

async function fill(place: EmbeddedPlace, count = COUNT): Promise<void> {
  await using log = await place.open();
  for (let from = 1; from <= count; from += 500) {
    await append(log.writer, range(from, Math.min(count, from + 499)).map(entryAt));
  }
}

async function withFilled(use: (place: EmbeddedPlace, compressed: string[]) => Promise<void>): Promise<void> {
  await using place = await openEmbeddedPlace(OPTIONS);
  await fill(place);
  await use(place, await compressAll(place));
}

const groupsOf = async (path: string) => {
  const file = await nodeFileSystem.open(path, "read");
  try {
    return await readGroupTable(file);
  } finally {
    await file.close();
  }
};

/** Flips the bits of a byte. */
async function damage(path: string, position: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[position < 0 ? bytes.length + position : position]! ^= 0xff;
  await writeFile(path, bytes);
}

// All that is asked of a log is asked of one that compresses while it is written and read.
describeLog("compressed files", () =>
  openEmbeddedPlace({
    segmentBytes: 4096,
    groupBytesMax: 2048,
    tailBytes: 1024,
    historyBytesMax: 8192,
    compressAfterMs: 0,
  }),
);

describe("a log whose segments are compressed", () => {
  test("takes less disk and gives the same entries", () =>
    withFilled(async (place, compressed) => {
      expect(compressed.length).toBeGreaterThan(1);
      await using log = await place.open();
      expect(log.report.rebuiltIndexes).toEqual([]);
      expect(log.state.diskBytes).toBeLessThan(log.state.bytes);
      const { entries, gaps } = await readThrough(log.reader);
      expect(gaps).toEqual([]);
      expect(entries.map(({ payload }) => payload)).toEqual(range(1, COUNT).map((number) => entryAt(number).payload));
    }));

  test("answers every query as the plain log does", async () => {
    await using plain = await openEmbeddedPlace(OPTIONS);
    await using place = await openEmbeddedPlace(OPTIONS);
    await fill(plain);
    await fill(place);
    await compressAll(place);
    await using one = await plain.open();
    await using other = await place.open();
    const query = fc.record({
      after: fc.nat({ max: COUNT }),
      maxBytes: fc.integer({ min: 1000, max: 100_000 }),
      minSeverity: fc.integer({ min: 0, max: 24 }),
      label: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
      start: fc.integer({ min: 0, max: COUNT }),
    });
    await fc.assert(
      fc.asyncProperty(query, async (asked) => {
        const answer = async ({ reader }: Log) => {
          const labels = asked.label === undefined ? [] : [reader.findLabel(`app-${asked.label}`)!];
          const scan: ScanQuery = {
            minSeverity: asked.minSeverity,
            startTimestamp: BigInt(asked.start) * 1_000_000_000n,
            ...(asked.label === undefined ? {} : { labels: new Set(labels) }),
          };
          const { entries } = await readThrough(reader, { after: asked.after, maxBytes: asked.maxBytes, query: scan });
          return { entries, tail: await reader.findTail(5, reader.head.sequence + 1, scan) };
        };
        expect(await answer(other)).toEqual(await answer(one));
      }),
      { numRuns: Math.ceil(25 * inject("propertyScale")) },
    );
  });

  test("is compressed under its readers, who notice nothing", async () => {
    await using place = await openEmbeddedPlace(OPTIONS);
    await fill(place);
    await using log = await place.open({ compressAfterMs: 0 });
    const read: number[][] = [];
    await expect
      .poll(
        async () => {
          place.clock.advance(5000);
          read.push(sequencesOf(await readThrough(log.reader, { maxBytes: 64 * 1024 })));
          return (await filesOf(place, ".frames")).length;
        },
        { timeout: 60_000 },
      )
      .toBe(1);
    expect(read.every((sequences) => sequences.length === COUNT)).toBe(true);
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, COUNT));
    expect(place.events.filter(({ kind }) => kind === "fault")).toEqual([]);
  });

  test("waits until a segment has been sealed for as long as is asked", async () => {
    await using place = await openEmbeddedPlace(OPTIONS);
    await fill(place);
    const sealed = (await filesOf(place, ".frames")).length - 1;
    await using log = await place.open({ compressAfterMs: 60_000 });
    place.clock.advance(30_000);
    await append(log.writer, [entryAt(1)]);
    expect(await filesOf(place, ".frames.zst")).toEqual([]);
    await expect
      .poll(async () => {
        place.clock.advance(10_000);
        return (await filesOf(place, ".frames.zst")).length;
      })
      .toBe(sealed);
  });

  test("counts what segments take on disk, for retention, and removes both forms", async () => {
    await using place = await openEmbeddedPlace(OPTIONS);
    await fill(place);
    const compressed = await compressAll(place);
    const path = `${place.logFolder}/${compressed[0]}`;
    const { size } = await stat(path);
    await using log = await place.open();
    const before = log.state.diskBytes;
    expect(await log.dropOldest()).toBeGreaterThanOrEqual(size);
    expect(before - log.state.diskBytes).toBeGreaterThanOrEqual(size);
    expect(existsSync(path)).toBe(false);
    const { gaps, entries } = await readThrough(log.reader);
    expect(gaps).toMatchObject([{ reason: "retention", first: 1 }]);
    expect(entries[0]?.sequence).toBe(log.reader.first);
  });
});

describe("damage", () => {
  test("of a group is told as a gap of its entries, and of no others", () =>
    withFilled(async (place, [first]) => {
      place.isDamaged = true;
      const path = `${place.logFolder}/${first}`;
      const { storedStarts } = await groupsOf(path);
      await damage(path, storedStarts[1]! + 100);
      await using log = await place.open();
      const { gaps, entries } = await readThrough(log.reader);
      // The second page of the segment: 1,024 entries.
      expect(gaps).toEqual([{ kind: "gap", first: 1025, last: 2048, reason: "corruption" }]);
      expect(entries).toHaveLength(COUNT - 1024);
      expect(log.state.damage).toEqual([{ first: 1025, last: 2048 }]);
    }));

  test("of a group gives zeros for its bytes alone, whatever the memory held before", () =>
    withFilled(async (place, [first]) => {
      place.isDamaged = true;
      const path = `${place.logFolder}/${first}`;
      const good = await plainOf(place, first!);
      const { storedStarts, plainStarts } = await groupsOf(path);
      await damage(path, storedStarts[1]! + 100);
      const file = await nodeFileSystem.open(path, "read");
      const bytes = Buffer.from(good);
      const read = await readGroups(file, await readGroupTable(file), bytes, 0);
      await file.close();
      expect(read).toEqual({ byteCount: good.length, isWhole: false });
      const [start, end] = [plainStarts[1]!, plainStarts[2]!];
      expect(
        bytes.equals(Buffer.concat([good.subarray(0, start), Buffer.alloc(end - start), good.subarray(end)])),
      ).toBe(true);
    }));

  test("of a group that was proven before is no less noticed", () =>
    withFilled(async (place, [first]) => {
      place.isDamaged = true;
      const path = `${place.logFolder}/${first}`;
      await using log = await place.open({ historyBytesMax: 4096 });
      expect((await readThrough(log.reader)).gaps).toEqual([]);
      const { storedStarts } = await groupsOf(path);
      await damage(path, storedStarts[1]! + 100);
      expect((await readThrough(log.reader)).gaps).toMatchObject([{ first: 1025, last: 2048, reason: "corruption" }]);
    }));

  test("of a group is found by the scrubber before anybody asks for it", () =>
    withFilled(async (place, [first]) => {
      place.isDamaged = true;
      const path = `${place.logFolder}/${first}`;
      await damage(path, (await groupsOf(path)).storedStarts[1]! + 100);
      await using log = await place.open({ scrubRestMs: 1000, scrubBytesPerSecond: 2 ** 30 });
      await expect
        .poll(async () => {
          place.clock.advance(1000);
          return log.state.damage;
        })
        .toEqual([{ first: 1025, last: 2048 }]);
    }));

  test("of a group is marked by a repair: the gap stays the same, and nothing else is lost", () =>
    withFilled(async (place, [first]) => {
      place.isDamaged = true;
      const path = `${place.logFolder}/${first}`;
      await damage(path, (await groupsOf(path)).storedStarts[1]! + 100);
      const found = { form: "compressed", damaged: [{ first: 1025, last: 2048 }] };
      expect((await place.examine()).logs[0]!.segments[0]).toMatchObject({
        ...found,
        index: "wrong",
        isIsolated: false,
      });
      await place.examine({ repair: true });
      expect((await place.examine()).logs[0]!.segments[0]).toMatchObject({ ...found, index: "good", isIsolated: true });
      await using log = await place.open();
      const { gaps, entries } = await readThrough(log.reader);
      expect(gaps).toEqual([{ kind: "gap", first: 1025, last: 2048, reason: "corruption" }]);
      expect(entries).toHaveLength(COUNT - 1024);
    }));

  test("of the table costs nothing: the groups say where they are", () =>
    withFilled(async (place, compressed) => {
      place.isDamaged = true;
      for (const name of compressed) await damage(`${place.logFolder}/${name}`, -20);
      for (const name of compressed) expect((await groupsOf(`${place.logFolder}/${name}`)).facts).toBeUndefined();
      await using log = await place.open();
      expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, COUNT));
    }));

  test("of an index is repaired from the compressed frames", () =>
    withFilled(async (place, compressed) => {
      for (const name of compressed) await rm(`${place.logFolder}/${name.slice(0, 20)}.index`);
      await using log = await place.open();
      expect(log.report.rebuiltIndexes).toHaveLength(compressed.length);
      expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, COUNT));
    }));

  test("anywhere in a compressed segment never stops a reader, and never invents an entry", () =>
    withFilled(async (place, compressed) => {
      place.isDamaged = true;
      const path = `${place.logFolder}/${compressed[0]}`;
      const good = await readFile(path);
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ at: fc.nat({ max: good.length - 1 }), flip: fc.integer({ min: 1, max: 255 }) }), {
            minLength: 1,
            maxLength: 4,
          }),
          fc.option(fc.nat({ max: good.length }), { nil: undefined }),
          async (flips, cut) => {
            const bytes = Buffer.from(good.subarray(0, cut));
            for (const { at, flip } of flips) if (at < bytes.length) bytes[at]! ^= flip;
            await writeFile(path, bytes);
            await using log = await place.open();
            const { entries, gaps } = await readThrough(log.reader);
            const told = gaps.reduce((sum, { first, last }) => sum + last - first + 1, 0);
            expect(entries.length + told).toBe(COUNT);
            for (const { sequence, payload } of entries) expect(payload).toBe(entryAt(sequence).payload);
          },
        ),
        { numRuns: Math.ceil(25 * inject("propertyScale")) },
      );
    }));

  test("of a plain segment keeps it plain, and is told once", async () => {
    await using place = await openEmbeddedPlace(OPTIONS);
    place.isDamaged = true;
    await fill(place);
    const [first] = await filesOf(place, ".frames");
    await damage(`${place.logFolder}/${first}`, 10_000);
    await using _log = await place.open({ compressAfterMs: 0 });
    await expect
      .poll(async () => {
        place.clock.advance(5000);
        return (await filesOf(place, ".frames")).length;
      })
      .toBe(2);
    place.clock.advance(60_000);
    expect(await filesOf(place, ".frames")).toContain(first);
    const faults = place.events.filter(({ kind }) => kind === "fault");
    expect(faults).toEqual([
      { kind: "fault", text: "cannot compress segment 1: a part of it does not match its checksum; it stays as it is" },
    ]);
  });
});

test("where both forms are left, the plain one counts, and the other is made again", () =>
  withFilled(async (place, [first]) => {
    const plain = `${place.logFolder}/${first!.slice(0, 20)}.frames`;
    const zst = `${place.logFolder}/${first}`;
    const good = await readFile(zst);
    await writeFile(plain, await plainOf(place, first!));
    // What an interrupted compression may leave, before it was durable.
    await writeFile(zst, Buffer.alloc(good.length));
    {
      await using log = await place.open();
      expect(log.report.removedFiles).toEqual([first]);
      expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, COUNT));
    }
    expect(await compressAll(place)).toContain(first);
    expect((await readFile(zst)).equals(good)).toBe(true);
  }));

async function plainOf(place: EmbeddedPlace, name: string): Promise<Buffer> {
  const file = await openCompressed(nodeFileSystem, `${place.logFolder}/${name}`);
  try {
    const bytes = Buffer.alloc(await file.size());
    expect(await file.read(bytes, 0)).toBe(bytes.length);
    return bytes;
  } finally {
    await file.close();
  }
}

const zstd = ["/usr/bin/zstd", "/usr/local/bin/zstd"].find((path) => existsSync(path));

test.skipIf(zstd === undefined)("zstd's own program makes the plain frames of a compressed segment", () =>
  withFilled(async (place, [first]) => {
    const bytes = execFileSync(zstd!, ["-dc", `${place.logFolder}/${first}`], { maxBuffer: 2 ** 26 });
    expect(bytes.equals(await plainOf(place, first!))).toBe(true);
  }),
);

test("a log whose newest segment is compressed has lost the open one: a new epoch begins behind it", () =>
  withFilled(async (place, compressed) => {
    place.isDamaged = true;
    const [open] = await filesOf(place, ".frames");
    await rm(`${place.logFolder}/${open}`);
    await using log = await place.open();
    const first = Number(open!.slice(0, 20));
    expect(log.reader.head).toEqual({ epoch: 2, sequence: first - 1 });
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, first - 1));
    expect(await filesOf(place, ".frames.zst")).toEqual(compressed);
  }));
