import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { type FilterPlace, openFilterPlace } from "./testing/filter-place.ts";
import { markOf } from "./testing/filters.ts";
import { range, readThrough, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

const COUNT = 400;
/** Entry n has the word "word-n"; a segment takes about 40 of them. */
const entries = (from: number, to: number) =>
  range(from, to).map((i) => makeEntry(i, { payload: `entry word-${i} ${"x".repeat(40)}` }));

describe("a search for what one entry has", () => {
  test("reads one segment and a few blocks of the other segments' filters", async () => {
    await using place = await openFilterPlace();
    await fill(place);
    // Opened again, so that nothing is in the tail in memory.
    await using log = await place.open();
    const sealed = log.state.segments - 1;
    expect(sealed).toBeGreaterThan(5);

    const all = await place.readsOf(() => readThrough(log.reader));
    const marks = Uint32Array.of(markOf("word-57"));
    let found: number[] = [];
    const some = await place.readsOf(async () => {
      found = sequencesOf(await readThrough(log.reader, { query: { marks } }));
    });

    expect(found).toContain(57);
    expect(found.length).toBeLessThan(COUNT / 3);
    expect(all.get(".frames")).toBeGreaterThan(20_000);
    expect(some.get(".frames")).toBeLessThan(all.get(".frames")! / 4);
    expect(some.get(".index") ?? 0).toBeLessThan(all.get(".index")! / 4);
    expect(some.get(".marks")).toBeLessThanOrEqual(sealed * (64 + 4096));
  });

  test("finds everything that a whole scan finds, whatever is looked for, also backwards", async () => {
    await using place = await openFilterPlace();
    await fill(place);
    // Opened again, so that nothing is in the tail in memory.
    await using log = await place.open();
    for (const wanted of [1, 39, 57, 200, COUNT]) {
      const query = { marks: Uint32Array.of(markOf("entry"), markOf(`word-${wanted}`)) };
      expect(sequencesOf(await readThrough(log.reader, { query }))).toContain(wanted);
      expect(await log.reader.findTail(1, COUNT + 1, query)).toBeGreaterThanOrEqual(wanted - 1);
      expect(await log.reader.findTail(COUNT, COUNT + 1, query)).toBeLessThan(wanted);
    }
    const nobody = { marks: Uint32Array.of(markOf("nobody")) };
    const last = sequencesOf(await readThrough(log.reader, { query: nobody }));
    expect(last.every((sequence) => sequence > log.reader.head.sequence - 60)).toBe(true);
  });
});

describe("a filter", () => {
  test("that was lost or damaged is made again, and until then the segment is read", async () => {
    await using place = await openFilterPlace();
    await fill(place);
    const files = await filterFiles(place.logFolder);
    const [first, second] = files;
    await rm(first!);
    const bytes = await readFile(second!);
    bytes[20]! ^= 1;
    await writeFile(second!, bytes);

    await using log = await place.open();
    const query = { marks: Uint32Array.of(markOf("word-3")) };
    expect(sequencesOf(await readThrough(log.reader, { query }))).toContain(3);
    await place.makeFilters();
    expect(await filterFiles(place.logFolder)).toEqual(files);
    expect(await readFile(second!)).not.toEqual(bytes);
    const reads = await place.readsOf(() =>
      readThrough(log.reader, { query: { marks: Uint32Array.of(markOf("no")) } }),
    );
    expect(reads.get(".index") ?? 0).toBe(0);
  });

  test("counts as what its segment takes on disk", async () => {
    await using place = await openFilterPlace();
    await using log = await place.open();
    for (const i of range(0, 39)) await append(log.writer, entries(i * 10 + 1, i * 10 + 10));
    const before = log.state.diskBytes;
    await place.makeFilters();
    const sizes = await Promise.all((await filterFiles(place.logFolder)).map(async (path) => (await stat(path)).size));
    expect(sizes.length).toBeGreaterThan(5);
    expect(log.state.diskBytes - before).toBe(sizes.reduce((sum, size) => sum + size, 0));
  });

  test("is made of nothing that is damaged", async () => {
    await using place = await openFilterPlace();
    place.isDamaged = true;
    await fill(place, { hasFilters: false });
    const frames = (await readdir(place.logFolder)).filter((name) => name.endsWith(".frames"));
    const path = `${place.logFolder}/${frames[0]}`;
    const bytes = await readFile(path);
    bytes[300]! ^= 1;
    await writeFile(path, bytes);
    await using log = await place.open();
    await place.makeFilters();
    expect(await filterFiles(place.logFolder)).toHaveLength(frames.length - 2);
    expect(log.state.faults.join()).toContain("cannot make the filter of segment 1: it is damaged");
    const { gaps } = await readThrough(log.reader, { query: { marks: Uint32Array.of(markOf("nobody")) } });
    expect(gaps).toMatchObject([{ reason: "corruption" }]);
  });

  test("goes with its segment, and with the index that it was made of", async () => {
    await using place = await openFilterPlace();
    await fill(place);
    const before = await filterFiles(place.logFolder);
    const [first] = before;
    // One that was left of the last segment's earlier life would deny what comes.
    const open = (await readdir(place.logFolder)).filter((name) => name.endsWith(".frames")).at(-1)!;
    await writeFile(`${place.logFolder}/${open.replace(".frames", ".marks")}`, await readFile(first!));
    {
      await using log = await place.open({ retentionBytes: 20_000 });
      expect(await filterFiles(place.logFolder)).toEqual(before);
      place.clock.advance(5000);
      await expect.poll(() => log.reader.first).toBeGreaterThan(1);
      await expect.poll(async () => (await filterFiles(place.logFolder)).includes(first!)).toBe(false);
    }
  });
});

async function fill(place: FilterPlace, { hasFilters } = { hasFilters: true }): Promise<void> {
  await using log = await place.open();
  for (const i of range(0, 39)) await append(log.writer, entries(i * 10 + 1, i * 10 + 10));
  if (hasFilters) await place.makeFilters();
}

async function filterFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names.filter((name) => name.endsWith(".marks")).map((name) => `${folder}/${name}`);
}
