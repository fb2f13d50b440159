import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  MetricPointSchema,
  RemoteWriteV1RequestSchema,
  RemoteWriteV1Type,
  RemoteWriteV2RequestSchema,
  RemoteWriteV2Type,
} from "@sluice/api";
import { Code, type HttpRequest, type HttpResponse, retryAfter, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SluiceError } from "../errors.ts";
import { WriteBudget } from "../stream/write-budget.ts";
import { MetricIntake } from "./intake.ts";
import { createRemoteWriteHandler } from "./remote-write.ts";
import { SeriesGuard } from "./series-guard.ts";
import { type Series, SeriesTable } from "./series.ts";
import { compressSnappy } from "./snappy.ts";
import { PointWriter } from "./write-points.ts";

const V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
const V1 = "application/x-protobuf";

let table: SeriesTable;
let guard: SeriesGuard;
let store: { commit(): Promise<void> };
let post: (body: Uint8Array, headers?: Readonly<Record<string, string>>, method?: string) => Promise<HttpResponse>;

beforeEach(() => {
  const clock = new ManualClock();
  table = new SeriesTable({ clock, seriesMax: 10, silentMs: 300_000 });
  guard = new SeriesGuard({ table, clock, perSubjectMax: 4 });
  store = { commit: () => Promise.resolve() };
  const real = new MetricIntake({ table });
  // What the log does when it is asked.
  const intake = { begin: () => ({ ...real.begin(), commit: () => store.commit() }) } as unknown as MetricIntake;
  const handler = createRemoteWriteHandler({
    writer: new PointWriter(intake, guard),
    authorize() {},
    budget: new WriteBudget(1_000_000),
    messageBytesMax: 100_000,
    statusOf: (error) => {
      if (!(error instanceof SluiceError)) return new RpcError(Code.INTERNAL, "an internal error");
      const codes: Readonly<Record<string, Code>> = {
        "invalid-argument": Code.INVALID_ARGUMENT,
        "limit-exceeded": Code.RESOURCE_EXHAUSTED,
        unavailable: Code.UNAVAILABLE,
      };
      const { retryAfterMs } = error.facts;
      const details = retryAfterMs === undefined ? {} : { details: [retryAfter(retryAfterMs)] };
      return new RpcError(codes[error.kind] ?? Code.INTERNAL, error.message, details);
    },
  });
  post = async (bytes, headers = {}, method = "POST") => {
    async function* body() {
      yield bytes;
    }
    const all = { "content-type": V1, "content-encoding": "snappy", ...headers };
    return await handler({
      method,
      isHead: false,
      path: "/api/v1/write",
      query: new URLSearchParams(),
      headers: new Map(Object.entries(all)),
      peer: { address: "127.0.0.1:1" } as HttpRequest["peer"],
      body: body(),
      signal: new AbortController().signal,
    });
  };
});
afterEach(() => {
  guard[Symbol.dispose]();
  table[Symbol.dispose]();
});

/** Bits of a double, as they are on the wire. */
function bits(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}
const STALE = 0x7ff0_0000_0000_0002n;
const ORDINARY_NAN = 0x7ff8_0000_0000_0001n;
const MS = 1_700_000_000_000n;

const v1 = (init: MessageInitShape<typeof RemoteWriteV1RequestSchema>): Uint8Array =>
  compressSnappy(toBinary(RemoteWriteV1RequestSchema, create(RemoteWriteV1RequestSchema, init)));
const v2 = (init: MessageInitShape<typeof RemoteWriteV2RequestSchema>): Uint8Array =>
  compressSnappy(toBinary(RemoteWriteV2RequestSchema, create(RemoteWriteV2RequestSchema, init)));

const labelsOf = (labels: Readonly<Record<string, string>>) =>
  Object.entries(labels).map(([name, value]) => ({ name, value }));
const series = (labels: Readonly<Record<string, string>>, value: bigint, timestamp = MS) => ({
  labels: labelsOf(labels),
  samples: [{ value, timestamp }],
});

function shown({ description, point, isStale }: Series) {
  const { name, type, unit, labels } = description;
  const shape = fromBinary(MetricPointSchema, point.shape ?? new Uint8Array(0));
  const { exponentialHistogram, histogram, exemplars } = shape;
  const own = { name, type, unit, labels: Object.fromEntries(labels), value: point.value, isStale };
  return { ...own, timestampNs: point.timestampNs, startNs: point.startNs, exponentialHistogram, histogram, exemplars };
}
const all = () => [...table.all()].map(shown);

test("version 1: samples with what was said of their names, or what the names say", async () => {
  const metadata = [{ metricFamilyName: "a", type: RemoteWriteV1Type.COUNTER, help: "A", unit: "s" }];
  const timeseries = [
    series({ __name__: "a", job: "j", empty: "" }, bits(1.5)),
    series({ __name__: "b_total" }, bits(2)),
    series({ __name__: "c" }, ORDINARY_NAN),
  ];
  expect(await post(v1({ timeseries, metadata }))).toMatchObject({ status: 204, headers: {} });
  expect(all()).toMatchObject([
    { name: "a", type: "counter", unit: "s", labels: { job: "j" }, value: 1.5, timestampNs: MS * 1_000_000n },
    { name: "b_total", type: "counter", value: 2 },
    { name: "c", type: "gauge", value: Number.NaN, isStale: false },
  ]);
});

test("the NaN that says that a series ended is known by its bits; the series begins again with a value", async () => {
  const send = async (value: bigint, timestamp: bigint) =>
    await post(v1({ timeseries: [series({ __name__: "a" }, value, timestamp)] }));
  await send(bits(1), MS);
  expect((await send(STALE, MS + 1n)).status).toBe(204);
  expect(all()).toMatchObject([{ isStale: true, value: 1 }]);
  await send(ORDINARY_NAN, MS + 2n);
  expect(all()).toMatchObject([{ isStale: false, value: Number.NaN }]);
});

test("version 2: symbols, metadata and starts; what was written is counted", async () => {
  const symbols = ["", "__name__", "a", "job", "j", "help", "unit", "trace"];
  const exemplars = [{ labelsRefs: [7, 4], value: 9, timestamp: MS }];
  const metadata = { type: RemoteWriteV2Type.COUNTER, helpRef: 5, unitRef: 6 };
  const samples = [
    { value: bits(1), timestamp: MS, startTimestamp: MS - 5n },
    { value: bits(2), timestamp: MS + 1n, startTimestamp: MS - 5n },
  ];
  const body = v2({ symbols, timeseries: [{ labelsRefs: [1, 2, 3, 4], samples, exemplars, metadata }] });
  expect(await post(body, { "content-type": V2 })).toMatchObject({
    status: 204,
    headers: {
      "x-prometheus-remote-write-samples-written": "2",
      "x-prometheus-remote-write-histograms-written": "0",
      "x-prometheus-remote-write-exemplars-written": "1",
    },
  });
  expect(all()).toMatchObject([
    {
      name: "a",
      type: "counter",
      unit: "unit",
      labels: { job: "j" },
      value: 2,
      startNs: (MS - 5n) * 1_000_000n,
      exemplars: [{ value: { value: 9 }, filteredAttributes: [{ key: "trace" }] }],
    },
  ]);
});

test("native histograms of both versions; schema -53 has its own bounds; one of fractions is told", async () => {
  const histogram = {
    sum: bits(10),
    schema: 0,
    count: { case: "countInt" as const, value: 5n },
    zeroCount: { case: "zeroCountInt" as const, value: 1n },
    zeroThreshold: 0.1,
    positiveSpans: [{ offset: 1, length: 2 }],
    positiveDeltas: [2n, 0n],
    timestamp: MS,
  };
  const zeroCount = { case: "zeroCountInt" as const, value: 0n };
  const own = { ...histogram, schema: -53, customValues: [1, 5], zeroCount, count: { ...histogram.count, value: 4n } };
  const count = { case: "countFloat" as const, value: 0.5 };
  const fractions = { ...histogram, count, positiveDeltas: [], positiveCounts: [0.5, 0] };
  const symbols = ["", "__name__", "h", "own", "f"];
  const body = v2({
    symbols,
    timeseries: [
      { labelsRefs: [1, 2], histograms: [{ ...histogram, startTimestamp: MS - 1n }] },
      { labelsRefs: [1, 3], histograms: [own] },
      { labelsRefs: [1, 4], histograms: [fractions] },
    ],
  });
  const answer = await post(body, { "content-type": V2 });
  expect(answer).toMatchObject({ status: 400, headers: { "x-prometheus-remote-write-histograms-written": "2" } });
  expect(answer.body).toBe("1 of 3 points were rejected; the first one: f: its buckets are no whole numbers\n");
  expect(all()).toMatchObject([
    {
      name: "h",
      type: "histogram",
      value: 5,
      startNs: (MS - 1n) * 1_000_000n,
      exponentialHistogram: {
        count: 5n,
        sum: 10,
        scale: 0,
        zeroCount: 1n,
        positive: { offset: 0, bucketCounts: [2n, 2n] },
      },
    },
    { name: "own", histogram: { explicitBounds: [1, 5], bucketCounts: [0n, 2n, 2n], sum: 10 } },
  ]);
  await post(
    v1({
      timeseries: [
        { labels: labelsOf({ __name__: "h" }), histograms: [{ ...histogram, sum: STALE, timestamp: MS + 1n }] },
      ],
    }),
  );
  expect(all()[0]).toMatchObject({ name: "h", isStale: true });
});

test("an explosion: what is known is written, the rest is 400 with the label that makes it", async () => {
  const many = (value: number, timestamp: bigint) =>
    v1({
      timeseries: Array.from({ length: 7 }, (_, i) =>
        series({ __name__: "hits", path: "/", user: `u${i}` }, bits(value), timestamp),
      ),
    });
  const first = await post(many(1, MS));
  expect([first.status, first.body]).toEqual([
    400,
    '3 of 7 points were rejected; the first one: Cannot take a new series of "hits": the subject "anonymous" has 4 series, its limit; use labels with fewer values; its label "user" has the most values: 4\n',
  ]);
  await post(many(2, MS + 1n));
  expect(all().map(({ value }) => value)).toEqual([2, 2, 2, 2]);
});

test("what came is answered when it is durable; a store that cannot is an error that is tried again", async () => {
  const waiting = Promise.withResolvers<void>();
  store.commit = () => waiting.promise;
  let isAnswered = false;
  const answered = post(v1({ timeseries: [series({ __name__: "a" }, bits(1))] })).then((answer) => {
    isAnswered = true;
    return answer;
  });
  await expect.poll(() => table.size).toBe(1);
  expect(isAnswered).toBe(false);
  waiting.resolve();
  expect((await answered).status).toBe(204);
  store.commit = () =>
    Promise.reject(new SluiceError("unavailable", "the disk is full", { reason: "DISK_FULL", retryAfterMs: 1500 }));
  const refused = await post(v1({ timeseries: [series({ __name__: "a" }, bits(2), MS + 1n)] }));
  expect(refused).toMatchObject({ status: 503, headers: { "retry-after": "2" }, body: "the disk is full\n" });
});

test("old ones, repeats and other values for the same time", async () => {
  const send = async (value: number, timestamp: bigint) =>
    await post(v1({ timeseries: [series({ __name__: "a" }, bits(value), timestamp)] }));
  await send(1, MS);
  expect((await send(1, MS)).status).toBe(204);
  expect(await send(2, MS)).toMatchObject({
    status: 400,
    body: expect.stringContaining("another value for the same time") as string,
  });
  expect(await send(2, MS - 3_600_000n)).toMatchObject({ status: 400, body: expect.stringContaining("a: ") as string });
});

test.each([
  ["another method", {}, "GET", 405],
  ["another type", { "content-type": "application/json" }, "POST", 415],
  ["an unknown version", { "content-type": "application/x-protobuf;proto=prometheus.v9" }, "POST", 415],
  ["another compression", { "content-encoding": "gzip" }, "POST", 415],
])("%s", async (_, headers, method, status) => {
  expect((await post(v1({}), headers, method)).status).toBe(status);
});

test("garbage, symbols that are not there, and too much are no 5xx", async () => {
  expect((await post(Uint8Array.of(1, 2, 3))).status).toBe(400);
  expect((await post(compressSnappy(Buffer.from("\xff\xff garbage", "latin1")))).status).toBe(400);
  const missing = v2({ symbols: [""], timeseries: [{ labelsRefs: [1, 2], samples: [{ value: 0n, timestamp: MS }] }] });
  expect(await post(missing, { "content-type": V2 })).toMatchObject({
    status: 400,
    body: expect.stringContaining("symbol 1") as string,
  });
  const odd = v2({ symbols: [""], timeseries: [{ labelsRefs: [0], samples: [{ value: 0n, timestamp: MS }] }] });
  expect((await post(odd, { "content-type": V2 })).body).toContain("labels are not pairs");
  expect((await post(new Uint8Array(100_001))).status).toBe(413);
  expect((await post(compressSnappy(new Uint8Array(100_001)))).status).toBe(400);
  expect(table.size).toBe(0);
});
