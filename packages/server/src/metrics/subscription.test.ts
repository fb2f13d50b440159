import { create, fromBinary } from "@bufbuild/protobuf";
import {
  CounterMode,
  type MetricPoint,
  MetricPointSchema,
  MetricsMode,
  MetricsRequestSchema,
  PointCause,
} from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameStream } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { Heartbeats } from "../stream/heartbeat.ts";
import { parseMetricsQuery } from "./query.ts";
import { Selection } from "./selection.ts";
import { SeriesTable } from "./series.ts";
import { Subscription } from "./subscription.ts";

/** A table whose points the test writes, and readers that take when they are told to. */
class Fixture {
  readonly clock = new ManualClock();
  readonly table = new SeriesTable({ clock: this.clock, seriesMax: 100, silentMs: 300_000 });
  readonly heartbeats = new Heartbeats(this.clock);
  refreshes = 0;

  /** A gauge that is the rate of what is written. */
  writeShare(name: string, value: number): void {
    const rates = { rateScale: 50, rateMax: 100 };
    const described = { name, type: "gauge" as const, unit: "%", description: "", labels: [], origin: "", ...rates };
    this.table.write(name, { value, timestampNs: this.clock.nowNs(), startNs: 0n }, () => described);
  }

  write(
    name: string,
    value: number,
    labels: Readonly<Record<string, string>> = {},
    type: "gauge" | "counter" = "gauge",
  ) {
    const described = { name, type, unit: "u", description: "d", labels: Object.entries(labels), origin: "" };
    const point = { value, timestampNs: this.clock.nowNs(), startNs: 0n };
    return this.table.write(JSON.stringify([name, labels]), point, () => described);
  }

  select(request: Parameters<typeof create<typeof MetricsRequestSchema>>[1], seriesMax = 100): Selection {
    const query = parseMetricsQuery(create(MetricsRequestSchema, request), DEFAULT_LIMITS, true);
    const { table, clock } = this;
    return new Selection({ query, table, clock, seriesMax, refresh: () => void this.refreshes++, cursor: () => "" });
  }

  subscribe(selection: Selection, request: Parameters<typeof create<typeof MetricsRequestSchema>>[1]): Reader {
    const query = parseMetricsQuery(create(MetricsRequestSchema, request), DEFAULT_LIMITS, true);
    const { heartbeats, clock } = this;
    return new Reader(new Subscription({ query, selection, heartbeats, clock, onClose: () => {} }));
  }
}

class Reader implements FrameStream {
  readonly subscription: Subscription;
  wakes = 0;
  hasEnded = false;
  error: unknown;

  constructor(subscription: Subscription) {
    this.subscription = subscription;
    subscription.attach(this);
  }
  wake(): void {
    this.wakes++;
  }
  end(): void {
    this.hasEnded = true;
  }
  fail(error: unknown): void {
    this.error = error;
  }

  /** All that is there to be sent now. */
  read(maxBytes = 64): MetricPoint[] {
    const points: MetricPoint[] = [];
    for (let bytes = this.subscription.pull(maxBytes); bytes !== undefined; bytes = this.subscription.pull(maxBytes)) {
      for (let at = 0; at < bytes.length;) {
        const end = at + FRAME_HEADER_BYTES + Buffer.from(bytes).readUInt32BE(at + 1);
        points.push(fromBinary(MetricPointSchema, bytes.subarray(at + FRAME_HEADER_BYTES, end)));
        at = end;
      }
    }
    return points;
  }
  values(): (readonly [string, number, bigint])[] {
    return this.read()
      .filter(({ control }) => control === undefined)
      .map(({ name, value, coalesced }) => [name, value, coalesced]);
  }
}

test("first everything as it is, with unit and description, then a sync, then what has changed, at multiples of the interval", () => {
  const f = new Fixture();
  f.write("a", 1, { x: "1" });
  f.write("b", 2);
  const reader = f.subscribe(f.select({}), {});
  const [a, b, sync, ...rest] = reader.read();
  expect(a).toMatchObject({
    name: "a",
    value: 1,
    unit: "u",
    description: "d",
    cause: PointCause.INITIAL,
    coalesced: 1n,
  });
  expect(a?.labels).toEqual({ x: "1" });
  expect(b).toMatchObject({ name: "b", value: 2 });
  expect(sync?.control?.kind.case).toBe("sync");
  expect(rest).toEqual([]);

  f.clock.advance(300);
  f.write("a", 3, { x: "1" });
  expect(reader.read()).toEqual([]);
  f.clock.advance(700);
  const [changed, ...others] = reader.read();
  expect(changed).toMatchObject({ name: "a", value: 3, unit: "", cause: PointCause.SAMPLE, coalesced: 1n });
  expect(others).toEqual([]);
  f.clock.advance(1000);
  expect(reader.read()).toEqual([]);
});

test("what comes between two rounds is counted, and the newest is told", () => {
  const f = new Fixture();
  f.write("a", 0);
  const reader = f.subscribe(f.select({}), {});
  reader.read();
  for (let i = 1; i <= 5; i++) {
    f.clock.advance(100);
    f.write("a", i);
  }
  f.clock.advance(500);
  expect(reader.values()).toEqual([["a", 5, 5n]]);
});

test("one encoding for those in step; a slow reader gets the newest of each series, and exact counts", () => {
  const f = new Fixture();
  f.write("a", 0);
  f.write("b", 0);
  const selection = f.select({});
  const quick = f.subscribe(selection, {});
  const slow = f.subscribe(selection, {});
  quick.read();
  slow.read();
  f.clock.advance(1000);
  for (let i = 1; i <= 10; i++) {
    f.write("a", i);
    if (i === 5) f.write("b", 50);
    f.clock.advance(1000);
    quick.read();
  }
  // What waits at the slow one is one round; then comes all that it missed.
  expect(slow.values()).toEqual([
    ["a", 1, 1n],
    ["a", 10, 9n],
    ["b", 50, 1n],
  ]);
  f.write("a", 11);
  f.clock.advance(1000);
  expect([quick.values(), slow.values()]).toEqual([[["a", 11, 1n]], [["a", 11, 1n]]]);
  f.write("a", 12);
  f.clock.advance(1000);
  expect([quick.values(), slow.values()]).toEqual([[["a", 12, 1n]], [["a", 12, 1n]]]);
});

test("whatever readers, writers and the clock do: the last value of each series arrives, and counts add up", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("write" as const), series: fc.nat(2) }),
    fc.record({ kind: fc.constant("read" as const), reader: fc.nat(5) }),
    fc.record({ kind: fc.constant("join" as const) }),
    fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 1500 }) }),
  );
  const modes = fc.constantFrom(MetricsMode.SAMPLE, MetricsMode.ON_CHANGE);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), modes, (steps, mode) => {
      const f = new Fixture();
      const written = [1, 1, 1];
      for (const i of written.keys()) f.write(`s${i}`, 1);
      const selection = f.select({ mode });
      const readers = Array.from({ length: 3 }, () => f.subscribe(selection, { mode }));
      const got: Map<string, { value: number; count: number }>[] = [];
      const take = (i: number): void => {
        const known = (got[i] ??= new Map());
        for (const [name, value, coalesced] of readers[i]?.values() ?? []) {
          const before = known.get(name);
          if (before !== undefined) expect(value).toBeGreaterThan(before.value);
          // What was written before it came, it has not missed.
          else expect(coalesced).toBe(1n);
          known.set(name, { value, count: (before?.count ?? value - 1) + Number(coalesced) });
        }
      };
      for (const each of steps) {
        if (each.kind === "write") {
          f.clock.advance(1);
          f.write(`s${each.series}`, ++written[each.series]!);
        } else if (each.kind === "read") take(each.reader);
        else if (each.kind === "join") readers.push(f.subscribe(selection, { mode }));
        else f.clock.advance(each.ms);
      }
      for (let round = 0; round < 3; round++) {
        f.clock.advance(1000);
        for (const i of readers.keys()) take(i);
      }
      // Each write is the next number: the value is also how many there were.
      expect(got.length).toBeGreaterThanOrEqual(readers.length);
      for (const known of got.slice(0, readers.length)) {
        const seen = [...known].toSorted(([a], [b]) => (a < b ? -1 : 1));
        expect(seen).toEqual(written.map((value, i) => [`s${i}`, { value, count: value }]));
      }
    }),
    { numRuns: 200 },
  );
});

test("on change: at once, but not sooner than the interval after the last time", () => {
  const f = new Fixture();
  f.write("a", 0);
  const how = { mode: MetricsMode.ON_CHANGE, intervalMs: 500 };
  const reader = f.subscribe(f.select(how), how);
  reader.read();
  f.clock.advance(700);
  f.write("a", 1);
  f.clock.advance(0);
  const [first] = reader.read();
  expect(first).toMatchObject({ value: 1, cause: PointCause.CHANGE });
  f.clock.advance(100);
  f.write("a", 2);
  f.clock.advance(200);
  expect(reader.read()).toEqual([]);
  f.clock.advance(200);
  expect(reader.values()).toEqual([["a", 2, 1n]]);
});

test("counters as rate and as delta over the subscriber's own interval; a reset counts from nothing", () => {
  for (const [counterMode, expected] of [
    [CounterMode.RATE, [10, 10, 2.5]],
    [CounterMode.DELTA, [10, 20, 5]],
  ] as const) {
    const f = new Fixture();
    f.write("c", 100, {}, "counter");
    const how = { counterMode, intervalMs: 2000 };
    const reader = f.subscribe(f.select(how), how);
    expect(reader.values()).toEqual([]); // nothing to compare with yet
    f.clock.advance(1000);
    const told: number[] = [];
    for (const value of [110, 130, 5]) {
      f.write("c", value, {}, "counter");
      f.clock.advance(2000);
      told.push(...reader.values().map(([, each]) => each));
    }
    expect(told).toEqual(expected);
  }
});

test("a share is the rate over the subscriber's own interval, and never more than all", () => {
  const f = new Fixture();
  f.writeShare("busy", 10);
  const selection = f.select({});
  const reader = f.subscribe(selection, {});
  const rare = { intervalMs: 2000 };
  const slow = f.subscribe(f.select(rare), rare);
  for (const each of [reader, slow]) each.read();
  for (const seconds of [10.4, 13.6]) {
    f.clock.advance(1000);
    f.writeShare("busy", seconds);
    f.clock.advance(0);
  }
  f.clock.advance(1000);
  expect(reader.values().map(([, value]) => Math.round(value))).toEqual([20, 100]);
  expect(slow.values().map(([, value]) => Math.round(value))).toEqual([90]);
});

test("what is there leaves in few pieces, of whole frames", () => {
  const f = new Fixture();
  for (const name of ["a", "b", "c"]) f.write(name, 1);
  const all = f.subscribe(f.select({}), {});
  const first = all.subscription.pull(1_000_000);
  expect(all.read().map(({ control }) => control?.kind.case)).toEqual(["sync"]);
  expect(first?.length).toBeGreaterThan(60);
});

test("once: what is there, then the end", () => {
  const f = new Fixture();
  f.write("a", 1);
  const how = { mode: MetricsMode.ONCE };
  const reader = f.subscribe(f.select(how), how);
  expect(reader.values()).toEqual([["a", 1, 1n]]);
  expect(reader.hasEnded).toBe(true);
});

test("updates only, redundant values, values again", () => {
  const f = new Fixture();
  f.write("a", 1);
  const how = { updatesOnly: true, suppressRedundant: true, resendMs: 3000 };
  const reader = f.subscribe(f.select(how), how);
  expect(reader.values()).toEqual([]);
  f.clock.advance(500);
  f.write("a", 1);
  f.clock.advance(500);
  expect(reader.values()).toEqual([]);
  f.clock.advance(2000);
  const again = reader.read().filter(({ control }) => control === undefined);
  expect(again).toMatchObject([{ name: "a", value: 1, cause: PointCause.RESEND }]);
});

test("readers who ask for the same but for updates only share a selection, and each gets what it asked for", () => {
  const f = new Fixture();
  f.write("a", 1);
  const selection = f.select({ updatesOnly: true });
  const quiet = f.subscribe(selection, { updatesOnly: true });
  const other = f.subscribe(selection, {});
  expect([quiet.values(), other.values()]).toEqual([[], [["a", 1, 1n]]]);
  f.clock.advance(1);
  f.write("a", 2);
  f.clock.advance(1000);
  // The one that has not heard of the series yet is told its unit with its first point.
  expect([quiet.read(), other.read()]).toMatchObject([
    [{ name: "a", value: 2, unit: "u" }],
    [{ name: "a", value: 2, unit: "" }],
  ]);
});

test("values again come at their time, although rounds begin late, and later than each other", () => {
  const f = new Fixture();
  f.write("a", 1);
  const how = { resendMs: 2000 };
  const reader = f.subscribe(f.select(how), how);
  reader.read();
  const resent: number[] = [];
  for (const lateMs of [9, 1, 7, 0, 5, 2]) {
    f.clock.skip(1000 - (f.clock.monotonicMs() % 1000) + lateMs);
    f.clock.advance(0);
    resent.push(reader.values().length);
  }
  expect(resent).toEqual([0, 1, 0, 1, 0, 1]);
});

test("a series that is silent for long is told as stale, and then is gone; it costs nothing more", () => {
  const f = new Fixture();
  f.write("a", 1);
  const reader = f.subscribe(f.select({}), {});
  reader.read();
  f.clock.advance(320_000);
  expect(reader.read().filter(({ control }) => control === undefined)).toMatchObject([{ name: "a", stale: true }]);
  f.clock.advance(120_000);
  expect(f.table.size).toBe(0);
});

test("heartbeats come at their interval; too many series are told, once", () => {
  const f = new Fixture();
  f.write("a", 1);
  const how = { heartbeatMs: 5000 };
  const reader = f.subscribe(f.select(how, 1), how);
  reader.read();
  f.write("b", 1);
  f.write("c", 1);
  f.clock.advance(5000);
  const kinds = reader.read().map(({ control }) => control?.kind.case);
  expect(kinds).toEqual(["notice", "heartbeat"]);
});

test("a subscriber that has left is told nothing, and no timer is left when all have", () => {
  const f = new Fixture();
  const timers = f.clock.timers;
  const selection = f.select({});
  const reader = f.subscribe(selection, {});
  reader.subscription.close();
  selection[Symbol.dispose]();
  f.write("a", 1);
  f.clock.advance(5000);
  expect(reader.read()).toEqual([]);
  expect(f.clock.timers).toBe(timers);
});
