// Metrics on their way out: over plain HTTP, on to another server, as quantiles and exemplars; and a CPU that is kept busy.
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  type ExportMetricsServiceRequestSchema,
  MetricsMode,
  MetricsService,
  OtlpMetricsService,
  QuantileSource,
  RemoteWriteV1RequestSchema,
} from "@sluice/api";
import { connect } from "@sluice/client";
import { type Channel, createClient, openChannel } from "@sluice/rpc";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { decompressSnappy } from "../../packages/server/src/metrics/snappy.ts";
import { callCli } from "../support/cli-in-process.ts";
import { collect } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const resources = new AsyncDisposableStack();
let folder: string;
let address: string;
let healthAddress: string;
let channel: Channel;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("metrics-out")).path;
  const started = resources.use(await startServer(["--health-listen", "127.0.0.1:0"], { folder }));
  ({ address } = started);
  [, healthAddress = ""] = await started.waitFor("stderr", /^listening for health on (\S+)$/mu);
  channel = resources.use(openChannel(address));
}, 60_000);
afterAll(() => resources.disposeAsync());

const nowNs = () => BigInt(Date.now()) * 1_000_000n;

/** A histogram of seconds with an exemplar, and a counter with one. */
async function exportSome(to: Channel, bucketCounts: bigint[]): Promise<void> {
  const exemplars = [
    { timeUnixNano: 1n, value: { case: "asDouble" as const, value: 1.5 }, traceId: new Uint8Array(16).fill(7) },
  ];
  const times = { timeUnixNano: nowNs(), startTimeUnixNano: 1n };
  const count = bucketCounts.reduce((sum, each) => sum + each, 0n);
  const aggregationTemporality = AggregationTemporality.CUMULATIVE;
  const request: MessageInitShape<typeof ExportMetricsServiceRequestSchema> = {
    resourceMetrics: [
      {
        resource: { attributes: [{ key: "service.name", value: { value: { case: "stringValue", value: "shop" } } }] },
        scopeMetrics: [
          {
            metrics: [
              {
                name: "shop.latency",
                unit: "s",
                data: {
                  case: "histogram",
                  value: {
                    aggregationTemporality,
                    dataPoints: [{ ...times, count, explicitBounds: [1, 2], bucketCounts, exemplars }],
                  },
                },
              },
              {
                name: "shop.orders",
                data: {
                  case: "sum",
                  value: {
                    aggregationTemporality,
                    isMonotonic: true,
                    dataPoints: [{ ...times, value: { case: "asInt", value: count }, exemplars }],
                  },
                },
              },
            ],
          },
        ],
      },
    ],
  };
  await createClient(OtlpMetricsService, to).export(request);
}

async function read(path: string): Promise<{ status: number; type: string | null; text: string }> {
  const response = await fetch(`http://${address}${path}`, { headers: { connection: "close" } });
  return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
}

test("a stream has quantiles, of all that was counted or of the subscriber's interval, and exemplars", async () => {
  await exportSome(channel, [4n, 0n, 0n]);
  const metrics = createClient(MetricsService, channel);
  const all = await collect(
    metrics.streamMetrics({ metricNames: ["shop.*"], quantiles: [0.5], mode: MetricsMode.ONCE }),
  );
  const [latency, orders] = all
    .filter(({ control }) => control === undefined)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  expect(latency?.quantiles).toMatchObject([{ quantile: 0.5, value: 0.5, source: QuantileSource.EXPLICIT_BUCKETS }]);
  expect(latency?.histogram?.exemplars).toMatchObject([{ value: { value: 1.5 } }]);
  expect(orders?.quantiles).toEqual([]);
  expect(orders?.exemplars).toMatchObject([{ value: { value: 1.5 } }]);

  await using client = connect(address);
  const query = {
    names: ["shop.latency"],
    quantiles: [0.5],
    counters: "rate",
    mode: "on-change",
    intervalMs: 10,
  } as const;
  const told: number[][] = [];
  for await (const event of client.streamMetrics(query)) {
    if (event.kind === "sync") await exportSome(channel, [4n, 2n, 0n]);
    if (event.kind !== "point") continue;
    told.push(event.point.quantiles.map(({ value }) => value));
    if (told.length === 2) break;
  }
  // First of all; then only of the two that came.
  expect(told).toEqual([[0.5], [1.5]]);
});

test("the command line tells quantiles beside the count", async () => {
  const words = ["metrics", "shop.latency", "--quantile", "0.5,0.999", "--mode", "once", "--server", address];
  const { stdout } = await callCli(words, { folder }).ended;
  expect(stdout).toMatch(/ shop\.latency\{service\.name="shop"\} 6 p50=0\.7500 s p99\.9=1\.997 s\n$/u);
  const wrong = await callCli([...words.slice(0, 2), "--quantile", "99"], { folder }).ended;
  expect(wrong.stderr).toContain("from 0 to 1");
});

test("what is measured here is read at /metrics, what programs write at /federate, neither by another method", async () => {
  const metrics = await read("/metrics");
  expect(metrics).toMatchObject({ status: 200, type: "text/plain; version=0.0.4; charset=utf-8" });
  expect(metrics.text).toContain("\nsluice_log_entries_total");
  expect(metrics.text).not.toContain("shop_orders");
  const federated = await read(`/federate?match[]=${encodeURIComponent('{job="shop"}')}`);
  expect(federated.text).toMatch(/^shop_orders_total\{job="shop"\} 6 \d{13}$/mu);
  expect(federated.text).not.toContain("sluice_");
  const unasked = await read("/federate");
  expect([unasked.status, unasked.text]).toEqual([400, expect.stringContaining("match[]")]);
  const wrong = await read("/federate?match[]=a{");
  expect([wrong.status, wrong.text]).toEqual([400, expect.stringContaining("a label is expected")]);
  const posted = await fetch(`http://${address}/metrics`, { method: "POST", headers: { connection: "close" } });
  expect(posted.status).toBe(405);
  const onHealth = await fetch(`http://${healthAddress}/metrics`, { headers: { connection: "close" } });
  expect(await onHealth.text()).toContain("\nsluice_log_entries_total");
  const notThere = await fetch(`http://${healthAddress}/federate?match[]=up`, { headers: { connection: "close" } });
  expect(notThere.status).toBe(404);
});

test("everything is handed on to another server by OTLP, and comes there once that is up", async () => {
  const behind = await openTemporaryFolder("metrics-behind");
  onTestFinished(() => behind[Symbol.asyncDispose]());
  const before = await openTemporaryFolder("metrics-before");
  onTestFinished(() => before[Symbol.asyncDispose]());
  const sender = await startServer(["--metrics-forward", `otlp://${address}`], { folder: before.path });
  onTestFinished(() => sender[Symbol.asyncDispose]());
  const from = openChannel(sender.address);
  onTestFinished(() => from[Symbol.asyncDispose]());
  const metrics = createClient(MetricsService, from);
  const { metrics: known } = await metrics.listMetrics({ metricNames: ["sluice.forward.*"] });
  expect(known.map(({ name }) => name)).toEqual([
    "sluice.forward.dropped",
    "sluice.forward.retries",
    "sluice.forward.sent",
    "sluice.forward.waiting",
  ]);
  const point = {
    name: "forwarded.size",
    timestamp: nowNs(),
    value: 7.5,
    labels: { room: "a", "service.name": "other" },
  };
  const written = createClient(OtlpMetricsService, from);
  await written.export({
    resourceMetrics: [
      {
        resource: { attributes: [{ key: "service.name", value: { value: { case: "stringValue", value: "other" } } }] },
        scopeMetrics: [
          {
            metrics: [
              {
                name: point.name,
                unit: "By",
                data: {
                  case: "gauge",
                  value: {
                    dataPoints: [
                      {
                        timeUnixNano: point.timestamp,
                        attributes: [{ key: "room", value: { value: { case: "stringValue", value: "a" } } }],
                        value: { case: "asDouble", value: 7.5 },
                      },
                    ],
                  },
                },
              },
            ],
          },
        ],
      },
    ],
  });
  const there = createClient(MetricsService, channel);
  await expect
    .poll(async () => (await there.listSeries({ metricNames: ["forwarded.size"] })).series, { timeout: 20_000 })
    .toMatchObject([{ ...point, unit: "By" }]);
});

/** One who takes remote write, or says that it cannot now. */
async function openReceiver() {
  const state = { isUp: false, asked: 0, values: [] as number[] };
  const view = new DataView(new ArrayBuffer(8));
  const take = (body: Buffer): void => {
    const { timeseries } = fromBinary(RemoteWriteV1RequestSchema, decompressSnappy(body, 1e7));
    for (const { labels, samples } of timeseries) {
      if (labels[0]?.value !== "kept_points") continue;
      for (const { value } of samples) {
        view.setBigUint64(0, value);
        state.values.push(view.getFloat64(0));
      }
    }
  };
  const web = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      state.asked++;
      if (state.isUp) take(Buffer.concat(chunks));
      response.writeHead(state.isUp ? 204 : 503).end();
    });
  });
  await new Promise<void>((resolve) => {
    web.listen(0, "127.0.0.1", resolve);
  });
  return Object.assign(state, {
    url: `http://127.0.0.1:${(web.address() as AddressInfo).port}/api/v1/write`,
    [Symbol.dispose]() {
      web.close();
      web.closeAllConnections();
    },
  });
}

test("what a receiver missed while it was away is handed on after the server was killed, and after it was ended", async () => {
  const before = await openTemporaryFolder("metrics-missed");
  onTestFinished(() => before[Symbol.asyncDispose]());
  const receiver = await openReceiver();
  onTestFinished(() => receiver[Symbol.dispose]());
  const open = async () => {
    const server = await startServer(["--metrics-forward", receiver.url], { folder: before.path });
    onTestFinished(() => server[Symbol.asyncDispose]());
    return server;
  };
  const write = async (to: string, ...values: number[]) => {
    await using client = connect(to);
    const writer = client.openMetricWriter();
    for (const value of values) await writer.write({ name: "kept.points", value, timestamp: nowNs() + BigInt(value) });
    await writer.close();
  };
  const killed = await open();
  await write(killed.address, 1, 2, 3);
  await expect.poll(() => receiver.asked, { timeout: 20_000 }).toBeGreaterThan(0);
  killed.kill("SIGKILL");
  await killed.ended();
  const ended = await open();
  await write(ended.address, 4, 5);
  ended.kill("SIGTERM");
  expect((await ended.ended()).exitCode).toBe(0);
  receiver.isUp = true;
  await open();
  await expect.poll(() => receiver.values, { timeout: 20_000 }).toEqual([1, 2, 3, 4, 5]);
}, 90_000);

test.runIf(process.platform === "linux")("a busy loop moves cpu, as /proc/stat says it does", async () => {
  const busyTicks = () => {
    const [user = 0, nice = 0, system = 0, , , interrupt = 0, soft = 0, steal = 0] =
      /^cpu +(.+)$/mu.exec(readFileSync("/proc/stat", "utf8"))?.[1]?.split(" ").map(Number) ?? [];
    return user + nice + system + interrupt + soft + steal;
  };
  const worker = new Worker("for (;;);", { eval: true });
  onTestFinished(async () => void (await worker.terminate()));
  await using client = connect(address);
  const cpus = availableParallelism();
  const begun = { ticks: 0, ms: 0 };
  const told: number[] = [];
  for await (const event of client.streamMetrics({ names: ["cpu"], intervalMs: 1000 })) {
    if (event.kind !== "point") continue;
    if (told.push(event.point.value) === 1) Object.assign(begun, { ticks: busyTicks(), ms: performance.now() });
    if (told.length === 4) break;
  }
  const seconds = (performance.now() - begun.ms) / 1000;
  // 100 ticks are a second.
  const expected = (busyTicks() - begun.ticks) / (seconds * cpus);
  const measured = told.slice(1).reduce((sum, each) => sum + each, 0) / 3;
  // One CPU at least is busy, and the mean is what the system counted meanwhile.
  expect(measured).toBeGreaterThan(80 / cpus);
  expect(Math.abs(measured - expected)).toBeLessThan(15);
});
