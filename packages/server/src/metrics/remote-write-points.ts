// Prometheus' remote write, 1.0 and 2.0, as points.
//
// RW1. The NaN that says that a series has ended is known by its bits, before it becomes a number that could lose them.
// RW2. What is one series of Prometheus is one here: the buckets of a histogram come in requests of their own, at any time, and
//      stay what they are. Native histograms are histograms.
// RW3. Version 1 says types and units apart from the series; what it said is remembered of so many names.
import { fromBinary } from "@bufbuild/protobuf";
import {
  type RemoteWriteV1Histogram,
  RemoteWriteV1RequestSchema,
  RemoteWriteV1Type,
  type RemoteWriteV2Histogram,
  RemoteWriteV2RequestSchema,
  RemoteWriteV2Type,
} from "@sluice/api";
import { InvalidRequest } from "../errors.ts";
import { type IncomingPoint, type LabelPairs, sortedLabels } from "./incoming.ts";
import { nativePoint } from "./prometheus-histograms.ts";
import { exemplarShape, PROMETHEUS_ORIGIN } from "./prometheus-points.ts";
import type { TextExemplar } from "./prometheus-text.ts";
import type { MetricType } from "./series.ts";

const NAME_LABEL = "__name__";
/** RW1: value.StaleNaN of github.com/prometheus/prometheus/model/value. */
const STALE_NAN = 0x7ff0_0000_0000_0002n;
/** RW3. */
const REMEMBERED_MAX = 20_000;

export type RemoteWriteKind = "samples" | "histograms" | "exemplars";

/** A point, or why there is none. */
export interface RemotePoint {
  readonly kind: RemoteWriteKind;
  /** Exemplars that go with it. */
  readonly exemplars: number;
  readonly incoming: IncomingPoint | string;
}

export interface RemoteMetadata {
  readonly type: MetricType | undefined;
  readonly help: string;
  readonly unit: string;
}

/** What requests of version 1 said of names (RW3). */
export type RemoteMemory = Map<string, RemoteMetadata>;

/** @throws InvalidRequest */
export function* pointsOfV1(bytes: Uint8Array, memory: RemoteMemory): Generator<RemotePoint> {
  const { timeseries, metadata } = decode(() => fromBinary(RemoteWriteV1RequestSchema, bytes));
  for (const { metricFamilyName, type, help, unit } of metadata) {
    if (memory.size >= REMEMBERED_MAX) memory.delete(memory.keys().next().value!);
    memory.set(metricFamilyName, { type: TYPES_V1[type], help, unit });
  }
  for (const { labels, samples, exemplars, histograms } of timeseries) {
    const pairs = labels.map(({ name, value }): readonly [string, string] => [name, value]);
    const series = seriesOf(pairs, (name) => memory.get(name) ?? memory.get(name.replace(FAMILY_SUFFIX, "")));
    const shown = exemplars.map((each) => ({
      labels: each.labels.map(({ name, value }): readonly [string, string] => [name, value]),
      value: each.value,
      timestampNs: each.timestamp * NS_PER_MS,
    }));
    yield* pointsOfSeries(
      series,
      { samples: samples.map((each) => ({ ...each, startTimestamp: 0n })), histograms },
      shown,
    );
  }
}

/** @throws InvalidRequest */
export function* pointsOfV2(bytes: Uint8Array): Generator<RemotePoint> {
  const { symbols, timeseries } = decode(() => fromBinary(RemoteWriteV2RequestSchema, bytes));
  const symbol = (ref: number): string => {
    const text = symbols[ref];
    if (text === undefined) throw malformed(`symbol ${ref} is not there, there are ${symbols.length}`);
    return text;
  };
  const pairsOf = (refs: readonly number[]): LabelPairs => {
    if (refs.length % 2 !== 0) throw malformed("labels are not pairs");
    return Array.from({ length: refs.length / 2 }, (_, i) => [symbol(refs[2 * i]!), symbol(refs[2 * i + 1]!)] as const);
  };
  for (const { labelsRefs, samples, histograms, exemplars, metadata, createdTimestamp } of timeseries) {
    const about = metadata && {
      type: TYPES_V2[metadata.type],
      help: symbol(metadata.helpRef),
      unit: symbol(metadata.unitRef),
    };
    const series = seriesOf(pairsOf(labelsRefs), () => about);
    const shown = exemplars.map((each) => ({
      labels: pairsOf(each.labelsRefs),
      value: each.value,
      timestampNs: each.timestamp * NS_PER_MS,
    }));
    const since = samples.map((each) => ({ ...each, startTimestamp: each.startTimestamp || createdTimestamp }));
    yield* pointsOfSeries(series, { samples: since, histograms }, shown);
  }
}

const NS_PER_MS = 1_000_000n;
const FAMILY_SUFFIX = /_(?:bucket|sum|count|total|info)$/u;

type SeriesOf = Pick<IncomingPoint, "name" | "labels" | "type" | "unit" | "description" | "origin">;

function seriesOf(pairs: LabelPairs, metadata: (name: string) => RemoteMetadata | undefined): SeriesOf {
  const name = pairs.find(([label]) => label === NAME_LABEL)?.[1] ?? "";
  const labels = sortedLabels(pairs.filter(([label, value]) => label !== NAME_LABEL && value !== ""));
  const { type, help = "", unit = "" } = metadata(name) ?? {};
  return { name, labels, type: typeOf(name, type), unit, description: help, origin: PROMETHEUS_ORIGIN };
}

/** Parts of histograms and summaries are counters; where nothing is said the name tells. */
function typeOf(name: string, said: MetricType | undefined): MetricType {
  const isPart = /_(?:bucket|count)$/u.test(name);
  if (said === undefined) return isPart || name.endsWith("_total") ? "counter" : "gauge";
  if (said === "histogram" || said === "summary") return isPart ? "counter" : "gauge";
  return said;
}

interface Samples {
  readonly samples: readonly { readonly value: bigint; readonly timestamp: bigint; readonly startTimestamp: bigint }[];
  readonly histograms: readonly (RemoteWriteV1Histogram | RemoteWriteV2Histogram)[];
}

function* pointsOfSeries(
  series: SeriesOf,
  { samples, histograms }: Samples,
  exemplars: readonly TextExemplar[],
): Generator<RemotePoint> {
  const view = new DataView(new ArrayBuffer(8));
  const isLast = (i: number): boolean => i === samples.length + histograms.length - 1;
  for (const [i, sample] of samples.entries()) {
    view.setBigUint64(0, sample.value);
    const timestampNs = sample.timestamp * NS_PER_MS;
    const carried = isLast(i) && exemplars.length > 0;
    const shape = carried ? exemplarShape(exemplars, timestampNs) : undefined;
    const startNs = sample.startTimestamp * NS_PER_MS;
    const point = { value: view.getFloat64(0), timestampNs, startNs, shape };
    const incoming = { ...series, point, isEnd: sample.value === STALE_NAN };
    yield { kind: "samples", exemplars: carried ? exemplars.length : 0, incoming };
  }
  for (const histogram of histograms) {
    yield { kind: "histograms", exemplars: 0, incoming: histogramOf(series, histogram, view) };
  }
}

function histogramOf(
  series: SeriesOf,
  histogram: RemoteWriteV1Histogram | RemoteWriteV2Histogram,
  view: DataView,
): IncomingPoint | string {
  view.setBigUint64(0, histogram.sum);
  const timestampNs = histogram.timestamp * NS_PER_MS;
  const startNs = "startTimestamp" in histogram ? histogram.startTimestamp * NS_PER_MS : 0n;
  const shown = { ...series, type: "histogram" as const };
  if (histogram.sum === STALE_NAN) return { ...shown, point: { value: 0, timestampNs, startNs }, isEnd: true };
  const { positiveSpans, positiveDeltas, positiveCounts, negativeSpans, negativeDeltas, negativeCounts } = histogram;
  const point = nativePoint(
    {
      schema: histogram.schema,
      count: histogram.count.value ?? 0n,
      sum: view.getFloat64(0),
      zeroThreshold: histogram.zeroThreshold,
      zeroCount: histogram.zeroCount.value ?? 0n,
      positive: { spans: positiveSpans, deltas: positiveDeltas, counts: positiveCounts },
      negative: { spans: negativeSpans, deltas: negativeDeltas, counts: negativeCounts },
      customBounds: histogram.customValues,
    },
    { timestampNs, startNs },
  );
  return typeof point === "string" ? `${series.name}: ${point}` : { ...shown, point, isEnd: false };
}

const TYPES_V1: Readonly<Partial<Record<RemoteWriteV1Type, MetricType>>> = {
  [RemoteWriteV1Type.COUNTER]: "counter",
  [RemoteWriteV1Type.GAUGE]: "gauge",
  [RemoteWriteV1Type.HISTOGRAM]: "histogram",
  [RemoteWriteV1Type.GAUGEHISTOGRAM]: "gauge",
  [RemoteWriteV1Type.SUMMARY]: "summary",
  [RemoteWriteV1Type.INFO]: "gauge",
  [RemoteWriteV1Type.STATESET]: "gauge",
};
const TYPES_V2: Readonly<Partial<Record<RemoteWriteV2Type, MetricType>>> = {
  [RemoteWriteV2Type.COUNTER]: "counter",
  [RemoteWriteV2Type.GAUGE]: "gauge",
  [RemoteWriteV2Type.HISTOGRAM]: "histogram",
  [RemoteWriteV2Type.GAUGEHISTOGRAM]: "gauge",
  [RemoteWriteV2Type.SUMMARY]: "summary",
  [RemoteWriteV2Type.INFO]: "gauge",
  [RemoteWriteV2Type.STATESET]: "gauge",
};

function decode<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw malformed(`is no request of this version: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function malformed(description: string): InvalidRequest {
  return new InvalidRequest("MALFORMED", [{ field: "body", description }]);
}
