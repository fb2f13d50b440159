import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { MetricPointSchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { expose, type ExposeOptions } from "./expose.ts";
import { PrometheusNames } from "./expose-names.ts";
import { OtlpOrigins } from "./otlp-origin.ts";
import { parseSelector, selects } from "./federate-selector.ts";
import { type Point, type SeriesDescription, SeriesTable } from "./series.ts";

let clock: ManualClock;
let table: SeriesTable;
beforeEach(() => {
  clock = new ManualClock();
  table = new SeriesTable({ clock, seriesMax: 100_000, silentMs: 300_000 });
});
afterEach(() => table[Symbol.dispose]());

const NS = 1_700_000_000_500_000_000n;

function write(name: string, about: Partial<SeriesDescription> & { readonly point?: Partial<Point> } = {}): void {
  const { point, ...rest } = about;
  const description: SeriesDescription = {
    name,
    type: "gauge",
    unit: "",
    description: "",
    labels: [],
    origin: "",
    ...rest,
  };
  table.write(JSON.stringify(description), { value: 1, timestampNs: NS, startNs: 0n, ...point }, () => description);
}

const shape = (fields: MessageInitShape<typeof MetricPointSchema>): Uint8Array =>
  toBinary(MetricPointSchema, create(MetricPointSchema, fields));

function text(options: Partial<ExposeOptions> = {}): string {
  return [...expose(table.all(), { format: "text", hasTimestamps: false, isLinted: false, ...options })].join("");
}

test("families stand together, with help and type; values as Prometheus writes them", () => {
  write("orders", {
    type: "counter",
    unit: "{order}",
    description: "Taken\nor \\ not",
    labels: [["card.kind", 'a"b\\c\nd']],
  });
  write("heat", { unit: "Cel", point: { value: -Infinity } });
  write("orders", {
    type: "counter",
    unit: "{order}",
    labels: [],
    point: { value: 2 ** 60, intValue: 2n ** 60n + 1n },
  });
  write("none", { point: { value: NaN } });
  expect(text()).toBe(
    [
      String.raw`# HELP orders_total Taken\nor \\ not`,
      "# TYPE orders_total counter",
      String.raw`orders_total{card_kind="a\"b\\c\nd"} 1`,
      "orders_total 1152921504606846977",
      "# TYPE heat_celsius gauge",
      "heat_celsius -Inf",
      "# TYPE none gauge",
      "none NaN",
      "",
    ].join("\n"),
  );
});

const histogram: MessageInitShape<typeof MetricPointSchema>["histogram"] = {
  count: 6n,
  sum: 12.5,
  explicitBounds: [1, 2.5],
  bucketCounts: [1n, 2n, 3n],
  exemplars: [
    { timeUnixNano: NS, value: { case: "asDouble", value: 2 }, traceId: new Uint8Array([1, 2]) },
    { timeUnixNano: NS - 1n, value: { case: "asInt", value: 2n } },
  ],
};

test("a histogram is its buckets, added up, its sum and its count", () => {
  write("latency", { type: "histogram", unit: "s", labels: [["a", "b"]], point: { shape: shape({ histogram }) } });
  const lines = [
    'latency_seconds_bucket{a="b",le="1"} 1',
    'latency_seconds_bucket{a="b",le="2.5"} 3',
    'latency_seconds_bucket{a="b",le="+Inf"} 6',
    'latency_seconds_sum{a="b"} 12.5',
    'latency_seconds_count{a="b"} 6',
  ];
  expect(text()).toBe(["# TYPE latency_seconds histogram", ...lines, ""].join("\n"));
  const open = text({ format: "openmetrics", hasTimestamps: true });
  expect(open).toContain('le="1.0"} 1 1700000000.500\n');
  expect(open).toContain('le="2.5"} 3 1700000000.500 # {trace_id="0102"} 2 1700000000.500\n');
  expect(open.endsWith("# EOF\n")).toBe(true);
});

test("the buckets of an exponential histogram that are not empty have their bounds, from the most negative on", () => {
  const exponentialHistogram = {
    count: 10n,
    scale: 0,
    zeroCount: 1n,
    zeroThreshold: 0.25,
    negative: { offset: 1, bucketCounts: [2n] },
    positive: { offset: 0, bucketCounts: [3n, 0n, 4n] },
  };
  write("size", { type: "histogram", point: { shape: shape({ exponentialHistogram }) } });
  expect(text()).toBe(
    [
      "# TYPE size histogram",
      'size_bucket{le="-2"} 2',
      'size_bucket{le="0.25"} 3',
      'size_bucket{le="2"} 6',
      'size_bucket{le="8"} 10',
      'size_bucket{le="+Inf"} 10',
      "size_count 10",
      "",
    ].join("\n"),
  );
});

test("a summary is its quantiles, sum and count", () => {
  const summary = { count: 3n, sum: 6, quantileValues: [{ quantile: 0.5, value: 2 }] };
  write("pause", { type: "summary", unit: "s", point: { shape: shape({ summary }) } });
  expect(text()).toBe(
    '# TYPE pause_seconds summary\npause_seconds{quantile="0.5"} 2\npause_seconds_sum 6\npause_seconds_count 3\n',
  );
});

test("in OpenMetrics a counter's family has no _total, and a sample has its exemplar", () => {
  const exemplar = { value: { case: "asInt", value: 3n }, spanId: new Uint8Array([255]) } as const;
  write("orders", { type: "counter", description: "Taken", point: { shape: shape({ exemplars: [exemplar] }) } });
  expect(text({ format: "openmetrics" })).toBe(
    '# HELP orders Taken\n# TYPE orders counter\norders_total 1 # {span_id="ff"} 3\n# EOF\n',
  );
});

test("service.name and service.instance.id are job and instance; labels that become the same share one", () => {
  write("a", {
    labels: [
      ["a.b", "1"],
      ["a_b", "2"],
      ["service.instance.id", "i"],
      ["service.name", "shop"],
      ["service.namespace", "web"],
      ["…", "no name"],
    ],
  });
  expect(text()).toContain('a{a_b="1;2",instance="i",job="web/shop"} 1\n');
});

test("no two samples have one name and one set of labels: the newest wins, of types the first; stale series are not told", () => {
  write("a.b", { origin: "x", point: { value: 1 } });
  write("a.b", { origin: "y", point: { value: 2, timestampNs: NS + 1n } });
  write("a_b", { origin: "z", point: { value: 3, timestampNs: NS - 1n } });
  write("a-b", { type: "histogram", labels: [["x", "y"]], point: { value: 4, timestampNs: NS + 5n } });
  write("gone");
  for (const series of table.named("gone")) table.end(series, NS + 1n);
  expect(text({ hasTimestamps: true })).toBe("# TYPE a_b gauge\na_b 2 1700000000500\n");
});

test("a share is told over the time since the measurement before, and not before there was one", () => {
  write("cpu", { unit: "%", rateScale: 50, rateMax: 100, point: { value: 10 } });
  expect(text()).toBe("# TYPE cpu_percent gauge\n");
  write("cpu", { unit: "%", rateScale: 50, rateMax: 100, point: { value: 11, timestampNs: NS + 2_000_000_000n } });
  expect(text()).toBe("# TYPE cpu_percent gauge\ncpu_percent 25\n");
});

test("a gauge does not end as samples of histograms do, where a linter reads it", () => {
  write("cpu.count");
  expect(text({ isLinted: true })).toBe("# TYPE cpu gauge\ncpu 1\n");
});

test("many series come in pieces", () => {
  for (let i = 0; i < 5000; i++) write("many", { labels: [["number", `${i}`.padStart(40, "0")]] });
  const pieces = [...expose(table.all(), { format: "text", hasTimestamps: false, isLinted: false })];
  expect(pieces.length).toBeGreaterThan(3);
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(66 * 1024);
  expect(pieces.join("").split("\n")).toHaveLength(5002);
});

const select = (text: string): string[] => {
  const selector = parseSelector(text, 4096);
  return [...table.all()]
    .filter((series) => selects(selector, series, { translated: new PrometheusNames(), origins: new OtlpOrigins() }))
    .map(({ description: { name } }) => name);
};

test.each([
  ["http_requests_total", ["http.requests"]],
  ['{__name__="http_requests_total"}', ["http.requests"]],
  ['{"http_requests_total"}', ["http.requests"]],
  ['{__name__=~"http.*"}', ["http.requests", "http.latency"]],
  ["http_latency_seconds_bucket", ["http.latency"]],
  ['http_requests_total{job="shop", code!="500" , }', ["http.requests"]],
  ['http_requests_total{code=~"4..|200"}', ["http.requests"]],
  ['http_requests_total{code=~"20"}', []],
  ['http_requests_total{code!~"2.."}', []],
  [`{job='sh\\x6fp', "code"=\`200\`}`, ["http.requests"]],
  ['{__name__=~".+", missing=""}', ["http.requests", "http.latency", "warm"]],
  ["{__name__!~'http.*',__name__!=''}", ["warm"]],
])("%s selects %s", (selector, expected) => {
  const labels = [
    ["code", "200"],
    ["service.name", "shop"],
  ] as const;
  write("http.requests", { type: "counter", labels });
  write("http.latency", { type: "histogram", unit: "s" });
  write("warm");
  expect(select(selector)).toEqual(expected);
});

test.each([
  ["", /its end at 0 where a name/u],
  ["{", /a label is expected/u],
  ["{}", /needs nothing/u],
  ['{a=~".*"}', /needs nothing/u],
  ["up{a}", /one of =/u],
  ["up{a=b}", /a value in quotes/u],
  ['up{a="b"', /"," or "\}"/u],
  ['up{a="b"} or 1', /nothing more/u],
  ['up{a=~"("}', /missing closing/u],
  ['up{a="\\q"}', /an escape that is none/u],
  ["rate(up[5m])", /"\(up/u],
])("%s is no selector, and it is said why", (text, why) => {
  expect(() => parseSelector(text, 4096)).toThrow(why);
});

test("a selector that is too long is refused before it is read", () => {
  expect(() => parseSelector(`up{a="${"b".repeat(100)}"}`, 64)).toThrow(/more than 64 bytes/u);
});
