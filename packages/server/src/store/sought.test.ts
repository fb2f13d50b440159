// Searches that look for bytes before anything else: blocks in which they are not are passed over.
import { open } from "node:fs/promises";
import { expect, test } from "vitest";
import type { ScanQuery, Sought } from "./contract.ts";
import { nodeFileSystem } from "./file-system-node.ts";
import { segmentFile } from "./segment.ts";
import { countReads } from "./testing/filters.ts";
import type { EmbeddedPlace } from "./testing/place.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range, readThrough, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

/** Segments of a megabyte, the last one open; blocks of 512 KiB. */
const OPTIONS = { segmentBytes: 1024 * 1024, tailBytes: 64 * 1024, historyBytesMax: 8 * 1024 * 1024 };
const COUNT = 30_000;
const NEEDLES = [7300, 7301, 29_000];

async function fill(place: EmbeddedPlace): Promise<void> {
  await using log = await place.open();
  for (let from = 1; from <= COUNT; from += 500) {
    const entries = range(from, from + 499).map((number) => {
      const payload = `${NEEDLES.includes(number) ? "needle" : "hay"} ${"x".repeat(100)}`;
      return makeEntry(number, { payload, severity: number % 2 === 0 ? 9 : 17 });
    });
    await append(log.writer, entries);
  }
}

/** Looks for "needle"; of each block it says once before that it does not know yet. */
function soughtNeedle(): Sought & { asked: number; found: number } {
  const seen = new WeakSet<Uint8Array>();
  return {
    asked: 0,
    found: 0,
    mayBeIn(frames) {
      if (!seen.has(frames)) {
        seen.add(frames);
        return Promise.resolve();
      }
      this.asked++;
      const isIn = Buffer.from(frames.buffer, frames.byteOffset, frames.length).includes("needle");
      if (isIn) this.found++;
      return isIn;
    },
  };
}

test("blocks without what is sought are passed over and their columns not read; the others are given as they are", async () => {
  const { fileSystem, read } = countReads(nodeFileSystem);
  await using place = await openEmbeddedPlace(OPTIONS, { fileSystem });
  await fill(place);
  await using log = await place.open();
  const sought = soughtNeedle();
  read.clear();
  const [found, severe] = [
    await readThrough(log.reader, { query: { sought } }),
    await readThrough(log.reader, { query: { sought, minSeverity: 10 } }),
  ].map(sequencesOf);
  const indexRead = read.get(".index");
  expect(NEEDLES.every((needle) => found!.includes(needle))).toBe(true);
  expect(severe).toEqual(found!.filter((sequence) => sequence % 2 === 1));
  // Two of the blocks have needles; beside them comes what is in memory.
  expect(found!.length).toBeLessThan(COUNT / 2);
  expect([sought.found, sought.asked > 10]).toEqual([4, true]);
  await readThrough(log.reader);
  expect(read.get(".index")! - indexRead!).toBeGreaterThan(2 * indexRead!);
});

test("whoever does not search gets whole blocks that a search has read before, and the other way round", async () => {
  await using place = await openEmbeddedPlace(OPTIONS);
  await fill(place);
  await using log = await place.open();
  const query: ScanQuery = { sought: soughtNeedle() };
  const [found, all] = await Promise.all([readThrough(log.reader, { query }), readThrough(log.reader)]);
  expect(sequencesOf(all)).toEqual(range(1, COUNT));
  expect(sequencesOf(await readThrough(log.reader, { query: { sought: soughtNeedle() } }))).toEqual(sequencesOf(found));
  expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, COUNT));
});

test("damage is told of, whatever is sought", async () => {
  await using place = await openEmbeddedPlace(OPTIONS);
  place.isDamaged = true;
  await fill(place);
  const file = await open(segmentFile(place.logFolder, 1, ".frames"), "r+");
  await file.write(Buffer.alloc(10), 0, 10, 300);
  await file.close();
  await using log = await place.open();
  const { gaps } = await readThrough(log.reader, { query: { sought: soughtNeedle() } });
  expect(gaps).toMatchObject([{ first: 3, last: 3, reason: "corruption" }]);
});
