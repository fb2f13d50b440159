// Histograms of either kind as upper bounds with how many observations lie at or below each.
import type { ExponentialHistogramDataPoint, HistogramDataPoint } from "@sluice/api";

export interface CumulativeBuckets {
  /** Ascending; the last one is +Inf. */
  readonly bounds: readonly number[];
  /** Of each bound: the observations that are not greater. Numbers: beyond 2^53 they are rounded. */
  readonly counts: readonly number[];
}

export function explicitBuckets({ explicitBounds, bucketCounts, count }: HistogramDataPoint): CumulativeBuckets {
  let sum = 0;
  const counts = explicitBounds.map((_, i) => (sum += Number(bucketCounts[i] ?? 0n)));
  return { bounds: [...explicitBounds, Infinity], counts: [...counts, Number(count)] };
}

/**
 * The buckets that are not empty, from the most negative up. Bucket i of scale s is (b^i, b^(i+1)] with b = 2^(2^-s):
 * opentelemetry.io/docs/specs/otel/metrics/data-model ("Exponential Buckets").
 */
export function exponentialBuckets(point: ExponentialHistogramDataPoint): CumulativeBuckets {
  const { scale, positive, negative, zeroCount, zeroThreshold, count } = point;
  const bounds: number[] = [];
  const counts: number[] = [];
  let sum = 0;
  const add = (bound: number, more: bigint | undefined): void => {
    if (more === undefined || more === 0n || bound === Infinity) return;
    sum += Number(more);
    bounds.push(bound);
    counts.push(sum);
  };
  const below = negative?.bucketCounts ?? [];
  for (let i = below.length - 1; i >= 0; i--) add(-boundOf(negative!.offset + i, scale), below[i]);
  add(zeroThreshold, zeroCount);
  for (const [i, more] of (positive?.bucketCounts ?? []).entries()) {
    add(boundOf(positive!.offset + i + 1, scale), more);
  }
  return { bounds: [...bounds, Infinity], counts: [...counts, Number(count)] };
}

/** b^index. */
export function boundOf(index: number, scale: number): number {
  return 2 ** (index * 2 ** -scale);
}
