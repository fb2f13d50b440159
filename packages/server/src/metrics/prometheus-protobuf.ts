// What a target says in protobuf: MetricFamily messages, each behind its length. The only form that brings native histograms;
// of a histogram that comes in both forms the native one is kept, for it says all that the other says.
import { fromBinary } from "@bufbuild/protobuf";
import { type PrometheusFamily, PrometheusFamilySchema, type PrometheusHistogram, PrometheusType } from "@sluice/api";
import { InvalidRequest } from "../errors.ts";
import { WireReader } from "../stream/wire.ts";
import type { IncomingPoint, LabelPairs } from "./incoming.ts";
import { nativePoint } from "./prometheus-histograms.ts";
import { labelsOf, type PointOptions, pointsOfFamily, PROMETHEUS_ORIGIN } from "./prometheus-points.ts";
import type { FamilyType, TextExemplar, TextSample } from "./prometheus-text.ts";

type Metric = PrometheusFamily["metric"][number];
type Exemplar = NonNullable<NonNullable<Metric["counter"]>["exemplar"]>;
type Timestamp = NonNullable<Exemplar["timestamp"]>;

const TYPES: Readonly<Record<PrometheusType, FamilyType>> = {
  [PrometheusType.COUNTER]: "counter",
  [PrometheusType.GAUGE]: "gauge",
  [PrometheusType.SUMMARY]: "summary",
  [PrometheusType.UNTYPED]: "unknown",
  [PrometheusType.HISTOGRAM]: "histogram",
  [PrometheusType.GAUGE_HISTOGRAM]: "gaugehistogram",
};

/** The families of a body, one by one. @throws InvalidRequest */
export function* familiesOf(bytes: Uint8Array): Generator<PrometheusFamily> {
  const wire = new WireReader();
  wire.open(bytes, 0, bytes.length);
  while (wire.pos < wire.end) {
    const end = wire.span();
    if (wire.hasFailed) throw malformed("a family is cut off");
    let family: PrometheusFamily;
    try {
      family = fromBinary(PrometheusFamilySchema, bytes.subarray(wire.pos, end));
    } catch (error) {
      throw malformed(error instanceof Error ? error.message : String(error));
    }
    wire.pos = end;
    yield family;
  }
}

/** @throws InvalidRequest */
export function pointsOfProtobuf(family: PrometheusFamily, options: PointOptions): IncomingPoint[] {
  const points: IncomingPoint[] = [];
  const samples: TextSample[] = [];
  const { name, help, unit } = family;
  for (const metric of family.metric) {
    const { histogram } = metric;
    if (histogram === undefined || !isNative(histogram)) {
      samples.push(...samplesOf(name, metric));
      continue;
    }
    const timestampNs =
      metric.timestampMs === 0n || options.honorTimestamps === false ? options.nowNs : metric.timestampMs * NS_PER_MS;
    const point = nativePoint(normalized(histogram), { timestampNs, startNs: nsOf(histogram.createdTimestamp) ?? 0n });
    if (typeof point === "string") throw malformed(`${name}: ${point}`);
    const labels = labelsOf(pairsOf(metric.label), options);
    const what = { name, type: "histogram", unit, description: help, labels, origin: PROMETHEUS_ORIGIN } as const;
    points.push({ ...what, point, isEnd: false });
  }
  if (samples.length === 0) return points;
  return [...points, ...pointsOfFamily({ name, type: TYPES[family.type] ?? "unknown", help, unit, samples }, options)];
}

const NS_PER_MS = 1_000_000n;

/** As the text format would have it. */
function samplesOf(name: string, metric: Metric): TextSample[] {
  const labels = pairsOf(metric.label);
  const timestampNs = metric.timestampMs === 0n ? undefined : metric.timestampMs * NS_PER_MS;
  const samples: TextSample[] = [];
  const add = (suffix: string, value: number, more: { labels?: LabelPairs; exemplar?: Exemplar | undefined } = {}) => {
    const exemplar = more.exemplar === undefined ? undefined : exemplarOf(more.exemplar);
    samples.push({
      name: `${name}${suffix}`,
      labels: [...labels, ...(more.labels ?? [])],
      value,
      timestampNs,
      exemplar,
    });
  };
  const addStart = (start: Timestamp | undefined): void => {
    if (start !== undefined) add("_created", Number(start.seconds) + start.nanos / 1e9);
  };
  const { counter, gauge, untyped, summary, histogram } = metric;
  if (counter !== undefined) {
    add("", counter.value, { exemplar: counter.exemplar });
    addStart(counter.createdTimestamp);
  }
  if (gauge !== undefined) add("", gauge.value);
  if (untyped !== undefined) add("", untyped.value);
  if (summary !== undefined) {
    for (const { quantile, value } of summary.quantile) add("", value, { labels: [["quantile", String(quantile)]] });
    add("_sum", summary.sampleSum);
    add("_count", Number(summary.sampleCount));
    addStart(summary.createdTimestamp);
  }
  if (histogram !== undefined) {
    const bucketOf = (bound: number): LabelPairs => [
      ["le", bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound)],
    ];
    for (const { cumulativeCount, cumulativeCountFloat, upperBound, exemplar } of histogram.bucket) {
      const count = cumulativeCountFloat > 0 ? cumulativeCountFloat : Number(cumulativeCount);
      add("_bucket", count, { labels: bucketOf(upperBound), exemplar });
    }
    const { sampleCountFloat, sampleCount } = histogram;
    add("_sum", histogram.sampleSum);
    add("_count", sampleCountFloat > 0 ? sampleCountFloat : Number(sampleCount));
    addStart(histogram.createdTimestamp);
  }
  return samples;
}

/** An empty one says so by a span without length (the format's own rule). */
function isNative({
  schema,
  zeroThreshold,
  positiveSpan,
  negativeSpan,
  zeroCount,
  zeroCountFloat,
}: PrometheusHistogram) {
  const hasZeros = zeroThreshold > 0 || zeroCount > 0n || zeroCountFloat > 0;
  return positiveSpan.length > 0 || negativeSpan.length > 0 || schema !== 0 || hasZeros;
}

function normalized(histogram: PrometheusHistogram) {
  const { sampleCount, sampleCountFloat, zeroCount, zeroCountFloat, schema, zeroThreshold, sampleSum } = histogram;
  const { positiveSpan, positiveDelta, positiveCount, negativeSpan, negativeDelta, negativeCount } = histogram;
  return {
    schema,
    zeroThreshold,
    sum: sampleSum,
    count: sampleCountFloat > 0 ? sampleCountFloat : sampleCount,
    zeroCount: zeroCountFloat > 0 ? zeroCountFloat : zeroCount,
    positive: { spans: positiveSpan, deltas: positiveDelta, counts: positiveCount },
    negative: { spans: negativeSpan, deltas: negativeDelta, counts: negativeCount },
    customBounds: [],
  };
}

function exemplarOf({ label, value, timestamp }: Exemplar): TextExemplar {
  return { labels: pairsOf(label), value, timestampNs: nsOf(timestamp) };
}

function pairsOf(labels: readonly { readonly name: string; readonly value: string }[]): LabelPairs {
  return labels.map(({ name, value }) => [name, value] as const);
}

function nsOf(time: Timestamp | undefined): bigint | undefined {
  return time === undefined ? undefined : time.seconds * 1_000_000_000n + BigInt(time.nanos);
}

function malformed(description: string): InvalidRequest {
  return new InvalidRequest("BAD_EXPOSITION", [{ field: "body", description }]);
}
