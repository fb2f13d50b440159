// What a log does when its disk fails: it says so, loses nothing it acknowledged, and goes on where that is safe.
import { describe, expect, test } from "vitest";
import type { Fate } from "../support/fake-file-system.ts";
import { DataLoss, DiskFull, LogReadOnly } from "../../packages/server/src/errors.ts";
import { makeBatch } from "../../packages/server/src/store/testing/frames.ts";
import { range, readThrough, sequencesOf } from "../../packages/server/src/store/testing/reading.ts";
import { append, makeEntry } from "../../packages/server/src/store/testing/writing.ts";
import { FIRST_FRAMES, FOLDER, isFrames, Place, write } from "../support/fake-log-place.ts";

describe("a sync that fails", () => {
  test("makes the log read-only, with the reason; what was acknowledged is read on", async () => {
    const place = new Place();
    await using log = await place.open();
    await write(log, 1, 3);
    place.fail((operation) => operation.kind === "sync" && isFrames(operation), "EIO");
    const failed = append(log.writer, [makeEntry(4)]);
    await expect(failed).rejects.toThrow(LogReadOnly);
    await expect(failed).rejects.toThrow(/writing failed: EIO: sync/);
    expect(log.state.writer).toMatchObject({ kind: "read-only", cause: expect.stringContaining("EIO") as unknown });
    expect(place.events).toContainEqual({ kind: "read-only", cause: expect.stringContaining("EIO") as unknown });
    expect(log.writer.next).toBe(4);
    expect(sequencesOf(await readThrough(log.reader))).toEqual([1, 2, 3]);
  });

  test("is never tried again, also when the disk is well", async () => {
    const place = new Place();
    await using log = await place.open();
    await write(log, 1, 3);
    let syncs = 0;
    place.disk.plan = (operation): Fate => {
      if (operation.kind !== "sync" || !isFrames(operation)) return "done";
      syncs++;
      return syncs === 1 ? { code: "EIO" } : "done";
    };
    await expect(append(log.writer, [makeEntry(4)])).rejects.toThrow(LogReadOnly);
    expect(() => append(log.writer, [makeEntry(4)])).toThrow(LogReadOnly);
    expect(log.writer.room(100)).toBeUndefined();
    await expect(log.writer.durable(4)).rejects.toThrow(RangeError);
    expect(syncs).toBe(1);
  });

  test("refuses all that waited behind it", async () => {
    const place = new Place({ groupBytesMax: 100 });
    await using log = await place.open();
    place.fail((operation) => operation.kind === "sync" && isFrames(operation), "EIO");
    const appends = range(1, 5).map((number) => append(log.writer, [makeEntry(number)]));
    const outcomes = await Promise.allSettled(appends);
    expect(outcomes.map(({ status }) => status)).toEqual(range(1, 5).map(() => "rejected"));
    expect(log.reader.head.sequence).toBe(0);
    expect(log.writer.next).toBe(1);
  });

  test("leaves entries that may be kept: opened again, they are brought to disk before anybody reads them", async () => {
    const place = new Place();
    const log = await place.open();
    await write(log, 1, 3);
    place.fail((operation) => operation.kind === "sync" && isFrames(operation), "EIO");
    await expect(append(log.writer, [makeEntry(4)])).rejects.toThrow(LogReadOnly);
    await log[Symbol.asyncDispose]();
    place.heal();
    const again = await place.open();
    const seen = sequencesOf(await readThrough(again.reader));
    expect(seen).toEqual([1, 2, 3, 4]);
    // The failed sync had dropped them from what is still to be written (FF3): only writing them again saves them.
    place.clock.forgetTimers();
    place.disk.cutPower("nothing-unsynced");
    await using last = await place.open();
    expect(sequencesOf(await readThrough(last.reader))).toEqual(seen);
  });

  test("of a new segment's folder makes the log read-only too", async () => {
    const place = new Place({ segmentBytes: 200 });
    await using log = await place.open();
    await write(log, 1, 3);
    place.fail(({ kind }) => kind === "sync-folder", "EIO");
    await expect(write(log, 4, 10)).rejects.toThrow(/syncing the folder failed/);
    expect(log.state.writer.kind).toBe("read-only");
    const { sequence } = log.reader.head;
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, sequence));
  });
});

describe("a disk that is full", () => {
  test("refuses appends, keeps serving reads, and takes appends again when there is room", async () => {
    const place = new Place();
    await using log = await place.open();
    await write(log, 1, 3);
    place.fail((operation) => operation.kind === "write" && isFrames(operation), "ENOSPC");
    for (const _ of range(1, 5)) await expect(append(log.writer, [makeEntry(4)])).rejects.toThrow(DiskFull);
    expect(log.state.writer.kind).toBe("open");
    expect(place.events).toContainEqual({ kind: "disk-full" });
    expect(sequencesOf(await readThrough(log.reader))).toEqual([1, 2, 3]);
    place.heal();
    await write(log, 4, 6);
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 6));
  });

  test("leaves nothing of what was written in part", async () => {
    const place = new Place();
    await using log = await place.open();
    await write(log, 1, 3);
    const before = place.disk.writtenBytesOf(FIRST_FRAMES);
    place.fail((operation) => operation.kind === "write" && isFrames(operation), "ENOSPC");
    await expect(
      append(
        log.writer,
        range(4, 50).map((number) => makeEntry(number)),
      ),
    ).rejects.toThrow(DiskFull);
    await expect.poll(() => place.disk.bytesOf(FIRST_FRAMES)).toEqual(before);
  });

  test("forgets what it knew of producers whose entries it refused", async () => {
    const place = new Place();
    await using log = await place.open();
    const { writer } = log;
    const send = (first: number) =>
      writer.append(writer.next, makeBatch(writer, [makeEntry(first)], { id: "p", first }));
    await send(1);
    place.fail((operation) => operation.kind === "write" && isFrames(operation), "ENOSPC");
    const refused = send(2);
    expect(writer.producer("p")).toMatchObject({ lastProducerSequence: 2 });
    await expect(refused).rejects.toThrow(DiskFull);
    expect(writer.producer("p")).toMatchObject({ lastProducerSequence: 1, lastSequence: 1 });
  });

  test("makes the log read-only when the part cannot be cut away", async () => {
    const place = new Place();
    await using log = await place.open();
    place.disk.plan = (operation): Fate => {
      if (!isFrames(operation)) return "done";
      if (operation.kind === "write") return { code: "ENOSPC" };
      return operation.kind === "truncate" ? { code: "EIO" } : "done";
    };
    await expect(append(log.writer, [makeEntry(1)])).rejects.toThrow(DiskFull);
    await expect.poll(() => log.state.writer).toMatchObject({ kind: "read-only" });
    expect(() => append(log.writer, [makeEntry(1)])).toThrow(/cutting back a partial write failed/);
  });

  test("when a segment is to be made refuses appends, and makes it when there is room", async () => {
    const place = new Place({ segmentBytes: 200 });
    await using log = await place.open();
    place.fail(({ kind }) => kind === "create", "ENOSPC");
    await expect(write(log, 1, 10)).rejects.toThrow(DiskFull);
    const { sequence } = log.reader.head;
    expect(sequence).toBeGreaterThan(0);
    place.heal();
    await write(log, sequence + 1, 10);
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 10));
  });

  test("costs no index: it serves from memory, and is written when there is room", async () => {
    const place = new Place({ segmentBytes: 200, tickMs: 1000 });
    await using log = await place.open();
    place.fail(({ path }) => path.includes(".index"), "ENOSPC");
    await write(log, 1, 10);
    expect(sequencesOf(await readThrough(log.reader))).toEqual(range(1, 10));
    const indexes = () => place.disk.names(FOLDER).filter((name) => name.endsWith(".index"));
    await expect.poll(() => log.state.faults.length).toBeGreaterThan(0);
    expect(indexes()).toEqual([]);
    place.heal();
    place.clock.advance(1000);
    await expect.poll(() => indexes().length).toBe(log.state.segments - 1);
  });

  test("at the start does not stop the reading", async () => {
    const place = new Place();
    const log = await place.open();
    await write(log, 1, 5);
    place.clock.forgetTimers();
    place.disk.kill();
    // The last entries lie where there is room already, so they can be written once more.
    place.disk.plan = (operation): Fate =>
      (operation.kind === "write" && !isFrames(operation)) || operation.kind === "create" ? { code: "ENOSPC" } : "done";
    await using again = await place.open();
    expect(sequencesOf(await readThrough(again.reader))).toEqual(range(1, 5));
    expect(log.writer.next).toBe(6);
  });
});

describe("a disk that does not give what it has", () => {
  test("costs a gap of the unreadable page, and no more", async () => {
    const place = new Place();
    const log = await place.open();
    // Pages of 1024 entries.
    for (const page of range(0, 3)) {
      await append(
        log.writer,
        range(1, 1024).map((i) => makeEntry(page * 1024 + i)),
      );
    }
    await log[Symbol.asyncDispose]();
    const pageStarts = await findStarts(place, [1025, 2049]);
    await using again = await place.open();
    place.disk.readFault = ({ start, end }) => start < pageStarts[1]! && end > pageStarts[0]!;
    const found = await readThrough(again.reader);
    expect(found.gaps).toEqual([{ kind: "gap", first: 1025, last: 2048, reason: "corruption" }]);
    expect(sequencesOf(found)).toEqual([...range(1, 1024), ...range(2049, 4096)]);
    // It may have been the cable.
    place.disk.readFault = () => false;
    await using later = await place.open();
    expect(sequencesOf(await readThrough(later.reader))).toEqual(range(1, 4096));
  });

  test("is not cut: a log whose last bytes cannot be read is not opened", async () => {
    const place = new Place();
    const log = await place.open();
    await write(log, 1, 5);
    place.clock.forgetTimers();
    place.disk.kill();
    const before = place.disk.bytesOf(FIRST_FRAMES);
    place.disk.readFault = ({ path }) => path === FIRST_FRAMES;
    await expect(place.open()).rejects.toThrow(DataLoss);
    place.disk.readFault = () => false;
    expect(place.disk.bytesOf(FIRST_FRAMES)).toEqual(before);
    await using again = await place.open();
    expect(again.reader.head.sequence).toBe(5);
    expect(log.reader.head.sequence).toBe(5);
  });
});

/** Where the frames of some entries begin in the first segment. */
async function findStarts(place: Place, sequences: readonly number[]): Promise<number[]> {
  await using log = await place.open();
  const { runs } = await readThrough(log.reader, { maxBytes: 1 });
  const starts: number[] = [];
  let at = 0;
  for (const run of runs) {
    if (run.kind === "entries" && sequences.includes(run.first)) starts.push(at);
    at += run.kind === "entries" ? run.bytes.length : 0;
  }
  return starts;
}
