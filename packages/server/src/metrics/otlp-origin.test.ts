import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  ExportMetricsServiceRequestSchema,
  type KeyValueSchema,
  MatchKind,
  MetricsRequestSchema,
} from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { PrometheusNames } from "./expose-names.ts";
import { parseSelector, selects } from "./federate-selector.ts";
import { OtlpExports } from "./forward-otlp.ts";
import { MetricIntake } from "./intake.ts";
import { formatOrigin, type OtlpOrigin, OtlpOrigins } from "./otlp-origin.ts";
import { MetricsIngest } from "./otlp.ts";
import { parseSeriesQuery } from "./query.ts";
import { SeriesGuard } from "./series-guard.ts";
import { SeriesTable } from "./series.ts";

let table: SeriesTable;
let ingest: MetricsIngest;
beforeEach(() => {
  const clock = new ManualClock();
  table = new SeriesTable({ clock, seriesMax: 100, silentMs: 300_000 });
  const guard = new SeriesGuard({ table, clock, perSubjectMax: 100 });
  ingest = new MetricsIngest({ table, intake: new MetricIntake({ table }), guard });
});
afterEach(() => {
  ingest[Symbol.dispose]();
  table[Symbol.dispose]();
});

type Request = MessageInitShape<typeof ExportMetricsServiceRequestSchema>;
type Attribute = MessageInitShape<typeof KeyValueSchema>;
const text = (key: string, value: string) => ({ key, value: { value: { case: "stringValue" as const, value } } });
const T = 1_700_000_000_000_000_000n;

function gaugeOf(resource: Attribute[], name = "temperature"): Request {
  const dataPoints = [{ timeUnixNano: T, value: { case: "asDouble" as const, value: 1 } }];
  const metrics = [{ name, data: { case: "gauge" as const, value: { dataPoints } } }];
  return { resourceMetrics: [{ resource: { attributes: resource }, scopeMetrics: [{ metrics }] }] };
}

async function send(request: Request) {
  const bytes = toBinary(ExportMetricsServiceRequestSchema, create(ExportMetricsServiceRequestSchema, request));
  return await ingest.export(bytes, "somebody");
}

test("an origin is read again as it was written, whatever its attributes hold", () => {
  const attributes = fc.array(fc.tuple(fc.string(), fc.jsonValue()), { maxLength: 5 });
  const origins = fc.record({
    resource: attributes,
    schemaUrl: fc.string(),
    scope: fc.record({ name: fc.string(), version: fc.string(), attributes }),
    unit: fc.string(),
    type: fc.constantFrom("gauge" as const, "counter" as const),
    kind: fc.constantFrom("gauge" as const, "sum" as const),
    isDelta: fc.boolean(),
  });
  fc.assert(
    fc.property(origins, (origin: OtlpOrigin) => {
      const known = JSON.parse(JSON.stringify(origin)) as OtlpOrigin;
      expect(new OtlpOrigins().find(formatOrigin(origin))).toEqual(known);
    }),
    { numRuns: 300 },
  );
});

const named = (query: Parameters<typeof create<typeof MetricsRequestSchema>>[1]): string[] => {
  const { matches } = parseSeriesQuery(create(MetricsRequestSchema, query), DEFAULT_LIMITS);
  return [...table.all()].filter((series) => matches(series)).map(({ description }) => description.name);
};

test("an attribute of the resource is matched as resource.KEY, and is no label", async () => {
  await send(gaugeOf([text("service.name", "shop"), text("host.name", "h1")], "one"));
  await send(gaugeOf([text("service.name", "shop"), text("host.name", "h2")], "two"));
  const pid = { key: "process.pid", value: { value: { case: "intValue" as const, value: 7n } } };
  await send(gaugeOf([pid], "three"));
  expect(named({ labels: { "resource.host.name": "h1" } })).toEqual(["one"]);
  expect(named({ labels: { "host.name": "h1" } })).toEqual([]);
  expect(named({ labels: { "resource.process.pid": "7" } })).toEqual(["three"]);
  expect(named({ labels: { "resource.service.name": "shop" } })).toEqual(["one", "two"]);
  const match = (kind: MatchKind, value: string) => named({ matchers: [{ name: "resource.host.name", kind, value }] });
  expect(match(MatchKind.REGEX, "h[2-9]")).toEqual(["two"]);
  expect(match(MatchKind.NOT_EQUAL, "h1")).toEqual(["two", "three"]);
  expect(match(MatchKind.EQUAL, "")).toEqual(["three"]);
});

test("match[] of /federate takes resource.KEY in quotes", async () => {
  await send(gaugeOf([text("host.name", "h1")], "one"));
  await send(gaugeOf([text("host.name", "h2")], "two"));
  const names = { translated: new PrometheusNames(), origins: new OtlpOrigins() };
  const select = (selector: string) =>
    [...table.all()]
      .filter((series) => selects(parseSelector(selector, 1000), series, names))
      .map(({ description }) => description.name);
  expect(select('{"resource.host.name"="h1"}')).toEqual(["one"]);
  expect(select('{__name__=~".+", "resource.host.name"!="h1"}')).toEqual(["two"]);
});

test("a label of its own wins over the resource's", async () => {
  const request = gaugeOf([text("a", "resource")]);
  const [point] = (request.resourceMetrics![0]!.scopeMetrics![0]!.metrics![0]!.data!.value as { dataPoints: object[] })
    .dataPoints;
  Object.assign(point!, { attributes: [text("resource.a", "own")] });
  await send(request);
  expect(named({ labels: { "resource.a": "own" } })).toEqual(["temperature"]);
  expect(named({ labels: { "resource.a": "resource" } })).toEqual([]);
});

test("what came by OTLP is handed on by OTLP with the same resource, scope, kind and labels", async () => {
  const attributes = [
    { key: "a list", value: { value: { case: "arrayValue" as const, value: { values: [text("", "x][").value] } } } },
    { key: "cpus", value: { value: { case: "intValue" as const, value: 8n } } },
    { key: "is.spot", value: { value: { case: "boolValue" as const, value: true } } },
    { key: "load", value: { value: { case: "doubleValue" as const, value: 0.5 } } },
    text("service.name", "shop"),
    text("some.path", 'C:\\"quoted"'),
  ];
  const point = {
    timeUnixNano: T,
    startTimeUnixNano: T - 1n,
    attributes: [text("queue", "mail")],
    value: { case: "asInt" as const, value: 5n },
  };
  const cumulative = { isMonotonic: false, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  const data = { case: "sum" as const, value: { ...cumulative, dataPoints: [point] } };
  const scope = { name: "library", version: "1.2", attributes: [text("team", "mail")] };
  const request: Request = {
    resourceMetrics: [
      {
        resource: { attributes },
        schemaUrl: "https://opentelemetry.io/schemas/1.30.0",
        scopeMetrics: [{ scope, metrics: [{ name: "queue.length", unit: "{job}", description: "d", data }] }],
      },
    ],
  };
  expect(await send(request)).toEqual({});
  const [series] = table.all();
  const forwarded = { series: series!, point: series!.point, value: series!.point.value, isStale: false };
  const told = new OtlpExports().requestOf([forwarded]);
  const plain = (each: Request) =>
    toBinary(ExportMetricsServiceRequestSchema, create(ExportMetricsServiceRequestSchema, each));
  expect(Buffer.from(plain(told)).equals(plain(request))).toBe(true);
});

test("resource and scope of any size are no way around the limit of labels", async () => {
  const { partialSuccess } = await send(gaugeOf([text("blob", "x".repeat(64 * 1024))]));
  expect(partialSuccess?.rejectedDataPoints).toBe(1n);
  expect(partialSuccess?.errorMessage).toMatch(
    /temperature: its resource and scope have 65\d{3} bytes as JSON, the limit is 16384/u,
  );
  expect(table.size).toBe(0);
});
