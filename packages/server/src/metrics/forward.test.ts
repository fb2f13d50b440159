import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  DataPointFlags,
  ExponentialHistogramDataPointSchema,
  ExportMetricsServiceRequestSchema,
  MetricPointSchema,
  RemoteWriteV1RequestSchema,
} from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { exposedOf } from "./expose.ts";
import { PrometheusNames } from "./expose-names.ts";
import { Forwarder, type ForwardedPoint, forwardReporter, type ForwardOutcome } from "./forward.ts";
import { OtlpExports } from "./forward-otlp.ts";
import { nativeOf, timeSeriesOf } from "./forward-remote-write.ts";
import { type Point, type SeriesDescription, SeriesTable } from "./series.ts";

const TAKEN: ForwardOutcome = { kind: "taken", refused: 0 };

/** Takes what it is told to take, when it is told to. */
class FakeTarget {
  readonly name = "http://target";
  readonly sent: (readonly ForwardedPoint[])[] = [];
  answers: (ForwardOutcome | Error)[] = [];
  isClosed = false;

  async send(points: readonly ForwardedPoint[]): Promise<ForwardOutcome> {
    this.sent.push(points);
    const answer = this.answers.shift() ?? TAKEN;
    if (answer instanceof Error) throw answer;
    return answer;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
  }
  get values(): number[] {
    return this.sent.flat().map(({ value }) => value);
  }
}

let clock: ManualClock;
let table: SeriesTable;
let target: FakeTarget;
let lines: { readonly event: string }[];
let forwarder: Forwarder;

function start(pointsMax?: number): void {
  const write = (line: string) => void lines.push(JSON.parse(line) as { event: string });
  const logger = pino({ level: "info" }, { write });
  const bound = pointsMax === undefined ? {} : { pointsMax };
  forwarder = new Forwarder({ source: table, target, clock, random: () => 0.5, logger, ...bound });
}

beforeEach(() => {
  clock = new ManualClock();
  table = new SeriesTable({ clock, seriesMax: 100_000, silentMs: 300_000 });
  target = new FakeTarget();
  lines = [];
});
afterEach(async () => {
  await forwarder[Symbol.asyncDispose]();
  table[Symbol.dispose]();
});

function write(
  name: string,
  value: number,
  about: Partial<SeriesDescription> & { readonly point?: Partial<Point> } = {},
) {
  const { point, ...rest } = about;
  const plain = { name, type: "gauge" as const, unit: "", description: "", labels: [], origin: "" };
  const description: SeriesDescription = { ...plain, ...rest };
  table.write(name, { value, timestampNs: clock.nowNs(), startNs: 0n, ...point }, () => description);
}

/** Time passes, and what is under way comes to its end. */
async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

test("each point is handed on once, in order, those that come together in one request", async () => {
  write("before", 1);
  start();
  for (const value of [2, 3, 4]) {
    clock.advance(1);
    write("a", value);
  }
  await pass(500);
  expect(target.sent).toHaveLength(1);
  expect(target.values).toEqual([1, 2, 3, 4]);
  await pass(5000);
  expect(target.sent).toHaveLength(1);
  expect(forwarder.counts).toEqual({ sent: 4, full: 0, refused: 0, retries: 0, waiting: 0 });
});

test("many points are several requests, one after the other", async () => {
  start();
  for (let value = 0; value < 1200; value++) write(`s${value}`, value);
  await pass(500);
  expect(target.sent.map(({ length }) => length)).toEqual([500, 500, 200]);
  expect(target.values).toEqual(Array.from({ length: 1200 }, (_, i) => i));
});

test("what failed is sent again, with pauses that grow and the one that was asked for; nothing is lost or sent twice", async () => {
  start();
  const later: ForwardOutcome = { kind: "later", reason: "503" };
  target.answers = [later, new Error("no route"), { ...later, retryAfterMs: 20_000 }];
  write("a", 1);
  await pass(500);
  await pass(999);
  expect(target.sent).toHaveLength(1);
  clock.advance(1);
  write("a", 2);
  await pass(0);
  expect(target.sent).toHaveLength(2);
  await pass(2000);
  expect(target.sent).toHaveLength(3);
  await pass(19_999);
  expect(target.sent).toHaveLength(3);
  await pass(1);
  expect(target.sent.at(-1)?.map(({ value }) => value)).toEqual([1, 2]);
  expect(forwarder.counts).toMatchObject({ sent: 2, retries: 3, waiting: 0 });
  expect(lines.map(({ event }) => event)).toEqual(["forward-failed", "forward-resumed"]);
});

test("what waits is bounded: the oldest points go, also those of a request that is under way, and are counted", async () => {
  start(3);
  const { promise, resolve } = Promise.withResolvers<ForwardOutcome>();
  target.send = async (points) => {
    target.sent.push(points);
    return target.sent.length === 1 ? await promise : TAKEN;
  };
  for (const value of [1, 2]) {
    clock.advance(1);
    write("a", value);
  }
  await pass(500);
  for (const value of [3, 4, 5, 6]) {
    clock.advance(1);
    write("a", value);
  }
  expect(forwarder.counts).toMatchObject({ full: 3, waiting: 3 });
  resolve(TAKEN);
  await pass(0);
  expect(target.values).toEqual([1, 2, 4, 5, 6]);
});

test("what never will be taken is dropped and counted, and said once", async () => {
  start();
  target.answers = [
    { kind: "taken", refused: 1, reason: "out of order" },
    { kind: "taken", refused: 1 },
  ];
  write("a", 1);
  await pass(500);
  write("b", 1);
  await pass(500);
  expect(forwarder.counts).toMatchObject({ sent: 0, refused: 2, waiting: 0 });
  expect(lines.map(({ event }) => event)).toEqual(["forward-refused"]);
  const told = new Map<string, unknown>();
  forwardReporter(new Map([["t", forwarder]])).report(
    ({ name }, value, labels) => void told.set([name, ...Object.values(labels ?? {})].join(" "), value),
  );
  expect(Object.fromEntries(told)).toEqual({
    "sluice.forward.sent t": 0,
    "sluice.forward.dropped t full": 0,
    "sluice.forward.dropped t refused": 2,
    "sluice.forward.retries t": 0,
    "sluice.forward.waiting t": 0,
  });
});

test("a share is handed on as one, and an ended series as ended", async () => {
  start();
  const how = { rateScale: 50, rateMax: 100 };
  write("cpu", 10, how);
  clock.advance(2000);
  write("cpu", 11, how);
  clock.advance(1);
  for (const series of table.named("cpu")) table.end(series, clock.nowNs());
  await pass(500);
  expect(target.sent.flat().map(({ value, isStale }) => [value, isStale])).toMatchObject([
    [25, false],
    [expect.any(Number), true],
  ]);
});

test("when it is closed nothing is sent any more, and nothing is left", async () => {
  start();
  const timers = clock.timers;
  write("a", 1);
  await forwarder[Symbol.asyncDispose]();
  expect(target.isClosed).toBe(true);
  expect(clock.timers).toBe(timers);
  write("b", 1);
  await pass(5000);
  expect(target.sent).toEqual([]);
});

const NS = 1_700_000_000_123_456_789n;
const shape = (fields: MessageInitShape<typeof MetricPointSchema>): Uint8Array =>
  toBinary(MetricPointSchema, create(MetricPointSchema, fields));

/** A point of a series as it is handed on. */
function pointOf(
  about: Partial<SeriesDescription> & { readonly point?: Partial<Point> },
  isStale = false,
): ForwardedPoint {
  write("x.y", about.point?.value ?? 1, { ...about, point: { timestampNs: NS, ...about.point } });
  const [series] = table.named("x.y");
  return { series: series!, point: series!.point, value: series!.point.value, isStale };
}

/** By remote write: text of the labels → value. */
function written(point: ForwardedPoint): Record<string, number> {
  const request = create(RemoteWriteV1RequestSchema, {
    timeseries: timeSeriesOf(point, exposedOf(point.series, new PrometheusNames())),
  });
  const { timeseries } = fromBinary(RemoteWriteV1RequestSchema, toBinary(RemoteWriteV1RequestSchema, request));
  const view = new DataView(new ArrayBuffer(8));
  return Object.fromEntries(
    timeseries.map(({ labels, samples }) => {
      expect(samples.map(({ timestamp }) => timestamp)).toEqual([1_700_000_000_123n]);
      view.setBigUint64(0, samples[0]!.value);
      return [labels.map(({ name, value }) => `${name}=${value}`).join(" "), view.getFloat64(0)];
    }),
  );
}

test("remote write: names and labels are Prometheus', sorted; a histogram is the series of its buckets, sum and count", () => {
  start();
  const labels = [
    ["Zone", "z"],
    ["service.name", "shop"],
  ] as const;
  expect(written(pointOf({ type: "counter", unit: "By", labels, point: { value: 7.5 } }))).toEqual({
    "Zone=z __name__=x_y_bytes_total job=shop": 7.5,
  });
});

test("remote write: histograms and summaries", () => {
  start();
  const histogram = { count: 3n, sum: 4, explicitBounds: [1], bucketCounts: [2n, 1n] };
  expect(written(pointOf({ type: "histogram", point: { shape: shape({ histogram }) } }))).toEqual({
    "__name__=x_y_bucket le=1": 2,
    "__name__=x_y_bucket le=+Inf": 3,
    "__name__=x_y_sum": 4,
    "__name__=x_y_count": 3,
  });
});

test("remote write: a summary is its quantiles, an ended series the stale NaN", () => {
  start();
  const summary = { count: 3n, sum: 6, quantileValues: [{ quantile: 0.5, value: 2 }] };
  const point = pointOf({ type: "summary", point: { shape: shape({ summary }) } });
  expect(written(point)).toEqual({ "__name__=x_y quantile=0.5": 2, "__name__=x_y_sum": 6, "__name__=x_y_count": 3 });
  const ended = timeSeriesOf({ ...point, isStale: true }, exposedOf(point.series, new PrometheusNames()));
  expect(new Set(ended.map(({ samples }) => samples?.[0]?.value))).toEqual(new Set([0x7ff0_0000_0000_0002n]));
});

test("remote write: an exponential histogram is a native one; finer scales than there are become coarser", () => {
  start();
  const positive = { offset: -3, bucketCounts: [1n, 2n, 3n] };
  const point = create(ExponentialHistogramDataPointSchema, { scale: 2, count: 7n, zeroCount: 1n, positive });
  expect(nativeOf(point, false)).toMatchObject({
    schema: 2,
    positiveSpans: [{ offset: -2, length: 3 }],
    positiveDeltas: [1n, 1n, 1n],
    negativeSpans: [],
  });
  // Indexes -3, -2, -1 of scale 9 are -2, -1, -1 of scale 8.
  expect(nativeOf({ ...point, scale: 9 }, false)).toMatchObject({
    schema: 8,
    positiveSpans: [{ offset: -1, length: 2 }],
    positiveDeltas: [1n, 4n],
  });
  expect(nativeOf({ ...point, scale: -5 }, false)).toBeUndefined();
  const series = timeSeriesOf(
    pointOf({ type: "histogram", point: { shape: shape({ exponentialHistogram: point }) } }),
    { name: "h", labels: [] },
  );
  expect(series).toMatchObject([
    { labels: [{ name: "__name__", value: "h" }], histograms: [{ schema: 2, timestamp: 1_700_000_000_123n }] },
  ]);
});

test("OTLP: what belongs to one metric stands together below its service", () => {
  start();
  const labels = [
    ["a", "b"],
    ["service.name", "shop"],
  ] as const;
  const point = pointOf({
    type: "counter",
    unit: "1",
    description: "d",
    labels,
    point: { value: 5, intValue: 5n, startNs: 9n },
  });
  const request = create(
    ExportMetricsServiceRequestSchema,
    new OtlpExports().requestOf([point, { ...point, isStale: true }]),
  );
  const [{ resource, scopeMetrics } = {}, ...others] = request.resourceMetrics;
  expect(others).toEqual([]);
  expect(resource?.attributes.map(({ key }) => key)).toEqual(["service.name"]);
  const [metric, ...more] = scopeMetrics?.[0]?.metrics ?? [];
  expect(more).toEqual([]);
  expect(metric).toMatchObject({
    name: "x.y",
    unit: "1",
    description: "d",
    data: {
      case: "sum",
      value: {
        isMonotonic: true,
        aggregationTemporality: 2,
        dataPoints: [
          {
            timeUnixNano: NS,
            startTimeUnixNano: 9n,
            value: { case: "asInt", value: 5n },
            flags: 0,
            attributes: [{ key: "a" }],
          },
          { flags: DataPointFlags.NO_RECORDED_VALUE_MASK },
        ],
      },
    },
  });
});
