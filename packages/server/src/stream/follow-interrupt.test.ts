// What a reader is told whose stream the server ends: going on after its cursor neither repeats nor misses.
import { Code, retryAfter, RpcError } from "@sluice/rpc";
import fc from "fast-check";
import { expect, test } from "vitest";
import { SluiceError } from "../errors.ts";
import { parseCursor } from "./cursor.ts";
import type { FollowOptions } from "./follow-options.ts";
import { endingIn, logOf, openStream, settle } from "./testing/open-stream.ts";
import type { MemoryLog } from "./testing/memory-log.ts";
import type { PulledStream } from "./testing/pulled-stream.ts";

/** The sequence after which the reader of an interrupted stream goes on; undefined: it was told none. */
function placeOf(stream: PulledStream): number | undefined {
  const error = typeof stream.ending === "object" ? stream.ending.error : undefined;
  if (!(error instanceof SluiceError)) throw new Error("The stream was not interrupted");
  expect([error.kind, error.facts.reason]).toEqual(["unavailable", "STREAM_INTERRUPTED"]);
  const cursor = error.facts.metadata?.["cursor"];
  return cursor === undefined ? undefined : parseCursor("default", cursor, "cursor").sequence;
}

async function placeAfter(log: MemoryLog, options: Partial<FollowOptions>): Promise<number | undefined> {
  const { follow, stream } = openStream(log, options);
  await settle();
  follow.interrupt();
  return placeOf(stream);
}

test("a follower at the head is told the head, also when the last entries were not for it", async () => {
  const log = await logOf(7);
  expect(await placeAfter(log, {})).toBe(7);
  expect(await placeAfter(log, { filter: endingIn("2") })).toBe(7);
  expect(await placeAfter(log, { query: { minSeverity: 24 } })).toBe(7);
});

test("the time to try again is the server's", async () => {
  const { follow } = openStream(await logOf(1));
  const error = new RpcError(Code.UNAVAILABLE, "too old", { details: [retryAfter(100)] });
  expect(follow.farewell(error).facts.retryAfterMs).toBe(100);
  expect(follow.farewell(new RpcError(Code.UNAVAILABLE, "stops")).facts.retryAfterMs).toBe(1000);
});

test("while the beginning is looked for there is no place", async () => {
  expect(await placeAfter(await logOf(3), { after: () => new Promise(() => {}) })).toBeUndefined();
});

test("a gap that waits to be told is not passed over", async () => {
  const log = await logOf(6);
  log.dropBefore(4);
  const { follow, stream } = openStream(log, { after: 1 });
  follow.interrupt();
  expect(placeOf(stream)).toBeUndefined();
});

test("of a stream that has all it asked for there is no place: what was cut off it is not passed over", async () => {
  const { follow, stream } = openStream(await logOf(3), { limit: 2 });
  stream.isStalled = true;
  follow.pull(1000);
  follow.interrupt();
  expect(placeOf(stream)).toBeUndefined();
});

test("a disk read that is under way counts for nothing, however far the scan has moved by then", async () => {
  const log = await logOf(6);
  log.onDiskTo = 6;
  for (let turns = 0; turns < 8; turns++) {
    const { follow, stream } = openStream(log, { controls: undefined });
    for (let i = 0; i < turns; i++) await Promise.resolve();
    follow.interrupt();
    expect([turns, placeOf(stream)]).toEqual([turns, stream.entries.length]);
  }
});

test("whenever a stream is interrupted, what it sent and what comes after its cursor is all there is, once", async () => {
  const setting = fc.record({
    count: fc.integer({ min: 1, max: 20 }),
    onDiskTo: fc.nat({ max: 20 }),
    digits: fc.option(fc.constantFrom("2", "13579", "0")),
    minSeverity: fc.constantFrom(0, 5),
    isCostly: fc.boolean(),
    pulls: fc.nat({ max: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(setting, async ({ count, onDiskTo, digits, minSeverity, isCostly, pulls }) => {
      const log = await logOf(count);
      log.onDiskTo = onDiskTo;
      const filterOf = () => (digits === null ? undefined : endingIn(digits, isCostly));
      const query = { minSeverity };
      const { follow, stream, clock } = openStream(log, { query, filter: filterOf(), controls: undefined });
      stream.isStalled = true;
      // Every look at the clock is late: a pull filters one frame.
      clock.monotonicMs = () => {
        clock.skip(10);
        return clock.passedMs;
      };
      for (let i = 0; i < pulls; i++) {
        stream.take();
        await settle(1);
      }
      follow.interrupt();
      const after = placeOf(stream);
      const rest = openStream(log, { after: after ?? 0, query, filter: filterOf(), isFollowing: false });
      await settle(100);
      const whole = openStream(log, { query, filter: filterOf(), isFollowing: false });
      await settle(100);
      expect(after).toBeDefined();
      expect([...stream.events, ...rest.stream.events]).toEqual(whole.stream.events);
    }),
    { numRuns: 200 },
  );
});
