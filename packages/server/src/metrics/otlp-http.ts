// OTLP/HTTP of metrics: POST /v1/metrics.
//
// The event loop is held for CHUNK_PIECES of CHUNK_POINTS at a time; only the parser of JSON cannot be stopped (40 ms for 4 MiB).
import type { MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import {
  ExportMetricsServiceResponseSchema,
  OtlpMetricSchema,
  ResourceMetricsSchema,
  ScopeMetricsSchema,
} from "@sluice/api";
import type { HttpHandler } from "@sluice/rpc";
import { type Subject, subjectOf } from "../security/authorize.ts";
import { createOtlpHttpHandler, type OtlpHttpOptions } from "../stream/otlp-http.ts";
import { base64Of, encodeJson, type JsonObject, listAt, objectAt, parseJson } from "../stream/otlp-json.ts";
import { nextTurn } from "../stream/turn.ts";

export const OTLP_METRICS_PATH = "/v1/metrics";

export interface OtlpMetricsHttpOptions extends Pick<
  OtlpHttpOptions<typeof ExportMetricsServiceResponseSchema>,
  "messageBytesMax" | "statusOf"
> {
  readonly exportMetrics: (
    subject: Subject,
    request: Uint8Array,
  ) => Promise<MessageInitShape<typeof ExportMetricsServiceResponseSchema>>;
}

/** Serves OTLP_METRICS_PATH. */
export function createOtlpMetricsHandler({ exportMetrics, ...options }: OtlpMetricsHttpOptions): HttpHandler {
  return createOtlpHttpHandler({
    ...options,
    signal: "Metrics",
    response: ExportMetricsServiceResponseSchema,
    take: (bytes, request) => exportMetrics(subjectOf(request), bytes),
    encodeJson: metricsOfJson,
  });
}

const CHUNK_POINTS = 128;
/** Metrics with few points are small pieces. */
const CHUNK_PIECES = 8;
/** ExportMetricsServiceRequest.resource_metrics, ResourceMetrics.scope_metrics, ScopeMetrics.metrics: length-delimited. */
const RESOURCE_METRICS_TAG = (1 << 3) | 2;
const INNER_TAG = (2 << 3) | 2;
const KINDS = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];

/** JSON as an ExportMetricsServiceRequest's bytes. @throws InvalidRequest */
async function metricsOfJson(text: string): Promise<Uint8Array> {
  const { resourceMetrics } = objectAt(parseJson(text), "the request");
  const writer = new BinaryWriter();
  let pieces = 0;
  for (const each of listAt(resourceMetrics, "resourceMetrics")) {
    const { scopeMetrics, scope_metrics: alias, ...head } = objectAt(each, "a row of resourceMetrics");
    writer.uint32(RESOURCE_METRICS_TAG).fork().raw(encodeJson(ResourceMetricsSchema, head));
    for (const inner of listAt(scopeMetrics ?? alias, "scopeMetrics")) {
      const { metrics, ...scope } = objectAt(inner, "a row of scopeMetrics");
      writer.uint32(INNER_TAG).fork().raw(encodeJson(ScopeMetricsSchema, scope));
      for (const row of listAt(metrics, "metrics")) {
        const metric = objectAt(row, "a row of metrics");
        for (const piece of piecesOf(metric)) {
          if (++pieces % CHUNK_PIECES === 0) await nextTurn();
          writer.uint32(INNER_TAG).bytes(encodeJson(OtlpMetricSchema, piece));
        }
      }
      writer.join();
    }
    writer.join();
  }
  return writer.finish();
}

/** The same metric again and again, each time with some of its points. */
function* piecesOf(metric: JsonObject): Generator<JsonObject> {
  const kind = KINDS.find((each) => metric[each] !== undefined && metric[each] !== null);
  if (kind === undefined) {
    yield metric;
    return;
  }
  const { dataPoints, data_points: alias, ...about } = objectAt(metric[kind], kind);
  const points = listAt(dataPoints ?? alias, "dataPoints");
  for (let start = 0; start < points.length; start += CHUNK_POINTS) {
    const some = points
      .slice(start, start + CHUNK_POINTS)
      .map((point) => withBase64Ids(objectAt(point, "a data point")));
    yield { ...metric, [kind]: { ...about, dataPoints: some } };
  }
}

function withBase64Ids({ exemplars, ...point }: JsonObject): JsonObject {
  if (exemplars === undefined) return point;
  const shown = listAt(exemplars, "exemplars").map((each) => {
    const { traceId, spanId, ...rest } = objectAt(each, "an exemplar");
    return { ...rest, ...base64Of("traceId", traceId), ...base64Of("spanId", spanId) };
  });
  return { ...point, exemplars: shown };
}
