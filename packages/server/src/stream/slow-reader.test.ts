import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { ReaderTooSlow } from "../errors.ts";
import { formatCursor, parseCursor } from "./cursor.ts";
import type { FollowOptions } from "./follow-options.ts";
import { Pace, type SlowReaderPolicy } from "./slow-reader.ts";
import { MemoryLog } from "./testing/memory-log.ts";
import { endingIn, openStream, type OpenedStream, settle } from "./testing/open-stream.ts";
import { entriesOf, type PulledStream } from "./testing/pulled-stream.ts";

const sequenceOf = (bytes: Uint8Array, start: number, end: number): number =>
  Number(entriesOf(bytes.subarray(start, end))[0]!.sequence);

function openSlow(log: MemoryLog, slowReader: SlowReaderPolicy, options: Partial<FollowOptions> = {}): OpenedStream {
  const manner = { until: Number.POSITIVE_INFINITY, slowReader, batch: undefined, sequenceOf };
  return openStream(log, { heartbeatMs: 0, manner, ...options });
}

/** A log of entries m1, m2, … that gives its reader one at a time. */
function slowLog(): MemoryLog {
  const log = new MemoryLog();
  log.runEntriesMax = 1;
  return log;
}

async function write(log: MemoryLog, count: number): Promise<void> {
  const first = log.next;
  await log.write(...Array.from({ length: count }, (_, i) => ({ message: `m${first + i}` })));
}

/** Writes in steps of 100 entries; the reader takes one thing in each. */
async function readTooSlowly(log: MemoryLog, opened: OpenedStream, steps: number): Promise<void> {
  await settle();
  opened.stream.isStalled = true;
  for (let step = 0; step < steps && opened.stream.ending === "open"; step++) {
    await write(log, 100);
    await settle(2);
    opened.clock.advance(10);
    opened.stream.take();
  }
}

/** Follows the events from one end to the other. @throws when anything is missing, repeated or counted twice */
function accountFor(stream: PulledStream, isMatch: (sequence: number) => boolean = () => true): number {
  let place = 0;
  let gaps = 0;
  for (const event of stream.events) {
    if (event.startsWith("gap")) {
      const { kind } = stream.controls.filter((entry) => entry.control?.kind.case === "gap")[gaps++]!.control!;
      if (kind.case !== "gap") throw new Error("no gap");
      const after = parseCursor("default", kind.value.afterCursor, "").sequence;
      expect(after).toBeGreaterThanOrEqual(place);
      for (let between = place + 1; between <= after; between++) expect(isMatch(between)).toBe(false);
      place = parseCursor("default", kind.value.toCursor, "").sequence;
      expect(kind.value.count).toBe(BigInt(place - after));
    } else if (event !== "sync") {
      const sequence = Number(event);
      for (let between = place + 1; between < sequence; between++) expect(isMatch(between)).toBe(false);
      expect(sequence).toBeGreaterThan(place);
      place = sequence;
    }
  }
  return place;
}

describe("a reader a hundred times too slow", () => {
  test("that drops the oldest stays near the head, and entries and gaps add up to what was written", async () => {
    const log = slowLog();
    const opened = openSlow(log, { kind: "drop-oldest", lagMaxEntries: 200 });
    await readTooSlowly(log, opened, 50);
    const last = opened.stream.entries.at(-1)!;
    expect(log.head.sequence - Number(last.sequence)).toBeLessThanOrEqual(200);
    opened.stream.resume();
    await settle();
    expect(opened.stream.events.filter((event) => event.startsWith("gap")).length).toBeGreaterThan(10);
    expect(opened.stream.entries.length).toBeGreaterThan(100);
    expect(accountFor(opened.stream)).toBe(5000);
  });

  test("that catches up gets all, however late", async () => {
    const log = slowLog();
    const opened = openStream(log, { heartbeatMs: 0 });
    await readTooSlowly(log, opened, 50);
    expect(opened.stream.entries.length).toBeLessThanOrEqual(50);
    opened.stream.resume();
    await settle();
    expect(opened.stream.events.filter((event) => event !== "sync")).toHaveLength(5000);
    expect(accountFor(opened.stream)).toBe(5000);
  });

  test("that samples gets no more than its share a second, and gaps for the rest", async () => {
    const log = slowLog();
    const opened = openSlow(log, { kind: "sample", lagMaxEntries: 1_000_000, perSecond: 7 });
    await settle();
    for (let tenth = 0; tenth < 50; tenth++) {
      await write(log, 70);
      await settle(3);
      opened.clock.advance(100);
      await settle(2);
    }
    opened.clock.advance(1000);
    await settle();
    expect(opened.stream.entries.map((entry) => Number(entry.sequence)).slice(0, 8)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 701,
    ]);
    expect(opened.stream.entries).toHaveLength(35);
    expect(accountFor(opened.stream)).toBe(3500);
    const gap = opened.stream.controls.at(-1)?.control?.kind;
    expect(gap?.case === "gap" && gap.value.reason).toBe(2);
  });

  test("that wants to be cut off is, also while nothing can be sent, with the cursor to go on after", async () => {
    const log = slowLog();
    const opened = openSlow(log, { kind: "disconnect", lagMaxEntries: 200 });
    await readTooSlowly(log, opened, 50);
    const { error } = opened.stream.ending as { error: ReaderTooSlow };
    expect(error).toBeInstanceOf(ReaderTooSlow);
    const sent = Number(opened.stream.entries.at(-1)!.sequence);
    expect(error.facts.metadata?.["cursor"]).toBe(formatCursor("default", { epoch: 1, sequence: sent }));
    expect(accountFor(opened.stream)).toBe(sent);
    expect(opened.followers.count).toBe(0);
    expect(log.openScans).toBe(0);
  });

  test("gets history whole, whatever it asked for", async () => {
    const log = slowLog();
    await write(log, 1000);
    const opened = openSlow(log, { kind: "drop-oldest", lagMaxEntries: 10 });
    await settle();
    expect(opened.stream.events).toHaveLength(1001);
    expect(opened.stream.events.at(-1)).toBe("sync");
  });
});

test("the entries of a gap can be read later, by its cursors", async () => {
  const log = slowLog();
  const opened = openSlow(log, { kind: "drop-oldest", lagMaxEntries: 4 });
  await settle();
  opened.stream.isStalled = true;
  await write(log, 20);
  opened.stream.resume();
  await settle();
  expect(opened.stream.events).toEqual(["sync", "gap of 18", "19", "20"]);
  const manner = { until: 18, slowReader: undefined, batch: undefined, sequenceOf };
  const later = openStream(log, { manner, isFollowing: false });
  const filtered = openStream(log, { manner, filter: endingIn("8"), isFollowing: false });
  await settle();
  expect(later.stream.events).toEqual(Array.from({ length: 18 }, (_, i) => String(i + 1)));
  expect(filtered.stream.events).toEqual(["8", "18"]);
  expect([later.stream.ending, filtered.stream.ending]).toEqual(["ended", "ended"]);
});

test("a stream ends at its place within a run, also one that follows", async () => {
  const log = new MemoryLog();
  log.runEntriesMax = 10;
  await write(log, 7);
  const manner = { until: 9, slowReader: undefined, batch: undefined, sequenceOf };
  const { stream } = openStream(log, { manner });
  await settle();
  expect([stream.events.length, stream.ending]).toEqual([8, "open"]);
  await write(log, 5);
  await settle();
  expect(stream.events.slice(7)).toEqual(["sync", "8", "9"]);
  expect(stream.ending).toBe("ended");
});

test("without controls a dropped entry ends the stream, with the cursor to go on after", async () => {
  const log = slowLog();
  const opened = openSlow(log, { kind: "drop-oldest", lagMaxEntries: 4 }, { controls: undefined });
  await settle();
  opened.stream.isStalled = true;
  await write(log, 20);
  opened.stream.resume();
  await settle();
  expect(opened.stream.ending).toMatchObject({
    error: {
      kind: "out-of-range",
      facts: {
        reason: "SLOW_READER",
        metadata: { count: "18", cursor: formatCursor("default", { epoch: 1, sequence: 18 }) },
      },
    },
  });
});

test("a strict reader that asked for gaps of its own gets them", async () => {
  const log = slowLog();
  const opened = openSlow(log, { kind: "drop-oldest", lagMaxEntries: 4 }, { isStrict: true });
  await settle();
  opened.stream.isStalled = true;
  await write(log, 20);
  opened.stream.resume();
  await settle();
  expect(opened.stream.events).toEqual(["sync", "gap of 18", "19", "20"]);
});

test("a sample's share counts from sync on: history does not spend it", async () => {
  const log = new MemoryLog();
  log.runEntriesMax = 100;
  await write(log, 20);
  const opened = openSlow(log, { kind: "sample", lagMaxEntries: 1000, perSecond: 3 });
  await settle();
  await write(log, 5);
  await settle();
  const history = Array.from({ length: 20 }, (_, i) => String(i + 1));
  expect(opened.stream.events).toEqual([...history, "sync", "21", "22", "23"]);
  expect(opened.stream.ending).toBe("open");
  opened.follow.close();
});

test("a sample that is held back is told how far behind it is, and its timer ends with it", async () => {
  const log = slowLog();
  const opened = openSlow(log, { kind: "sample", lagMaxEntries: 100, perSecond: 2 }, { heartbeatMs: 300 });
  await settle();
  await write(log, 5);
  await settle();
  opened.clock.advance(300);
  await settle();
  expect(opened.stream.events).toEqual(["sync", "1", "2", "heartbeat lag 3"]);
  opened.follow.close();
  expect(opened.clock.timers).toBe(0);
});

test("whatever the reader, the log and the clock do: entries and gaps add up", async () => {
  const policy = fc.oneof(
    fc.record({ kind: fc.constant("drop-oldest" as const), lagMaxEntries: fc.integer({ min: 1, max: 40 }) }),
    fc.record({
      kind: fc.constant("sample" as const),
      lagMaxEntries: fc.integer({ min: 1, max: 40 }),
      perSecond: fc.integer({ min: 1, max: 20 }),
    }),
  );
  const step = fc.oneof(
    fc.record({ kind: fc.constant("write" as const), count: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constantFrom("take" as const, "turn" as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constant("wait" as const), count: fc.integer({ min: 1, max: 1500 }) }),
  );
  const digits = fc.constantFrom("", "3", "1234567", "02468");
  await fc.assert(
    fc.asyncProperty(policy, fc.array(step, { maxLength: 40 }), digits, fc.nat(3), async (slow, steps, only, runs) => {
      const log = new MemoryLog();
      log.runEntriesMax = 1 + runs;
      log.onDiskTo = only === "3" ? 1_000_000 : 0;
      const filter = only === "" ? undefined : endingIn(only, only === "1234567");
      const opened = openSlow(log, slow, { filter });
      await settle(3);
      opened.stream.isStalled = true;
      for (const { kind, count } of steps) {
        if (kind === "write") await write(log, count);
        else if (kind === "wait") opened.clock.advance(count);
        else for (let i = 0; i < count; i++) await (kind === "take" ? opened.stream.take() : settle(1));
      }
      opened.stream.resume();
      for (let second = 0; second < 3; second++) {
        await settle(10);
        opened.clock.advance(1001);
      }
      await settle(10);
      const isMatch = (sequence: number): boolean => only === "" || only.includes(String(sequence).at(-1)!);
      const place = accountFor(opened.stream, isMatch);
      for (let after = place + 1; after <= log.head.sequence; after++) expect(isMatch(after)).toBe(false);
      opened.follow.close();
    }),
    { numRuns: Math.ceil(150 * inject("propertyScale")) },
  );
});

test("one that stays slow gets few gaps: each takes it to the middle of what it may lag", () => {
  const pace = new Pace({ kind: "drop-oldest", lagMaxEntries: 100 });
  expect(pace.judge(0, 100, 0)).toEqual({ kind: "go", entriesMax: Number.POSITIVE_INFINITY });
  expect(pace.judge(0, 101, 0)).toEqual({ kind: "skip", to: 51, reason: "slow_reader" });
});

test("a second of a sample begins with its first entry", () => {
  const pace = new Pace({ kind: "sample", lagMaxEntries: 1000, perSecond: 3 });
  pace.took(2, 5000);
  expect(pace.judge(2, 9, 5500)).toEqual({ kind: "go", entriesMax: 1 });
  pace.took(1, 5500);
  expect(pace.judge(3, 9, 5600)).toEqual({ kind: "hold", ms: 400 });
  expect(pace.judge(3, 9, 6000)).toEqual({ kind: "skip", to: 9, reason: "sampled" });
  expect(pace.judge(9, 10, 6001)).toEqual({ kind: "go", entriesMax: 3 });
});

test("a follow ends at its place also when nothing comes behind it", async () => {
  const log = new MemoryLog();
  await write(log, 7);
  const manner = { until: 7, slowReader: undefined, batch: undefined, sequenceOf };
  const { stream } = openStream(log, { manner });
  await settle();
  expect(stream.events.slice(0, 7)).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  expect(stream.ending).toBe("ended");
});

test("a sample that is held back keeps no memory of the log", async () => {
  const log = new MemoryLog();
  log.runEntriesMax = 10;
  const opened = openSlow(log, { kind: "sample", lagMaxEntries: 100, perSecond: 2 });
  await settle();
  await write(log, 9);
  await settle();
  expect(opened.stream.events).toEqual(["sync", "1", "2"]);
  const { releases } = log;
  opened.follow.sent();
  expect(log.releases).toBe(releases + 1);
});
