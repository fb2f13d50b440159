// OpenTelemetry's own programs as producers, over OTLP/gRPC and OTLP/HTTP: its SDKs for JavaScript and Python, and
// telemetrygen, which is made of the Go SDK's exporters. And its Python stubs as the collector behind us.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { OTLPLogExporter as JsonExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPLogExporter as ProtobufExporter } from "@opentelemetry/exporter-logs-otlp-proto";
import { CompressionAlgorithm } from "@opentelemetry/otlp-exporter-base";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import type { AnyValue, ResourceLogs } from "@sluice/api";
import { beforeAll, describe, expect, onTestFinished, test, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { callCli } from "../support/cli-in-process.ts";
import { bodiesOf } from "../support/collector.ts";
import { collect } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { findPythonOpenTelemetry } from "../tools/python-opentelemetry.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

const logs = useLogServer("otel-programs");
let python: Tool;
let telemetrygen: Tool;

beforeAll(async () => {
  python = await findPythonOpenTelemetry({ mayFetch });
  telemetrygen = await findGoTool("telemetrygen", { mayFetch });
}, 600_000);

function pathOf(tool: Tool, { skip }: TestContext): string {
  return tool.kind === "ready" ? tool.path : skip(tool.reason);
}

/** What came of one service, as it is given back. */
async function otlpOf(application: string): Promise<ResourceLogs[]> {
  const batches = await collect(logs.client.logs.streamOtlpLogs({ application }));
  return batches.flatMap(({ resourceLogs }) => resourceLogs);
}

/** A value as JSON has it. */
function plain(value: AnyValue | undefined): unknown {
  const held = value?.value ?? { case: undefined };
  switch (held.case) {
    case "arrayValue":
      return held.value.values.map(plain);
    case "kvlistValue":
      return Object.fromEntries(held.value.values.map((pair) => [pair.key, plain(pair.value)]));
    case "intValue":
      return Number(held.value);
    case "bytesValue":
      return [...held.value];
    case undefined:
      return null;
    default:
      return held.value;
  }
}

const attributesOf = (attributes: ResourceLogs["scopeLogs"][number]["logRecords"][number]["attributes"]): unknown =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));

describe.each([
  ["protobuf", ProtobufExporter],
  ["JSON", JsonExporter],
])("the JavaScript SDK over HTTP with %s", (name, Exporter) => {
  test.each([CompressionAlgorithm.NONE, CompressionAlgorithm.GZIP])("%s", async (compression) => {
    const service = `js ${name} ${compression}`;
    const exporter = new Exporter({ url: `http://${logs.address}/v1/logs`, compression });
    const provider = new LoggerProvider({
      resource: resourceFromAttributes({ "service.name": service, "process.pid": 7 }),
      processors: [new BatchLogRecordProcessor({ exporter })],
    });
    const logger = provider.getLogger("checkout", "1.2.3");
    const attributes = { "http.route": "/pay", attempt: 2, ratio: 0.5, retried: true, tags: ["a", "b"] };
    logger.emit({ severityNumber: 13, severityText: "WARN", body: { event: "ü 😀", n: [1, null] }, attributes });
    for (let i = 0; i < 600; i++) logger.emit({ severityNumber: 9, body: `record ${i}` });
    await provider.shutdown();
    const all = await otlpOf(service);
    expect(attributesOf(all[0]!.resource!.attributes)).toEqual({ "service.name": service, "process.pid": 7 });
    expect(all[0]?.scopeLogs[0]?.scope).toMatchObject({ name: "checkout", version: "1.2.3" });
    const [first] = all[0]!.scopeLogs[0]!.logRecords;
    expect([plain(first?.body), attributesOf(first!.attributes)]).toEqual([
      { event: "ü 😀", n: [1, null] },
      attributes,
    ]);
    expect(bodiesOf(all).slice(1)).toEqual(Array.from({ length: 600 }, (_, i) => `record ${i}`));
  });
});

const SCRIPTS = join(import.meta.dirname, "python");

test.for(["grpc", "http"])("the Python SDK over %s", async (protocol, context) => {
  const service = `python ${protocol}`;
  const script = join(SCRIPTS, "otel_logs.py");
  const { code, stdout, output } = await runCommand([pathOf(python, context), script, protocol, logs.address, service]);
  expect([code, stdout], output).toEqual([0, "done\n"]);
  const all = await otlpOf(service);
  expect(attributesOf(all[0]!.resource!.attributes)).toMatchObject({ "service.name": service, "service.version": "7" });
  expect(all[0]?.scopeLogs[0]?.scope).toMatchObject({ name: "python.records", version: "1.2.3" });
  const [first] = all[0]!.scopeLogs[0]!.logRecords;
  expect(first).toMatchObject({
    timeUnixNano: 1_760_000_000_000_000_001n,
    observedTimeUnixNano: 1_760_000_000_000_000_002n,
    severityNumber: 15,
    severityText: "careful",
    eventName: "cart.opened",
  });
  expect(plain(first?.body)).toEqual({ event: "cart", items: [1, 2.5, "three", null, true, [0, 255]] });
  const attributes = { user: "ü 😀", count: 3, ratio: 0.25, ok: false, tags: ["a", "b"] };
  expect(attributesOf(first!.attributes)).toEqual(attributes);
  expect(bodiesOf(all).slice(1)).toEqual(Array.from({ length: 1000 }, (_, i) => `record ${i}`));
});

test.for([[], ["--otlp-http"]])("telemetrygen %j", async (how, context) => {
  const service = `telemetrygen${how.join("")}`;
  const where = ["--otlp-endpoint", logs.address, "--otlp-insecure", ...how, "--service", service];
  const which = "--workers 2 --logs 400 --rate 0 --body generated --severity-number 17 --severity-text Error".split(
    " ",
  );
  const more = ["--telemetry-attributes", "http.response.status_code=503", "--otlp-attributes", 'k8s.pod.name="web-1"'];
  const command = [pathOf(telemetrygen, context), "logs", ...where, ...which, ...more] as const;
  const { code, output } = await runCommand([...command]);
  expect(code, output).toBe(0);
  const all = await otlpOf(service);
  const attributes = { "service.name": service, "k8s.pod.name": "web-1" };
  expect(attributesOf(all[0]!.resource!.attributes)).toMatchObject(attributes);
  expect(bodiesOf(all)).toEqual(Array.from({ length: 800 }, () => "generated"));
  const [first] = all[0]!.scopeLogs[0]!.logRecords;
  expect(first?.severityNumber).toBe(17);
  expect(attributesOf(first!.attributes)).toMatchObject({ "http.response.status_code": 503 });
  const failed = await collect(
    logs.client.logs.streamLogs({ application: service, filters: ["http.response.status_code>=500"] }),
  );
  expect(failed.filter(({ control }) => control === undefined)).toHaveLength(800);
});

test("sluice logs forward to a collector of OpenTelemetry's Python stubs", async (context) => {
  const child = spawn(pathOf(python, context), [join(SCRIPTS, "otel_collector.py")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => ended(child));
  const folder = await openTemporaryFolder("forward-python");
  onTestFinished(() => folder[Symbol.asyncDispose]());
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const greeting = await lines.next();
  const [, address = ""] = /^listening on (.*)$/u.exec(greeting.done === true ? "" : greeting.value) ?? [];
  const sent = {
    application: "forwarded",
    level: "WARN",
    timestamp: 1_760_000_000_000_000_001n,
    fields: { user: "ü" },
  };
  await logs.client.write({ ...sent, message: "one" }, { ...sent, message: "two" });
  const words = ["logs", "forward", "--server", logs.address, "--to", address, "--application", "forwarded"];
  const { exitCode, stdout } = await callCli([...words, "--output", "json"], { folder: folder.path }).ended;
  expect([exitCode, JSON.parse(stdout)]).toMatchObject([0, { records: 2 }]);
  const received = JSON.parse((await lines.next()).value as string) as unknown;
  const record = (message: string) => ({
    timeUnixNano: "1760000000000000001",
    severityNumber: "SEVERITY_NUMBER_WARN",
    severityText: "WARN",
    body: { stringValue: message },
    attributes: [{ key: "user", value: { stringValue: "ü" } }],
  });
  expect(received).toMatchObject({
    resourceLogs: [
      {
        resource: { attributes: [{ key: "service.name", value: { stringValue: "forwarded" } }] },
        scopeLogs: [{ logRecords: [record("one"), record("two")] }],
      },
    ],
  });
});

async function ended(child: ChildProcess): Promise<void> {
  child.stdin?.end();
  if (child.exitCode === null) await once(child, "close");
}
