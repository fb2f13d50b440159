// Prometheus' own programs: promtool reads what /metrics says as text; a server, which prefers OpenMetrics, scrapes /metrics and
// /federate and computes from it.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  ExportMetricsServiceRequestSchema,
  MetricsMode,
  MetricsService,
  OtlpMetricsService,
} from "@sluice/api";
import { type Channel, createClient } from "@sluice/rpc";
import { beforeAll, expect, onTestFinished, test, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { collect, openLogClient } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";
import { type Prometheus, startPrometheus } from "../support/prometheus.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

const server = useLogServer("prometheus");
let prometheus: Tool;
let promtool: Tool;

beforeAll(async () => {
  prometheus = await findGoTool("prometheus", { mayFetch });
  promtool = await findGoTool("promtool", { mayFetch });
}, 1_200_000);

function pathOf(tool: Tool, { skip }: TestContext): string {
  return tool.kind === "ready" ? tool.path : skip(tool.reason);
}

async function read(path: string): Promise<string> {
  const response = await fetch(`http://${server.address}${path}`, { headers: { connection: "close" } });
  expect(response.status).toBe(200);
  return await response.text();
}

async function open(path: string, scrape: string): Promise<Prometheus> {
  const folder = await openTemporaryFolder("prometheus-tsdb");
  onTestFinished(() => folder[Symbol.asyncDispose]());
  const started = await startPrometheus({ path, folder: folder.path, scrape });
  onTestFinished(() => started[Symbol.asyncDispose]());
  return started;
}

const target = (job: string, path: string, more = "") =>
  `  - job_name: ${job}\n    metrics_path: ${path}\n${more}    static_configs: [{ targets: ["${server.address}"] }]\n`;

const text = (value: string) => ({ value: { case: "stringValue" as const, value } });
const attributes = (pairs: Readonly<Record<string, string>>) =>
  Object.entries(pairs).map(([key, value]) => ({ key, value: text(value) }));

/** A program's counter, gauge, histograms of both kinds and summary, exported over gRPC. */
async function exportAll(channel: Channel = server.client.channel): Promise<void> {
  const timeUnixNano = BigInt(Date.now()) * 1_000_000n;
  const point = {
    timeUnixNano,
    startTimeUnixNano: timeUnixNano - 1_000_000_000n,
    attributes: attributes({ "http.route": '/a"b\\' }),
  };
  const aggregationTemporality = AggregationTemporality.CUMULATIVE;
  const metrics: MessageInitShape<typeof ExportMetricsServiceRequestSchema>["resourceMetrics"] = [
    {
      resource: {
        attributes: attributes({ "service.name": "shop", "service.namespace": "web", "service.instance.id": "i1" }),
      },
      scopeMetrics: [
        {
          metrics: [
            {
              name: "http.requests",
              unit: "{request}",
              description: "Requests\nby route",
              data: {
                case: "sum",
                value: {
                  isMonotonic: true,
                  aggregationTemporality,
                  dataPoints: [{ ...point, value: { case: "asInt", value: 2n ** 53n } }],
                },
              },
            },
            {
              name: "room.warmth",
              unit: "Cel",
              data: { case: "gauge", value: { dataPoints: [{ ...point, value: { case: "asDouble", value: -1.5 } }] } },
            },
            {
              name: "http.latency",
              unit: "s",
              data: {
                case: "histogram",
                value: {
                  aggregationTemporality,
                  dataPoints: [
                    { ...point, count: 20n, sum: 33, explicitBounds: [1, 3, 4], bucketCounts: [5n, 10n, 2n, 3n] },
                  ],
                },
              },
            },
            {
              name: "message.size",
              unit: "By",
              data: {
                case: "exponentialHistogram",
                value: {
                  aggregationTemporality,
                  dataPoints: [
                    {
                      ...point,
                      count: 8n,
                      sum: 100,
                      scale: 1,
                      zeroCount: 1n,
                      positive: { offset: 2, bucketCounts: [3n, 0n, 4n] },
                    },
                  ],
                },
              },
            },
            {
              name: "gc.pause",
              unit: "s",
              data: {
                case: "summary",
                value: { dataPoints: [{ ...point, count: 3n, sum: 6, quantileValues: [{ quantile: 0.5, value: 2 }] }] },
              },
            },
          ],
        },
      ],
    },
  ];
  const otlp = createClient(OtlpMetricsService, channel);
  const { partialSuccess } = await otlp.export(create(ExportMetricsServiceRequestSchema, { resourceMetrics: metrics }));
  expect(partialSuccess).toBeUndefined();
}

test("promtool finds nothing to say of /metrics", async (context) => {
  const path = pathOf(promtool, context);
  const folder = await openTemporaryFolder("promtool");
  onTestFinished(() => folder[Symbol.asyncDispose]());
  // So that there are histograms of calls, too.
  await createClient(MetricsService, server.client.channel).listMetrics({});
  await expect.poll(() => read("/metrics")).toContain("rpc_server_call_duration_seconds_bucket");
  const file = join(folder.path, "metrics.txt");
  await writeFile(file, await read("/metrics"));
  const said = await runCommand(["sh", "-c", `"${path}" check metrics < "${file}"`]);
  expect(said).toMatchObject({ code: 0, output: "" });
});

test("a Prometheus that scrapes /metrics has the server's counts and the machine's, each with its type", async (context) => {
  const path = pathOf(prometheus, context);
  const one = await open(path, `scrape_configs:\n${target("sluice", "/metrics")}`);
  await expect
    .poll(() => one.query("sluice_connections"), { timeout: 20_000 })
    .toMatchObject([{ labels: { job: "sluice" } }]);
  expect(await one.targets()).toEqual([{ job: "sluice", health: "up", lastError: "" }]);
  const limit = 1024 * Number(/^MemTotal: +(\d+) kB/mu.exec(await readFile("/proc/meminfo", "utf8"))?.[1]);
  expect(await one.query("system_memory_limit_bytes")).toMatchObject([{ value: limit }]);
  const calls = await one.query(
    'rpc_server_call_duration_seconds_count{rpc_method="sluice.metrics.v1.MetricsService/ListMetrics"}',
  );
  expect(calls).toMatchObject([{ labels: { rpc_response_status_code: "OK" } }]);
  const types = await fetch(`http://${one.address}/api/v1/metadata?metric=sluice_log_entries`, {
    headers: { connection: "close" },
  });
  expect(JSON.stringify(await types.json())).toContain('"type":"counter"');
});

test("a Prometheus that scrapes /federate has what programs export, and computes the quantiles that our streams have", async (context) => {
  const path = pathOf(prometheus, context);
  await exportAll();
  const selection = `    honor_labels: true\n    params: { "match[]": ['{__name__=~".+"}'] }\n`;
  const one = await open(path, `scrape_configs:\n${target("federate", "/federate", selection)}`);
  const labels = { job: "web/shop", instance: "i1", http_route: '/a"b\\' };
  await expect
    .poll(() => one.query("http_requests_total"), { timeout: 20_000 })
    .toMatchObject([{ labels, value: 2 ** 53 }]);
  expect(await one.targets()).toEqual([{ job: "federate", health: "up", lastError: "" }]);
  expect(await one.query("room_warmth_celsius")).toMatchObject([{ labels, value: -1.5 }]);
  expect(await one.query("http_latency_seconds_count")).toMatchObject([{ labels, value: 20 }]);
  expect(await one.query("http_latency_seconds_sum")).toMatchObject([{ value: 33 }]);
  expect(await one.query('gc_pause_seconds{quantile="0.5"}')).toMatchObject([{ value: 2 }]);
  expect(await one.query('message_size_bytes_bucket{le="+Inf"}')).toMatchObject([{ value: 8 }]);
  expect(await one.query("sluice_connections")).toEqual([]);
  const quantiles = [0.1, 0.5, 0.75, 0.99];
  const ours = await collect(
    createClient(MetricsService, server.client.channel).streamMetrics({
      metricNames: ["http.latency"],
      quantiles,
      mode: MetricsMode.ONCE,
    }),
  );
  const told = ours.flatMap((point) => point.quantiles.map(({ value }) => value));
  const theirs = await Promise.all(
    quantiles.map((each) => one.query(`histogram_quantile(${each}, http_latency_seconds_bucket)`)),
  );
  expect(told.map((value) => value.toFixed(9))).toEqual(theirs.map(([sample]) => sample?.value.toFixed(9)));
});

test("a Prometheus that takes remote write has what programs export, exponential histograms as native ones", async (context) => {
  const path = pathOf(prometheus, context);
  const one = await open(path, "scrape_configs: []");
  const folder = await openTemporaryFolder("forwarding");
  onTestFinished(() => folder[Symbol.asyncDispose]());
  const forwarding = await startServer(["--metrics-forward", `http://${one.address}/api/v1/write`], {
    folder: folder.path,
  });
  onTestFinished(() => forwarding[Symbol.asyncDispose]());
  const client = openLogClient(forwarding.address);
  onTestFinished(() => client[Symbol.asyncDispose]());
  await exportAll(client.channel);
  const labels = { job: "web/shop", instance: "i1", http_route: '/a"b\\' };
  await expect
    .poll(() => one.query("http_requests_total"), { timeout: 20_000 })
    .toMatchObject([{ labels, value: 2 ** 53 }]);
  expect(await one.query('http_latency_seconds_bucket{le="3"}')).toMatchObject([{ labels, value: 15 }]);
  expect(await one.query("histogram_count(message_size_bytes)")).toMatchObject([{ labels, value: 8 }]);
  const quantiles = [0.2, 0.5, 0.9];
  const ours = await collect(
    createClient(MetricsService, client.channel).streamMetrics({
      metricNames: ["message.size"],
      quantiles,
      mode: MetricsMode.ONCE,
    }),
  );
  const theirs = await Promise.all(
    quantiles.map((each) => one.query(`histogram_quantile(${each}, message_size_bytes)`)),
  );
  expect(ours.flatMap((point) => point.quantiles.map(({ value }) => value.toFixed(9)))).toEqual(
    theirs.map(([sample]) => sample?.value.toFixed(9)),
  );
  expect(await one.query('sluice_log_entries_total{sluice_log_name="default"}')).toHaveLength(1);
});
