// All ways into metrics over real sockets: OTLP/HTTP, WriteMetrics with the SDK's writer, remote write, scrapes, and
// `sluice metrics push`; what a restart keeps, and what an explosion of series is answered.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ExportMetricsServiceRequestSchema,
  ExportMetricsServiceResponseSchema,
  type MetricPoint,
  MetricsMode,
  MetricsService,
  RemoteWriteV1RequestSchema,
} from "@sluice/api";
import { connect, MetricWriterFailed, type RejectedMetricPoint } from "@sluice/client";
import { type Channel, type Client, createClient, openChannel } from "@sluice/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compressSnappy } from "../../packages/server/src/metrics/snappy.ts";
import { callCli } from "../support/cli-in-process.ts";
import { createHttpClient, type HttpClient } from "../support/http-client.ts";
import { collect } from "../support/log-client.ts";
import { type ProbedServer, startProbedServer } from "../support/probed-server.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const resources = new AsyncDisposableStack();
let folder: TemporaryFolder;
let target: { readonly url: string; text: string };
let server: ProbedServer;
let channel: Channel;
let metrics: Client<typeof MetricsService>;
let http: HttpClient;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("metrics-in"));
  target = resources.use(await openTarget());
  server = resources.use(
    await startProbedServer(folder.path, {
      "limits.seriesPerSubjectMax": "1000",
      "metrics.scrape": `shop=${target.url};interval=1s;labels.env=test`,
    }),
  );
  channel = openChannel(server.address);
  resources.defer(() => channel.close());
  metrics = createClient(MetricsService, channel);
  http = createHttpClient(server.address, { version: 1 });
});
afterAll(() => resources.disposeAsync());

/** A program that is scraped. */
async function openTarget() {
  const said = { text: "shop_orders_total 7\n" };
  const web = createServer((_, response) => response.end(said.text));
  await new Promise<void>((resolve) => {
    web.listen(0, "127.0.0.1", resolve);
  });
  return Object.assign(said, {
    url: `http://127.0.0.1:${(web.address() as AddressInfo).port}`,
    [Symbol.dispose]() {
      web.close();
      web.closeAllConnections();
    },
  });
}

async function pointsOf(...metricNames: string[]): Promise<MetricPoint[]> {
  const points = await collect(metrics.streamMetrics({ metricNames, mode: MetricsMode.ONCE }));
  return points.filter(({ control }) => control === undefined).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

const nowNs = () => BigInt(Date.now()) * 1_000_000n;

type Export = MessageInitShape<typeof ExportMetricsServiceRequestSchema>;
const gauges = (name: string, values: readonly number[], timeUnixNano = nowNs()): Export => ({
  resourceMetrics: [
    {
      scopeMetrics: [
        {
          metrics: [
            {
              name,
              data: {
                case: "gauge",
                value: {
                  dataPoints: values.map((value, i) => ({
                    timeUnixNano,
                    value: { case: "asDouble" as const, value },
                    attributes: [{ key: "i", value: { value: { case: "stringValue" as const, value: String(i) } } }],
                  })),
                },
              },
            },
          ],
        },
      ],
    },
  ],
});
const encode = (request: Export): Buffer =>
  Buffer.from(toBinary(ExportMetricsServiceRequestSchema, create(ExportMetricsServiceRequestSchema, request)));

test("OTLP/HTTP: protobuf, plain and compressed; the answer is in the language of the request", async () => {
  const headers = { "content-type": "application/x-protobuf" };
  const plain = await http.ask("POST", "/v1/metrics", headers, encode(gauges("http.plain", [1])));
  expect([plain.status, plain.headers["content-type"], plain.body]).toEqual([
    200,
    headers["content-type"],
    Buffer.alloc(0),
  ]);
  const gzip = { ...headers, "content-encoding": "gzip" };
  expect((await http.ask("POST", "/v1/metrics", gzip, gzipSync(encode(gauges("http.gzip", [2]))))).status).toBe(200);
  expect((await pointsOf("http.*")).map(({ name, value }) => [name, value])).toEqual([
    ["http.gzip", 2],
    ["http.plain", 1],
  ]);
});

test("OTLP/HTTP: JSON as its specification writes it, and a partial success", async () => {
  const time = String(nowNs());
  const attributes = [{ key: "a", value: { stringValue: "ü" } }];
  const exemplars = [
    { timeUnixNano: time, asDouble: 0.5, traceId: "5B8EFFF798038103D269B633813FC60C", spanId: "EEE19B7EC3C1B174" },
  ];
  const histogram = {
    aggregationTemporality: 2,
    dataPoints: [
      { timeUnixNano: time, count: "3", sum: 7, bucketCounts: ["1", "2"], explicitBounds: [1], attributes, exemplars },
    ],
  };
  const sum = {
    isMonotonic: true,
    aggregationTemporality: 2,
    dataPoints: [{ timeUnixNano: time, asInt: "9007199254740993" }, { asInt: 1 }],
  };
  const request = {
    resourceMetrics: [
      {
        resource: { attributes: [{ key: "service.name", value: { stringValue: "json" } }] },
        scopeMetrics: [
          {
            metrics: [
              { name: "json.h", unit: "s", histogram },
              { name: "json.sum", sum },
            ],
          },
        ],
      },
    ],
  };
  const headers = { "content-type": "application/json" };
  const answer = await http.ask("POST", "/v1/metrics", headers, Buffer.from(JSON.stringify(request)));
  const errorMessage = "1 of 3 data points were rejected; the first one: json.sum: its time is not set";
  expect([answer.status, JSON.parse(answer.body.toString())]).toEqual([
    200,
    { partialSuccess: { rejectedDataPoints: "1", errorMessage } },
  ]);
  expect(await pointsOf("json.*")).toMatchObject([
    {
      name: "json.h",
      unit: "s",
      labels: { a: "ü", "service.name": "json" },
      histogram: {
        bucketCounts: [1n, 2n],
        exemplars: [{ traceId: Uint8Array.from(Buffer.from("5B8EFFF798038103D269B633813FC60C", "hex")) }],
      },
    },
    { name: "json.sum", intValue: 9_007_199_254_740_993n, metricType: "counter" },
  ]);
});

test("OTLP/HTTP: what can never succeed is no status after which exporters try again", async () => {
  const ask = async (type: string, body: string) => {
    const { status } = await http.ask("POST", "/v1/metrics", { "content-type": type }, Buffer.from(body));
    return status;
  };
  expect(await ask("application/x-protobuf", "garbage")).toBe(400);
  expect(await ask("application/json", "{")).toBe(400);
  expect(await ask("text/plain", "")).toBe(415);
  expect((await http.ask("GET", "/v1/metrics")).status).toBe(405);
});

test("the SDK writes every kind of point, and gets it back as it was", async () => {
  await using client = connect(server.address);
  const writer = client.openMetricWriter();
  const timestamp = nowNs();
  const shape = { startTimeUnixNano: timestamp - 5n, timeUnixNano: timestamp, count: 3n, sum: 1.5 };
  await writer.write({ name: "sdk.gauge", value: 1.5, labels: { a: "b" }, unit: "By", description: "What" });
  await writer.write({
    name: "sdk.counter",
    intValue: 2n ** 60n + 1n,
    metricType: "counter",
    startTimestamp: 7n,
    timestamp,
  });
  await writer.write({
    name: "sdk.histogram",
    timestamp,
    startTimestamp: timestamp - 5n,
    histogram: { ...shape, bucketCounts: [1n, 2n], explicitBounds: [1] },
  });
  await writer.write({
    name: "sdk.exponential",
    timestamp,
    startTimestamp: timestamp - 5n,
    exponentialHistogram: { ...shape, scale: 3 },
  });
  await writer.write({
    name: "sdk.summary",
    timestamp,
    startTimestamp: timestamp - 5n,
    summary: { ...shape, quantileValues: [{ quantile: 0.5, value: 1 }] },
  });
  await writer.close();
  const { series } = await metrics.listSeries({ metricNames: ["sdk.*"] });
  expect(series).toMatchObject([
    { name: "sdk.counter", metricType: "counter", intValue: 2n ** 60n + 1n, startTimestamp: 7n, timestamp },
    { name: "sdk.exponential", metricType: "histogram", value: 3, exponentialHistogram: { ...shape, scale: 3 } },
    { name: "sdk.gauge", metricType: "gauge", value: 1.5, labels: { a: "b" }, unit: "By", description: "What" },
    { name: "sdk.histogram", metricType: "histogram", value: 3, histogram: { ...shape, bucketCounts: [1n, 2n] } },
    {
      name: "sdk.summary",
      metricType: "summary",
      value: 3,
      summary: { ...shape, quantileValues: [{ quantile: 0.5 }] },
    },
  ]);
});

test("what is wrong is rejected by its place with a stable reason, and the rest is written", async () => {
  await using client = connect(server.address);
  const rejected: RejectedMetricPoint[] = [];
  const writer = client.openMetricWriter({ onRejected: (each) => void rejected.push(each) });
  const timestamp = nowNs();
  await writer.write({ name: "wrong.a", value: 1, timestamp });
  await writer.write({ name: "", value: 1 });
  await writer.write({ name: "wrong.b", metricType: "thing" });
  await writer.write({ name: "wrong.c", metricType: "histogram" });
  await writer.write({ name: "wrong.d", value: 1, labels: { page: "x".repeat(65_536) } });
  await writer.write({ name: "wrong.a", value: 2, timestamp });
  await writer.write({ name: "wrong.a", value: 2, timestamp: timestamp - 3_600_000_000_000n });
  await writer.write({ name: "wrong.a", value: 1, timestamp }); // a repeat
  await writer.write({ name: "wrong.e", value: Number.NaN });
  await writer.flush();
  expect(rejected.map(({ reason, point }) => [reason, point.name])).toEqual([
    ["NAME", ""],
    ["TYPE", "wrong.b"],
    ["TYPE", "wrong.c"],
    ["LABELS", "wrong.d"],
    ["CONFLICT", "wrong.a"],
    ["OLD", "wrong.a"],
  ]);
  expect(rejected[3]?.text).toContain('the longest is "page"');
  await writer.close();
  expect((await pointsOf("wrong.*")).map(({ name, value }) => [name, value])).toEqual([
    ["wrong.a", 1],
    ["wrong.e", Number.NaN],
  ]);
});

test("a writer without somebody who hears of refusals fails with the first one", async () => {
  await using client = connect(server.address);
  const writer = client.openMetricWriter();
  await writer.write({ name: "" });
  await expect(writer.close()).rejects.toThrow(MetricWriterFailed);
});

test("many points in order, and a stale one at the end", async () => {
  await using client = connect(server.address);
  let acknowledged = 0;
  const writer = client.openMetricWriter({ onAcknowledged: (points) => void (acknowledged += points) });
  const start = nowNs();
  for (let i = 0; i < 20_000; i++) await writer.write({ name: "many", value: i, timestamp: start + BigInt(i) });
  await writer.flush();
  expect(acknowledged).toBe(20_000);
  expect(await pointsOf("many")).toMatchObject([{ value: 19_999 }]);
  await writer.write({ name: "many", stale: true, timestamp: start + 20_000n });
  await writer.close();
  expect(await pointsOf("many")).toMatchObject([{ stale: true }]);
});

test("a writer goes on with the next server; what was acknowledged is there after a restart", async () => {
  await using own = await openTemporaryFolder("metrics-in-again");
  const first = await startProbedServer(own.path);
  const { address } = first;
  await using client = connect(address);
  const writer = client.openMetricWriter({ retry: { initialMs: 20, maxMs: 50 } });
  await writer.write({ name: "kept", value: 1 });
  await writer.flush();
  await first[Symbol.asyncDispose]();
  const start = nowNs();
  for (let i = 0; i < 3000; i++) {
    await writer.write({ name: "later", value: i, labels: { i: String(i % 7) }, timestamp: start + BigInt(i) });
  }
  await using _second = await startProbedServer(own.path, { listen: address });
  await writer.close();
  const rows = await client.listMetrics(["kept", "later"]);
  expect(rows.map(({ name, series }) => [name, series])).toEqual([
    ["kept", 1n],
    ["later", 7n],
  ]);
});

test("remote write on the server's own port", async () => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, 42);
  const labels = [
    { name: "__name__", value: "rw_total" },
    { name: "job", value: "p" },
  ];
  const samples = [{ value: view.getBigUint64(0), timestamp: BigInt(Date.now()) }];
  const request = create(RemoteWriteV1RequestSchema, { timeseries: [{ labels, samples }] });
  const body = compressSnappy(toBinary(RemoteWriteV1RequestSchema, request));
  const headers = {
    "content-type": "application/x-protobuf",
    "content-encoding": "snappy",
    "x-prometheus-remote-write-version": "0.1.0",
  };
  expect((await http.ask("POST", "/api/v1/write", headers, body)).status).toBe(204);
  expect(await pointsOf("rw_*")).toMatchObject([
    { name: "rw_total", value: 42, metricType: "counter", labels: { job: "p" } },
  ]);
});

test("a target is scraped, and what it says next, too", async () => {
  const labels = { job: "shop", instance: new URL(target.url).host, env: "test" };
  await expect.poll(() => pointsOf("shop_*")).toMatchObject([{ name: "shop_orders_total", value: 7, labels }]);
  target.text = "shop_orders_total 8\n";
  await expect.poll(() => pointsOf("shop_*")).toMatchObject([{ value: 8 }]);
  expect(await pointsOf("up")).toMatchObject([{ value: 1, labels }]);
  expect((await pointsOf("scrape_*")).map(({ name }) => name)).toEqual([
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "scrape_samples_scraped",
    "scrape_series_added",
  ]);
});

const cli = async (input: string, ...words: string[]) =>
  await callCli(["metrics", "push", ...words, "--server", server.address], { folder: folder.path, input }).ended;

test("sluice metrics push reads the text format from stdin, and says what is wrong in it", async () => {
  const text = `# TYPE pushed_seconds histogram
pushed_seconds_bucket{le="1"} 2
pushed_seconds_bucket{le="+Inf"} 3
pushed_seconds_sum 4
pushed_seconds_count 3
# TYPE pushed_total counter
pushed_total{job="own"} 5
`;
  const good = await cli(text, "-l", "job=cron");
  expect([good.exitCode, good.stdout]).toEqual([0, expect.stringMatching(/^2 points written in [\d.]+ s\n$/u)]);
  expect(await pointsOf("pushed_*")).toMatchObject([
    { name: "pushed_seconds", labels: { job: "cron" }, histogram: { bucketCounts: [2n, 1n], sum: 4 } },
    { name: "pushed_total", labels: { job: "own" }, value: 5, metricType: "counter" },
  ]);
  const bad = await cli("a_pushed 1\nb_pushed{ 2\n", "--output", "json");
  expect(bad.exitCode).toBe(1);
  expect(JSON.parse(bad.stdout)).toMatchObject({ points: 1, acknowledged: 1, rejected: 0, badLines: 1 });
  expect(bad.stderr).toContain("line 2:");
  const open = await cli("# TYPE c counter\nc_total 1 1.5\n", "--format", "openmetrics");
  expect(open.stderr).toContain("the text ends without # EOF");
});

test("an explosion: a million series are refused with the label that makes them, known ones and other subjects go on", async () => {
  await using client = connect(server.address);
  const before = await server.probe();
  const headers = { "content-type": "application/x-protobuf" };
  let rejected = 0n;
  let message = "";
  const text = (value: string) => ({ value: { case: "stringValue" as const, value } });
  const request = gauges("explosion", []);
  const [metric] = request.resourceMetrics![0]!.scopeMetrics![0]!.metrics!;
  const timeUnixNano = nowNs();
  const dataPoints = Array.from({ length: 10_000 }, (_, i) => ({
    timeUnixNano,
    value: { case: "asDouble" as const, value: 1 },
    attributes: [
      { key: "path", value: text("/") },
      { key: "user", value: text(`ROUND-${i}`) },
    ],
  }));
  Object.assign(metric!.data!, { value: { dataPoints } });
  const pattern = encode(request).toString("latin1");
  for (let round = 0; round < 100; round++) {
    const body = Buffer.from(pattern.replaceAll("ROUND", String(round).padStart(5, "0")), "latin1");
    const answer = await http.ask("POST", "/v1/metrics", headers, body);
    expect(answer.status).toBe(200);
    const { partialSuccess } = fromBinary(ExportMetricsServiceResponseSchema, answer.body);
    rejected += partialSuccess?.rejectedDataPoints ?? 0n;
    message = partialSuccess?.errorMessage ?? "";
  }
  const [row] = await client.listMetrics(["explosion"]);
  expect(BigInt(rejected) + (row?.series ?? 0n)).toBe(1_000_000n);
  expect(message).toMatch(
    /the subject "anonymous" has 1000 series, its limit; .*its label "user" has the most values: \d+$/u,
  );
  const writer = client.openMetricWriter();
  await writer.write({ name: "sdk.gauge", value: 3, labels: { a: "b" }, unit: "By" });
  await writer.close();
  expect((await pointsOf("sdk.gauge"))[0]?.value).toBe(3);
  await expect.poll(() => pointsOf("shop_*")).toMatchObject([{ value: 8 }]);
  expect((await server.probe()).memoryBytes - before.memoryBytes).toBeLessThan(64 * 1024 * 1024);
}, 120_000);
