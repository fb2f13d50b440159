// Prometheus' native histograms (prometheus.io/docs/specs/native_histograms) as OpenTelemetry's.
//
// B1. A standard schema is a scale; the bucket that Prometheus numbers i ends where OpenTelemetry's i - 1 ends.
// B2. Schema -53 has bounds of its own, and becomes a histogram with these.
// B3. Bounded: so many buckets, empty ones between them included, before memory is taken.
import { create } from "@bufbuild/protobuf";
import { ExponentialHistogramDataPointSchema, HistogramDataPointSchema } from "@sluice/api";
import type { Point } from "./series.ts";
import { shapeOf } from "./shape.ts";

export interface BucketSpan {
  readonly offset: number;
  readonly length: number;
}

/** One of its sides: counts are differences (whole numbers), or as they are. */
export interface NativeBuckets {
  readonly spans: readonly BucketSpan[];
  readonly deltas: readonly bigint[];
  readonly counts: readonly number[];
}

export interface NativeHistogram {
  readonly schema: number;
  readonly count: bigint | number;
  readonly sum: number;
  readonly zeroThreshold: number;
  readonly zeroCount: bigint | number;
  readonly positive: NativeBuckets;
  readonly negative: NativeBuckets;
  /** Of schema -53. */
  readonly customBounds: readonly number[];
}

const SCHEMA_MIN = -4;
const SCHEMA_MAX = 8;
const CUSTOM_SCHEMA = -53;
/** B3. */
const BUCKETS_MAX = 16_384;

/** What is wrong, if it is a text. */
export function nativePoint(
  histogram: NativeHistogram,
  { timestampNs, startNs }: { readonly timestampNs: bigint; readonly startNs: bigint },
): Point | string {
  const count = wholeOf(histogram.count);
  const zeroCount = wholeOf(histogram.zeroCount);
  const positive = denseOf(histogram.positive);
  const negative = denseOf(histogram.negative);
  if (typeof positive === "string") return positive;
  if (typeof negative === "string") return negative;
  if (count === undefined || zeroCount === undefined) return "its counts are no whole numbers";
  const times = { timeUnixNano: timestampNs, startTimeUnixNano: startNs };
  const { schema, sum, zeroThreshold, customBounds: explicitBounds } = histogram;
  const value = Number(count);
  if (schema === CUSTOM_SCHEMA) {
    const bucketCounts = Array.from({ length: explicitBounds.length + 1 }, () => 0n);
    for (const [i, each] of positive.bucketCounts.entries()) {
      if (bucketCounts[positive.first + i] === undefined) return "it has more buckets than bounds";
      bucketCounts[positive.first + i] = each;
    }
    const shown = create(HistogramDataPointSchema, {
      ...times,
      count,
      sum,
      bucketCounts,
      explicitBounds: [...explicitBounds],
    });
    return { value, timestampNs, startNs, shape: shapeOf({ histogram: shown }) };
  }
  if (schema < SCHEMA_MIN || schema > SCHEMA_MAX)
    return `its schema ${schema} is none of ${SCHEMA_MIN} to ${SCHEMA_MAX}`;
  const exponentialHistogram = create(ExponentialHistogramDataPointSchema, {
    ...times,
    count,
    sum,
    scale: schema,
    zeroCount,
    zeroThreshold,
    positive: { offset: positive.first - 1, bucketCounts: positive.bucketCounts }, // B1
    negative: { offset: negative.first - 1, bucketCounts: negative.bucketCounts },
  });
  return { value, timestampNs, startNs, shape: shapeOf({ exponentialHistogram }) };
}

/** Every bucket from the first one on. */
function denseOf({ spans, deltas, counts }: NativeBuckets): { first: number; bucketCounts: bigint[] } | string {
  const bucketCounts: bigint[] = [];
  const first = spans[0]?.offset ?? 0;
  let next = 0;
  let last = 0n;
  for (const [i, { offset, length }] of spans.entries()) {
    const gap = i === 0 ? 0 : offset;
    if (gap < 0) return "its spans overlap";
    if (bucketCounts.length + gap + length > BUCKETS_MAX) return `it has more than ${BUCKETS_MAX} buckets`;
    for (let empty = 0; empty < gap; empty++) bucketCounts.push(0n);
    for (let bucket = 0; bucket < length; bucket++, next++) {
      const delta = deltas[next];
      const whole = delta === undefined ? wholeOf(counts[next] ?? Number.NaN) : last + delta;
      if (whole === undefined || whole < 0n) return "its buckets are no whole numbers";
      last = whole;
      bucketCounts.push(whole);
    }
  }
  if (next < deltas.length || next < counts.length) return "it has more counts than buckets";
  return { first, bucketCounts };
}

function wholeOf(count: bigint | number): bigint | undefined {
  if (typeof count === "bigint") return count;
  return Number.isSafeInteger(count) && count >= 0 ? BigInt(count) : undefined;
}
