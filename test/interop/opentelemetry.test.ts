// The OpenTelemetry SDK for JavaScript with its gRPC exporter, set up as its README says, against the server's own port.
import { CompressionAlgorithm } from "@opentelemetry/otlp-exporter-base";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-grpc";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import type { LogEntry } from "@sluice/api";
import { expect, test } from "vitest";
import { collect } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";

const logs = useLogServer("opentelemetry");

/** A provider whose records reach the server when it is shut down. */
function openProvider(application: string, options: { compression?: CompressionAlgorithm } = {}): LoggerProvider {
  const exporter = new OTLPLogExporter({ url: `http://${logs.address}`, ...options });
  return new LoggerProvider({
    resource: resourceFromAttributes({ "service.name": application, "deployment.environment": "test" }),
    processors: [new BatchLogRecordProcessor({ exporter })],
  });
}

async function entriesOf(application: string): Promise<LogEntry[]> {
  const entries = await collect(logs.client.logs.streamLogs({ application }));
  return entries.filter(({ control }) => control === undefined);
}

test("records become entries: application, severity, body, attributes, times", async () => {
  const provider = openProvider("otel");
  const logger = provider.getLogger("checkout", "1.2.3");
  logger.emit({
    severityNumber: 13,
    severityText: "WARN",
    body: "card declined",
    attributes: { "http.route": "/pay", attempt: 2, retried: true },
    timestamp: new Date("2026-11-21T08:43:01.123Z"),
  });
  logger.emit({ severityNumber: 9, body: "ü 😀" });
  await provider.shutdown();
  const [first, second, ...others] = await entriesOf("otel");
  expect(others).toEqual([]);
  expect(first).toMatchObject({
    application: "otel",
    level: "WARN",
    severityNumber: 13,
    message: "card declined",
    timestamp: BigInt(Date.parse("2026-11-21T08:43:01.123Z")) * 1_000_000n,
    fields: { "http.route": "/pay", attempt: "2", retried: "true" },
  });
  expect(second).toMatchObject({ message: "ü 😀", severityNumber: 9 });
});

test("batches with gzip", async () => {
  const provider = openProvider("otel-gzip", { compression: CompressionAlgorithm.GZIP });
  const logger = provider.getLogger("load");
  for (let i = 0; i < 1000; i++) logger.emit({ severityNumber: 9, body: `record ${i}`, attributes: { i } });
  await provider.shutdown();
  const entries = await entriesOf("otel-gzip");
  expect(entries.map(({ message }) => message)).toEqual(Array.from({ length: 1000 }, (_, i) => `record ${i}`));
});
