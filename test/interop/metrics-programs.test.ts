// Programs of others that bring metrics: OpenTelemetry's SDKs for JavaScript (over HTTP) and Python, telemetrygen, a real
// Prometheus that writes to us by both versions of remote write, and node_exporter, which we scrape, with nothing lost.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { OTLPMetricExporter as JsonExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPMetricExporter as ProtobufExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { CompressionAlgorithm } from "@opentelemetry/otlp-exporter-base";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { type MetricPoint, MetricsMode, MetricsService } from "@sluice/api";
import { createClient } from "@sluice/rpc";
import { beforeAll, describe, expect, onTestFinished, test, type TestContext } from "vitest";
import { parseExposition } from "../../packages/server/src/metrics/prometheus-text.ts";
import { runCommand } from "../../scripts/command.ts";
import { collect, openLogClient } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { findPythonOpenTelemetry } from "../tools/python-opentelemetry.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

const server = useLogServer("metrics-programs");
let python: Tool;
let telemetrygen: Tool;
let prometheus: Tool;
let nodeExporter: Tool;

beforeAll(async () => {
  python = await findPythonOpenTelemetry({ mayFetch });
  telemetrygen = await findGoTool("telemetrygen", { mayFetch });
  prometheus = await findGoTool("prometheus", { mayFetch });
  nodeExporter = await findGoTool("node_exporter", { mayFetch });
}, 600_000);

function pathOf(tool: Tool, { skip }: TestContext): string {
  return tool.kind === "ready" ? tool.path : skip(tool.reason);
}

async function pointsOf(labels: Readonly<Record<string, string>>, address = server.address): Promise<MetricPoint[]> {
  await using client = openLogClient(address);
  const metrics = createClient(MetricsService, client.channel);
  const points = await collect(metrics.streamMetrics({ labels, mode: MetricsMode.ONCE }));
  return points.filter(({ control }) => control === undefined).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

const short = (points: readonly MetricPoint[]) =>
  points.map(({ name, metricType, value }) => [name, metricType, value]);

describe.each([
  ["protobuf", ProtobufExporter],
  ["JSON", JsonExporter],
])("the JavaScript SDK over HTTP with %s", (name, Exporter) => {
  test.each([CompressionAlgorithm.NONE, CompressionAlgorithm.GZIP])("%s", async (compression) => {
    const service = `js ${name} ${compression}`;
    const exporter = new Exporter({ url: `http://${server.address}/v1/metrics`, compression });
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    const resource = resourceFromAttributes({ "service.name": service });
    const provider = new MeterProvider({ resource, readers: [reader] });
    const meter = provider.getMeter("checkout", "1.2.3");
    const orders = meter.createCounter("orders", { unit: "{order}" });
    const latency = meter.createHistogram("latency", { advice: { explicitBucketBoundaries: [1, 5] } });
    for (const round of [1, 2]) {
      orders.add(3 * round, { card: "ü" });
      latency.record(0.5);
      await provider.forceFlush();
    }
    await provider.shutdown();
    const points = await pointsOf({ "service.name": service });
    expect(short(points)).toEqual([
      ["latency", "histogram", 2],
      ["orders", "counter", 9],
    ]);
    expect(points[0]?.histogram).toMatchObject({ count: 2n, sum: 1, bucketCounts: [2n, 0n, 0n] });
    expect(points[1]).toMatchObject({ labels: { card: "ü" }, unit: "{order}" });
  });
});

test.for(["grpc", "http"])("the Python SDK over %s", async (protocol, context) => {
  const service = `python ${protocol}`;
  const script = join(import.meta.dirname, "python", "otel_metrics.py");
  const { code, stdout, output } = await runCommand([
    pathOf(python, context),
    script,
    protocol,
    server.address,
    service,
  ]);
  expect([code, stdout], output).toEqual([0, "done\n"]);
  const points = await pointsOf({ "service.name": service });
  expect(short(points)).toEqual([
    ["exponential", "histogram", 2],
    ["latency", "histogram", 4],
    ["orders", "counter", 9],
    ["queue", "gauge", 3],
    ["warmth", "gauge", 21.5],
  ]);
  expect(points[0]?.exponentialHistogram).toMatchObject({ count: 2n, sum: 8 });
  expect(points[1]?.histogram).toMatchObject({ sum: 15, bucketCounts: [2n, 0n, 2n], explicitBounds: [1, 5] });
  expect(points[2]).toMatchObject({ unit: "{order}", description: "Orders taken", labels: { card: "visa" } });
  expect(points[4]?.labels).toMatchObject({ room: "ü" });
});

test.for([[], ["--otlp-http"]])("telemetrygen %j", async (how, context) => {
  const service = `telemetrygen${how.join("")}`;
  const where = ["--otlp-endpoint", server.address, "--otlp-insecure", ...how, "--service", service];
  const which = "--workers 1 --metrics 20 --rate 0 --metric-type Sum --otlp-metric-name generated".split(" ");
  const more = ["--telemetry-attributes", 'pod="web-1"', "--aggregation-temporality", "delta"];
  const { code, output } = await runCommand([pathOf(telemetrygen, context), "metrics", ...where, ...which, ...more]);
  expect(code, output).toBe(0);
  const points = await pointsOf({ "service.name": service });
  expect(points).toMatchObject([{ name: "generated", metricType: "counter", labels: { pod: "web-1" } }]);
  expect(points[0]?.value).toBeGreaterThan(0);
});

/** A program until the test ends; resolves with the first line of its stderr that fits. */
async function start(path: string, words: readonly string[], fits: RegExp): Promise<RegExpExecArray> {
  const child = spawn(path, words, { stdio: ["ignore", "ignore", "pipe"] });
  onTestFinished(() => ended(child));
  for await (const line of createInterface(child.stderr)) {
    const found = fits.exec(line);
    if (found === null) continue;
    child.stderr.resume();
    return found;
  }
  throw new Error(`${path} ended without saying ${fits}`);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

/** What says the same at every scrape, until it is closed. */
async function openPage(text: string): Promise<{ readonly address: string; close(): void }> {
  const web: Server = createServer((_, response) =>
    response.setHeader("content-type", "text/plain; version=0.0.4").end(text),
  );
  await new Promise<void>((resolve) => {
    web.listen(0, "127.0.0.1", resolve);
  });
  const close = (): void => {
    web.close();
    web.closeAllConnections();
  };
  onTestFinished(close);
  return { address: `127.0.0.1:${(web.address() as AddressInfo).port}`, close };
}

test.for(["prometheus.WriteRequest", "io.prometheus.write.v2.Request"])(
  "a real Prometheus writes by %s, and says so when a target is gone",
  { timeout: 60_000 },
  async (message, context) => {
    const path = pathOf(prometheus, context);
    await using folder = await openTemporaryFolder("prometheus-writes");
    const page = await openPage(`# TYPE shop_orders_total counter
shop_orders_total{kind="a"} 7
# TYPE shop_seconds histogram
shop_seconds_bucket{le="1"} 2
shop_seconds_bucket{le="+Inf"} 3
shop_seconds_sum 4
shop_seconds_count 3
`);
    const job = `shop-${message.length}`;
    const config = `global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: ${job}
    static_configs: [{targets: ["${page.address}"]}]
remote_write:
  - url: http://${server.address}/api/v1/write
    protobuf_message: ${message}
    queue_config: {batch_send_deadline: 100ms}
    metadata_config: {send_interval: 200ms}
`;
    const file = join(folder.path, "prometheus.yml");
    await writeFile(file, config);
    const storage = [`--storage.tsdb.path=${join(folder.path, "data")}`, "--web.listen-address=127.0.0.1:0"];
    await start(path, [`--config.file=${file}`, ...storage], /Server is ready/u);
    const names = async () => (await pointsOf({ job })).filter(({ name }) => !name.startsWith("scrape_"));
    await expect
      .poll(async () => short(await names()), { timeout: 20_000 })
      .toEqual([
        ["shop_orders_total", "counter", 7],
        ["shop_seconds_bucket", "counter", expect.any(Number)],
        ["shop_seconds_bucket", "counter", expect.any(Number)],
        ["shop_seconds_count", "counter", 3],
        ["shop_seconds_sum", "gauge", 4],
        ["up", "gauge", 1],
      ]);
    expect((await names())[0]?.labels).toEqual({ job, instance: page.address, kind: "a" });
    page.close();
    // Its marks of stale series, known by their bits.
    await expect
      .poll(async () => (await names()).map(({ name, value, stale }) => [name, stale || value]), { timeout: 20_000 })
      .toEqual([
        ["shop_orders_total", true],
        ["shop_seconds_bucket", true],
        ["shop_seconds_bucket", true],
        ["shop_seconds_count", true],
        ["shop_seconds_sum", true],
        ["up", 0],
      ]);
  },
);

test("node_exporter is scraped, and nothing of what it says is lost", { timeout: 60_000 }, async (context) => {
  const path = pathOf(nodeExporter, context);
  const [, address = ""] = await start(path, ["--web.listen-address=127.0.0.1:0"], /address=(\S+:\d+)/u);
  // Its numbers change from scrape to scrape: what it said once is what is said again, in the same words.
  const said = await (await fetch(`http://${address}/metrics`, { headers: { accept: "text/plain" } })).text();
  const page = await openPage(said);
  await using folder = await openTemporaryFolder("node-exporter");
  const words = [
    "--metrics-scrape",
    `live=http://${address};interval=1s`,
    "--metrics-scrape",
    `node=http://${page.address};interval=1s`,
  ];
  await using own = await startServer(words, { folder: folder.path });
  await expect.poll(async () => (await pointsOf({ job: "node" }, own.address)).length).toBeGreaterThan(100);
  const points = await pointsOf({ job: "node" }, own.address);
  const flat = points.flatMap(samplesOf).map(({ name, labels, value }) => textOf(name, labels, value));
  const families = parseExposition(said, "text");
  const expected = families.flatMap(({ samples }) =>
    samples.map(({ name, labels, value }) => textOf(name, Object.fromEntries(labels), value)),
  );
  expect(expected.length).toBeGreaterThan(300);
  const got = new Set(flat);
  expect(expected.filter((each) => !got.has(each))).toEqual([]);
  // As it speaks with a Prometheus, in protobuf, the same names.
  const names = families.filter(({ samples }) => samples.length > 0).map(({ name }) => name);
  const missing = async () => {
    const live = new Set((await pointsOf({ job: "live" }, own.address)).map(({ name }) => name));
    return names.filter((name) => !live.has(name));
  };
  await expect.poll(missing, { timeout: 10_000 }).toEqual([]);
});

interface Flat {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A point as the text format writes it, without what the scrape added. */
function samplesOf({
  name,
  labels: { job: _, instance: __, ...labels },
  value,
  histogram,
  summary,
}: MetricPoint): Flat[] {
  if (summary !== undefined) {
    return [
      ...summary.quantileValues.map((each) => ({
        name,
        labels: { ...labels, quantile: String(each.quantile) },
        value: each.value,
      })),
      { name: `${name}_sum`, labels, value: summary.sum },
      { name: `${name}_count`, labels, value: Number(summary.count) },
    ];
  }
  if (histogram === undefined) return [{ name, labels, value }];
  let sum = 0;
  const buckets = histogram.bucketCounts.map((count, i) => {
    sum += Number(count);
    const bound = histogram.explicitBounds[i];
    return {
      name: `${name}_bucket`,
      labels: { ...labels, le: bound === undefined ? "+Inf" : String(bound) },
      value: sum,
    };
  });
  return [
    ...buckets,
    { name: `${name}_sum`, labels, value: histogram.sum ?? Number.NaN },
    { name: `${name}_count`, labels, value: Number(histogram.count) },
  ];
}

function textOf(name: string, labels: Readonly<Record<string, string>>, value: number): string {
  const pairs = Object.entries(labels)
    .filter(([, each]) => each !== "")
    .map(([key, each]) => [
      key,
      key === "le" || key === "quantile" ? String(Number(each.replace("+Inf", "Infinity"))) : each,
    ]);
  return `${name}${JSON.stringify(pairs.toSorted(([a = ""], [b = ""]) => (a < b ? -1 : 1)))} ${value}`;
}
