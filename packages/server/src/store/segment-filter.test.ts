import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FilePool } from "./file-pool.ts";
import { nodeFileSystem } from "./file-system-node.ts";
import { FilterBits, FilterDamaged, SegmentFilter, writeFilterFile } from "./segment-filter.ts";

const MIB = 1024 * 1024;
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });

interface Place extends AsyncDisposable {
  readonly path: string;
  readonly pool: FilePool;
}

async function openPlace(): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-filter-"));
  const pool = new FilePool(nodeFileSystem, { openMax: 4 });
  return {
    path: join(folder, "1.marks"),
    pool,
    async [Symbol.asyncDispose]() {
      await pool.close();
      await rm(folder, { recursive: true });
    },
  };
}

async function makeFilter(place: Place, frameBytes: number, marks: Iterable<number>) {
  const bits = new FilterBits(frameBytes);
  for (const mark of marks) bits.add(mark);
  await writeFilterFile(nodeFileSystem, place.path, { blocks: bits.finish(), indexId: 7 });
  place.pool.forget(place.path);
  return (await SegmentFilter.find(place.pool, place.path, 7))!;
}

test("no mark that was added is denied, whatever the size of the filter is and however often it is folded", async () => {
  await using place = await openPlace();
  await fc.assert(
    fc.asyncProperty(
      fc.array(uint32, { maxLength: 200 }),
      fc.constantFrom(1, 60_000, MIB, 8 * MIB),
      async (marks, frameBytes) => {
        const filter = await makeFilter(place, frameBytes, marks);
        for (const mark of marks) expect(await filter.lacks(Uint32Array.of(mark))).toBe(false);
        expect(await filter.lacks(Uint32Array.from(marks))).toBe(false);
      },
    ),
    { numRuns: 40 },
  );
});

test("of marks that were not added few are found, and the file is no larger than it must be", async () => {
  await using place = await openPlace();
  // Each a different number, and none near another.
  const marks = Array.from({ length: 22_000 }, (_, i) => Math.imul(i + 1, 0x9e37_79b1) >>> 0);
  const filter = await makeFilter(place, 64 * MIB, marks.slice(2000));
  let found = 0;
  for (const mark of marks.slice(0, 2000)) found += (await filter.lacks(Uint32Array.of(mark))) ? 0 : 1;
  expect(found).toBeLessThan(2000 * 0.14);
  // 20,000 marks set 40,000 bits, which are 35 % of 14 KB.
  expect(filter.bytes).toBeLessThan(33_000);
  expect(filter.bytes).toBeGreaterThan(14_000);
});

test("the extreme marks are marks like all others", async () => {
  await using place = await openPlace();
  const filter = await makeFilter(place, MIB, [0, 2 ** 32 - 1]);
  expect(await filter.lacks(Uint32Array.of(0))).toBe(false);
  expect(await filter.lacks(Uint32Array.of(2 ** 32 - 1))).toBe(false);
  expect(await filter.lacks(Uint32Array.of(1, 0))).toBe(true);
  expect(await filter.lacks(Uint32Array.of(0, 1))).toBe(true);
});

describe("a filter is none", () => {
  test("when it is missing, or of another index", async () => {
    await using place = await openPlace();
    expect(await SegmentFilter.find(place.pool, place.path, 7)).toBeUndefined();
    await makeFilter(place, MIB, [1]);
    expect(await SegmentFilter.find(place.pool, place.path, 8)).toBeUndefined();
  });

  test("when any bit of what is read of it has changed, or its end is missing", async () => {
    await using place = await openPlace();
    await makeFilter(place, 1, [1]);
    const good = await readFile(place.path);
    for (const at of [0, 9, 13, 17, 63, 64, 64 + 2000, 64 + 4095]) {
      const bad = Buffer.from(good);
      bad[at]! ^= 0x10;
      await writeFile(place.path, bad);
      place.pool.forget(place.path);
      await expect(ask(place), `byte ${at}`).rejects.toThrow(FilterDamaged);
    }
    for (const length of [0, 63, 64, 4000]) {
      await writeFile(place.path, good.subarray(0, length));
      place.pool.forget(place.path);
      await expect(ask(place), `${length} bytes`).rejects.toThrow(FilterDamaged);
    }
  });

  async function ask({ path, pool }: Place): Promise<boolean> {
    const filter = await SegmentFilter.find(pool, path, 7);
    if (filter === undefined) throw new FilterDamaged(path);
    return await filter.lacks(Uint32Array.of(1));
  }
});
