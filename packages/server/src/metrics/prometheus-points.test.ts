import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { sizeDelimitedEncode } from "@bufbuild/protobuf/wire";
import { MetricPointSchema, PrometheusFamilySchema, PrometheusType } from "@sluice/api";
import { expect, test } from "vitest";
import type { IncomingPoint } from "./incoming.ts";
import { pointsOfFamily, type PointOptions } from "./prometheus-points.ts";
import { familiesOf, pointsOfProtobuf } from "./prometheus-protobuf.ts";
import { parseExposition, type TextFormat } from "./prometheus-text.ts";

const NOW = 1_700_000_000_000_000_000n;

/** What subscribers would see. */
function shown({ name, type, unit, labels, point }: IncomingPoint) {
  const { histogram, exponentialHistogram, summary, exemplars } = fromBinary(
    MetricPointSchema,
    point.shape ?? new Uint8Array(0),
  );
  const { value, timestampNs, startNs } = point;
  const shape = { ...(histogram && { histogram }), ...(exponentialHistogram && { exponentialHistogram }) };
  const own = { name, type, unit, labels: Object.fromEntries(labels), value, timestampNs, startNs };
  return { ...own, ...shape, ...(summary && { summary }), ...(exemplars.length > 0 && { exemplars }) };
}

const read = (text: string, format: TextFormat = "text", options: Partial<PointOptions> = {}) =>
  parseExposition(text, format)
    .flatMap((family) => pointsOfFamily(family, { nowNs: NOW, ...options }))
    .map(shown);

test("a histogram is one point for each set of labels: bounds, counts of each bucket, sum, start, exemplars", () => {
  const text = `# TYPE d histogram
# UNIT d seconds
d_bucket{p="/",le="0.1"} 3 # {trace_id="0af7651916cd43dd8448eb211c80319c",span_id="b7ad6b7169203331",user="7"} 0.05
d_bucket{p="/",le="1"} 5
d_bucket{p="/",le="+Inf"} 6
d_sum{p="/"} 12.5
d_count{p="/"} 6
d_created{p="/"} 1600000000
d_bucket{p="/a",le="+Inf"} 1
d_count{p="/a"} 1
d_sum{p="/a"} 2
# EOF
`;
  const points = read(text, "openmetrics");
  expect(points).toMatchObject([
    {
      name: "d",
      type: "histogram",
      unit: "seconds",
      labels: { p: "/" },
      value: 6,
      timestampNs: NOW,
      startNs: 1_600_000_000_000_000_000n,
      histogram: {
        count: 6n,
        sum: 12.5,
        explicitBounds: [0.1, 1],
        bucketCounts: [3n, 2n, 1n],
        timeUnixNano: NOW,
        exemplars: [
          {
            value: { case: "asDouble", value: 0.05 },
            traceId: Uint8Array.from(Buffer.from("0af7651916cd43dd8448eb211c80319c", "hex")),
            spanId: Uint8Array.from(Buffer.from("b7ad6b7169203331", "hex")),
            filteredAttributes: [{ key: "user", value: { value: { case: "stringValue", value: "7" } } }],
          },
        ],
      },
    },
    { labels: { p: "/a" }, value: 1, histogram: { bucketCounts: [1n], explicitBounds: [], sum: 2 } },
  ]);
  expect(points).toHaveLength(2);
});

test("a summary is one point; its quantiles may be NaN", () => {
  const text = `# TYPE s summary\ns{quantile="0.5"} NaN\ns{quantile="0.9"} 4\ns_sum 9\ns_count 3\n`;
  expect(read(text)).toMatchObject([
    {
      name: "s",
      type: "summary",
      value: 3,
      summary: {
        count: 3n,
        sum: 9,
        quantileValues: [
          { quantile: 0.5, value: Number.NaN },
          { quantile: 0.9, value: 4 },
        ],
      },
    },
  ]);
});

test.each([
  ["buckets that sink", '_bucket{le="1"} 5', '_bucket{le="+Inf"} 4'],
  ["fractions", '_bucket{le="1"} 0.5', '_bucket{le="+Inf"} 1'],
  ["NaN", '_bucket{le="1"} NaN', '_bucket{le="+Inf"} 1'],
  ["a count that is another", '_bucket{le="+Inf"} 4', "_count 5"],
  ["a bound that is none", '_bucket{le="x"} 4', '_bucket{le="+Inf"} 4'],
  ["a bound twice", '_bucket{le="1"} 4', '_bucket{le="1.0"} 4'],
])("a histogram with %s is kept sample by sample", (_, ...lines) => {
  const points = read(`# TYPE d histogram\n${lines.map((line) => `d${line}\n`).join("")}`);
  const names = lines.map((line) => `d${line.replace(/[{ ].*/u, "")}`);
  expect(points.map(({ name, type }) => [name, type])).toEqual(names.map((name) => [name, "counter"]));
});

test("counters keep their names, start where they say, and have exemplars; other types are gauges", () => {
  const text = `# TYPE a counter
a_total 7 # {k="v"} 2 1600000000
a_created 1600000000.5
# TYPE b info
b_info{version="1"} 1
# TYPE c gaugehistogram
c_bucket{le="+Inf"} 4
c_gsum 1
c_gcount 4
# EOF
`;
  expect(read(text, "openmetrics")).toMatchObject([
    {
      name: "a_total",
      type: "counter",
      value: 7,
      startNs: 1_600_000_000_500_000_000n,
      exemplars: [{ timeUnixNano: 1_600_000_000_000_000_000n, value: { value: 2 } }],
    },
    { name: "b_info", type: "gauge" },
    { name: "c_bucket", type: "gauge", labels: { le: "+Inf" } },
    { name: "c_gsum", type: "gauge" },
    { name: "c_gcount", type: "gauge" },
  ]);
});

test("labels of the target win, and the sample's own are kept beside; or the other way round", () => {
  const labels = [
    ["instance", "h:1"],
    ["job", "j"],
  ] as const;
  const text = 'a{job="own",empty=""} 1 5\n';
  expect(read(text, "text", { labels })).toMatchObject([
    { labels: { exported_job: "own", instance: "h:1", job: "j" }, timestampNs: 5_000_000n },
  ]);
  expect(read(text, "text", { labels, honorLabels: true, honorTimestamps: false })).toMatchObject([
    { labels: { instance: "h:1", job: "own" }, timestampNs: NOW },
  ]);
});

const family = (init: MessageInitShape<typeof PrometheusFamilySchema>) => {
  const bytes = toBinary(PrometheusFamilySchema, create(PrometheusFamilySchema, init));
  const message = sizeDelimitedEncode(PrometheusFamilySchema, create(PrometheusFamilySchema, init));
  expect(message.length).toBeGreaterThan(bytes.length);
  return [...familiesOf(message)].flatMap((each) => pointsOfProtobuf(each, { nowNs: NOW })).map(shown);
};

test("protobuf says the same as the text", () => {
  const label = [{ name: "p", value: "/" }];
  const bucket = [
    { cumulativeCount: 3n, upperBound: 0.1 },
    { cumulativeCount: 6n, upperBound: Number.POSITIVE_INFINITY },
  ];
  const histogram = { sampleCount: 6n, sampleSum: 12.5, bucket, createdTimestamp: { seconds: 1_600_000_000n } };
  expect(family({ name: "d", type: PrometheusType.HISTOGRAM, metric: [{ label, histogram }] })).toEqual(
    read(
      '# TYPE d histogram\nd_bucket{p="/",le="0.1"} 3\nd_bucket{p="/",le="+Inf"} 6\nd_sum{p="/"} 12.5\nd_count{p="/"} 6\nd_created{p="/"} 1600000000\n',
    ),
  );
  const summary = { sampleCount: 2n, sampleSum: 3, quantile: [{ quantile: 0.5, value: 1 }] };
  expect(family({ name: "s", type: PrometheusType.SUMMARY, metric: [{ summary }] })).toEqual(
    read('# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 3\ns_count 2\n'),
  );
  expect(
    family({ name: "c", type: PrometheusType.COUNTER, metric: [{ counter: { value: 4 }, timestampMs: 7n }] }),
  ).toEqual(read("# TYPE c counter\nc 4 7\n"));
});

test("a native histogram is an exponential one: a bucket that Prometheus numbers i ends where OpenTelemetry's i - 1 ends", () => {
  const histogram = {
    sampleCount: 12n,
    sampleSum: 18.4,
    schema: 1,
    zeroThreshold: 0.001,
    zeroCount: 2n,
    positiveSpan: [
      { offset: 0, length: 2 },
      { offset: 1, length: 2 },
    ],
    positiveDelta: [1n, 1n, -1n, 0n],
    negativeSpan: [{ offset: -3, length: 1 }],
    negativeDelta: [5n],
    // The same in the other form, which says less.
    bucket: [{ cumulativeCount: 12n, upperBound: Number.POSITIVE_INFINITY }],
  };
  expect(family({ name: "n", type: PrometheusType.HISTOGRAM, metric: [{ histogram }] })).toMatchObject([
    {
      name: "n",
      type: "histogram",
      value: 12,
      exponentialHistogram: {
        count: 12n,
        sum: 18.4,
        scale: 1,
        zeroCount: 2n,
        zeroThreshold: 0.001,
        positive: { offset: -1, bucketCounts: [1n, 2n, 0n, 1n, 1n] },
        negative: { offset: -4, bucketCounts: [5n] },
      },
    },
  ]);
});

test.each([
  [
    "a span that would fill the memory",
    { positiveSpan: [{ offset: 0, length: 4_000_000_000 }] },
    "more than 16384 buckets",
  ],
  [
    "a gap that would",
    {
      positiveSpan: [
        { offset: 0, length: 1 },
        { offset: 2 ** 30, length: 1 },
      ],
      positiveDelta: [1n, 0n],
    },
    "more than 16384",
  ],
  [
    "spans that overlap",
    {
      positiveSpan: [
        { offset: 0, length: 1 },
        { offset: -1, length: 1 },
      ],
      positiveDelta: [1n, 0n],
    },
    "overlap",
  ],
  [
    "a schema that is none",
    { schema: 9, positiveSpan: [{ offset: 0, length: 1 }], positiveDelta: [1n] },
    "its schema 9",
  ],
  ["counts below nothing", { positiveSpan: [{ offset: 0, length: 1 }], positiveDelta: [-1n] }, "no whole numbers"],
])("a native histogram with %s is refused", (_, histogram, why) => {
  expect(() => family({ name: "n", type: PrometheusType.HISTOGRAM, metric: [{ histogram }] })).toThrow(why);
});

test("a body that is cut off is refused", () => {
  const message = sizeDelimitedEncode(PrometheusFamilySchema, create(PrometheusFamilySchema, { name: "abc" }));
  expect(() => [...familiesOf(message.subarray(0, -1))]).toThrow("cut off");
  expect(() => [...familiesOf(Uint8Array.of(2, 0xff, 0xff))]).toThrow("body");
});
