import { setImmediate as turn } from "node:timers/promises";
import { readdir } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { JournalPlace, type OpenedModel } from "./testing/journal-place.ts";

const KIB = 1024;
const SEGMENT = 16 * KIB;
const SMALL = { segmentBytes: SEGMENT, groupBytesMax: 4 * KIB, tailBytes: 0, historyBytesMax: 64 * KIB };
/** Two segments that may be garbage, one that is open, one that is being cleaned; and an index page of each of them. */
const FLOOR = 4 * (SEGMENT + 20 * KIB);

async function segmentsOf(place: JournalPlace): Promise<string[]> {
  return (await readdir(`${place.folder}/queue`)).filter((name) => name.endsWith(".frames")).sort();
}

/** Adds so many jobs and ends all of them but each `kept`-th one. */
async function work({ journal, queue }: OpenedModel, count: number, kept: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { number } = queue.add(200);
    const place = (i + 1) % kept === 0 ? queue.fail(number) : queue.end(number);
    if (i % 20 === 0) await journal.durable(place);
  }
  await journal.durable(queue.fail(queue.add(10).number));
}

describe("a journal gives space back", () => {
  test("when each of its segments still holds one job of long ago", async () => {
    await using place = await JournalPlace.make();
    let expected: string;
    {
      await using opened = await place.open(SMALL);
      const { journal, queue } = opened;
      await work(opened, 5000, 50);
      await journal.cleaned();
      expect(journal.diskBytes).toBeLessThan(2 * queue.liveBytes + FLOOR);
      expect(queue.jobs.size).toBe(101);
      expect(await queue.check(journal)).toEqual([]);
      expected = queue.describe();
    }
    expect((await segmentsOf(place)).length).toBeLessThan(9);
    await using again = await place.open(SMALL);
    expect(again.queue.describe()).toBe(expected);
    expect(again.queue.openings).toBe(2);
    expect(await again.queue.check(again.journal)).toEqual([]);
    expect(place.faults).toEqual([]);
  });

  test("of a queue that is empty, down to its floor", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open(SMALL);
    await work(opened, 2000, 50);
    opened.queue.end(...opened.queue.jobs.keys());
    await opened.journal.durable(opened.queue.end());
    await opened.journal.cleaned();
    expect(opened.queue.liveBytes).toBe(0);
    expect(opened.journal.diskBytes).toBeLessThan(FLOOR);
  });

  test("and leaves what is mostly alive where it is", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open(SMALL);
    for (let i = 0; i < 1000; i++) opened.queue.add(200);
    await opened.journal.durable(opened.queue.add(10).place);
    await opened.journal.cleaned();
    expect(opened.queue.asked).toBe(0);
    expect((await segmentsOf(place))[0]).toMatch(/^0+1\.frames$/);
  });

  test("after it was opened, too", async () => {
    await using place = await JournalPlace.make();
    {
      await using opened = await place.open(SMALL);
      await fill(place, opened);
    }
    const before = await segmentsOf(place);
    expect(before.length).toBeGreaterThan(10);
    await using again = await place.open(SMALL);
    await again.journal.cleaned();
    expect((await segmentsOf(place)).length).toBeLessThan(before.length / 2);
    expect(await again.queue.check(again.journal)).toEqual([]);
  });

  test("and asks about no record that only speaks of jobs", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open(SMALL);
    await work(opened, 1000, 1000);
    await opened.journal.cleaned();
    // As many jobs have been dropped; the model throws when it is asked about anything else.
    expect(opened.queue.asked).toBeGreaterThan(700);
    expect(opened.queue.asked).toBeLessThan(1100);
    expect(place.faults).toEqual([]);
  });
});

describe("cleaning", () => {
  test("drops a segment only when what it held is durable elsewhere", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open(SMALL);
    const { journal, queue } = opened;
    const [oldest, before] = await fill(place, opened);
    place.isHeld = true;
    place.release();
    queue.pretendedBytes = 0;
    queue.add(10);
    await turn();
    place.isHeld = false;
    place.release();
    place.isHeld = true;
    // The segment is read to its end, and what was carried cannot become durable.
    const first = Math.min(...before.keys());
    await expect.poll(() => queue.jobs.get(first)!.place).not.toBe(before.get(first));
    for (let i = 0; i < 50; i++) await turn();
    expect((await segmentsOf(place))[0]).toBe(oldest);
    place.isHeld = false;
    place.release();
    await journal.cleaned();
    expect((await segmentsOf(place))[0]).not.toBe(oldest);
    expect(await queue.check(journal)).toEqual([]);
  });

  test("takes its time for each slice, unless the journal is much too large", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open({ ...SMALL, segmentBytes: 256 * KIB, cleanBytesPerSecond: 256 * KIB });
    const { journal, queue } = opened;
    queue.pretendedBytes = 1e9;
    await work(opened, 8000, 100);
    // A quarter more than it may take.
    queue.pretendedBytes = journal.diskBytes / 2.5 - 256 * KIB - (queue.liveBytes - 1e9);
    await journal.durable(queue.add(10).place);
    await expect.poll(() => queue.asked).toBeGreaterThan(0);
    for (let i = 0; i < 100; i++) await turn();
    const inOneSlice = queue.asked;
    expect(inOneSlice).toBeLessThan(600);
    // About half a second for half of a segment.
    await place.clock.advanceInTurns(490);
    for (let i = 0; i < 100; i++) await turn();
    expect(queue.asked).toBe(inOneSlice);
    await place.clock.advanceInTurns(10);
    await expect.poll(() => queue.asked).toBeGreaterThan(inOneSlice);
    queue.pretendedBytes = -queue.liveBytes;
    await expect
      .poll(async () => {
        await place.clock.advanceInTurns(500);
        return (await segmentsOf(place)).length;
      })
      .toBeLessThan(6);
  });

  test("reads a job at the place that its holder knew, after it was carried away", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open(SMALL);
    const { journal, queue } = opened;
    const [oldest, known] = await fill(place, opened);
    // No more than this segment.
    const carried = queue.carried.bind(queue);
    queue.carried = (...record) => {
      queue.pretendedBytes = 1e9;
      carried(...record);
    };
    queue.pretendedBytes = 0;
    await journal.durable(queue.add(10).place);
    await journal.cleaned();
    expect((await segmentsOf(place))[0]).not.toBe(oldest);
    const moved = [...known].filter(([number, at]) => queue.jobs.get(number)!.place !== at);
    expect(moved.length).toBeGreaterThan(0);
    for (const [number, at] of moved) {
      const now = queue.jobs.get(number)!.place;
      expect(Buffer.from(await journal.body(at))).toEqual(Buffer.from(await journal.body(now)));
    }
  });

  test("rests when what is alive beside jobs is all there is, until as much was appended as a segment holds", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open(SMALL);
    const { journal, queue } = opened;
    // As if jobs took nothing: whatever is carried, the journal stays as large as it is.
    for (let i = 0; i < 1000; i++) queue.add(200);
    queue.pretendedBytes = -queue.liveBytes;
    await journal.durable(queue.add(10).place);
    await journal.cleaned();
    const { asked } = queue;
    expect(asked).toBeLessThan(3000);
    await journal.durable(queue.add(200).place);
    await journal.cleaned();
    expect(queue.asked).toBe(asked);
    for (let i = 0; i < 100; i++) queue.add(200);
    await journal.durable(queue.add(10).place);
    await journal.cleaned();
    expect(queue.asked).toBeGreaterThan(asked);
  });

  test("stops where records do not prove themselves, removes nothing, and says so", async () => {
    await using place = await JournalPlace.make();
    await using opened = await place.open(SMALL);
    const { journal, queue } = opened;
    const [oldest] = await fill(place, opened);
    const file = await place.fileSystem.open(`${place.folder}/queue/${oldest}`, "read-write");
    await file.write([Buffer.from("damage")], 8000);
    await file.close();
    queue.pretendedBytes = 0;
    await journal.durable(queue.add(10).place);
    await journal.cleaned();
    expect(place.faults.join()).toMatch(
      /cannot give space back: records \d+ to \d+ do not prove themselves: nothing is removed/,
    );
    expect((await segmentsOf(place))[0]).toBe(oldest);
  });
});

/** Much to be cleaned, which is not wanted yet. Answers the oldest segment, and where the jobs of the first ones are. */
async function fill(place: JournalPlace, opened: OpenedModel): Promise<[string, Map<number, number>]> {
  opened.queue.pretendedBytes = 1e9;
  // More than the newest block in memory.
  await work(opened, 1500, 20);
  const [oldest, second] = await segmentsOf(place);
  const end = Number.parseInt(second!);
  const jobs = [...opened.queue.jobs].map(([number, job]) => [number, job.place] as const);
  return [oldest!, new Map(jobs.filter(([, at]) => at < end))];
}
