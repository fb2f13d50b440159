// The format of the history of metrics on disk: the folder of this version is read as it always was, and a program that was
// written from docs/formats/metrics.md alone finds the points that the server finds.
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, type TestContext } from "vitest";
import { type GoldenPoint, makeGoldenMetrics, readGoldenMetrics } from "../support/golden-metrics.ts";
import { parseLines, readByDescription } from "../support/format-folder.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const GOLDEN = join(import.meta.dirname, "../fixtures/metrics-format-1");
const READER = join(import.meta.dirname, "python/read_metrics.py");

let folder: TemporaryFolder;
let metrics: string;
beforeEach(async () => {
  folder = await openTemporaryFolder("metrics-format");
  metrics = join(folder.path, "golden");
  await cp(join(GOLDEN, "golden"), metrics, { recursive: true });
});
afterEach(() => folder[Symbol.asyncDispose]());

const expected = async (): Promise<GoldenPoint[]> =>
  parseLines(await readFile(join(GOLDEN, "expected.jsonl"), "utf8")) as GoldenPoint[];

async function readPoints(context: TestContext) {
  const done = await readByDescription(context, { reader: READER, folder: metrics });
  if (/No such file or directory: 'zstd'/u.test(done.output)) context.skip("Python cannot read Zstandard here");
  return done;
}

describe("the folder of version 1", () => {
  test("is read as it always was", async () => {
    const points = await expected();
    expect(points.length).toBeGreaterThan(1500);
    expect(await readGoldenMetrics(metrics)).toEqual(points);
  });

  test("holds what this version writes", async () => {
    expect(await makeGoldenMetrics(join(folder.path, "again"))).toEqual(await expected());
  });
});

describe("a reader that was written from the description", () => {
  test("finds the same points", async (context) => {
    const { stdout, code } = await readPoints(context);
    expect({ code, points: parseLines(stdout) }).toEqual({ code: 0, points: await expected() });
  });

  test("finds a record that is damaged", async (context) => {
    const points = join(metrics, "points");
    const [first = ""] = (await readdir(points)).filter((name) => name.endsWith(".frames")).toSorted();
    const bytes = await readFile(join(points, first));
    bytes[300]! ^= 1;
    await writeFile(join(points, first), bytes);
    const { code, output } = await readPoints(context);
    expect(code).toBe(1);
    expect(output).toMatch(/record \d+ in \d+\.frames does not prove itself/u);
  });
});
