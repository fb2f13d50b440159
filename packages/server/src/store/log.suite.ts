// What every engine that holds logs must do, whatever it is made of.
import { describe, expect, test } from "vitest";
import type { EntryRun, LogWriter } from "./contract.ts";
import type { LogPlace } from "./testing/log-place.ts";
import { Fenced, LimitExceeded } from "../errors.ts";
import { describeAnyHistory } from "./log-history.suite.ts";
import { append, makeEntry } from "./testing/writing.ts";
import { decodeRun, makeBatch } from "./testing/frames.ts";
import { drain, range, readThrough, sequencesOf } from "./testing/reading.ts";

const someEntries = (count: number) => range(1, count).map((number) => makeEntry(number));

export function describeLog(name: string, openPlace: () => Promise<LogPlace>): void {
  describe(`a log in ${name}`, () => {
    describeWriting(openPlace);
    describeReading(openPlace);
    describeFollowing(openPlace);
    describeLabels(openPlace);
    describeReopening(openPlace);
    describeAnyHistory(openPlace);
  });
}

function describeWriting(openPlace: () => Promise<LogPlace>): void {
  test("begins empty", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    expect(log.reader.head).toEqual({ epoch: 1, sequence: 0 });
    expect(log.reader.first).toBe(1);
    expect(log.writer.next).toBe(1);
    expect(log.reader.scan(0).next(1000)).toBeUndefined();
  });

  test("numbers entries at once, and shows them when they are durable", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    const appended = append(log.writer, someEntries(3));
    expect(log.writer.next).toBe(4);
    expect(log.reader.head.sequence).toBe(0);
    expect(log.reader.scan(0).next(1000)).toBeUndefined();
    expect(await appended).toBe(3);
    expect(log.reader.head).toEqual({ epoch: log.writer.epoch, sequence: 3 });
    expect(sequencesOf(await readThrough(log.reader))).toEqual([1, 2, 3]);
  });

  test("keeps the order of appends that are under way together", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    const lasts = await Promise.all(range(1, 50).map((number) => append(log.writer, [makeEntry(number)])));
    expect(lasts).toEqual(range(1, 50));
    const { entries } = await readThrough(log.reader);
    expect(entries.map(({ payload }) => payload)).toEqual(range(1, 50).map((number) => `entry ${number}`));
  });

  test("refuses an append that expects another end", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, someEntries(2));
    for (const expected of [1, 2, 4]) {
      expect(() => log.writer.append(expected, makeBatch(log.writer, someEntries(1)))).toThrow(Fenced);
    }
    expect(log.writer.next).toBe(3);
  });

  test("takes an empty batch for what it is", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    expect(await append(log.writer, [])).toBe(0);
    await append(log.writer, someEntries(2));
    expect(await append(log.writer, [])).toBe(2);
    expect(log.reader.head.sequence).toBe(2);
  });

  test("tells when an entry is durable", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    const appended = append(log.writer, someEntries(5));
    await log.writer.durable(3);
    expect(log.reader.head.sequence).toBeGreaterThanOrEqual(3);
    await appended;
    await log.writer.durable(5);
    await expect(log.writer.durable(6)).rejects.toThrow(RangeError);
  });

  test("bounds what waits for the disk", async () => {
    await using place = await openPlace();
    await using log = await place.open({ pendingBytesMax: 1000 });
    const large = [makeEntry(1, { payload: "x".repeat(900) })];
    expect(log.writer.room(900)).toBeUndefined();
    const first = append(log.writer, large);
    expect(() => append(log.writer, large)).toThrow(LimitExceeded);
    expect(log.writer.next).toBe(2);
    const room = log.writer.room(900);
    expect(room).toBeInstanceOf(Promise);
    await room;
    expect(await append(log.writer, large)).toBe(2);
    await first;
  });

  test("takes a batch larger than the bound when nothing else waits", async () => {
    await using place = await openPlace();
    await using log = await place.open({ pendingBytesMax: 100 });
    expect(log.writer.room(5000)).toBeUndefined();
    expect(await append(log.writer, [makeEntry(1, { payload: "x".repeat(5000) })])).toBe(1);
  });

  test("refuses appends after it was closed", async () => {
    await using place = await openPlace();
    const log = await place.open();
    await log[Symbol.asyncDispose]();
    expect(() => append(log.writer, someEntries(1))).toThrow(/closed/);
  });
}

function describeReading(openPlace: () => Promise<LogPlace>): void {
  test("reads on from any position", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, someEntries(20));
    for (const after of [0, 1, 10, 19, 20]) {
      expect(sequencesOf(await readThrough(log.reader, { after }))).toEqual(range(after + 1, 20));
    }
  });

  test("hands out as much as was asked for, an entry at least", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, someEntries(30));
    for (const maxBytes of [1, 100, 1000, 100_000]) {
      const { runs, entries } = await readThrough(log.reader, { maxBytes });
      expect(entries).toHaveLength(30);
      for (const run of runs as EntryRun[]) expect(run.count === 1 || run.bytes.length <= maxBytes).toBe(true);
    }
  });

  test("says of each run what is in it", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, someEntries(30));
    const scan = log.reader.scan(4);
    const run = (await scan.next(500)) as EntryRun;
    expect(run).toMatchObject({ kind: "entries", first: 5 });
    expect(run.starts).toHaveLength(run.count + 1);
    expect(run.starts[0]).toBe(0);
    expect(run.starts[run.count]).toBe(run.bytes.length);
    expect(decodeRun(run).map(({ sequence }) => sequence)).toEqual(range(run.first, run.last));
    expect(scan.position).toBe(run.last);
  });

  test("gives nothing after it was closed", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, someEntries(3));
    const scan = log.reader.scan(0);
    scan.close();
    expect(await scan.next(1000)).toBeUndefined();
  });

  test("never changes what it has handed out", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, someEntries(10));
    const scan = log.reader.scan(0);
    const run = (await scan.next(100_000)) as EntryRun;
    const copy = Buffer.from(run.bytes);
    for (let round = 0; round < 20; round++) {
      await append(log.writer, someEntries(100));
      await readThrough(log.reader);
    }
    expect(Buffer.from(run.bytes).equals(copy)).toBe(true);
  });

  test("finds where the last matching entries begin", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(
      log.writer,
      range(1, 40).map((number) => makeEntry(number, { severity: number % 10 === 0 ? 17 : 9 })),
    );
    const { reader } = log;
    expect(await reader.findTail(5, 41)).toBe(35);
    expect(await reader.findTail(5, 21)).toBe(15);
    expect(await reader.findTail(0, 41)).toBe(40);
    expect(await reader.findTail(100, 41)).toBe(0);
    expect(await reader.findTail(5, 1000)).toBe(35);
    expect(await reader.findTail(2, 41, { minSeverity: 17 })).toBe(29);
    expect(await reader.findTail(2, 30, { minSeverity: 17 })).toBe(9);
    expect(await reader.findTail(9, 41, { minSeverity: 17 })).toBe(0);
  });
}

function describeFollowing(openPlace: () => Promise<LogPlace>): void {
  test("tells listeners of a new head, in the turn of the commit", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    const heads: number[] = [];
    const stop = log.reader.onHead(() => heads.push(log.reader.head.sequence));
    await append(log.writer, someEntries(2));
    await append(log.writer, someEntries(1));
    stop();
    await append(log.writer, someEntries(1));
    expect(heads).toEqual([2, 3]);
  });

  test("gives a follower at the head what comes, at once and without a hole", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, someEntries(10));
    const scan = log.reader.scan(0);
    expect(sequencesOf(await drain(scan))).toEqual(range(1, 10));
    for (let round = 0; round < 30; round++) {
      const last = await append(log.writer, someEntries(3));
      const run = scan.next(100_000);
      expect(run).not.toBeInstanceOf(Promise);
      expect(run).toMatchObject({ kind: "entries", first: last - 2, last });
      expect(scan.next(100_000)).toBeUndefined();
    }
  });

  test("lets a follower that was left behind catch up", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    const scan = log.reader.scan(0);
    for (let round = 0; round < 20; round++) {
      await append(
        log.writer,
        range(1, 50).map((number) => makeEntry(number, { payload: "x".repeat(300) })),
      );
    }
    expect(sequencesOf(await drain(scan))).toEqual(range(1, 1000));
  });

  test("shows a follower an application that appears later, when it asks for it", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, [makeEntry(1, { label: "a" }), makeEntry(2, { label: "b" })]);
    const labels = new Set([log.reader.findLabel("a")!]);
    const scan = log.reader.scan(0, { labels });
    expect(sequencesOf(await drain(scan))).toEqual([1]);
    labels.add(log.writer.internLabel("c"));
    await append(log.writer, [makeEntry(3, { label: "c" }), makeEntry(4, { label: "b" })]);
    expect(sequencesOf(await drain(scan))).toEqual([3]);
    expect(scan.position).toBe(4);
  });
}

function describeLabels(openPlace: () => Promise<LogPlace>): void {
  test("knows its applications", async () => {
    await using place = await openPlace();
    await using log = await place.open();
    await append(log.writer, [
      makeEntry(5, { label: "a" }),
      makeEntry(3, { label: "b" }),
      makeEntry(4, { label: "a" }),
    ]);
    const { reader } = log;
    expect(reader.labelName(reader.findLabel("b")!)).toBe("b");
    expect(reader.findLabel("c")).toBeUndefined();
    const rows = reader.labels().toSorted((x, y) => x.name.localeCompare(y.name));
    expect(rows).toMatchObject([
      { name: "a", count: 2, firstTimestamp: 4_000_000_000n, lastTimestamp: 5_000_000_000n },
      { name: "b", count: 1, firstTimestamp: 3_000_000_000n, lastTimestamp: 3_000_000_000n },
    ]);
    expect(rows.every(({ bytes }) => bytes > 0)).toBe(true);
  });

  test("bounds how many applications there are", async () => {
    await using place = await openPlace();
    await using log = await place.open({ applicationsMax: 2 });
    expect(log.writer.internLabel("a")).toBe(log.writer.internLabel("a"));
    log.writer.internLabel("b");
    expect(() => log.writer.internLabel("c")).toThrow(LimitExceeded);
    expect(log.writer.internLabel("b")).toBe(log.reader.findLabel("b"));
  });
}

function describeReopening(openPlace: () => Promise<LogPlace>): void {
  test("has everything when it is opened again", async () => {
    await using place = await openPlace();
    let count = 0;
    for (let life = 1; life <= 4; life++) {
      await using log = await place.open();
      expect(log.writer.next).toBe(count + 1);
      expect(log.reader.epochs).toEqual([{ epoch: 1, sequence: 1 }]);
      expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, count));
      count = await append(log.writer, someEntries(37));
    }
  });

  test("brings to disk what was appended before it is closed", async () => {
    await using place = await openPlace();
    const log = await place.open();
    const appended = append(log.writer, someEntries(5));
    await log[Symbol.asyncDispose]();
    expect(await appended).toBe(5);
    await using again = await place.open();
    expect(again.reader.head.sequence).toBe(5);
  });

  test("remembers each producer's last entry, also when it is opened again", async () => {
    await using place = await openPlace();
    const send = (writer: LogWriter, id: string, first: number, count: number) =>
      writer.append(writer.next, makeBatch(writer, someEntries(count), { id, first }));
    {
      await using log = await place.open();
      const sent = send(log.writer, "p", 1, 3);
      expect(log.writer.producer("p")).toMatchObject({ lastProducerSequence: 3, lastSequence: 3 });
      await sent;
      await send(log.writer, "q", 100, 1);
      await send(log.writer, "p", 4, 2);
      expect(log.writer.producer("r")).toBeUndefined();
    }
    await using log = await place.open();
    expect(log.writer.producer("p")).toMatchObject({ lastProducerSequence: 5, lastSequence: 6 });
    expect(log.writer.producer("q")).toMatchObject({ lastProducerSequence: 100, lastSequence: 4 });
  });
}
