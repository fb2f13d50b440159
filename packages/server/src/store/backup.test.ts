// Backups: consistent beside a writer, brought up to date by what is new, restored with a new epoch, and never mixed.
import { appendFile, cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { LogBackup } from "./backup.ts";
import type { DoctorReport } from "./doctor.ts";
import type { Log } from "./log.ts";
import type { EmbeddedPlace } from "./testing/place.ts";
import { FolderInUse, NotFound, SluiceError } from "../errors.ts";
import { backUp, restoreBackup } from "./backup.ts";
import { openDataFolder } from "./data-folder.ts";
import { examineDataFolder } from "./doctor.ts";
import { nodeFileSystem as fileSystem } from "./file-system-node.ts";
import { lockFolder } from "./lock.ts";
import { openLog } from "./log.ts";
import { compressAll } from "./testing/compressing.ts";
import { makeBatch, testCodec as codec } from "./testing/frames.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range, readThrough, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

const SMALL = { segmentBytes: 4096, groupBytesMax: 2048 };

let place: EmbeddedPlace;
let folder: string;
let backup: string;

beforeEach(async () => {
  place = await openEmbeddedPlace(SMALL);
  folder = await mkdtemp(join(tmpdir(), "sluice-backup-"));
  backup = `${folder}/backup`;
});

afterEach(async () => {
  await rm(folder, { recursive: true });
  await place[Symbol.asyncDispose]();
});

const entryAt = (number: number) => makeEntry(number, { payload: `${number} ${"x".repeat(80)}` });

async function write(log: Log, from: number, to: number): Promise<void> {
  for (const number of range(from, to)) await append(log.writer, [entryAt(number)]);
}

async function fill(count: number): Promise<void> {
  await using log = await place.open();
  await write(log, 1, count);
}

async function runBackup(options: { prune?: boolean; target?: string } = {}): Promise<LogBackup> {
  const { prune = false, target = backup } = options;
  const [log] = await backUp({ folder: place.folder, backup: target, fileSystem, codec, clock: place.clock, prune });
  return log!;
}

function restore(name = "restored", random = 0): Promise<DoctorReport> {
  const request = { backup, folder: `${folder}/${name}`, fileSystem, codec, clock: place.clock, random: () => random };
  return restoreBackup(request);
}

/** What a restored log has. */
async function readRestored(name = "restored") {
  await using owned = await openDataFolder({ folder: `${folder}/${name}`, fileSystem });
  await using log = await openLog({
    folder: owned.logFolder("default"),
    name: "default",
    fileSystem,
    codec,
    clock: place.clock,
    options: SMALL,
  });
  const { entries, gaps } = await readThrough(log.reader);
  return { entries, gaps, head: log.reader.head, epochs: log.reader.epochs, report: log.report };
}

const namesIn = async (path: string) => (await readdir(path)).filter((name) => !/^(LOCK|OWNER)/.test(name)).sort();
const segmentsOf = async (path: string) =>
  (await namesIn(`${path}/logs/default`)).filter((name) => /\.frames(\.zst)?$/.test(name));

test("a restored log has every entry, and goes on in a new epoch", async () => {
  await fill(100);
  expect(await runBackup()).toMatchObject({ name: "default", first: 1, last: 100, damaged: [] });
  expect(await restore("restored", 0.999)).toMatchObject({ isHealthy: true });
  const { entries, gaps, head, epochs, report } = await readRestored();
  expect(entries.map(({ payload }) => payload)).toEqual(range(1, 100).map((number) => entryAt(number).payload));
  expect(gaps).toEqual([]);
  expect(head).toEqual({ epoch: 257, sequence: 100 });
  expect(epochs).toEqual([
    { epoch: 1, sequence: 1 },
    { epoch: 257, sequence: 101 },
  ]);
  expect(report).toMatchObject({ lost: undefined, cut: undefined, rebuiltIndexes: [], newEpoch: undefined });
});

test("beside a writer, a backup has all that was acknowledged before it began, and nothing torn", async () => {
  await using log = await place.open();
  await write(log, 1, 50);
  let isDone = false;
  const writing = (async () => {
    for (let number = 51; !isDone; number++) await write(log, number, number);
  })();
  const lasts: number[] = [];
  for (const _ of range(1, 5)) {
    const before = log.reader.head.sequence;
    const { last, damaged } = await runBackup();
    expect(last).toBeGreaterThanOrEqual(before);
    expect(damaged).toEqual([]);
    lasts.push(last);
  }
  isDone = true;
  await writing;
  expect(await restore()).toMatchObject({ isHealthy: true });
  const restored = await readRestored();
  expect(sequencesOf({ ...restored, runs: [] })).toEqual(range(1, lasts.at(-1)!));
});

test("a backup is brought up to date by what is new alone", async () => {
  await fill(100);
  const all = await runBackup();
  expect(all.copiedSegments).toBe(all.segments);
  const nothing = await runBackup();
  expect(nothing).toMatchObject({ copiedSegments: 0, segments: all.segments, last: 100 });
  {
    await using log = await place.open();
    await write(log, 101, 160);
  }
  const some = await runBackup();
  // Those that are new, and the one that was open.
  expect(some.copiedSegments).toBe(some.segments - all.segments + 1);
  expect(some).toMatchObject({ first: 1, last: 160 });
  await restore();
  expect((await readRestored()).entries).toHaveLength(160);
});

test("room behind the last entry is not copied, and is nothing new", async () => {
  await using log = await place.open();
  await write(log, 1, 3);
  const { copiedBytes } = await runBackup();
  expect(copiedBytes).toBeLessThan(10_000);
  expect(await runBackup()).toMatchObject({ copiedSegments: 0, last: 3 });
  await write(log, 4, 4);
  expect(await runBackup()).toMatchObject({ copiedSegments: 1, last: 4 });
});

test("an index that was not there yet is copied the next time", async () => {
  await fill(60);
  const [index] = (await namesIn(place.logFolder)).filter((name) => name.endsWith(".index"));
  const bytes = await readFile(`${place.logFolder}/${index}`);
  await rm(`${place.logFolder}/${index}`);
  await runBackup();
  expect(await namesIn(`${backup}/logs/default`)).not.toContain(index);
  await writeFile(`${place.logFolder}/${index}`, bytes);
  expect(await runBackup()).toMatchObject({ copiedSegments: 0 });
  expect(await readFile(`${backup}/logs/default/${index}`)).toEqual(bytes);
});

test("a segment keeps the form in which it was copied; one that was open and is compressed now is replaced", async () => {
  await fill(60);
  await runBackup();
  const wasOpen = (await segmentsOf(backup)).at(-1)!;
  {
    await using log = await place.open();
    await write(log, 61, 100);
  }
  await compressAll(place);
  expect(await runBackup()).toMatchObject({ last: 100, damaged: [] });
  const names = await segmentsOf(backup);
  expect(names[0]).toMatch(/\.frames$/);
  expect(names).toContain(`${wasOpen}.zst`);
  expect(names).not.toContain(wasOpen);
  await restore();
  expect((await readRestored()).entries).toHaveLength(100);
});

test("what retention removed stays in the backup, unless it is told to prune", async () => {
  await fill(100);
  const all = await runBackup();
  {
    await using log = await place.open();
    await log.dropOldest();
    await log.dropOldest();
  }
  expect(await runBackup()).toMatchObject({ segments: all.segments, first: 1, prunedSegments: 0 });
  const pruned = await runBackup({ prune: true });
  expect(pruned).toMatchObject({ segments: all.segments - 2, prunedSegments: 2 });
  expect(pruned.first).toBeGreaterThan(1);
  await restore();
  expect((await readRestored()).entries[0]!.sequence).toBe(pruned.first);
});

test("damage in the log is told by the backup that copies it, and by the restore", async () => {
  place.isDamaged = true;
  await fill(100);
  const [first] = await segmentsOf(place.folder);
  const path = `${place.logFolder}/${first}`;
  const bytes = await readFile(path);
  bytes[(5 + bytes.readUInt32BE(1)) * 2 + 80]! ^= 0xff;
  await writeFile(path, bytes);
  expect((await runBackup()).damaged).toEqual([{ first: 3, last: 3 }]);
  const report = await restore();
  expect(report.isHealthy).toBe(false);
  expect(report.logs[0]!.segments[0]!.damaged).toEqual([{ first: 3, last: 3 }]);
  expect((await readRestored()).gaps).toMatchObject([{ first: 3, last: 3, reason: "corruption" }]);
});

test("damage in a compressed segment is told, and the copy has it as it is", async () => {
  place.isDamaged = true;
  await fill(100);
  const [first] = await compressAll(place);
  const path = `${place.logFolder}/${first}`;
  const bytes = await readFile(path);
  bytes[100]! ^= 0xff;
  await writeFile(path, bytes);
  const next = Number((await segmentsOf(place.folder))[1]!.slice(0, 20));
  const report = await runBackup();
  expect(report).toMatchObject({ last: 100, damaged: [{ first: 1, last: next - 1 }] });
  expect(await readFile(`${backup}/logs/default/${first}`)).toEqual(bytes);
  // The whole segment is one group.
  expect(await restore()).toMatchObject({ isHealthy: false, logs: [{ missing: [{ first: 1, last: next - 1 }] }] });
  expect((await readRestored()).gaps).toMatchObject([{ first: 1, last: next - 1, reason: "corruption" }]);
});

test("the torn end of a crashed log is not copied", async () => {
  await fill(20);
  const open = (await segmentsOf(place.folder)).at(-1)!;
  await appendFile(`${place.logFolder}/${open}`, "torn");
  expect(await runBackup()).toMatchObject({ last: 20 });
  expect((await stat(`${backup}/logs/default/${open}`)).size).toBe((await stat(`${place.logFolder}/${open}`)).size - 4);
});

test("the producers are known again", async () => {
  {
    await using log = await place.open();
    for (const number of range(1, 60)) {
      const producer = { id: `p${number % 3}`, first: number };
      await log.writer.append(log.writer.next, makeBatch(log.writer, [entryAt(number)], producer));
    }
  }
  await runBackup();
  await restore();
  await using owned = await openDataFolder({ folder: `${folder}/restored`, fileSystem });
  const request = { name: "default", fileSystem, codec, clock: place.clock, options: SMALL };
  await using log = await openLog({ folder: owned.logFolder("default"), ...request });
  expect(log.writer.producer("p0")).toMatchObject({ lastProducerSequence: 60, lastSequence: 60 });
});

test("what entries share is known again: the dictionary", async () => {
  let id: number | undefined;
  {
    await using log = await place.open();
    using lease = log.dictionary.lease();
    id = await lease.intern(1, Buffer.from("a resource"));
    await write(log, 1, 5);
  }
  await runBackup();
  await restore();
  await using owned = await openDataFolder({ folder: `${folder}/restored`, fileSystem });
  const request = { name: "default", fileSystem, codec, clock: place.clock, options: SMALL };
  await using log = await openLog({ folder: owned.logFolder("default"), ...request });
  expect(Buffer.from(log.dictionary.find(id!)!.bytes).toString()).toBe("a resource");
});

test("a backup of one history takes nothing of another", async () => {
  await fill(30);
  await runBackup();
  await using other = await openEmbeddedPlace(SMALL);
  {
    await using log = await other.open();
    for (const number of range(1, 60)) await append(log.writer, [makeEntry(number, { payload: `other ${number}` })]);
  }
  const before = await namesIn(`${backup}/logs/default`);
  const request = { backup, fileSystem, codec, clock: place.clock, prune: true };
  await expect(backUp({ ...request, folder: other.folder })).rejects.toThrow("of another history");
  expect(await namesIn(`${backup}/logs/default`)).toEqual(before);
  // Nor of a log that has lost what the backup has.
  await using shorter = await openEmbeddedPlace(SMALL);
  {
    await using log = await shorter.open();
    await write(log, 1, 1);
  }
  await expect(backUp({ ...request, folder: shorter.folder })).rejects.toThrow("of another history");
});

test("histories of the same size are told apart by what is in them", async () => {
  await fill(60);
  await runBackup();
  await using other = await openEmbeddedPlace(SMALL);
  {
    await using log = await other.open();
    for (const number of range(1, 60)) {
      await append(log.writer, [makeEntry(number, { payload: `${number} ${"y".repeat(80)}` })]);
    }
  }
  expect(await segmentsOf(other.folder)).toEqual(await segmentsOf(place.folder));
  const request = { backup, fileSystem, codec, clock: place.clock, prune: false };
  await expect(backUp({ ...request, folder: other.folder })).rejects.toThrow("of another history");
});

test("nobody opens a backup as a data folder, and nobody restores or copies over one", async () => {
  await fill(10);
  await runBackup();
  await expect(openDataFolder({ folder: backup, fileSystem })).rejects.toThrow("sluice logs restore");
  await expect(runBackup({ target: place.folder })).rejects.toThrow("it is a data folder");
  await expect(runBackup({ target: folder })).rejects.toThrow("it is not empty");
  await restore();
  await expect(restore()).rejects.toThrow("it is not empty, it is a data folder");
  const nothing = { fileSystem, codec, clock: place.clock, random: () => 0 };
  await expect(restoreBackup({ ...nothing, backup: place.folder, folder: `${folder}/x` })).rejects.toThrow(NotFound);
  await expect(backUp({ ...nothing, folder, backup: `${folder}/y`, prune: false })).rejects.toThrow(NotFound);
  await using _held = await openDataFolder({ folder: place.folder, fileSystem });
  expect(await runBackup()).toMatchObject({ last: 10 });
});

test("two backups into one folder at a time are refused", async () => {
  await fill(10);
  await runBackup();
  using _lock = lockFolder(backup);
  await expect(runBackup()).rejects.toThrow(FolderInUse);
});

test("a backup is verified like a data folder", async () => {
  await fill(50);
  await runBackup();
  const request = { folder: backup, fileSystem, codec, clock: place.clock, repair: false };
  expect(await examineDataFolder(request)).toMatchObject({ isHealthy: true, logs: [{ entries: 50 }] });
});

test("an ended backup leaves one that ends earlier, and the next one completes it", async () => {
  await fill(100);
  const signal = AbortSignal.abort(new Error("enough"));
  const request = { folder: place.folder, backup, fileSystem, codec, clock: place.clock, prune: false };
  await expect(backUp({ ...request, signal })).rejects.toThrow("enough");
  let copied = 0;
  const controller = new AbortController();
  const stopLate = {
    signal: controller.signal,
    onBytes: () => void (++copied === 8 && controller.abort(new Error("late"))),
  };
  await expect(backUp({ ...request, ...stopLate })).rejects.toThrow("late");
  await cp(backup, `${folder}/partial`, { recursive: true });
  expect(await runBackup()).toMatchObject({ last: 100, damaged: [] });
  await restore();
  expect((await readRestored()).entries).toHaveLength(100);
  backup = `${folder}/partial`;
  await restore("part");
  const part = await readRestored("part");
  expect(sequencesOf({ ...part, runs: [] })).toEqual(range(1, part.head.sequence));
  expect(part.head.sequence).toBeGreaterThan(0);
});

test("a log without its table of epochs is not copied", async () => {
  await fill(10);
  place.isDamaged = true;
  await writeFile(`${place.logFolder}/EPOCHS`, "nonsense");
  await expect(runBackup()).rejects.toThrow(SluiceError);
});
