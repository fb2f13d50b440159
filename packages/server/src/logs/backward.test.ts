import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LogEntrySchema, LogStreamRequestSchema, Order } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { describe, expect, test } from "vitest";
import { CursorExpired, DataLoss } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { BatchEncoder } from "../stream/batches.ts";
import { ControlFrames } from "../stream/control.ts";
import { cursorOf, type Resumption } from "../stream/cursor.ts";
import type { FrameFilter } from "../stream/frame-filter.ts";
import { MemoryLog } from "../stream/testing/memory-log.ts";
import { type BackwardOptions, readBackwards, scanBackwards } from "./backward.ts";
import { sequenceOf } from "./frame-fields.ts";
import { parseLogQuery } from "./query.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";
import { messagesIn } from "./testing/test-service.ts";

async function logOf(count: number): Promise<MemoryLog> {
  const log = new MemoryLog();
  log.runEntriesMax = 10;
  await log.write(...Array.from({ length: count }, (_, i) => ({ message: `m${i + 1}` })));
  return log;
}

interface Asked extends Partial<BackwardOptions> {
  readonly request?: MessageInitShape<typeof LogStreamRequestSchema>;
  readonly call?: FakeCall;
}

/** What comes, in short: sequences, "gap 3-5", "sync 7" for the token before entry 7, "sync" for the empty one. */
async function read(log: MemoryLog, asked: Asked = {}, onItem: () => void = () => {}): Promise<string[]> {
  const { request = {}, call = new FakeCall(), ...options } = asked;
  const defaults = { hasControls: true, heartbeatMs: 0, hasBatches: false };
  const message = create(LogStreamRequestSchema, { order: Order.NEWEST_FIRST, ...request });
  const query = parseLogQuery(message, DEFAULT_LIMITS, defaults);
  const start: Resumption = { after: log.head.sequence + 1, cut: undefined };
  const names = new Map(Array.from({ length: 200 }, (_, i) => [cursorOf(log, i), String(i)]));
  const events: string[] = [];
  const all = readBackwards(query, call, {
    reader: log,
    clock: new ManualClock(),
    controls: new ControlFrames(12),
    batchControls: new ControlFrames(2),
    encoder: new BatchEncoder(),
    scanQuery: {},
    filter: undefined,
    notices: [],
    start,
    ...options,
  });
  for await (const { bytes } of all) {
    for (const { sequence, control } of messagesIn(LogEntrySchema, bytes)) {
      const kind = control?.kind;
      if (kind?.case === "sync") events.push(`sync ${names.get(kind.value.cursor) ?? ""}`.trimEnd());
      else if (kind?.case === "gap")
        events.push(`gap ${names.get(kind.value.afterCursor)}-${names.get(kind.value.toCursor)}`);
      else events.push(String(sequence));
      onItem();
    }
  }
  return events;
}

/** Lets nothing through, and takes 100 ms for each entry. */
function slowFilter(clock: ManualClock): FrameFilter {
  return {
    matches() {
      clock.skip(100);
      return false;
    },
    sequenceOf,
  };
}

describe("what is missing", () => {
  test("is told where it is, from the newest on", async () => {
    const log = await logOf(9);
    for (const sequence of [4, 5, 9]) log.damaged.add(sequence);
    expect(await read(log)).toEqual(["gap 8-9", "8", "7", "6", "gap 3-5", "3", "2", "1", "sync"]);
  });

  test("ends a reading without controls, and says where older entries are", async () => {
    const log = await logOf(9);
    for (const sequence of [4, 5]) log.damaged.add(sequence);
    const reading = read(log, { request: { controlFrames: false } });
    await expect(reading).rejects.toThrow(DataLoss);
    // "After" the cursor of the gap's first entry lie, in this order, the older ones.
    await expect(reading).rejects.toMatchObject({ facts: { metadata: { cursor: cursorOf(log, 4), count: "2" } } });
    const start = { after: 4, cut: undefined };
    expect(await read(log, { request: { controlFrames: false }, start })).toEqual(["3", "2", "1"]);
  });

  test("of an era that was cut comes first; who is strict hears of it as an error", async () => {
    const log = await logOf(5);
    const start: Resumption = { after: 3, cut: { seen: { epoch: 0, sequence: 7 }, count: 4 } };
    expect((await read(log, { start })).slice(1)).toEqual(["3", "2", "1", "sync"]);
    await expect(read(log, { start, request: { strictCursor: true } })).rejects.toThrow(CursorExpired);
  });

  test("because retention took it meanwhile is the end", async () => {
    const log = await logOf(150);
    const events = await read(log, {}, () => {
      log.dropBefore(100);
    });
    expect(events.slice(0, 51)).toEqual(Array.from({ length: 51 }, (_, i) => String(150 - i)));
    expect(events.at(-1)).toBe("sync");
    expect(events.length).toBeLessThan(150);
  });
});

test("a search that finds nothing says each second how far it is, with a token to go on from", async () => {
  const log = await logOf(190);
  const clock = new ManualClock();
  const events = await read(log, { clock, filter: slowFilter(clock) });
  expect(events).toEqual(["sync 127", "sync"]);
});

test("nobody is read for who has gone", async () => {
  const log = await logOf(190);
  const call = new FakeCall();
  const events = await read(log, { call }, () => {
    call.end();
  });
  expect(events.length).toBeLessThan(70);
});

test("a page that is full ends with the token of its last entry", async () => {
  const log = await logOf(20);
  expect(await read(log, { request: { limit: 3n } })).toEqual(["20", "19", "18", "sync 18"]);
  expect(await read(log, { request: { limit: 0n } })).toEqual([]);
  expect(await read(new MemoryLog())).toEqual(["sync"]);
});

test("of large entries few are held at a time", async () => {
  const log = new MemoryLog();
  log.runEntriesMax = 3;
  for (const size of [300_000, 2_000_000, 10, 300_000, 300_000, 300_000, 300_000, 300_000, 10]) {
    await log.write({ message: "x".repeat(size) });
  }
  const scan = { reader: log, clock: new ManualClock(), scanQuery: {}, filter: undefined, countMax: 100 };
  const found: number[] = [];
  for await (const { items } of scanBackwards(10, { ...scan, isCancelled: () => false })) {
    const frames = items.flatMap((item) => (item.kind === "entry" ? [item.frame] : []));
    const held = frames.reduce((sum, frame) => sum + frame.length, 0);
    expect(frames.length === 1 || held <= 1024 * 1024).toBe(true);
    found.push(...frames.map((frame) => sequenceOf(frame, 0, frame.length)));
  }
  expect(found).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1]);
});
