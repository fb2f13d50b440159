// Remote write 1.0: prometheus.io/docs/specs/prw/remote_write_spec. What Prometheus, VictoriaMetrics, Mimir and others take.
//
// R1. Names and labels are Prometheus' (expose.ts). A histogram with explicit buckets becomes the series of its buckets, sum and
//     count; an exponential one becomes a native histogram; a series that has ended gets the stale NaN.
// R2. 5xx and 429 are tried again, all else that is no success never is (the specification says so).
// R3. What programs said of themselves goes along as `target_info`, with the newest time of their points, ascending.
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type ExponentialHistogramDataPoint, MetricPointSchema, RemoteWriteV1RequestSchema } from "@sluice/api";
import type { Clock } from "../store/contract.ts";
import { parseRetryAfter } from "../stream/retry-after.ts";
import { explicitBuckets } from "./buckets.ts";
import { type Exposed, exposedOf, type Label } from "./expose.ts";
import { PrometheusNames } from "./expose-names.ts";
import type { ForwardedPoint, ForwardOutcome, ForwardTarget } from "./forward.ts";
import { compressSnappy } from "./snappy.ts";
import { TargetInfos } from "./target-info.ts";

type Request = MessageInitShape<typeof RemoteWriteV1RequestSchema>;
type TimeSeries = NonNullable<Request["timeseries"]>[number];
type NativeHistogram = NonNullable<TimeSeries["histograms"]>[number];

const TIMEOUT_MS = 30_000;
const NS_PER_MS = 1_000_000n;
/** Of what an answer says of an error. */
const REASON_CHARACTERS_MAX = 500;
/** The NaN by which Prometheus knows that a series has ended (model/value). */
const STALE_NAN_BITS = 0x7ff0_0000_0000_0002n;
const SCHEMA_MIN = -4;
const SCHEMA_MAX = 8;

export function openRemoteWrite(url: URL, clock: Clock): ForwardTarget {
  const agent =
    url.protocol === "https:"
      ? new HttpsAgent({ keepAlive: true, maxSockets: 1 })
      : new HttpAgent({ keepAlive: true, maxSockets: 1 });
  const exposed = new WeakMap<ForwardedPoint["series"], Exposed | false>();
  const names = new PrometheusNames();
  const told = new ToldInfos();
  const namedOf = (series: ForwardedPoint["series"]): Exposed | undefined => {
    let found = exposed.get(series);
    if (found === undefined) exposed.set(series, (found = exposedOf(series, names) ?? false));
    return found === false ? undefined : found;
  };
  return {
    name: `${url.protocol}//${url.host}${url.pathname}`,
    async send(points, signal): Promise<ForwardOutcome> {
      const infos = told.newOf(points);
      const timeseries = [...infos, ...points].flatMap((point) => timeSeriesOf(point, namedOf(point.series)));
      const body = compressSnappy(
        toBinary(RemoteWriteV1RequestSchema, create(RemoteWriteV1RequestSchema, { timeseries })),
      );
      const { status, text, retryAfter } = await post(url, body, { agent, signal });
      if (status >= 200 && status < 300) {
        told.note(infos);
        return { kind: "taken", refused: 0 };
      }
      const reason = `${status} ${text}`.trim();
      if (status === 429 || status >= 500) {
        const nowMs = Number(clock.nowNs() / NS_PER_MS);
        return { kind: "later", reason, retryAfterMs: parseRetryAfter(retryAfter, nowMs) };
      }
      return { kind: "taken", refused: points.length, reason };
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
    },
  };
}

/** Bounded: at the bound all are forgotten, and told again. */
const INFOS_MAX = 4096;

interface ForwardedInfo extends ForwardedPoint {
  readonly key: string;
}

/** R3. When each `target_info` was told last. */
class ToldInfos {
  readonly #newestNs = new Map<string, bigint>();

  /** Of the programs of these points, as far as it is newer than what was told. */
  newOf(points: readonly ForwardedPoint[]): ForwardedInfo[] {
    const infos = new TargetInfos();
    for (const { series, point, isStale } of points) if (!isStale) infos.note(series.description, point);
    return [...infos.all()]
      .filter(({ key, point }) => point.timestampNs > (this.#newestNs.get(key) ?? 0n))
      .map(({ key, description, point }) => ({ key, series: { description }, point, value: 1, isStale: false }));
  }

  note(infos: readonly ForwardedInfo[]): void {
    if (this.#newestNs.size > INFOS_MAX) this.#newestNs.clear();
    for (const { key, point } of infos) this.#newestNs.set(key, point.timestampNs);
  }
}

/** R1. None: it has no name there. */
export function timeSeriesOf(forwarded: ForwardedPoint, exposed: Exposed | undefined): TimeSeries[] {
  if (exposed === undefined) return [];
  const { name, labels } = exposed;
  const timestamp = forwarded.point.timestampNs / 1_000_000n;
  const sample = (suffix: string, value: number, ...more: Label[]): TimeSeries => ({
    labels: labelsOf(name + suffix, [...labels, ...more]),
    samples: [{ value: forwarded.isStale ? STALE_NAN_BITS : bitsOf(value), timestamp }],
  });
  const { shape } = forwarded.point;
  const { histogram, exponentialHistogram, summary } = shape === undefined ? {} : fromBinary(MetricPointSchema, shape);
  if (histogram !== undefined) {
    const { bounds, counts } = explicitBuckets(histogram);
    const buckets = bounds.map((bound, i) => sample("_bucket", counts[i]!, ["le", boundText(bound)]));
    const sum = histogram.sum === undefined ? [] : [sample("_sum", histogram.sum)];
    return [...buckets, ...sum, sample("_count", Number(histogram.count))];
  }
  if (exponentialHistogram !== undefined) {
    const native = nativeOf(exponentialHistogram, forwarded.isStale);
    if (native === undefined) return [];
    return [{ labels: labelsOf(name, labels), histograms: [{ ...native, timestamp }] }];
  }
  if (summary !== undefined) {
    const quantiles = summary.quantileValues.map(({ quantile, value }) =>
      sample("", value, ["quantile", String(quantile)]),
    );
    return [...quantiles, sample("_sum", summary.sum), sample("_count", Number(summary.count))];
  }
  return [sample("", forwarded.value)];
}

function labelsOf(name: string, labels: readonly Label[]): { name: string; value: string }[] {
  const all: Label[] = [["__name__", name], ...labels];
  return all.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([label, value]) => ({ name: label, value }));
}

/** The same buckets as Prometheus counts them: its bucket i ends where OpenTelemetry's bucket i begins. undefined: too wide. */
export function nativeOf(point: ExponentialHistogramDataPoint, isStale: boolean): NativeHistogram | undefined {
  const steps = Math.max(0, point.scale - SCHEMA_MAX);
  const schema = point.scale - steps;
  if (schema < SCHEMA_MIN) return undefined;
  const positive = spanOf(point.positive, steps);
  const negative = spanOf(point.negative, steps);
  return {
    count: { case: "countInt", value: point.count },
    sum: isStale ? STALE_NAN_BITS : bitsOf(point.sum ?? 0),
    schema,
    zeroThreshold: point.zeroThreshold,
    zeroCount: { case: "zeroCountInt", value: point.zeroCount },
    positiveSpans: positive.spans,
    positiveDeltas: positive.deltas,
    negativeSpans: negative.spans,
    negativeDeltas: negative.deltas,
  };
}

function spanOf(buckets: ExponentialHistogramDataPoint["positive"], steps: number) {
  if (buckets === undefined || buckets.bucketCounts.length === 0) return { spans: [], deltas: [] };
  const first = buckets.offset >> steps;
  const last = (buckets.offset + buckets.bucketCounts.length - 1) >> steps;
  const counts = Array.from({ length: last - first + 1 }, () => 0n);
  for (const [i, count] of buckets.bucketCounts.entries()) counts[((buckets.offset + i) >> steps) - first]! += count;
  const deltas = counts.map((count, i) => count - (counts[i - 1] ?? 0n));
  return { spans: [{ offset: first + 1, length: counts.length }], deltas };
}

const scratch = new DataView(new ArrayBuffer(8));
function bitsOf(value: number): bigint {
  scratch.setFloat64(0, value);
  return scratch.getBigUint64(0);
}

function boundText(bound: number): string {
  return bound === Infinity ? "+Inf" : String(bound);
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | undefined;
}

/** @throws what the network says; the signal's reason */
async function post(
  url: URL,
  body: Uint8Array,
  { agent, signal }: { readonly agent: HttpAgent; readonly signal: AbortSignal },
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  // A user and password in the URL are sent as Basic authentication by the client itself.
  const request = send(url, {
    method: "POST",
    agent,
    signal,
    timeout: TIMEOUT_MS,
    headers: {
      "content-type": "application/x-protobuf",
      "content-encoding": "snappy",
      "content-length": body.length,
      "user-agent": "sluice",
      "x-prometheus-remote-write-version": "0.1.0",
    },
  });
  request.on("response", resolve);
  request.on("error", reject);
  request.on("timeout", () => request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  request.end(body);
  const response = await promise;
  let text = "";
  for await (const chunk of response) if (text.length < REASON_CHARACTERS_MAX) text += String(chunk);
  const reason = text.slice(0, REASON_CHARACTERS_MAX).trim();
  return { status: response.statusCode ?? 0, text: reason, retryAfter: response.headers["retry-after"] };
}
