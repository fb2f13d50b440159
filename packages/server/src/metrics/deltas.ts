// Delta becomes cumulative: what a producer says of the time since its last point is added to what it has said before.
// Here two of them are added; delta-sums.ts says which.
//
// The merging of exponential histograms is that of the metrics data model: opentelemetry.io/docs/specs/otel/metrics/data-model
// ("All Ways to Merge Exponential Histograms": to the lower scale of the two).
import { create, type MessageShape } from "@bufbuild/protobuf";
import {
  type ExponentialHistogramDataPoint,
  ExponentialHistogramDataPoint_BucketsSchema,
  ExponentialHistogramDataPointSchema,
  type HistogramDataPoint,
  HistogramDataPointSchema,
  type NumberDataPoint,
} from "@sluice/api";

type Buckets = MessageShape<typeof ExponentialHistogramDataPoint_BucketsSchema>;

/** What has been added up so far. */
export type Accumulated =
  | AccumulatedNumber
  | { readonly kind: "histogram"; readonly point: HistogramDataPoint }
  | { readonly kind: "exponential"; readonly point: ExponentialHistogramDataPoint };

export interface AccumulatedNumber {
  readonly kind: "number";
  readonly value: number;
  /** Of whole numbers; exact. */
  readonly intValue: bigint | undefined;
  /** Unix ns. */
  readonly startNs: bigint;
}

export function addNumbers(
  sum: AccumulatedNumber | undefined,
  { value: more, startTimeUnixNano }: NumberDataPoint,
): AccumulatedNumber {
  const startNs = sum?.startNs ?? startTimeUnixNano;
  if (more.case === "asInt" && (sum === undefined || sum.intValue !== undefined)) {
    const intValue = (sum?.intValue ?? 0n) + more.value;
    return { kind: "number", value: Number(intValue), intValue, startNs };
  }
  return { kind: "number", value: (sum?.value ?? 0) + Number(more.value ?? 0), intValue: undefined, startNs };
}

/** The sum of two histograms; undefined: their bounds differ, so the counting begins anew. */
export function addHistograms(sum: HistogramDataPoint, more: HistogramDataPoint): HistogramDataPoint | undefined {
  const isSameShape =
    sum.explicitBounds.length === more.explicitBounds.length &&
    sum.explicitBounds.every((bound, i) => bound === more.explicitBounds[i]);
  if (!isSameShape) return undefined;
  return create(HistogramDataPointSchema, {
    ...withoutStatistics(more),
    startTimeUnixNano: sum.startTimeUnixNano,
    count: sum.count + more.count,
    bucketCounts: sum.bucketCounts.map((count, i) => count + (more.bucketCounts[i] ?? 0n)),
    ...addStatistics(sum, more),
  });
}

export function addExponential(
  sum: ExponentialHistogramDataPoint,
  more: ExponentialHistogramDataPoint,
): ExponentialHistogramDataPoint {
  const scale = Math.min(sum.scale, more.scale);
  const merge = (a: Buckets | undefined, b: Buckets | undefined): Buckets =>
    addBuckets(coarsen(a, sum.scale - scale), coarsen(b, more.scale - scale));
  return create(ExponentialHistogramDataPointSchema, {
    ...withoutStatistics(more),
    startTimeUnixNano: sum.startTimeUnixNano,
    scale,
    count: sum.count + more.count,
    zeroCount: sum.zeroCount + more.zeroCount,
    zeroThreshold: Math.max(sum.zeroThreshold, more.zeroThreshold),
    positive: merge(sum.positive, more.positive),
    negative: merge(sum.negative, more.negative),
    ...addStatistics(sum, more),
  });
}

/** Buckets by index. */
type Counts = Map<number, bigint>;

/** At a scale that is lower by `steps`: each step puts two neighbours into one. */
function coarsen(buckets: Buckets | undefined, steps: number): Counts {
  const counts: Counts = new Map();
  for (const [i, count] of (buckets?.bucketCounts ?? []).entries()) {
    if (count === 0n) continue;
    const index = Math.floor((buckets!.offset + i) / 2 ** steps);
    counts.set(index, (counts.get(index) ?? 0n) + count);
  }
  return counts;
}

function addBuckets(a: Counts, b: Counts): Buckets {
  const indexes = [...a.keys(), ...b.keys()];
  if (indexes.length === 0) return create(ExponentialHistogramDataPoint_BucketsSchema);
  const offset = indexes.reduce((least, each) => Math.min(least, each));
  const last = indexes.reduce((most, each) => Math.max(most, each));
  const bucketCounts = Array.from(
    { length: last - offset + 1 },
    (_, i) => (a.get(offset + i) ?? 0n) + (b.get(offset + i) ?? 0n),
  );
  return create(ExponentialHistogramDataPoint_BucketsSchema, { offset, bucketCounts });
}

function withoutStatistics<T extends Statistics>({ sum: _sum, min: _min, max: _max, ...rest }: T) {
  return rest;
}

interface Statistics {
  readonly sum?: number | undefined;
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

/** What one of them does not say cannot be said of both. */
function addStatistics(a: Statistics, b: Statistics): { sum?: number; min?: number; max?: number } {
  return {
    ...(a.sum === undefined || b.sum === undefined ? {} : { sum: a.sum + b.sum }),
    ...(a.min === undefined || b.min === undefined ? {} : { min: Math.min(a.min, b.min) }),
    ...(a.max === undefined || b.max === undefined ? {} : { max: Math.max(a.max, b.max) }),
  };
}
