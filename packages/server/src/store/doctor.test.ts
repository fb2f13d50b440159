import { appendFile, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { DoctorProgress } from "./doctor.ts";
import type { EmbeddedPlace } from "./testing/place.ts";
import { FolderInUse, NotFound } from "../errors.ts";
import { examineDataFolder } from "./doctor.ts";
import { nodeFileSystem as fileSystem } from "./file-system-node.ts";
import { testCodec } from "./testing/frames.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

const SMALL = { segmentBytes: 4096, groupBytesMax: 2048 };

async function fill(place: EmbeddedPlace, count = 100): Promise<void> {
  await using log = await place.open();
  for (const number of range(1, count)) {
    await append(log.writer, [makeEntry(number, { payload: "x".repeat(80), label: `app-${number % 3}` })]);
  }
}

async function files(place: EmbeddedPlace, suffix: string): Promise<string[]> {
  const names = (await readdir(place.logFolder)).filter((name) => name.endsWith(suffix)).sort();
  return names.map((name) => `${place.logFolder}/${name}`);
}

test("a good store is found healthy, with what is in it", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  await fill(place);
  const progress: DoctorProgress[] = [];
  const report = await examineDataFolder({
    folder: place.folder,
    fileSystem,
    codec: testCodec,
    clock: place.clock,
    rebuildIndexes: false,
    onProgress: (step) => progress.push(step),
  });
  expect(report.isHealthy).toBe(true);
  const [log] = report.logs;
  expect(log).toMatchObject({ name: "default", entries: 100, missing: [], epochs: "good" });
  expect(log!.segments.map(({ index }) => index)).toEqual([...log!.segments.slice(1).map(() => "good"), "none"]);
  expect(progress).toHaveLength(log!.segments.length);
  expect(progress.at(-1)).toMatchObject({ log: "default", bytesDone: log!.bytes, bytesTotal: log!.bytes });
});

test("damage is found wherever it is, and nothing is changed", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  place.isDamaged = true;
  await fill(place);
  const [path] = await files(place, ".frames");
  const bytes = await readFile(path!);
  const frameBytes = 5 + bytes.readUInt32BE(1);
  for (const entry of [3, 4, 9]) bytes[frameBytes * entry + 70]! ^= 0xff;
  await writeFile(path!, bytes);
  const report = await place.examine();
  expect(report.isHealthy).toBe(false);
  expect(report.logs[0]!.segments[0]!.damaged).toEqual([
    { first: 4, last: 5 },
    { first: 10, last: 10 },
  ]);
  expect((await readFile(path!)).equals(bytes)).toBe(true);
});

test("a missing segment is found", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  place.isDamaged = true;
  await fill(place);
  const frames = await files(place, ".frames");
  await rm(frames[1]!);
  const report = await place.examine();
  const [from, to] = frames.slice(1, 3).map((path) => Number(path.slice(-27, -7)));
  expect(report).toMatchObject({ isHealthy: false, logs: [{ missing: [{ first: from, last: to! - 1 }] }] });
});

test("the torn end of the last segment is no fault, that of another one is", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  place.isDamaged = true;
  await fill(place);
  const frames = await files(place, ".frames");
  await appendFile(frames.at(-1)!, "torn");
  const torn = await place.examine();
  expect(torn.isHealthy).toBe(true);
  expect(torn.logs[0]!.segments.at(-1)).toMatchObject({ tailBytes: 4, index: "none" });
  await appendFile(frames[0]!, "more");
  expect((await place.examine()).isHealthy).toBe(false);
});

test("indexes that are missing, cut, damaged or of other frames are found, and written anew when asked for", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  await fill(place, 250);
  const [missing, cut, damaged, foreign, other] = await files(place, ".index");
  await rm(missing!);
  await truncate(cut!, 100);
  const bytes = await readFile(damaged!);
  bytes[1024 * 12 + 3]! ^= 1;
  await writeFile(damaged!, bytes);
  await writeFile(foreign!, await readFile(other!));
  const states = async (options?: { rebuildIndexes: boolean }) =>
    (await place.examine(options)).logs[0]!.segments.map(({ index }) => index).slice(0, 5);
  expect(await states()).toEqual(["missing", "missing", "wrong", "missing", "good"]);
  expect(await states({ rebuildIndexes: true })).toEqual(["rebuilt", "rebuilt", "rebuilt", "rebuilt", "good"]);
  expect(await states()).toEqual(["good", "good", "good", "good", "good"]);
  await using log = await place.open();
  expect(log.report.rebuiltIndexes).toEqual([]);
});

test("only a data folder is examined, and only when nobody has it open", async () => {
  await using place = await openEmbeddedPlace();
  await expect(place.examine()).rejects.toThrow(NotFound);
  {
    await using _log = await place.open();
    await expect(place.examine()).rejects.toThrow(FolderInUse);
  }
  await expect(place.examine()).resolves.toMatchObject({ isHealthy: true });
});

test("an examination can be ended", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  await fill(place);
  const reason = new Error("enough");
  const ended = examineDataFolder({
    folder: place.folder,
    fileSystem,
    codec: testCodec,
    clock: place.clock,
    rebuildIndexes: false,
    signal: AbortSignal.abort(reason),
  });
  await expect(ended).rejects.toThrow(reason);
});
