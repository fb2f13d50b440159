import { appendFile, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { DoctorProgress } from "./doctor.ts";
import type { EmbeddedPlace } from "./testing/place.ts";
import { FolderInUse, NotFound } from "../errors.ts";
import { examineDataFolder } from "./doctor.ts";
import { nodeFileSystem as fileSystem } from "./file-system-node.ts";
import { compressAll } from "./testing/compressing.ts";
import { testCodec } from "./testing/frames.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range, readThrough, sequencesOf } from "./testing/reading.ts";
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
    repair: false,
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

test("room that a crash left behind the last entry is neither a torn end nor work to be done", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  await fill(place);
  const path = (await files(place, ".frames")).at(-1)!;
  const { length } = await readFile(path);
  await appendFile(path, Buffer.alloc(100_000));
  const progress: DoctorProgress[] = [];
  const examined = { folder: place.folder, fileSystem, codec: testCodec, clock: place.clock, repair: true };
  const report = await examineDataFolder({ ...examined, onProgress: (step) => progress.push(step) });
  const { bytes, segments } = report.logs[0]!;
  expect(report.isHealthy).toBe(true);
  expect(segments.at(-1)).toMatchObject({ bytes: length, tailBytes: 0, isTailCut: false });
  expect(progress.at(-1)).toMatchObject({ bytesDone: bytes, bytesTotal: bytes });
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
  const states = async (options?: { repair: boolean }) =>
    (await place.examine(options)).logs[0]!.segments.map(({ index }) => index).slice(0, 5);
  expect(await states()).toEqual(["missing", "missing", "wrong", "missing", "good"]);
  expect(await states({ repair: true })).toEqual(["rebuilt", "rebuilt", "rebuilt", "rebuilt", "good"]);
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
    repair: false,
    signal: AbortSignal.abort(reason),
  });
  await expect(ended).rejects.toThrow(reason);
});

test("a torn end is cut as the next start would, and only when a repair is asked for", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  await fill(place);
  const path = (await files(place, ".frames")).at(-1)!;
  const whole = await readFile(path);
  // A whole frame of the wrong place behind what is torn: nobody saw either.
  await appendFile(path, Buffer.concat([Buffer.from("torn"), whole.subarray(0, 5 + whole.readUInt32BE(1))]));
  const torn = await readFile(path);
  expect((await place.examine()).logs[0]!.segments.at(-1)).toMatchObject({ isTailCut: false });
  expect(await readFile(path)).toEqual(torn);
  const tailBytes = torn.length - whole.length;
  expect((await place.examine({ repair: true })).logs[0]!.segments.at(-1)).toMatchObject({
    tailBytes,
    isTailCut: true,
  });
  expect(await readFile(path)).toEqual(whole);
  await using log = await place.open();
  expect(log.report.cut).toBeUndefined();
  expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 100));
});

test("damage is marked in the index by a repair: readers are told of exactly that gap, and the frames stay", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  place.isDamaged = true;
  await fill(place);
  const [path] = await files(place, ".frames");
  const bytes = await readFile(path!);
  const frameBytes = 5 + bytes.readUInt32BE(1);
  for (const entry of [3, 4]) bytes[frameBytes * entry + 70]! ^= 0xff;
  await writeFile(path!, bytes);
  const before = await place.examine();
  expect(before.logs[0]!.segments[0]).toMatchObject({ index: "wrong", isIsolated: false });
  const repaired = await place.examine({ repair: true });
  expect(repaired.logs[0]!.segments[0]).toMatchObject({ index: "rebuilt", isIsolated: true });
  const after = await place.examine();
  expect(after.isHealthy).toBe(false);
  expect(after.logs[0]!.segments[0]).toMatchObject({
    index: "good",
    isIsolated: true,
    damaged: [{ first: 4, last: 5 }],
  });
  expect((await readFile(path!)).equals(bytes)).toBe(true);
  await using log = await place.open();
  expect(log.report.rebuiltIndexes).toEqual([]);
  expect((await readThrough(log.reader)).gaps).toEqual([{ kind: "gap", first: 4, last: 5, reason: "corruption" }]);
});

test("the table of a compressed segment is written anew, byte for byte", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  await fill(place, 200);
  const [name, second] = await compressAll(place);
  expect((await place.examine()).logs[0]!.segments[0]).toMatchObject({
    form: "compressed",
    table: "good",
    index: "good",
  });
  const good = await Promise.all([name, second].map((each) => readFile(`${place.logFolder}/${each}`)));
  const bad = Buffer.from(good[0]!);
  bad[bad.length - 30]! ^= 1;
  await writeFile(`${place.logFolder}/${name}`, bad);
  // Its end was never written.
  await truncate(`${place.logFolder}/${second}`, good[1]!.length - 60);
  const tables = async (options?: { repair: boolean }) =>
    (await place.examine(options)).logs[0]!.segments.slice(0, 3).map(({ table }) => table);
  expect(await tables()).toEqual(["damaged", "damaged", "good"]);
  expect(await readFile(`${place.logFolder}/${name}`)).toEqual(bad);
  expect(await tables({ repair: true })).toEqual(["rebuilt", "rebuilt", "good"]);
  expect(await tables()).toEqual(["good", "good", "good"]);
  expect(await readFile(`${place.logFolder}/${name}`)).toEqual(good[0]);
  expect(await readFile(`${place.logFolder}/${second}`)).toEqual(good[1]);
});

test("what an interrupted write left is named, and removed by a repair", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  await fill(place);
  const [first] = await files(place, ".frames");
  const leftovers = [`${first}.zst.part`, `${first}.zst`];
  for (const path of leftovers) await writeFile(path, "half");
  const names = leftovers.map((path) => path.slice(place.logFolder.length + 1));
  const report = await place.examine();
  expect(report).toMatchObject({ isHealthy: true, logs: [{ leftovers: names }] });
  await place.examine({ repair: true });
  expect((await place.examine()).logs[0]!.leftovers).toEqual([]);
});

test("durable entries that are gone from the end are missed", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  place.isDamaged = true;
  await fill(place);
  const last = (await files(place, ".frames")).at(-1)!;
  await truncate(last, 0);
  const first = Number(last.slice(-27, -7));
  expect(await place.examine()).toMatchObject({
    isHealthy: false,
    logs: [{ missing: [{ first, last: 100 }] }],
  });
});
