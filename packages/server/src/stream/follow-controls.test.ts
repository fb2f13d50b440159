import { describe, expect, test } from "vitest";
import { CursorExpired, type SluiceError } from "../errors.ts";
import { formatCursor } from "./cursor.ts";
import { endingIn, logOf, openStream, settle } from "./testing/open-stream.ts";

describe("gaps", () => {
  test("what retention took is told, with range and count, and the stream goes on", async () => {
    const log = await logOf(6);
    log.dropBefore(4);
    const { stream } = openStream(log, { after: 1 });
    await settle();
    expect(stream.events).toEqual(["gap of 2", "4", "5", "6", "sync"]);
    const gap = stream.controls[0]?.control?.kind;
    expect(gap).toMatchObject({
      case: "gap",
      value: {
        afterCursor: formatCursor("default", { epoch: 1, sequence: 1 }),
        toCursor: formatCursor("default", { epoch: 1, sequence: 3 }),
      },
    });
  });

  test("a reader overtaken by retention, and damaged entries, are gaps in the middle", async () => {
    const log = await logOf(9);
    log.damaged.add(8);
    const { stream } = openStream(log);
    stream.isStalled = true;
    await settle();
    stream.isStalled = false;
    log.dropBefore(5);
    stream.wake();
    await settle();
    expect(stream.events).toEqual(["gap of 4", "5", "6", "7", "gap of 1", "9", "sync"]);
  });

  test("an era that was cut is told first", async () => {
    const log = await logOf(3);
    const { stream } = openStream(log, { after: 2, cut: { seen: { epoch: 0, sequence: 4 }, count: 2 } });
    await settle();
    expect(stream.events).toEqual(["gap of 2", "3", "sync"]);
    expect(stream.controls[0]?.control?.kind.value).toMatchObject({
      afterCursor: formatCursor("default", { epoch: 0, sequence: 4 }),
      toCursor: formatCursor("default", { epoch: 1, sequence: 2 }),
    });
  });

  test.each([
    ["without controls", { controls: undefined }],
    ["when strict", { isStrict: true }],
  ])("%s a gap ends the stream, with the cursor to go on after", async (_, options) => {
    const log = await logOf(6);
    log.dropBefore(4);
    let caught: unknown;
    try {
      openStream(log, { after: 1, ...options });
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(CursorExpired);
    expect((caught as SluiceError).facts.metadata?.["cursor"]).toBe(formatCursor("default", { epoch: 1, sequence: 3 }));

    const overtaken = openStream(log, { after: 3, ...options });
    overtaken.stream.isStalled = true;
    await settle();
    log.dropBefore(6);
    overtaken.stream.resume();
    await settle();
    expect(overtaken.stream.ending).toMatchObject({ error: { kind: "out-of-range" } });
    expect(overtaken.followers.count).toBe(0);
  });

  test("damage ends a stream without controls as data loss; a strict one is told of it", async () => {
    const log = await logOf(3);
    log.damaged.add(2);
    const seed = openStream(log, { controls: undefined });
    const strict = openStream(log, { isStrict: true });
    await settle();
    expect(seed.stream.events).toEqual(["1"]);
    expect(seed.stream.ending).toMatchObject({ error: { kind: "data-loss" } });
    expect(strict.stream.events).toEqual(["1", "gap of 1", "3", "sync"]);
  });
});

describe("heartbeats", () => {
  test("come at their interval, with the head and the lag", async () => {
    const log = await logOf(2);
    const { stream, clock } = openStream(log, { heartbeatMs: 1000 });
    await settle();
    clock.advance(999);
    await settle();
    expect(stream.events).toEqual(["1", "2", "sync"]);
    clock.advance(1);
    await settle();
    await log.write({});
    await settle();
    clock.advance(1000);
    await settle();
    expect(stream.events.slice(3)).toEqual(["heartbeat lag 0", "3", "heartbeat lag 0"]);
    expect(stream.controls[1]?.control?.kind.value).toMatchObject({
      headCursor: formatCursor("default", { epoch: 1, sequence: 2 }),
      serverTimestamp: 1_700_000_001_000_000_000n,
    });
  });

  test("do not heap up for a reader that stalls, and say how far it is behind", async () => {
    const log = await logOf(1);
    const { stream, clock } = openStream(log, { heartbeatMs: 10 });
    await settle();
    stream.isStalled = true;
    await log.write({}, {}, {});
    clock.advance(500);
    stream.resume();
    await settle();
    expect(stream.events).toEqual(["1", "sync", "heartbeat lag 3", "2", "3", "4"]);
  });

  test("come while a filter finds nothing, and while the beginning is looked for", async () => {
    const log = await logOf(4);
    let found: (after: number) => void = () => {};
    const searching = new Promise<number>((resolve) => {
      found = resolve;
    });
    const { stream, clock } = openStream(log, { heartbeatMs: 10, after: () => searching, filter: endingIn("") });
    clock.advance(10);
    await settle();
    expect(stream.events).toEqual(["heartbeat lag 4"]);
    found(2);
    await settle();
    clock.advance(10);
    await settle();
    expect(stream.events).toEqual(["heartbeat lag 4", "sync", "heartbeat lag 0"]);
  });

  test.each([
    ["when they are off", { heartbeatMs: 0 }],
    ["without controls", { controls: undefined }],
    ["without follow", { isFollowing: false }],
  ])("do not come %s", async (_, options) => {
    const { stream, clock } = openStream(await logOf(1), { heartbeatMs: 10, ...options });
    clock.advance(100);
    await settle();
    expect(stream.events.filter((event) => event.startsWith("heartbeat"))).toEqual([]);
    expect(clock.timers).toBe(0);
  });
});
