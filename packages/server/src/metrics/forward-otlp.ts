// OTLP over gRPC to a collector, or to another server of this kind: opentelemetry.io/docs/specs/otlp.
//
// O1. Names, units and attributes are as they were received; of the resource there is what identifies the service.
// O2. The codes that the specification calls retryable are tried again, all else is not.
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  DataPointFlags,
  ExponentialHistogramDataPointSchema,
  type ExportMetricsServiceRequestSchema,
  HistogramDataPointSchema,
  type KeyValue,
  KeyValueSchema,
  MetricPointSchema,
  OtlpMetricsService,
  SummaryDataPointSchema,
} from "@sluice/api";
import { Code, createClient, openChannel, retryDelayMs, RpcError } from "@sluice/rpc";
import type { ForwardedPoint, ForwardOutcome, ForwardTarget } from "./forward.ts";

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
  return {
    name: `${url.protocol}//${url.host}`,
    async send(points, signal): Promise<ForwardOutcome> {
      try {
        const { partialSuccess } = await otlp.export(exportOf(points), { signal, timeoutMs: TIMEOUT_MS });
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

/** O1. */
export function exportOf(points: readonly ForwardedPoint[]): ExportRequest {
  const resources = new Map<string, { readonly attributes: KeyValue[]; readonly metrics: Map<string, Metric> }>();
  for (const forwarded of points) {
    const { labels, name, unit, type } = forwarded.series.description;
    const attributes = attributesOf(labels.filter(([label]) => RESOURCE_LABELS.has(label)));
    const key = JSON.stringify(labels.filter(([label]) => RESOURCE_LABELS.has(label)));
    let resource = resources.get(key);
    if (resource === undefined) resources.set(key, (resource = { attributes, metrics: new Map() }));
    const one = metricOf(forwarded);
    const kind = JSON.stringify([name, unit, type, one.data?.case]);
    const metric = resource.metrics.get(kind);
    if (metric === undefined) resource.metrics.set(kind, one);
    else (metric.data!.value!.dataPoints as unknown[]).push(...one.data!.value!.dataPoints!);
  }
  return {
    resourceMetrics: [...resources.values()].map(({ attributes, metrics }) => ({
      resource: { attributes },
      scopeMetrics: [{ metrics: [...metrics.values()] }],
    })),
  };
}

/** A metric with one point. */
function metricOf({ series, point, value, isStale }: ForwardedPoint): Metric {
  const { name, unit, description, type, labels } = series.description;
  const about = { name, unit, description };
  const { histogram, exponentialHistogram, summary, exemplars } =
    point.shape === undefined ? create(MetricPointSchema) : fromBinary(MetricPointSchema, point.shape);
  const own = {
    attributes: attributesOf(labels.filter(([label]) => !RESOURCE_LABELS.has(label))),
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
  if (type !== "counter") return { ...about, data: { case: "gauge", value: { dataPoints } } };
  return { ...about, data: { case: "sum", value: { ...CUMULATIVE, isMonotonic: true, dataPoints } } };
}

function attributesOf(labels: readonly (readonly [string, string])[]): KeyValue[] {
  return labels.map(([key, value]) =>
    create(KeyValueSchema, { key, value: { value: { case: "stringValue", value } } }),
  );
}
