// What a target said, as points: histograms and summaries are put together from the samples that they come in.
//
// F1. Nothing is lost: what does not fit together (fractions of counts, buckets that decrease, a histogram of a gauge) is
//     kept sample by sample. Names stay as they came.
// F2. `_created` is the start of its series, not a series.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { HistogramDataPointSchema, SummaryDataPointSchema } from "@sluice/api";
import { type IncomingPoint, type LabelPairs, sortedLabels } from "./incoming.ts";
import type { FamilyType, TextExemplar, TextFamily, TextSample } from "./prometheus-text.ts";
import type { MetricType, Point } from "./series.ts";
import { shapeOf } from "./shape.ts";

/** Of all series that came as Prometheus has them, however they came: they are told apart by name and labels alone. */
export const PROMETHEUS_ORIGIN = "prometheus";

export interface PointOptions {
  /** Of samples that say no time, Unix ns. */
  readonly nowNs: bigint;
  /** Times that samples say are kept. Default: true. */
  readonly honorTimestamps?: boolean;
  /** Labels of the target. A sample's own label of that name gets `exported_` in front, unless `honorLabels`. */
  readonly labels?: LabelPairs;
  readonly honorLabels?: boolean;
}

type Exemplars = NonNullable<MessageInitShape<typeof HistogramDataPointSchema>["exemplars"]>;

/** Samples with the same labels and the same time, but for `le` and `quantile`. */
interface Group {
  readonly labels: LabelPairs;
  readonly timestampNs: bigint;
  /** Bounds with the counts up to them, or quantiles with their values. */
  readonly steps: { readonly at: number; readonly value: number }[];
  sum: number | undefined;
  count: number | undefined;
  startNs: bigint;
  readonly exemplars: TextExemplar[];
  readonly samples: TextSample[];
}

export function pointsOfFamily(family: TextFamily, options: PointOptions): IncomingPoint[] {
  if (family.type === "histogram" || family.type === "summary") return sumPoints(family, options);
  const starts = new Map<string, bigint>();
  const points: IncomingPoint[] = [];
  const created = family.type === "counter" ? `${family.name}_created` : undefined;
  for (const sample of family.samples) {
    if (sample.name === created) starts.set(groupKey(sample.labels), nsOf(sample.value));
  }
  for (const sample of family.samples) {
    if (sample.name === created && family.samples.length > 1) continue;
    const startNs = starts.get(groupKey(sample.labels)) ?? 0n;
    points.push(scalar(family, sample, { options, startNs }));
  }
  return points;
}

function sumPoints(family: TextFamily, options: PointOptions): IncomingPoint[] {
  const points: IncomingPoint[] = [];
  for (const group of groupsOf(family, options)) {
    const point = family.type === "histogram" ? histogramOf(group) : summaryOf(group);
    if (point === undefined) {
      for (const sample of group.samples) points.push(scalar(family, sample, { options, startNs: group.startNs }));
    } else {
      const { name, unit, help: description } = family;
      const labels = labelsOf(group.labels, options);
      const type = family.type === "histogram" ? "histogram" : "summary";
      points.push({ name, type, unit, description, labels, origin: PROMETHEUS_ORIGIN, point, isEnd: false });
    }
  }
  return points;
}

function groupsOf({ name: family, type, samples }: TextFamily, options: PointOptions): Iterable<Group> {
  const step = type === "histogram" ? "le" : "quantile";
  const groups = new Map<string, Group>();
  for (const sample of samples) {
    const timestampNs = timeOf(sample, options);
    const labels = sample.labels.filter(([name]) => name !== step);
    const key = `${timestampNs} ${groupKey(labels)}`;
    let group = groups.get(key);
    if (group === undefined) {
      const none = { sum: undefined, count: undefined, startNs: 0n };
      group = { labels, timestampNs, steps: [], exemplars: [], samples: [], ...none };
      groups.set(key, group);
    }
    const suffix = sample.name.slice(family.length);
    if (suffix === "_created") {
      group.startNs = nsOf(sample.value);
      continue;
    }
    group.samples.push(sample);
    if (sample.exemplar !== undefined) group.exemplars.push(sample.exemplar);
    const at = sample.labels.find(([name]) => name === step)?.[1];
    if (suffix === "_sum") group.sum = sample.value;
    else if (suffix === "_count") group.count = sample.value;
    else group.steps.push({ at: at === undefined ? Number.NaN : boundOf(at), value: sample.value });
  }
  return [...groups.values()].filter((group) => group.samples.length > 0);
}

/** undefined: it is none (F1). */
function histogramOf(group: Group): Point | undefined {
  const steps = group.steps.toSorted((a, b) => a.at - b.at);
  const last = steps.at(-1);
  const count = last?.at === Number.POSITIVE_INFINITY ? last.value : group.count;
  if (count === undefined || (group.count !== undefined && group.count !== count)) return undefined;
  if (last?.at !== Number.POSITIVE_INFINITY) steps.push({ at: Number.POSITIVE_INFINITY, value: count });
  const bucketCounts: bigint[] = [];
  const explicitBounds: number[] = [];
  let before = { at: Number.NEGATIVE_INFINITY, value: 0 };
  for (const each of steps) {
    if (!(each.at > before.at) || !Number.isSafeInteger(each.value) || each.value < before.value) return undefined;
    bucketCounts.push(BigInt(each.value - before.value));
    if (each.at < Number.POSITIVE_INFINITY) explicitBounds.push(each.at);
    before = each;
  }
  const { timestampNs, startNs, sum } = group;
  const histogram = create(HistogramDataPointSchema, {
    timeUnixNano: timestampNs,
    startTimeUnixNano: startNs,
    count: BigInt(count),
    ...(sum === undefined ? {} : { sum }),
    bucketCounts,
    explicitBounds,
    exemplars: exemplarsOf(group),
  });
  return { value: count, timestampNs, startNs, shape: shapeOf({ histogram }) };
}

function summaryOf({ timestampNs, startNs, sum, count, steps }: Group): Point | undefined {
  if (sum === undefined || count === undefined || !Number.isSafeInteger(count) || count < 0) return undefined;
  if (steps.some(({ at }) => !(at >= 0 && at <= 1))) return undefined;
  const quantileValues = steps.map(({ at: quantile, value }) => ({ quantile, value }));
  const summary = create(SummaryDataPointSchema, {
    timeUnixNano: timestampNs,
    startTimeUnixNano: startNs,
    count: BigInt(count),
    sum,
    quantileValues,
  });
  return { value: count, timestampNs, startNs, shape: shapeOf({ summary }) };
}

function scalar(
  family: TextFamily,
  sample: TextSample,
  { options, startNs }: { readonly options: PointOptions; readonly startNs: bigint },
): IncomingPoint {
  const { name, value, exemplar } = sample;
  const exemplars = exemplar === undefined ? undefined : exemplarShape([exemplar], timeOf(sample, options));
  return {
    name,
    type: scalarType(family.type, name.slice(family.name.length)),
    unit: family.unit,
    description: family.help,
    labels: labelsOf(sample.labels, options),
    origin: PROMETHEUS_ORIGIN,
    point: { value, timestampNs: timeOf(sample, options), startNs, shape: exemplars },
    isEnd: false,
  };
}

/** Of a sample by itself. The buckets and the count of a histogram only grow, its sum may sink. */
function scalarType(type: FamilyType, suffix: string): MetricType {
  if (type === "counter") return suffix === "_created" ? "gauge" : "counter";
  const counts = (type === "histogram" || type === "summary") && (suffix === "_bucket" || suffix === "_count");
  return counts ? "counter" : "gauge";
}

function timeOf({ timestampNs }: TextSample, { nowNs, honorTimestamps = true }: PointOptions): bigint {
  return honorTimestamps ? (timestampNs ?? nowNs) : nowNs;
}

/** The labels of a sample with those of its target. */
export function labelsOf(own: LabelPairs, { labels = [], honorLabels = false }: PointOptions): LabelPairs {
  const all = new Map(labels);
  for (const [name, value] of own) {
    if (value === "") continue; // the same as no label
    all.set(labels.some(([each]) => each === name) && !honorLabels ? `exported_${name}` : name, value);
  }
  return sortedLabels(all);
}

function groupKey(labels: LabelPairs): string {
  return JSON.stringify(sortedLabels(labels));
}

function boundOf(text: string): number {
  if (text === "+Inf" || text === "Inf") return Number.POSITIVE_INFINITY;
  return text === "" ? Number.NaN : Number(text);
}

function nsOf(seconds: number): bigint {
  return Number.isFinite(seconds) && seconds > 0 && seconds < 1e10 ? BigInt(Math.round(seconds * 1e6)) * 1000n : 0n;
}

/** @param timestampNs of those that say none */
export function exemplarShape(exemplars: readonly TextExemplar[], timestampNs: bigint): Uint8Array {
  return shapeOf({ exemplars: exemplarsOf({ exemplars, timestampNs }) });
}

function exemplarsOf(from: Pick<Group, "timestampNs"> & { readonly exemplars: readonly TextExemplar[] }): Exemplars {
  const { exemplars, timestampNs } = from;
  return exemplars.map(({ labels, value, timestampNs: own }) => {
    const traceId = idOf(labels, "trace_id", 32);
    const spanId = idOf(labels, "span_id", 16);
    return {
      timeUnixNano: own ?? timestampNs,
      value: { case: "asDouble" as const, value },
      traceId: traceId ?? NO_ID,
      spanId: spanId ?? NO_ID,
      filteredAttributes: labels
        .filter(([name]) => !(name === "trace_id" && traceId) && !(name === "span_id" && spanId))
        .map(([key, text]) => ({ key, value: { value: { case: "stringValue" as const, value: text } } })),
    };
  });
}

const NO_ID = new Uint8Array(0);

function idOf(labels: LabelPairs, wanted: string, digits: number): Uint8Array<ArrayBuffer> | undefined {
  const text = labels.find(([name]) => name === wanted)?.[1] ?? "";
  return text.length === digits && /^[0-9a-f]+$/iu.test(text) ? Uint8Array.from(Buffer.from(text, "hex")) : undefined;
}
