// Quantiles of histograms and summaries: what was computed by a producer is passed on, the rest is estimated from buckets.
//
// Q1. Explicit buckets are read as Prometheus' histogram_quantile reads them: what is in a bucket is spread evenly from its lower
//     bound to its upper one; the first begins at 0 when its bound is positive; of the last one nothing is known but where it begins.
// Q2. Exponential buckets likewise, but spread evenly on the logarithmic scale on which they lie; the zero bucket evenly, on its
//     positive half when nothing is negative, and the other way round (promql/quantile.go, HistogramQuantile).
// Q3. Over an interval it is the difference of two histograms, each bucket by itself; one that fell has begun anew.
import { create, fromBinary } from "@bufbuild/protobuf";
import {
  type ExponentialHistogramDataPoint,
  ExponentialHistogramDataPoint_BucketsSchema,
  ExponentialHistogramDataPointSchema,
  type HistogramDataPoint,
  HistogramDataPointSchema,
  MetricPointSchema,
  QuantileSource,
} from "@sluice/api";
import type { ByteSink } from "../stream/byte-sink.ts";
import { boundOf } from "./buckets.ts";

export interface Quantile {
  readonly quantile: number;
  readonly value: number;
  readonly source: QuantileSource;
}

/**
 * Those of `wanted` (0 to 1) that can be said; none of what is no histogram or summary, or has no observation.
 * @param shape fields of MetricPoint: a histogram or a summary
 * @param before the same of an earlier point: only what came since counts
 */
export function quantilesOf(shape: Uint8Array, before: Uint8Array | undefined, wanted: readonly number[]): Quantile[] {
  const { histogram, exponentialHistogram, summary } = fromBinary(MetricPointSchema, shape);
  const earlier = before === undefined ? undefined : fromBinary(MetricPointSchema, before);
  if (histogram !== undefined) {
    const since = subtractExplicit(histogram, earlier?.histogram);
    return among(wanted, QuantileSource.EXPLICIT_BUCKETS, (quantile) => explicitQuantile(since, quantile));
  }
  if (exponentialHistogram !== undefined) {
    const since = subtractExponential(exponentialHistogram, earlier?.exponentialHistogram);
    return among(wanted, QuantileSource.EXPONENTIAL_BUCKETS, (quantile) => exponentialQuantile(since, quantile));
  }
  const known = summary?.quantileValues ?? [];
  return among(wanted, QuantileSource.SUMMARY, (quantile) => known.find((each) => each.quantile === quantile)?.value);
}

/** MetricPoint.quantiles. */
const QUANTILES = (19 << 3) | 2;
const TAGS = { quantile: (1 << 3) | 1, value: (2 << 3) | 1, source: 3 << 3 } as const;
/** Of one QuantileValue: two doubles and a number below 128, each with its tag. */
const QUANTILE_BYTES = 9 + 9 + 2;
const scratch = new DataView(new ArrayBuffer(8));

/** As fields of MetricPoint. */
export function writeQuantiles(sink: ByteSink, quantiles: readonly Quantile[]): void {
  for (const { quantile, value, source } of quantiles) {
    sink.varint(QUANTILES);
    sink.varint(QUANTILE_BYTES);
    writeDouble(sink, TAGS.quantile, quantile);
    writeDouble(sink, TAGS.value, value);
    sink.varintField(TAGS.source, source);
  }
}

function writeDouble(sink: ByteSink, tag: number, value: number): void {
  scratch.setFloat64(0, value, true);
  sink.fixed64Field(tag, scratch.getUint32(0, true), scratch.getUint32(4, true));
}

function among(
  wanted: readonly number[],
  source: QuantileSource,
  valueOf: (quantile: number) => number | undefined,
): Quantile[] {
  return wanted.flatMap((quantile) => {
    const value = valueOf(quantile);
    return value === undefined ? [] : [{ quantile, value, source }];
  });
}

/** Q1. */
export function explicitQuantile(
  { explicitBounds, bucketCounts }: Pick<HistogramDataPoint, "explicitBounds" | "bucketCounts">,
  quantile: number,
): number | undefined {
  const counts = bucketCounts.map(Number);
  const rank = quantile * counts.reduce((sum, count) => sum + count, 0);
  const i = counts.findIndex(isReaching(rank));
  const upper = explicitBounds[i];
  const last = explicitBounds.at(-1);
  if (i < 0 || last === undefined) return undefined;
  if (upper === undefined) return last;
  if (i === 0 && upper <= 0) return upper;
  const lower = i === 0 ? 0 : explicitBounds[i - 1]!;
  const below = counts.slice(0, i).reduce((sum, count) => sum + count, 0);
  return lower + (upper - lower) * ((rank - below) / counts[i]!);
}

interface Bucket {
  readonly lower: number;
  readonly upper: number;
  readonly count: number;
}

/** Q2. */
export function exponentialQuantile(point: ExponentialHistogramDataPoint, quantile: number): number | undefined {
  const all = bucketsOf(point);
  const total = all.reduce((sum, { count }) => sum + count, 0);
  // From the nearer end: where the rank is just between two buckets it makes a difference.
  const isFromBelow = quantile < 0.5;
  const buckets = isFromBelow ? all : all.toReversed();
  const rank = (isFromBelow ? quantile : 1 - quantile) * total;
  const i = buckets.map(({ count }) => count).findIndex(isReaching(rank));
  const bucket = buckets[i];
  if (bucket === undefined) return undefined;
  const { lower, upper, count } = bucket;
  const passed = buckets.slice(0, i).reduce((sum, each) => sum + each.count, 0);
  const share = isFromBelow ? (rank - passed) / count : 1 - (rank - passed) / count;
  if (lower <= 0 && upper >= 0) return lower + (upper - lower) * share;
  const from = Math.log2(Math.abs(lower));
  const to = Math.log2(Math.abs(upper));
  return Math.sign(lower) * 2 ** (from + (to - from) * share);
}

/** Whether the observation of this rank is in a bucket that is not empty, when asked of one after the other. */
function isReaching(rank: number): (count: number) => boolean {
  let sum = 0;
  return (count) => {
    sum += count;
    return count > 0 && sum >= rank;
  };
}

function bucketsOf({ scale, positive, negative, zeroCount, zeroThreshold }: ExponentialHistogramDataPoint): Bucket[] {
  const above = (positive?.bucketCounts ?? []).map((count, i): Bucket => {
    const index = positive!.offset + i;
    return { lower: boundOf(index, scale), upper: boundOf(index + 1, scale), count: Number(count) };
  });
  const below = (negative?.bucketCounts ?? []).map((count, i): Bucket => {
    const index = negative!.offset + i;
    return { lower: -boundOf(index + 1, scale), upper: -boundOf(index, scale), count: Number(count) };
  });
  const zero: Bucket = {
    lower: below.length === 0 && above.length > 0 ? 0 : -zeroThreshold,
    upper: above.length === 0 && below.length > 0 ? 0 : zeroThreshold,
    count: Number(zeroCount),
  };
  return [...below.toReversed(), zero, ...above];
}

/** Q3. */
function subtractExplicit(now: HistogramDataPoint, before: HistogramDataPoint | undefined): HistogramDataPoint {
  const isSame =
    before !== undefined &&
    before.explicitBounds.length === now.explicitBounds.length &&
    before.explicitBounds.every((bound, i) => bound === now.explicitBounds[i]);
  if (!isSame) return now;
  const bucketCounts = now.bucketCounts.map((count, i) => count - (before.bucketCounts[i] ?? 0n));
  return bucketCounts.some(isNegative) ? now : create(HistogramDataPointSchema, { ...now, bucketCounts });
}

/** Q3. What came before may lie in finer buckets than it does now. */
function subtractExponential(
  now: ExponentialHistogramDataPoint,
  before: ExponentialHistogramDataPoint | undefined,
): ExponentialHistogramDataPoint {
  if (before === undefined || before.scale < now.scale) return now;
  const steps = before.scale - now.scale;
  const positive = subtractBuckets(now.positive, before.positive, steps);
  const negative = subtractBuckets(now.negative, before.negative, steps);
  const zeroCount = now.zeroCount - before.zeroCount;
  if (positive === undefined || negative === undefined || isNegative(zeroCount)) return now;
  const buckets = (offset: number, bucketCounts: bigint[]) =>
    create(ExponentialHistogramDataPoint_BucketsSchema, { offset, bucketCounts });
  return create(ExponentialHistogramDataPointSchema, {
    ...now,
    zeroCount,
    positive: buckets(now.positive?.offset ?? 0, positive),
    negative: buckets(now.negative?.offset ?? 0, negative),
  });
}

type Buckets = ExponentialHistogramDataPoint["positive"];

/** undefined: a bucket has fewer than before. */
function subtractBuckets(now: Buckets, before: Buckets, steps: number): bigint[] | undefined {
  const counts = [...(now?.bucketCounts ?? [])];
  for (const [i, count] of (before?.bucketCounts ?? []).entries()) {
    const at = ((before!.offset + i) >> steps) - (now?.offset ?? 0);
    const left = (counts[at] ?? 0n) - count;
    if (isNegative(left)) return undefined;
    if (at >= 0 && at < counts.length) counts[at] = left;
  }
  return counts;
}

function isNegative(count: bigint): boolean {
  return count < 0n;
}
