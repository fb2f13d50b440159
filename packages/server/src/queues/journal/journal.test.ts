import { readdir, readFile, writeFile } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { JobSchema } from "@sluice/api";
import { describe, expect, test } from "vitest";
import { JournalPlace } from "./testing/journal-place.ts";
import { bodyOf } from "./testing/model-queue.ts";

const KIB = 1024;
/** Segments of a few jobs. */
const SMALL = { segmentBytes: 4 * KIB, groupBytesMax: KIB, tailBytes: 2 * KIB };

describe("a journal", () => {
  test("gives the same queue when it is opened again", async () => {
    await using place = await JournalPlace.make();
    let expected: string;
    {
      await using opened = await place.open(SMALL);
      const { queue } = opened;
      const numbers = Array.from({ length: 60 }, () => queue.add(200).number);
      for (const number of numbers.slice(0, 20)) queue.fail(number);
      queue.end(...numbers.slice(10, 30));
      expected = queue.describe();
    }
    await using again = await place.open(SMALL);
    expect(again.queue.describe()).toBe(expected);
    expect(again.queue.openings).toBe(2);
    expect(again.journal.replayed).toBe(1 + 60 + 20 + 1);
    expect(await again.queue.check(again.journal)).toEqual([]);
  });

  test("says of a replayed job what it said when it was appended", async () => {
    await using place = await JournalPlace.make();
    let before: unknown;
    {
      await using opened = await place.open();
      for (let i = 0; i < 10; i++) opened.queue.add(i * 50);
      before = [opened.queue.liveBytes, [...opened.queue.jobs]];
    }
    await using again = await place.open();
    expect([again.queue.liveBytes, [...again.queue.jobs]]).toEqual(before);
  });

  test("brings to disk together what requests that came together say, however many microtasks lie between", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open();
    const { journal, queue } = opened;
    const before = place.writes;
    queue.add(10);
    for (let i = 0; i < 20; i++) await Promise.resolve();
    await journal.durable(queue.add(10).place);
    expect(place.writes).toBe(before + 1);
  });

  test("brings what is appended while a commit runs to disk with one more", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open();
    const { journal, queue } = opened;
    place.isHeld = true;
    const before = place.writes;
    const first = queue.add(10);
    await turn();
    const later = Array.from({ length: 100 }, () => queue.add(10));
    await turn();
    expect(place.writes).toBe(before + 1);
    place.isHeld = false;
    place.release();
    await journal.durable(first.place);
    await journal.durable(later.at(-1)!.place);
    expect(place.writes).toBe(before + 2);
  });

  test("makes one commit of those whom a slow one answered, though they do not come back together", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open();
    const { journal, queue } = opened;
    place.isHeld = true;
    const answered = [queue.add(10), queue.add(10)];
    await turn();
    place.clock.advance(1);
    place.isHeld = false;
    place.release();
    await journal.durable(answered[1]!.place);
    const before = place.writes;
    queue.add(10);
    await turn();
    await turn();
    expect(place.writes).toBe(before);
    await journal.durable(queue.add(10).place);
    expect(place.writes).toBe(before + 1);
  });

  test("tells nobody that a record is durable before it is", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open();
    const { journal, queue } = opened;
    place.isHeld = true;
    const told: string[] = [];
    const first = queue.add(10).place;
    await turn();
    const second = queue.add(10).place;
    void journal.durable(second)!.then(() => told.push("second"));
    void journal.durable(first)!.then(() => told.push("first"));
    await turn();
    expect(told).toEqual([]);
    place.release();
    await journal.durable(first);
    await turn();
    expect(told).toEqual(["first"]);
    expect(journal.durable(first)).toBeUndefined();
    expect(journal.durable(second)).toBeInstanceOf(Promise);
    place.isHeld = false;
    place.release();
    await journal.durable(second);
    expect(told).toEqual(["first", "second"]);
    await expect(journal.durable(second + 1)).rejects.toThrow(`Cannot wait for record ${second + 1}`);
  });

  test("gives a job's stored bytes from wherever they are", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open(SMALL);
    const { journal, queue } = opened;
    // More than the newest block in memory.
    const old = Array.from({ length: 150 }, () => queue.add(3000));
    await journal.durable(old.at(-1)!.place);
    const durable = queue.add(300);
    await journal.durable(durable.place);
    place.isHeld = true;
    const underway = queue.add(300);
    await turn();
    const gathered = queue.add(300);
    const read = (place: number) => Promise.resolve(journal.body(place)).then((bytes) => fromBinary(JobSchema, bytes));
    expect(journal.body(old[0]!.place)).toBeInstanceOf(Promise);
    for (const [{ number, place: at }, size] of [
      [old[0]!, 3000],
      [durable, 300],
      [underway, 300],
      [gathered, 300],
    ] as const) {
      const { jobId, body } = await read(at);
      expect([jobId, Buffer.from(body).toString()]).toEqual([String(number), bodyOf(number, size).toString()]);
    }
    for (const { place: at } of [durable, underway, gathered]) expect(journal.body(at)).toBeInstanceOf(Uint8Array);
    // The batch's memory is used again; what was given stays.
    const kept = await journal.body(gathered.place);
    place.isHeld = false;
    place.release();
    for (let i = 0; i < 50; i++) await journal.durable(queue.add(300).place);
    expect(fromBinary(JobSchema, kept).jobId).toBe(String(gathered.number));
  });

  test("has no job where there is none", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open();
    const { journal, queue } = opened;
    const { number } = queue.add(10);
    const ended = queue.end(number);
    await journal.durable(ended);
    await expect(journal.body(ended)).rejects.toThrow("do not prove themselves");
  });

  test("takes many records that are larger than a batch together, and bodies that are larger than one", async () => {
    await using place = await JournalPlace.make();
    let expected: string;
    {
      await using opened = await place.open();
      for (let i = 0; i < 20_000; i++) opened.queue.add(10);
      opened.queue.add(1024 * KIB);
      expected = opened.queue.describe();
    }
    await using again = await place.open();
    expect(again.queue.describe()).toBe(expected);
    expect(await again.queue.check(again.journal)).toEqual([]);
  });
});

describe("bounds", () => {
  test("a record over the limit is refused and has changed nothing", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open({ recordBytesMax: KIB });
    const { journal, queue } = opened;
    const { place: before } = queue.add(10);
    expect(() => queue.add(KIB)).toThrow(/would take more than 1024 bytes/);
    expect(queue.add(10).place).toBe(before + 1);
    await journal.durable(before + 1);
  });

  test("jobs wait for room while much is not durable, and records that end jobs do not", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open({ pendingBytesMax: 2 * KIB });
    const { journal, queue } = opened;
    place.isHeld = true;
    expect(journal.room(5000)).toBeUndefined();
    const { number } = queue.add(1500);
    journal.admit(400);
    expect(() => journal.admit(600)).toThrow(/bytes wait for the disk, the limit is 2048/);
    const order: string[] = [];
    const waits = [600, 100].map((bytes) => journal.room(bytes)!.then(() => order.push(`${bytes}`)));
    queue.end(number);
    await turn();
    expect(order).toEqual([]);
    place.isHeld = false;
    place.release();
    await Promise.all(waits);
    expect(order).toEqual(["600", "100"]);
    expect(journal.room(600)).toBeUndefined();
  });

  test("nothing at all is taken when far too much is not durable", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open({ pendingBytesMax: KIB });
    const { journal, queue } = opened;
    place.isHeld = true;
    const { number } = queue.add(2 * KIB);
    expect(() => queue.end(number)).toThrow(/bytes wait for the disk/);
    expect(queue.jobs.has(number)).toBe(true);
    place.isHeld = false;
    place.release();
    await journal.room(1);
    await journal.durable(queue.end(number));
  });

  test("on a disk that is nearly full no job is admitted, while jobs can still be ended; then nothing is appended", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open({ reserveBytes: 80 * KIB });
    const { journal, queue } = opened;
    const { number } = queue.add(10);
    place.freeBytes = 70 * KIB;
    await place.clock.advanceInTurns(1000);
    expect(() => journal.admit(10)).toThrow(/the disk has \d+ bytes left; free space/);
    await journal.durable(queue.end(number));
    place.freeBytes = 9 * KIB;
    await place.clock.advanceInTurns(1000);
    expect(() => queue.add(10)).toThrow(/the disk has \d+ bytes left/);
    expect(queue.describe()).toBe("");
    place.freeBytes = 1024 * KIB;
    await place.clock.advanceInTurns(1000);
    journal.admit(10);
    await journal.durable(queue.add(10).place);
  });
});

describe("a journal that fails", () => {
  for (const code of ["EIO", "ENOSPC"] as const) {
    test(`by ${code} tells its owner once, refuses everything, and comes back with what was acknowledged`, async () => {
      await using place = await JournalPlace.make();
      let acknowledged: string;
      {
        await using opened = await place.open();
        const { journal, queue } = opened;
        const failures: Error[] = [];
        journal.onFailure((error) => failures.push(error));
        await journal.durable(queue.add(10).place);
        acknowledged = queue.describe();
        place.failWrites = code;
        const lost = queue.add(10).place;
        const outcomes = [lost, lost].map((each) => journal.durable(each)!);
        await turn();
        const behind = queue.add(10).place;
        outcomes.push(journal.durable(behind)!);
        for (const outcome of outcomes) await expect(outcome).rejects.toThrow(/its journal failed/);
        await expect(journal.durable(behind)).rejects.toMatchObject({ kind: "unavailable" });
        expect(failures).toHaveLength(1);
        expect(() => queue.add(10)).toThrow(/its journal failed/);
        expect(() => journal.admit(10)).toThrow(/its journal failed/);
        expect(journal.room(1e9)).toBeUndefined();
        place.failWrites = undefined;
      }
      await using again = await place.open();
      expect(again.queue.describe()).toBe(acknowledged);
    });
  }

  test("wakes those who wait for room", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open({ pendingBytesMax: KIB });
    place.failWrites = "EIO";
    opened.queue.add(KIB);
    await opened.journal.room(KIB);
    expect(() => opened.journal.admit(1)).toThrow(/its journal failed/);
    place.failWrites = undefined;
  });

  test("is not one that is closed: what was appended is on disk, what comes then is refused", async () => {
    await using place = await JournalPlace.make();
    const { journal, queue } = await place.open();
    queue.add(10);
    await journal[Symbol.asyncDispose]();
    expect(() => queue.add(10)).toThrow(/it is closed/);
    await using again = await place.open();
    expect(again.queue.describe()).toBe("1:0");
  });
});

describe("damage", () => {
  /** A journal of several segments, closed. */
  async function makeSegments(place: JournalPlace): Promise<string[]> {
    {
      await using opened = await place.open(SMALL);
      for (let i = 0; i < 60; i++) await opened.journal.durable(opened.queue.add(200).place);
    }
    return segmentNames(place);
  }

  async function segmentNames(place: JournalPlace): Promise<string[]> {
    return (await readdir(`${place.folder}/queue`)).filter((name) => name.endsWith(".frames")).sort();
  }

  async function flip(path: string, at: number): Promise<void> {
    const bytes = await readFile(path);
    bytes[at]! ^= 1;
    await writeFile(path, bytes);
  }

  test("in a sealed segment refuses the queue, naming file and records", async () => {
    await using place = await JournalPlace.make();
    const names = await makeSegments(place);
    expect(names.length).toBeGreaterThan(3);
    await flip(`${place.folder}/queue/${names[1]}`, 300);
    await expect(place.open(SMALL)).rejects.toMatchObject({
      kind: "data-loss",
      message: expect.stringMatching(
        new RegExp(`^Cannot open queue "tax": record \\d+ in .*/${names[1]} does not prove itself`),
      ) as string,
    });
    // Not once, and then forgotten.
    await expect(place.open(SMALL)).rejects.toMatchObject({ kind: "data-loss" });
  });

  test("in the newest segment, before its end, does so too", async () => {
    await using place = await JournalPlace.make();
    const names = await makeSegments(place);
    await flip(`${place.folder}/queue/${names.at(-1)}`, 20);
    await expect(place.open(SMALL)).rejects.toMatchObject({ kind: "data-loss" });
  });

  test("that took the end of the journal is told at each opening", async () => {
    await using place = await JournalPlace.make();
    const names = await makeSegments(place);
    const path = `${place.folder}/queue/${names.at(-1)}`;
    await writeFile(path, (await readFile(path)).subarray(0, 10));
    for (let i = 0; i < 2; i++) {
      await expect(place.open(SMALL)).rejects.toMatchObject({
        kind: "data-loss",
        message: expect.stringContaining("ended with records that are gone") as string,
      });
    }
  });

  test("that is the torn end of a crash is cut", async () => {
    await using place = await JournalPlace.make();
    const names = await makeSegments(place);
    const path = `${place.folder}/queue/${names.at(-1)}`;
    await writeFile(path, Buffer.concat([await readFile(path), Buffer.from([0, 0, 0, 0, 99, 10, 90])]));
    await using again = await place.open(SMALL);
    expect(again.queue.jobs.size).toBe(60);
  });

  test("found when a job is read is said to who reads it", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open({ segmentBytes: 64 * KIB, groupBytesMax: 16 * KIB, tailBytes: 0 });
    // More than the newest block in memory.
    for (let i = 0; i < 150; i++) await opened.journal.durable(opened.queue.add(3 * KIB).place);
    const [name] = await segmentNames(place);
    await flip(`${place.folder}/queue/${name}`, 300);
    const outcomes = await Promise.allSettled(
      [...opened.queue.jobs.values()].map(async (job) => opened.journal.body(job.place)),
    );
    const failed = outcomes.filter(({ status }) => status === "rejected");
    expect(failed).toHaveLength(1);
    expect(failed[0]).toMatchObject({ reason: { kind: "data-loss" } });
  });
});
