// The OpenTelemetry SDK for JavaScript with its gRPC exporter of metrics, set up as its README says.
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-grpc";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AggregationTemporality, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { type MetricPoint, MetricsMode, MetricsService } from "@sluice/api";
import { createClient } from "@sluice/rpc";
import { expect, test } from "vitest";
import { collect } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";

const server = useLogServer("opentelemetry-metrics");

async function pointsOf(service: string): Promise<MetricPoint[]> {
  const metrics = createClient(MetricsService, server.client.channel);
  const points = await collect(metrics.streamMetrics({ labels: { "service.name": service }, mode: MetricsMode.ONCE }));
  return points.filter(({ control }) => control === undefined).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

test.each([
  ["cumulative", AggregationTemporality.CUMULATIVE],
  ["delta", AggregationTemporality.DELTA],
])("what a program counts arrives, exported twice, with %s temporality", async (name, temporalityPreference) => {
  const exporter = new OTLPMetricExporter({ url: `http://${server.address}`, temporalityPreference });
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const resource = resourceFromAttributes({ "service.name": name, "host.name": "h" });
  const provider = new MeterProvider({ resource, readers: [reader] });
  const meter = provider.getMeter("checkout", "1.2.3");
  const orders = meter.createCounter("orders", { unit: "{order}", description: "Orders taken" });
  const latency = meter.createHistogram("latency", { unit: "s", advice: { explicitBucketBoundaries: [1, 5] } });
  const queue = meter.createUpDownCounter("queue");
  meter.createObservableGauge("warmth").addCallback((result) => result.observe(21.5, { room: "a" }));
  for (const round of [1, 2]) {
    orders.add(3 * round, { card: "visa" });
    latency.record(0.5);
    latency.record(7);
    queue.add(round === 1 ? 5 : -2);
    await provider.forceFlush();
  }
  const points = await pointsOf(name);
  await provider.shutdown();
  expect(points.map(({ name: metric, metricType, value }) => [metric, metricType, value])).toEqual([
    ["latency", "histogram", 4],
    ["orders", "counter", 9],
    ["queue", "gauge", 3],
    ["warmth", "gauge", 21.5],
  ]);
  const [histogram, counter] = points;
  expect(histogram?.histogram).toMatchObject({
    count: 4n,
    sum: 15,
    bucketCounts: [2n, 0n, 2n],
    explicitBounds: [1, 5],
  });
  expect(counter).toMatchObject({
    unit: "{order}",
    description: "Orders taken",
    labels: { card: "visa", "service.name": name },
  });
});
