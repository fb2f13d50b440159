import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  ExportMetricsServiceRequestSchema,
  type MetricPoint,
  MetricPointSchema,
  PointCause,
} from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { ByteSink } from "../stream/byte-sink.ts";
import { Baseline } from "./baseline.ts";
import { MetricIntake } from "./intake.ts";
import { MetricsIngest } from "./otlp.ts";
import { SeriesGuard } from "./series-guard.ts";
import { SeriesTable } from "./series.ts";

/** What each test has of its own. */
function openIngest(own: SeriesTable): MetricsIngest {
  const guard = new SeriesGuard({ table: own, clock: new ManualClock(), perSubjectMax: 5 });
  return new MetricsIngest({ table: own, intake: new MetricIntake({ table: own }), guard });
}

const encode = (request: Request): Uint8Array =>
  toBinary(ExportMetricsServiceRequestSchema, create(ExportMetricsServiceRequestSchema, request));

let table: SeriesTable;
let ingest: MetricsIngest;
beforeEach(() => {
  table = new SeriesTable({ clock: new ManualClock(), seriesMax: 5, silentMs: 300_000 });
  ingest = openIngest(table);
});
afterEach(() => {
  ingest[Symbol.dispose]();
  table[Symbol.dispose]();
});

type Request = MessageInitShape<typeof ExportMetricsServiceRequestSchema>;
type Metrics = NonNullable<
  NonNullable<NonNullable<Request["resourceMetrics"]>[number]["scopeMetrics"]>[number]["metrics"]
>;
const text = (key: string, value: string) => ({ key, value: { value: { case: "stringValue" as const, value } } });

async function send(metrics: Metrics, resource = [text("service.name", "shop"), text("host.name", "h1")]) {
  const request = { resourceMetrics: [{ resource: { attributes: resource }, scopeMetrics: [{ metrics }] }] };
  return await ingest.export(encode(request), "somebody");
}

/** Every series, as a subscriber gets it. */
function points(): MetricPoint[] {
  return [...table.all()].map((series) => {
    const sink = new ByteSink(64);
    const how = { cause: PointCause.INITIAL, isResend: false };
    new Baseline({ counterMode: 0, suppressRedundant: false }).encode([series], sink, how);
    return fromBinary(MetricPointSchema, Uint8Array.from(sink.bytes.subarray(FRAME_HEADER_BYTES, sink.used)));
  });
}

const T = 1_700_000_000_000_000_000n;
const gauge = (value: number, timeUnixNano = T, attributes: ReturnType<typeof text>[] = []) =>
  ({
    name: "temperature",
    unit: "Cel",
    description: "How warm it is",
    data: { case: "gauge", value: { dataPoints: [{ timeUnixNano, attributes, value: { case: "asDouble", value } }] } },
  }) satisfies Metrics[number];
const sum = (value: bigint, timeUnixNano: bigint, aggregationTemporality: AggregationTemporality) =>
  ({
    name: "requests",
    data: {
      case: "sum",
      value: {
        isMonotonic: true,
        aggregationTemporality,
        dataPoints: [{ timeUnixNano, startTimeUnixNano: T - 5n, value: { case: "asInt", value } }],
      },
    },
  }) satisfies Metrics[number];

test("a gauge: labels are the point's attributes and the service; other resource attributes only tell series apart", async () => {
  expect(await send([gauge(21.5, T, [text("room", "a")])])).toEqual({});
  await send([gauge(3, T, [text("room", "a")])], [text("service.name", "shop"), text("host.name", "h2")]);
  expect(points()).toMatchObject([
    {
      name: "temperature",
      value: 21.5,
      unit: "Cel",
      description: "How warm it is",
      metricType: "gauge",
      timestamp: T,
      labels: { room: "a", "service.name": "shop" },
    },
    { value: 3, labels: { room: "a", "service.name": "shop" } },
  ]);
});

test("whole numbers are exact; a cumulative sum is a counter as it came", async () => {
  const large = 2n ** 60n + 1n;
  await send([sum(large, T, AggregationTemporality.CUMULATIVE)]);
  expect(points()).toMatchObject([
    { metricType: "counter", intValue: large, value: Number(large), startTimestamp: T - 5n },
  ]);
});

test("deltas are added up, each once, from the first start on", async () => {
  await send([sum(5n, T, AggregationTemporality.DELTA)]);
  await send([sum(7n, T + 1n, AggregationTemporality.DELTA)]);
  await send([sum(7n, T + 1n, AggregationTemporality.DELTA)]); // sent again: the answer was lost
  expect(points()).toMatchObject([{ value: 12, timestamp: T + 1n, startTimestamp: T - 5n }]);
  await send([sum(1n, T + 2n, AggregationTemporality.DELTA)]);
  expect(points()).toMatchObject([{ value: 13 }]);
});

test("deltas of a series that had ended are added up from nothing", async () => {
  await send([sum(5n, T, AggregationTemporality.DELTA)]);
  const end = sum(0n, T + 1n, AggregationTemporality.DELTA);
  Object.assign(end.data.value.dataPoints[0]!, { flags: 1 });
  await send([end]);
  await send([sum(3n, T + 2n, AggregationTemporality.DELTA)]);
  expect(points()).toMatchObject([{ value: 3, stale: false }]);
});

test("labels are told apart whatever is in them; the point's own wins over the resource's", async () => {
  await send([gauge(1, T, [text("a", "1,b=2")]), gauge(2, T, [text("a", "1"), text("b", "2")])]);
  await send([gauge(3, T, [text("c", "x,d"), text("e", "y")]), gauge(4, T, [text("c", "x"), text("d,e", "y")])]);
  expect(points().map(({ value }) => value)).toEqual([1, 2, 3, 4]);
  await send([gauge(5, T, [text("service.name", "own")])]);
  expect(points().at(-1)?.labels).toEqual({ "service.name": "own" });
});

test("a histogram comes back as it was, without its attributes", async () => {
  const shape = {
    startTimeUnixNano: T - 1n,
    timeUnixNano: T,
    count: 6n,
    sum: 12.5,
    bucketCounts: [1n, 2n, 3n],
    explicitBounds: [1, 5],
    min: 0.5,
    max: 9,
    exemplars: [{ timeUnixNano: T, value: { case: "asDouble" as const, value: 9 }, traceId: Uint8Array.of(1, 2) }],
  };
  const value = {
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPoints: [{ ...shape, attributes: [text("a", "b")] }],
  };
  await send([{ name: "latency", data: { case: "histogram", value } }]);
  const [point] = points();
  expect(point).toMatchObject({ metricType: "histogram", value: 6, labels: { a: "b" }, histogram: shape });
  expect(point?.histogram?.attributes).toEqual([]);
});

test("a summary too", async () => {
  const shape = { timeUnixNano: T, count: 3n, sum: 6, quantileValues: [{ quantile: 0.5, value: 2 }] };
  await send([{ name: "old", data: { case: "summary", value: { dataPoints: [shape] } } }]);
  expect(points()).toMatchObject([{ metricType: "summary", value: 3, summary: shape }]);
});

test("delta histograms add up to what one cumulative histogram would be, at any scales", async () => {
  const buckets = fc.record({
    scale: fc.integer({ min: -1, max: 3 }),
    offset: fc.integer({ min: -20, max: 20 }),
    counts: fc.array(fc.bigInt({ min: 0n, max: 9n }), { minLength: 1, maxLength: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(buckets, { minLength: 1, maxLength: 5 }), async (deltas) => {
      using own = new SeriesTable({ clock: new ManualClock(), seriesMax: 5, silentMs: 300_000 });
      using ownIngest = openIngest(own);
      for (const [i, { scale, offset, counts }] of deltas.entries()) {
        const count = counts.reduce((all, each) => all + each, 0n);
        const point = { timeUnixNano: T + BigInt(i), scale, count, positive: { offset, bucketCounts: counts } };
        const value = { aggregationTemporality: AggregationTemporality.DELTA, dataPoints: [point] };
        const metrics = [{ name: "h", data: { case: "exponentialHistogram" as const, value } }];
        await ownIngest.export(encode({ resourceMetrics: [{ scopeMetrics: [{ metrics }] }] }), "somebody");
      }
      const lowest = Math.min(...deltas.map(({ scale }) => scale));
      const expected = new Map<number, bigint>();
      for (const { scale, offset, counts } of deltas) {
        for (const [i, count] of counts.entries()) {
          const index = Math.floor((offset + i) / 2 ** (scale - lowest));
          if (count > 0n) expected.set(index, (expected.get(index) ?? 0n) + count);
        }
      }
      table = own;
      const { exponentialHistogram: merged } = points()[0]!;
      const found = (merged?.positive?.bucketCounts ?? []).flatMap((count, i): [number, bigint][] =>
        count > 0n ? [[merged!.positive!.offset + i, count]] : [],
      );
      // One point alone is handed on as it came.
      if (deltas.length > 1) expect(merged?.scale).toBe(lowest);
      expect(new Map(found)).toEqual(expected);
    }),
    { numRuns: 100 },
  );
});

test("no recorded value ends a series; a later point begins it again", async () => {
  await send([gauge(1)]);
  await send([
    {
      name: "temperature",
      unit: "Cel",
      data: { case: "gauge", value: { dataPoints: [{ timeUnixNano: T + 1n, flags: 1 }] } },
    },
  ]);
  expect(points()).toMatchObject([{ stale: true }]);
  await send([gauge(2, T + 2n)]);
  expect(points()).toMatchObject([{ stale: false, value: 2 }]);
});

test.each([
  [
    "an older point",
    async () => await send([gauge(1, T - 1n)]),
    "temperature: a point of this series is newer already",
  ],
  [
    "another value for the same time",
    async () => await send([gauge(9)]),
    "temperature: this series has another value for the same time",
  ],
  ["no time", async () => await send([gauge(1, 0n)]), "temperature: its time is not set"],
  ["no name", async () => await send([{ ...gauge(1), name: "" }]), "a metric: its name is empty"],
  [
    "a label of 64 KiB",
    async () => await send([gauge(1, T + 9n, [text("page", "x".repeat(65_536))])]),
    'the longest is "page"',
  ],
  [
    "too many series",
    async () => await send(Array.from({ length: 6 }, (_, i) => gauge(1, T, [text("user", String(i))]))),
    'Cannot take a new series of "temperature": the subject "somebody" has 5 series, its limit; use labels with fewer values; its label "user" has the most values: 4',
  ],
])("%s is counted and told, and the rest is taken", async (_, act, reason) => {
  await send([gauge(1)]);
  const { partialSuccess } = await act();
  expect(partialSuccess?.rejectedDataPoints).toBeGreaterThan(0n);
  expect(partialSuccess?.errorMessage).toContain(reason);
  expect(points()[0]).toMatchObject({ value: 1 });
});

test("known series are written although there can be no new ones, whoever brings them", async () => {
  await send(Array.from({ length: 5 }, (_, i) => gauge(1, T, [text("user", String(i))])));
  const again = Array.from({ length: 7 }, (_, i) => gauge(2, T + 1n, [text("user", String(i))]));
  expect((await send(again)).partialSuccess).toMatchObject({ rejectedDataPoints: 2n });
  expect(points().map(({ value }) => value)).toEqual([2, 2, 2, 2, 2]);
});

test("series that look alike on the wire but for a byte, a source or the order of attributes", async () => {
  const [a, b] = [text("a", "x"), text("b", "y")];
  for (const time of [T, T + 1n, T + 2n]) {
    await send([gauge(1, time, [a, b]), gauge(2, time, [text("a", "z"), b])]);
    await send([gauge(3, time, [a, b])], [text("service.name", "other")]);
    expect(await send([gauge(1, time, [b, a])])).toEqual({}); // the first one again
  }
  expect(points().map(({ value, timestamp }) => [value, timestamp])).toEqual([1, 2, 3].map((value) => [value, T + 2n]));
});

test("NaN and the infinities are values", async () => {
  const odd = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0];
  for (const [i, value] of odd.entries()) {
    expect(await send([gauge(value, T + BigInt(i))])).toEqual({});
    expect(await send([gauge(value, T + BigInt(i))])).toEqual({});
    expect(points()[0]?.value).toBe(value);
  }
});

test("exemplars of numbers are handed on", async () => {
  const exemplars = [{ timeUnixNano: T, value: { case: "asDouble" as const, value: 9 }, traceId: Uint8Array.of(1, 2) }];
  const metric = gauge(1);
  Object.assign(metric.data.value.dataPoints[0]!, { exemplars });
  await send([metric]);
  expect(points()).toMatchObject([{ value: 1, exemplars }]);
});

test.each([
  ["garbage", () => Uint8Array.of(0xff, 0xff, 0xff)],
  ["a request that is cut off", () => encode(whole).subarray(0, 40)],
  ["a point that is cut off", () => cutPoint(encode(whole))],
  ["attributes that are no text", () => withByte(encode(whole), "room", 0xff)],
])("%s is refused as a whole", async (_, bytes) => {
  await expect(ingest.export(bytes(), "somebody")).rejects.toMatchObject({ kind: "invalid-argument" });
  expect(points()).toEqual([]);
});
const whole: Request = {
  resourceMetrics: [{ scopeMetrics: [{ metrics: [gauge(1, T, [text("room", "a")])] }] }],
};

/** With the length of an attribute beyond the end of its point. */
function cutPoint(bytes: Uint8Array): Uint8Array {
  const at = Buffer.from(bytes).indexOf("room") - 3;
  return bytes.map((byte, i) => (i === at ? byte + 100 : byte));
}

function withByte(bytes: Uint8Array, place: string, byte: number): Uint8Array {
  return bytes.with(Buffer.from(bytes).indexOf(place), byte);
}

test("any stream of deltas, with repeats, late ones and ends, is what was counted since the last end", async () => {
  const step = fc.record({
    more: fc.bigInt({ min: -5n, max: 100n }),
    kind: fc.constantFrom("new", "again", "late", "end"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
      using own = new SeriesTable({ clock: new ManualClock(), seriesMax: 5, silentMs: 300_000 });
      using ownIngest = openIngest(own);
      const deliver = async (value: bigint, time: bigint, flags = 0) => {
        const metric = sum(value, time, AggregationTemporality.DELTA);
        Object.assign(metric.data.value.dataPoints[0]!, { flags });
        const bytes = encode({ resourceMetrics: [{ scopeMetrics: [{ metrics: [metric] }] }] });
        return await ownIngest.export(bytes, "somebody");
      };
      let now = T;
      let expected: bigint | undefined;
      let last: bigint | undefined;
      for (const { more, kind } of steps) {
        if (kind === "new" || last === undefined || expected === undefined) {
          expected = (expected ?? 0n) + more;
          last = more;
          expect(await deliver(more, (now += 10n))).toEqual({});
        } else if (kind === "again") await deliver(last, now);
        else if (kind === "late") await deliver(more, now - 5n);
        else {
          await deliver(0n, (now += 10n), 1);
          expected = undefined;
        }
      }
      const [series] = own.all();
      expect(series?.isStale ? undefined : series?.point.intValue).toBe(expected);
    }),
    { numRuns: Math.ceil(200 * inject("propertyScale")) },
  );
});

test("the same request again is no error", async () => {
  await send([gauge(1)]);
  expect(await send([gauge(1)])).toEqual({});
});
