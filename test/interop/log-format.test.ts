// The format of a log on disk: the folders of this version are read as they always were, and a program that was written
// from docs/formats/log.md alone reads what the server reads, damage included.
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { entryFrameCodec, examineDataFolder, nodeFileSystem, systemClock } from "@sluice/server";
import { makeGoldenLog } from "../support/golden-log.ts";
import { type Line, mergeGaps, readAsServer } from "../support/read-as-server.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const GOLDEN = join(import.meta.dirname, "../fixtures/log-format-1");
const READER = join(import.meta.dirname, "python/read_log.py");

let folder: TemporaryFolder;
let data: string;
beforeEach(async () => {
  folder = await openTemporaryFolder("log-format");
  data = join(folder.path, "data");
  await cp(join(GOLDEN, "data"), data, { recursive: true });
});
afterEach(() => folder[Symbol.asyncDispose]());

const logFolder = () => join(data, "logs/default");
const parseLines = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
const expected = async () => parseLines(await readFile(join(GOLDEN, "expected.jsonl"), "utf8"));
const filesOf = async (suffix: string) =>
  (await readdir(logFolder())).filter((name) => name.endsWith(suffix)).toSorted();
const examine = () =>
  examineDataFolder({
    folder: data,
    fileSystem: nodeFileSystem,
    codec: entryFrameCodec,
    clock: systemClock,
    repair: false,
  });

describe("folders of version 1", () => {
  test("are read as they always were: entries, eras, plain and compressed segments", async () => {
    expect((await filesOf(".frames.zst")).length).toBeGreaterThan(1);
    expect((await filesOf(".frames")).length).toBeGreaterThan(1);
    expect(await readAsServer(data)).toEqual(await expected());
  });

  test("are healthy, and their indexes are those that the frames give today", async () => {
    const { isHealthy, logs } = await examine();
    expect(isHealthy).toBe(true);
    expect(logs[0]!.segments.map(({ index }) => index).slice(0, -1)).toEqual(["good", "good", "good", "good"]);
  });

  test("are what this version writes, byte for byte", async () => {
    const again = join(folder.path, "again");
    await makeGoldenLog(again, join(folder.path, "scratch"));
    const names = [...(await filesOf(".frames")), ...(await filesOf(".index")), "EPOCHS", "../../FORMAT"];
    for (const name of names) {
      const written = await readFile(join(again, "logs/default", name));
      expect(written.equals(await readFile(join(logFolder(), name))), name).toBe(true);
    }
  });
});

/** What a program reads that knows the format from its description alone. */
async function readByDescription({ skip }: TestContext): Promise<Line[]> {
  const { code, stdout, output } = await runCommand(["python3", READER, logFolder()]).catch((error: unknown) => {
    return skip(`there is no python3: ${String(error)}`);
  });
  if (/No such file or directory: 'zstd'/u.test(output))
    return skip("Python has no zstd, and there is no program of that name");
  if (code !== 0) throw new Error(`Python ended with ${code}:\n${output}`);
  return mergeGaps(parseLines(stdout));
}

describe("a reader that was written from the description", () => {
  test("reads what the server reads", async (context) => {
    expect(await readByDescription(context)).toEqual(await expected());
  });

  test("finds the same damage: in a plain segment, in a compressed one, and where a segment is gone", async (context) => {
    const [plain = ""] = await filesOf(".frames");
    const bytes = await readFile(join(logFolder(), plain));
    // The messages of its second and third entry.
    let at = 5 + bytes.readUInt32BE(1);
    for (let i = 0; i < 2; i++) {
      bytes[at + 20]! ^= 0xff;
      at += 5 + bytes.readUInt32BE(at + 1);
    }
    await writeFile(join(logFolder(), plain), bytes);
    const [compressed = "", , gone = ""] = await filesOf(".frames.zst");
    const group = await readFile(join(logFolder(), compressed));
    group[700]! ^= 0xff;
    await writeFile(join(logFolder(), compressed), group);
    await rm(join(logFolder(), gone));
    const read = await readByDescription(context);
    expect(read.filter((line) => "gap" in line)).toHaveLength(3);
    expect(read).toEqual(await readAsServer(data));
  });
});
