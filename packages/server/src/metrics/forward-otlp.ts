// OTLP over gRPC to a collector, or to another server of this kind: opentelemetry.io/docs/specs/otlp.
//
// O1. Names, units and attributes are as they were received, and so are resource and scope of what came by OTLP; of what came
//     otherwise the resource has what identifies the service.
// O2. The codes that the specification calls retryable are tried again, all else is not.
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  DataPointFlags,
  ExponentialHistogramDataPointSchema,
  type ExportMetricsServiceRequestSchema,
  HistogramDataPointSchema,
  KeyValueSchema,
  MetricPointSchema,
  OtlpMetricsService,
  SummaryDataPointSchema,
} from "@sluice/api";
import { Code, createClient, openChannel, retryDelayMs, RpcError } from "@sluice/rpc";
import type { ForwardedPoint, ForwardOutcome, ForwardTarget } from "./forward.ts";
import type { LabelPairs } from "./incoming.ts";
import { keyValuesOf, type OtlpOrigin, OtlpOrigins, plainText } from "./otlp-origin.ts";
import type { SeriesDescription } from "./series.ts";

type ExportRequest = MessageInitShape<typeof ExportMetricsServiceRequestSchema>;
type ResourceMetrics = NonNullable<ExportRequest["resourceMetrics"]>[number];
type ScopeMetrics = NonNullable<ResourceMetrics["scopeMetrics"]>[number];
type Metric = NonNullable<ScopeMetrics["metrics"]>[number];

const TIMEOUT_MS = 30_000;
const RETRYABLE = new Set<Code>([
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED,
  Code.ABORTED,
  Code.OUT_OF_RANGE,
  Code.UNAVAILABLE,
  Code.DATA_LOSS,
]);
const RESOURCE_LABELS = new Set(["service.name", "service.namespace", "service.instance.id"]);
const CUMULATIVE = { aggregationTemporality: AggregationTemporality.CUMULATIVE } as const;

/** @param url otlp://host:port, or otlps:// with TLS */
export function openOtlpTarget(url: URL): ForwardTarget {
  const channel = openChannel(url.host, url.protocol === "otlps:" ? { tls: { servername: url.hostname } } : {});
  const otlp = createClient(OtlpMetricsService, channel);
  const exports = new OtlpExports();
  return {
    name: `${url.protocol}//${url.host}`,
    async send(points, signal): Promise<ForwardOutcome> {
      try {
        const { partialSuccess } = await otlp.export(exports.requestOf(points), { signal, timeoutMs: TIMEOUT_MS });
        const { rejectedDataPoints = 0n, errorMessage = "" } = partialSuccess ?? {};
        return { kind: "taken", refused: Number(rejectedDataPoints), reason: errorMessage };
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        const delayMs = retryDelayMs(error);
        const reason = error.message;
        const mayRetry = RETRYABLE.has(error.code) || (error.code === Code.RESOURCE_EXHAUSTED && delayMs !== undefined);
        return mayRetry
          ? { kind: "later", reason, retryAfterMs: delayMs }
          : { kind: "taken", refused: points.length, reason };
      }
    },
    [Symbol.asyncDispose]: () => channel.close(),
  };
}

/** Makes requests. It remembers where series come from (O1). */
export class OtlpExports {
  readonly #origins = new OtlpOrigins();

  /** O1. */
  requestOf(points: readonly ForwardedPoint[]): ExportRequest {
    const sources = new Map<string, { readonly from: From; readonly metrics: Map<string, Metric> }>();
    for (const forwarded of points) {
      const from = fromOf(forwarded.series.description, this.#origins);
      let source = sources.get(from.key);
      if (source === undefined) sources.set(from.key, (source = { from, metrics: new Map() }));
      const { name, unit, type } = forwarded.series.description;
      const one = metricOf(forwarded, from);
      const kind = JSON.stringify([name, unit, type, one.data?.case]);
      const metric = source.metrics.get(kind);
      if (metric === undefined) source.metrics.set(kind, one);
      else (metric.data!.value!.dataPoints as unknown[]).push(...one.data!.value!.dataPoints!);
    }
    return {
      resourceMetrics: [...sources.values()].map(({ from: { resource, schemaUrl, scope }, metrics }) => ({
        resource: { attributes: keyValuesOf(resource) },
        schemaUrl,
        scopeMetrics: [
          { scope: { ...scope, attributes: keyValuesOf(scope.attributes) }, metrics: [...metrics.values()] },
        ],
      })),
    };
  }
}

/** Where a series comes from, as it is told on. */
interface From extends Pick<OtlpOrigin, "resource" | "schemaUrl" | "scope"> {
  /** The same for all that stand together. */
  readonly key: string;
  /** Labels of its points. */
  readonly labels: LabelPairs;
  /** It goes up and down, but it is a sum. */
  readonly isSum: boolean;
}

function fromOf({ origin, labels }: SeriesDescription, origins: OtlpOrigins): From {
  const found = origins.find(origin);
  const service = labels.filter(([label]) => RESOURCE_LABELS.has(label));
  if (found === undefined) {
    const own = labels.filter(([label]) => !RESOURCE_LABELS.has(label));
    const scope = { name: "", version: "", attributes: [] };
    return { key: JSON.stringify(service), resource: service, schemaUrl: "", scope, labels: own, isSum: false };
  }
  const { resource, schemaUrl, scope, kind } = found;
  const key = JSON.stringify([resource, schemaUrl, scope]);
  const told = new Map(resource.map(([each, value]) => [each, plainText(value)]));
  // A label of a point that is not the resource's stays its own.
  const own = labels.filter(([label, value]) => !RESOURCE_LABELS.has(label) || told.get(label) !== value);
  return { key, resource, schemaUrl, scope, labels: own, isSum: kind === "sum" };
}

/** A metric with one point. */
function metricOf({ series, point, value, isStale }: ForwardedPoint, { labels, isSum }: From): Metric {
  const { name, unit, description, type } = series.description;
  const about = { name, unit, description };
  const { histogram, exponentialHistogram, summary, exemplars } =
    point.shape === undefined ? create(MetricPointSchema) : fromBinary(MetricPointSchema, point.shape);
  const own = {
    attributes: keyValuesOf(labels).map((each) => create(KeyValueSchema, each)),
    timeUnixNano: point.timestampNs,
    startTimeUnixNano: point.startNs,
    flags: isStale ? DataPointFlags.NO_RECORDED_VALUE_MASK : 0,
  };
  if (histogram !== undefined) {
    return {
      ...about,
      data: {
        case: "histogram",
        value: { ...CUMULATIVE, dataPoints: [create(HistogramDataPointSchema, { ...histogram, ...own })] },
      },
    };
  }
  if (exponentialHistogram !== undefined) {
    const dataPoints = [create(ExponentialHistogramDataPointSchema, { ...exponentialHistogram, ...own })];
    return { ...about, data: { case: "exponentialHistogram", value: { ...CUMULATIVE, dataPoints } } };
  }
  if (summary !== undefined) {
    return {
      ...about,
      data: { case: "summary", value: { dataPoints: [create(SummaryDataPointSchema, { ...summary, ...own })] } },
    };
  }
  const number =
    point.intValue === undefined
      ? { case: "asDouble" as const, value }
      : { case: "asInt" as const, value: point.intValue };
  const dataPoints = [{ ...own, exemplars, value: number }];
  if (type !== "counter" && !isSum) return { ...about, data: { case: "gauge", value: { dataPoints } } };
  return { ...about, data: { case: "sum", value: { ...CUMULATIVE, isMonotonic: type === "counter", dataPoints } } };
}
