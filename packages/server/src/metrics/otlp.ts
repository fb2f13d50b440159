// opentelemetry.proto.collector.metrics.v1.MetricsService/Export: what programs say of themselves becomes series.
//
// T1. Labels of a series are the point's attributes, and service.name, service.namespace and service.instance.id of its
//     resource. Resource, scope, unit, type and temporality tell series apart besides.
// T2. Every data point is taken or counted in partial_success, with the reason of the first that was not. A repeat of the
//     newest point is taken, so that a request that is sent again is no error.
// T3. Deltas are added up (deltas.ts): a series of Sluice always counts from its start.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  type AnyValue,
  DataPointFlags,
  ExponentialHistogramDataPointSchema,
  type ExportMetricsServiceRequest,
  type ExportMetricsServiceResponseSchema,
  HistogramDataPointSchema,
  type KeyValue,
  MetricPointSchema,
  type OtlpMetric,
  type ResourceMetrics,
} from "@sluice/api";
import { SluiceError } from "../errors.ts";
import { nextTurn } from "../stream/turn.ts";
import { type Accumulated, addExponential, addHistograms } from "./deltas.ts";
import type { MetricType, Point, Series, SeriesDescription, SeriesTable } from "./series.ts";

const SERVICE_LABELS = ["service.name", "service.namespace", "service.instance.id"];
const NAME_BYTES_MAX = 1024;
const LABELS_MAX = 128;
const LABEL_BYTES_MAX = 16 * 1024;
/** Points that are taken in one go: some milliseconds. */
const CHUNK_POINTS = 1000;

type ExportResponse = MessageInitShape<typeof ExportMetricsServiceResponseSchema>;

/** A data point of any of OTLP's types. */
interface DataPoint {
  readonly attributes: readonly KeyValue[];
  readonly startTimeUnixNano: bigint;
  readonly timeUnixNano: bigint;
  readonly flags: number;
}

/** What the points of one Metric share. */
interface Source {
  readonly metric: OtlpMetric;
  readonly type: MetricType;
  readonly isDelta: boolean;
  readonly serviceLabels: readonly (readonly [string, string])[];
  readonly origin: string;
}

export class MetricsIngest implements Disposable {
  readonly #table: SeriesTable;
  /** Of series that send deltas, by key (D1). */
  readonly #sums = new Map<string, Accumulated>();
  readonly #listening: Disposable;

  constructor(table: SeriesTable) {
    this.#table = table;
    this.#listening = table.listen({
      onAdded() {},
      onPoint() {},
      onRemoved: ({ key }: Series) => void this.#sums.delete(key),
    });
  }

  async export({ resourceMetrics }: ExportMetricsServiceRequest): Promise<ExportResponse> {
    const refused = new Refusals();
    let total = 0;
    for (const each of resourceMetrics) {
      for (const source of sourcesOf(each)) {
        for (const point of source.metric.data.value?.dataPoints ?? []) {
          if (++total % CHUNK_POINTS === 0) await nextTurn();
          this.#take(source, point, refused);
        }
      }
    }
    if (refused.count === 0) return {};
    const errorMessage = `${refused.count} of ${total} data points were rejected; the first one: ${refused.first}`;
    return { partialSuccess: { rejectedDataPoints: BigInt(refused.count), errorMessage } };
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }

  #take(source: Source, point: DataPoint, refused: Refusals): void {
    const { name } = source.metric;
    const labels = labelsOf(source.serviceLabels, point.attributes);
    const problem = problemOf(name, labels, point);
    if (problem !== undefined) {
      refused.add(`${name === "" ? "a metric" : name}: ${problem}`);
      return;
    }
    const key = `${source.origin}\n${name}\n${labels.map((pair) => pair.map(escape).join("=")).join(",")}`;
    if ((point.flags & DataPointFlags.NO_RECORDED_VALUE_MASK) !== 0) {
      const series = this.#table.find(key);
      if (series !== undefined) this.#table.end(series, point.timeUnixNano);
      this.#sums.delete(key);
      return;
    }
    try {
      const known = this.#table.find(key);
      const isOld = known !== undefined && point.timeUnixNano <= known.point.timestampNs;
      const value = source.isDelta && !isOld ? this.#addUp(key, source.metric, point) : pointOf(source.metric, point);
      const outcome = this.#table.write(key, value, () => describe(source, labels));
      if (outcome === "old") refused.add(`${name}: a point of this series is newer already`);
      else if (outcome === "same" && !source.isDelta && !isRepeat(known!, value)) {
        refused.add(`${name}: this series has another value for the same time`);
      }
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      refused.add(error.message);
    }
  }

  /** T3. */
  #addUp(key: string, metric: OtlpMetric, point: DataPoint): Point {
    const { data } = metric;
    const before = this.#sums.get(key);
    const startNs = point.startTimeUnixNano;
    if (data.case === "histogram") {
      const more = point as (typeof data.value.dataPoints)[number];
      const sum = before?.kind === "histogram" ? (addHistograms(before.point, more) ?? more) : more;
      this.#sums.set(key, { kind: "histogram", point: sum });
      return pointOf(metric, sum);
    }
    if (data.case === "exponentialHistogram") {
      const more = point as (typeof data.value.dataPoints)[number];
      const sum = before?.kind === "exponential" ? addExponential(before.point, more) : more;
      this.#sums.set(key, { kind: "exponential", point: sum });
      return pointOf(metric, sum);
    }
    const { value, timestampNs } = pointOf(metric, point);
    const sum = before?.kind === "number" ? before : { kind: "number" as const, value: 0, startNs };
    const added = { kind: "number" as const, value: sum.value + value, startNs: sum.startNs };
    this.#sums.set(key, added);
    return { value: added.value, timestampNs, startNs: added.startNs };
  }
}

/** Counts what was not taken, and remembers the first reason. */
class Refusals {
  count = 0;
  first = "";
  add(reason: string): void {
    this.count++;
    this.first ||= reason;
  }
}

function* sourcesOf({ resource, scopeMetrics, schemaUrl }: ResourceMetrics): Generator<Source> {
  const attributes = new Map(resource?.attributes.map(({ key, value }) => [key, textOf(value)]));
  const serviceLabels = SERVICE_LABELS.flatMap((name): (readonly [string, string])[] => {
    const value = attributes.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  const resourceText = JSON.stringify([[...attributes].toSorted(byFirst), schemaUrl]);
  for (const { scope, metrics } of scopeMetrics) {
    const scopeText = JSON.stringify([scope?.name, scope?.version]);
    for (const metric of metrics) {
      const type = typeOf(metric);
      if (type === undefined) continue;
      const isDelta = temporalityOf(metric) === AggregationTemporality.DELTA;
      const origin = `${resourceText}${scopeText}${JSON.stringify([metric.unit, type, metric.data.case, isDelta])}`;
      yield { metric, type, isDelta, serviceLabels, origin };
    }
  }
}

function typeOf({ data }: OtlpMetric): MetricType | undefined {
  switch (data.case) {
    case "gauge":
      return "gauge";
    case "sum":
      return data.value.isMonotonic ? "counter" : "gauge";
    case "histogram":
    case "exponentialHistogram":
      return "histogram";
    case "summary":
      return "summary";
    case undefined:
      return undefined;
  }
}

function temporalityOf({ data }: OtlpMetric): AggregationTemporality {
  if (data.case === "sum" || data.case === "histogram" || data.case === "exponentialHistogram") {
    return data.value.aggregationTemporality;
  }
  return AggregationTemporality.UNSPECIFIED;
}

function describe({ metric, type, origin }: Source, labels: SeriesDescription["labels"]): SeriesDescription {
  const { name, unit, description } = metric;
  return { name, type, unit, description, labels, origin };
}

function labelsOf(
  serviceLabels: Source["serviceLabels"],
  attributes: readonly KeyValue[],
): readonly (readonly [string, string])[] {
  const own = attributes.map(({ key, value }): readonly [string, string] => [key, textOf(value)]);
  // The point's own attribute wins over the resource's of the same name.
  const labels = new Map([...serviceLabels, ...own]);
  return [...labels].toSorted(byFirst);
}

function problemOf(name: string, labels: readonly (readonly [string, string])[], point: DataPoint): string | undefined {
  const nameBytes = Buffer.byteLength(name);
  if (nameBytes === 0) return "its name is empty";
  if (nameBytes > NAME_BYTES_MAX) return `its name has ${nameBytes} bytes, the limit is ${NAME_BYTES_MAX}`;
  if (point.timeUnixNano <= 0n) return "time_unix_nano is not set";
  if (labels.length > LABELS_MAX) return `it has ${labels.length} labels, the limit is ${LABELS_MAX}`;
  const bytes = labels.reduce((sum, [label, value]) => sum + Buffer.byteLength(label) + Buffer.byteLength(value), 0);
  if (bytes > LABEL_BYTES_MAX) {
    const [largest] = labels.toSorted(([, a], [, b]) => b.length - a.length);
    return `its labels have ${bytes} bytes, the limit is ${LABEL_BYTES_MAX}; the longest is "${largest![0].slice(0, 100)}"`;
  }
  return undefined;
}

/** A point as it came. */
function pointOf({ data }: OtlpMetric, point: DataPoint): Point {
  const times = { timestampNs: point.timeUnixNano, startNs: point.startTimeUnixNano };
  switch (data.case) {
    case "gauge":
    case "sum": {
      const { value } = point as (typeof data.value.dataPoints)[number];
      if (value.case !== "asInt") return { ...times, value: value.value ?? 0 };
      return { ...times, value: Number(value.value), intValue: value.value };
    }
    case "histogram": {
      const histogram = create(HistogramDataPointSchema, {
        ...(point as (typeof data.value.dataPoints)[number]),
        attributes: [],
      });
      return { ...times, value: Number(histogram.count), shape: shapeOf({ histogram }) };
    }
    case "exponentialHistogram": {
      const exponentialHistogram = create(ExponentialHistogramDataPointSchema, {
        ...(point as (typeof data.value.dataPoints)[number]),
        attributes: [],
      });
      return { ...times, value: Number(exponentialHistogram.count), shape: shapeOf({ exponentialHistogram }) };
    }
    case "summary": {
      const summary = { ...(point as (typeof data.value.dataPoints)[number]), attributes: [] };
      return { ...times, value: Number(summary.count), shape: shapeOf({ summary }) };
    }
    case undefined:
      return { ...times, value: 0 };
  }
}

function shapeOf(fields: MessageInitShape<typeof MetricPointSchema>): Uint8Array {
  return toBinary(MetricPointSchema, create(MetricPointSchema, fields));
}

function isRepeat({ point }: Series, again: Point): boolean {
  return Object.is(point.value, again.value) && Buffer.compare(point.shape ?? NOTHING, again.shape ?? NOTHING) === 0;
}
const NOTHING = new Uint8Array(0);

/** A value as a label: texts as they are, all else as JSON. */
function textOf(value: AnyValue | undefined): string {
  const plain = plainOf(value);
  return typeof plain === "string" ? plain : JSON.stringify(plain);
}

function plainOf(value: AnyValue | undefined): unknown {
  const content = value?.value;
  switch (content?.case) {
    case "intValue":
      return Number.isSafeInteger(Number(content.value)) ? Number(content.value) : String(content.value);
    case "bytesValue":
      return Buffer.from(content.value).toString("base64");
    case "arrayValue":
      return content.value.values.map(plainOf);
    case "kvlistValue":
      return Object.fromEntries(content.value.values.map(({ key, value: inner }) => [key, plainOf(inner)]));
    case undefined:
      return "";
    default:
      return content?.value;
  }
}

/** So that no label can look like two. */
function escape(text: string): string {
  return text.replaceAll(/[\\=,\n]/gu, (character) => `\\${character === "\n" ? "n" : character}`);
}

function byFirst([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
