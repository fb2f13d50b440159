// What opening a log does with files that a crash, or a disk that does not keep its word, has left.
import { appendFile, readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import type { EmbeddedPlace } from "./testing/place.ts";
import type { TestEntry } from "./testing/frames.ts";
import { encodeFrame, makeBatch } from "./testing/frames.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range, readThrough, sequencesOf } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

const SMALL = { segmentBytes: 4096, groupBytesMax: 2048 };

/** A log of so many entries, closed. */
async function fill(place: EmbeddedPlace, count: number): Promise<void> {
  await using log = await place.open();
  await append(
    log.writer,
    range(1, count).map((number) => sameSize(number)),
  );
}

/** An entry whose frame is as long as that of any other. */
function sameSize(number: number): TestEntry {
  return makeEntry(number, { payload: String(number).padStart(20, "0") });
}

async function lastFrames(place: EmbeddedPlace): Promise<string> {
  const names = (await readdir(place.logFolder)).filter((name) => name.endsWith(".frames")).sort();
  return `${place.logFolder}/${names.at(-1)}`;
}

/** A frame as entry `sequence` would be stored. */
function frame(sequence: number, epoch = 1): Buffer {
  return encodeFrame(sameSize(sequence), { epoch, sequence, producer: "", producerSequence: 0 });
}

describe("a torn tail", () => {
  test("is cut, and said: a frame that has only begun", async () => {
    await using place = await openEmbeddedPlace();
    await fill(place, 10);
    const path = await lastFrames(place);
    const { length } = await readFile(path);
    await appendFile(path, frame(11).subarray(0, 40));
    await using log = await place.open();
    expect(log.report).toMatchObject({
      cut: { file: path, at: length, bytes: 40, entries: 1 },
      lost: undefined,
      newEpoch: undefined,
    });
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 10));
    expect((await readFile(path)).length).toBe(length);
    expect(await append(log.writer, [makeEntry(11)])).toBe(11);
  });

  test("is cut from its first byte that proves nothing on, though whole frames may follow", async () => {
    await using place = await openEmbeddedPlace();
    await fill(place, 10);
    const path = await lastFrames(place);
    const torn = frame(12);
    torn[40]! ^= 0xff;
    await appendFile(path, Buffer.concat([frame(11), torn, frame(13), frame(14)]));
    await using log = await place.open();
    expect(log.report.cut).toMatchObject({ bytes: 3 * torn.length, entries: 3 });
    expect(log.report.newEpoch).toBeUndefined();
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 11));
  });

  test("is told without the zeros behind it: nothing was written there", async () => {
    await using place = await openEmbeddedPlace();
    await fill(place, 10);
    const path = await lastFrames(place);
    const { length } = await readFile(path);
    await appendFile(path, Buffer.concat([frame(11).subarray(0, 40), Buffer.alloc(100_000)]));
    await using log = await place.open();
    expect(log.report.cut).toMatchObject({ at: length, bytes: 40, entries: 1 });
    expect((await readFile(path)).length).toBe(length);
    expect(log.reader.head).toEqual({ epoch: 1, sequence: 10 });
  });

  test("holds no entry of another place: of a wrong sequence, or of an epoch that is over", async () => {
    for (const stray of [frame(10), frame(12), frame(11, 2)]) {
      await using place = await openEmbeddedPlace();
      await fill(place, 10);
      await appendFile(await lastFrames(place), stray);
      await using log = await place.open();
      expect(log.report.cut).toMatchObject({ bytes: stray.length });
      expect(log.reader.head).toEqual({ epoch: 1, sequence: 10 });
    }
  });

  test("that proves itself whole was only not answered: it is kept, and its producer is known", async () => {
    await using place = await openEmbeddedPlace();
    await fill(place, 10);
    const unanswered = encodeFrame(makeEntry(11), { epoch: 1, sequence: 11, producer: "p", producerSequence: 7 });
    await appendFile(await lastFrames(place), unanswered);
    await using log = await place.open();
    expect(log.report.cut).toBeUndefined();
    expect(log.reader.head.sequence).toBe(11);
    expect(log.writer.producer("p")).toMatchObject({ lastProducerSequence: 7, lastSequence: 11 });
  });
});

describe("room ahead of what is written", () => {
  /** The bytes of the last segment while the log is open, as a crash may leave them. */
  async function whileOpen(place: EmbeddedPlace, count: number): Promise<{ path: string; bytes: Buffer }> {
    await using log = await place.open();
    for (const number of range(1, count)) await append(log.writer, [sameSize(number)]);
    const path = await lastFrames(place);
    return { path, bytes: await readFile(path) };
  }

  test("is there while the log is open, and cut off when it is closed", async () => {
    await using place = await openEmbeddedPlace();
    const { path, bytes } = await whileOpen(place, 3);
    const frames = Buffer.concat([frame(1), frame(2), frame(3)]);
    expect(bytes.equals(Buffer.concat([frames, Buffer.alloc(64 * 1024)]).subarray(0, bytes.length))).toBe(true);
    expect(bytes.length).toBeGreaterThan(64 * 1024);
    expect((await readFile(path)).equals(frames)).toBe(true);
  });

  test("is no torn tail after a crash: it goes without a word, and writing goes on where it ended", async () => {
    await using place = await openEmbeddedPlace();
    const { path, bytes } = await whileOpen(place, 3);
    await writeFile(path, bytes);
    {
      await using log = await place.open();
      expect(log.report).toMatchObject({ cut: undefined, lost: undefined, newEpoch: undefined });
      expect(await readFile(path)).toHaveLength(3 * frame(1).length);
      expect(await append(log.writer, [sameSize(4)])).toBe(4);
    }
    await using log = await place.open();
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 4));
  });

  test("is not left in a sealed segment, nor longer than a segment may be", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    await using log = await place.open();
    const written = range(1, 200).map((number) => frame(number).length);
    for (const number of range(1, 200)) {
      await append(log.writer, [sameSize(number)]);
      expect((await stat(await lastFrames(place))).size).toBeLessThanOrEqual(SMALL.segmentBytes);
    }
    const names = (await readdir(place.logFolder)).filter((name) => name.endsWith(".frames")).sort();
    const sealed = await Promise.all(names.slice(0, -1).map((name) => readFile(`${place.logFolder}/${name}`)));
    expect(sealed.length).toBeGreaterThan(2);
    const firsts = names.map((name) => Number.parseInt(name, 10));
    for (const [i, bytes] of sealed.entries()) {
      const lengths = written.slice(firsts[i]! - 1, firsts[i + 1]! - 1);
      expect(bytes).toHaveLength(lengths.reduce((sum, length) => sum + length, 0));
    }
  });
});

describe("durable entries that are gone", () => {
  test("begin a new epoch at the first of them", async () => {
    await using place = await openEmbeddedPlace();
    await fill(place, 10);
    const path = await lastFrames(place);
    const frameBytes = (await readFile(path)).length / 10;
    await truncate(path, Math.floor(frameBytes * 7.5));
    {
      await using log = await place.open();
      expect(log.report).toMatchObject({ lost: { first: 8, last: 10 }, newEpoch: { epoch: 2, sequence: 8 } });
      expect(log.reader.head).toEqual({ epoch: 2, sequence: 7 });
      expect(log.writer.epoch).toBe(2);
      expect(await append(log.writer, [makeEntry(8)])).toBe(8);
    }
    await using log = await place.open();
    expect(log.report).toMatchObject({ lost: undefined, newEpoch: undefined, cut: undefined });
    expect(log.reader.epochs).toEqual([
      { epoch: 1, sequence: 1 },
      { epoch: 2, sequence: 8 },
    ]);
    const { entries } = await readThrough(log.reader);
    expect(entries.map(({ epoch }) => epoch)).toEqual([1, 1, 1, 1, 1, 1, 1, 2]);
  });

  test("are noticed when the whole last segment is gone", async () => {
    await using place = await openEmbeddedPlace(SMALL);
    for (const _ of range(1, 6)) await fillOn(place, 20);
    await rm(await lastFrames(place));
    await using log = await place.open();
    const { lost } = log.report;
    expect(lost).toMatchObject({ last: 120 });
    expect(log.report.newEpoch).toEqual({ epoch: 2, sequence: lost!.first });
    expect(await append(log.writer, [makeEntry(1)])).toBe(lost!.first);
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, lost!.first));
  });

  test("before an epoch that had already begun leave its cursors past the cut", async () => {
    await using place = await openEmbeddedPlace();
    await fill(place, 10);
    const path = await lastFrames(place);
    const frameBytes = (await readFile(path)).length / 10;
    await truncate(path, frameBytes * 8);
    await fillOn(place, 5);
    await truncate(path, frameBytes * 3);
    await using log = await place.open();
    expect(log.reader.epochs).toEqual([
      { epoch: 1, sequence: 1 },
      { epoch: 2, sequence: 4 },
      { epoch: 3, sequence: 4 },
    ]);
  });
});

async function fillOn(place: EmbeddedPlace, count: number): Promise<void> {
  await using log = await place.open();
  for (const number of range(1, count)) await append(log.writer, [sameSize(number)]);
}

describe("the file EPOCHS", () => {
  test("that is gone or damaged costs a new epoch, and no entry", async () => {
    for (const spoil of [rm, (path: string) => writeFile(path, "nonsense\n"), (path: string) => truncate(path, 20)]) {
      await using place = await openEmbeddedPlace();
      await fill(place, 10);
      await spoil(`${place.logFolder}/EPOCHS`);
      await using log = await place.open();
      expect(log.report.newEpoch).toEqual({ epoch: 2, sequence: 11 });
      expect(log.report.lost).toBeUndefined();
      expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 10));
    }
  });

  test("that is gone when the last epoch was not the first is followed by a later one", async () => {
    await using place = await openEmbeddedPlace();
    await fill(place, 10);
    const path = await lastFrames(place);
    await truncate(path, ((await readFile(path)).length / 10) * 8);
    await fillOn(place, 2);
    await rm(`${place.logFolder}/EPOCHS`);
    for (const _ of range(1, 2)) {
      await using log = await place.open();
      expect(log.reader.head).toEqual({ epoch: 3, sequence: 10 });
      expect(log.reader.epochs).toEqual([
        { epoch: 1, sequence: 1 },
        { epoch: 2, sequence: 9 },
        { epoch: 3, sequence: 11 },
      ]);
      expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 10));
    }
  });
});

describe("producers", () => {
  const send = async (place: EmbeddedPlace, id: string, first: number, count: number) => {
    await using log = await place.open();
    const { writer } = log;
    for (const number of range(first, first + count - 1)) {
      await writer.append(writer.next, makeBatch(writer, [makeEntry(number)], { id, first: number }));
    }
  };
  const snapshots = async (place: EmbeddedPlace) =>
    (await readdir(place.logFolder))
      .filter((name) => name.endsWith(".producers"))
      .map((name) => `${place.logFolder}/${name}`);

  test("are known again from the frames when no snapshot is there, or none proves itself", async () => {
    const setCount = (count: number) => async (path: string) => {
      const bytes = await readFile(path);
      bytes.writeUInt32LE(count, 12);
      await writeFile(path, bytes);
    };
    const spoils = [
      rm,
      (path: string) => writeFile(path, "nonsense"),
      (path: string) => truncate(path, 25),
      setCount(0),
      setCount(99),
    ];
    for (const spoil of spoils) {
      await using place = await openEmbeddedPlace(SMALL);
      await send(place, "idle", 1, 3);
      await send(place, "busy", 1, 150);
      const files = await snapshots(place);
      expect(files.length).toBe(2);
      for (const path of files) await spoil(path);
      await using log = await place.open();
      expect(log.writer.producer("idle")).toMatchObject({ lastProducerSequence: 3, lastSequence: 3 });
      expect(log.writer.producer("busy")).toMatchObject({ lastProducerSequence: 150, lastSequence: 153 });
    }
  });

  test("beyond the bound are forgotten, the one idle for longest first", async () => {
    await using place = await openEmbeddedPlace({ producersMax: 3 });
    for (const id of ["a", "b", "c", "a", "d"]) await send(place, id, 1, 1);
    await using log = await place.open();
    expect(["a", "b", "c", "d"].map((id) => log.writer.producer(id) !== undefined)).toEqual([true, false, true, true]);
  });

  test("of lost entries are not known: what they sent may come again", async () => {
    await using place = await openEmbeddedPlace();
    await send(place, "p", 1, 4);
    const path = await lastFrames(place);
    await truncate(path, (await readFile(path)).length / 2);
    await using log = await place.open();
    expect(log.writer.producer("p")).toMatchObject({ lastProducerSequence: 2, lastSequence: 2 });
  });
});

test("files of an interrupted write are removed, and said", async () => {
  await using place = await openEmbeddedPlace();
  await fill(place, 3);
  await writeFile(`${place.logFolder}/EPOCHS.part`, "half");
  await writeFile(`${place.logFolder}/00000000000000000077.index`, "of a segment that is gone");
  await using log = await place.open();
  expect(log.report.removedFiles).toEqual(["EPOCHS.part", "00000000000000000077.index"]);
  expect(await readdir(place.logFolder)).toEqual(["00000000000000000001.frames", "EPOCHS"]);
});
