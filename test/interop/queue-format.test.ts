// The format of a queue on disk: the folder of this version is read as it always was, and a program that was written from
// docs/formats/queue.md alone finds the jobs that the engine finds.
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type GoldenJob, makeGoldenQueue, readGoldenQueue } from "../support/golden-queue.ts";
import { expectSameFiles, parseLines, readByDescription } from "../support/format-folder.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const GOLDEN = join(import.meta.dirname, "../fixtures/queue-format-1");
const READER = join(import.meta.dirname, "python/read_queue.py");

let folder: TemporaryFolder;
let queue: string;
beforeEach(async () => {
  folder = await openTemporaryFolder("queue-format");
  queue = join(folder.path, "golden");
  await cp(join(GOLDEN, "golden"), queue, { recursive: true });
});
afterEach(() => folder[Symbol.asyncDispose]());

/** Jobs, one a line, and the count of records. */
async function expected(): Promise<{ jobs: GoldenJob[]; records: number }> {
  const lines = parseLines(await readFile(join(GOLDEN, "expected.jsonl"), "utf8"));
  return { jobs: lines.slice(0, -1) as GoldenJob[], records: (lines.at(-1) as { records: number }).records };
}

describe("the folder of version 1", () => {
  test("is read as it always was", async () => {
    expect(await readGoldenQueue(queue)).toEqual(await expected());
  });

  test("is what this version writes, byte for byte", async () => {
    const again = join(folder.path, "again");
    await makeGoldenQueue(again);
    await expectSameFiles(again, queue);
  });
});

describe("a reader that was written from the description", () => {
  test("finds the same jobs", async (context) => {
    const { stdout, code } = await readByDescription(context, { reader: READER, folder: queue });
    const lines = parseLines(stdout);
    const { jobs, records } = await expected();
    expect({ code, jobs: lines.slice(0, -1), records: lines.at(-1) }).toEqual({ code: 0, jobs, records: { records } });
  });

  test("refuses what Sluice refuses", async (context) => {
    const [, second = ""] = (await readdir(queue)).filter((name) => name.endsWith(".frames")).toSorted();
    const bytes = await readFile(join(queue, second));
    bytes[700]! ^= 1;
    await writeFile(join(queue, second), bytes);
    const { code, output } = await readByDescription(context, { reader: READER, folder: queue });
    expect(code).toBe(1);
    const [, record] = /record (\d+) in \S+ does not prove itself/.exec(output) ?? [];
    await expect(readGoldenQueue(queue)).rejects.toThrow(
      `record ${record} in ${queue}/${second} does not prove itself`,
    );
  });
});
