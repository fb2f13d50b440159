// Metrics as OTLP/HTTP requests: encoded once, then only times and values change. The same bytes for all.

import { create, toBinary } from "@bufbuild/protobuf";
import { AggregationTemporality, ExportMetricsServiceRequestSchema } from "@sluice/api";

/** Of one request. */
export const seriesPerRequest = 1000;

/** Where a kind of server takes them. */
export const otlpPaths = { sluice: "/v1/metrics", prometheus: "/api/v1/otlp/v1/metrics" } as const;

const timeMark = 0x1122_3344_5566_7788n;
const valueMark = 1.234_567_890_123e-300;

/** A thousand series, or the last ones: requests for one moment after another. */
export class MetricGroup {
  readonly #bytes: Buffer;
  readonly #times: readonly number[];
  readonly #values: readonly number[];
  readonly #now: Float64Array;
  readonly #random: () => number;

  /** @param first number of its first series */
  constructor(first: number, count: number) {
    const numbers = Array.from({ length: count }, (_, i) => first + i);
    const half = Math.ceil(count / 2);
    const dataPoints = numbers.map((number) => ({
      timeUnixNano: timeMark,
      value: { case: "asDouble" as const, value: valueMark },
      attributes: [
        { key: "host", value: { value: { case: "stringValue" as const, value: `host-${number % 100}` } } },
        { key: "number", value: { value: { case: "stringValue" as const, value: `${number}` } } },
        { key: "region", value: { value: { case: "stringValue" as const, value: "eu-central-1" } } },
        { key: "version", value: { value: { case: "stringValue" as const, value: "1.4.2" } } },
      ],
    }));
    const cumulative = { isMonotonic: true, aggregationTemporality: AggregationTemporality.CUMULATIVE };
    const request = create(ExportMetricsServiceRequestSchema, {
      resourceMetrics: [
        {
          resource: {
            attributes: [{ key: "service.name", value: { value: { case: "stringValue", value: "bench" } } }],
          },
          scopeMetrics: [
            {
              metrics: [
                {
                  name: "bench.counter",
                  data: { case: "sum", value: { ...cumulative, dataPoints: dataPoints.slice(0, half) } },
                },
                { name: "bench.gauge", data: { case: "gauge", value: { dataPoints: dataPoints.slice(half) } } },
              ],
            },
          ],
        },
      ],
    });
    this.#bytes = Buffer.from(toBinary(ExportMetricsServiceRequestSchema, request));
    const mark = Buffer.alloc(8);
    mark.writeBigUInt64LE(timeMark);
    this.#times = placesOf(this.#bytes, mark);
    mark.writeDoubleLE(valueMark);
    this.#values = placesOf(this.#bytes, mark);
    this.#now = new Float64Array(count);
    this.#random = seeded(first + 1);
  }

  /**
   * The request for a moment. Counters grow by whole numbers, a third of them not at all; of the gauges a third stays, a third are whole
   * numbers that go up and down, a third have two digits behind the point.
   */
  at(timestampNs: bigint): Buffer<ArrayBuffer> {
    const bytes = this.#bytes;
    const half = Math.ceil(this.#now.length / 2);
    for (const place of this.#times) bytes.writeBigUInt64LE(timestampNs, place);
    this.#values.forEach((place, i) => {
      const kind = i % 3;
      const chance = this.#random();
      let now = this.#now[i]!;
      if (i < half) now += kind === 0 ? 0 : Math.floor(chance * 20);
      else if (kind === 1) now = Math.max(0, now + Math.floor(chance * 9) - 4);
      else if (kind === 2) now = Math.round(chance * 10_000) / 100;
      this.#now[i] = now;
      bytes.writeDoubleLE(now, place);
    });
    return Buffer.from(bytes);
  }
}

/** Sends a request, and waits for its answer. @throws Error when not all was taken */
export async function sendMetrics(url: string, body: Buffer<ArrayBuffer>): Promise<void> {
  const headers = { "content-type": "application/x-protobuf" };
  const response = await fetch(url, { method: "POST", headers, body });
  const answer = await response.arrayBuffer();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${Buffer.from(answer).toString()}`);
  if (answer.byteLength > 0) throw new Error(`${url} did not take all: ${Buffer.from(answer).toString()}`);
}

function placesOf(bytes: Buffer, mark: Buffer): number[] {
  const places: number[] = [];
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 8)) places.push(at);
  return places;
}

/** Numbers in 0..1; the same ones for all. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
