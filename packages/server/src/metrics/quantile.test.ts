import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { ExponentialHistogramDataPointSchema, MetricPointSchema, QuantileSource } from "@sluice/api";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { ByteSink } from "../stream/byte-sink.ts";
import { explicitQuantile, exponentialQuantile, quantilesOf, writeQuantiles } from "./quantile.ts";

type Fields = MessageInitShape<typeof MetricPointSchema>;
const shape = (fields: Fields): Uint8Array => toBinary(MetricPointSchema, create(MetricPointSchema, fields));
const valuesOf = (fields: Fields, wanted: readonly number[], before?: Fields) =>
  quantilesOf(shape(fields), before && shape(before), wanted).map(({ value }) => value);

// By the formula of Prometheus' histogram_quantile.
test.each([
  [0, 0],
  [0.25, 1],
  [0.5, 2],
  [0.6, 2.4],
  [0.75, 3],
  [0.95, 4],
  [1, 4],
])("the %f quantile of explicit buckets lies evenly within its bucket", (quantile, expected) => {
  const histogram = { explicitBounds: [1, 3, 4], bucketCounts: [5n, 10n, 2n, 3n] };
  expect(explicitQuantile(histogram, quantile)).toBeCloseTo(expected, 10);
});

test("the first bucket begins at zero, but where its bound is not above; empty buckets are passed over", () => {
  expect(explicitQuantile({ explicitBounds: [-2, 2], bucketCounts: [4n, 4n, 0n] }, 0.25)).toBe(-2);
  expect(explicitQuantile({ explicitBounds: [-2, 2], bucketCounts: [4n, 4n, 0n] }, 0.75)).toBe(0);
  expect(explicitQuantile({ explicitBounds: [1, 2, 3], bucketCounts: [0n, 0n, 4n, 0n] }, 0)).toBe(2);
  expect(explicitQuantile({ explicitBounds: [], bucketCounts: [4n] }, 0.5)).toBeUndefined();
  expect(explicitQuantile({ explicitBounds: [1], bucketCounts: [0n, 0n] }, 0.5)).toBeUndefined();
});

const exponential = (fields: MessageInitShape<typeof ExponentialHistogramDataPointSchema>) =>
  create(ExponentialHistogramDataPointSchema, fields);

test("within an exponential bucket it lies on a logarithmic scale", () => {
  const point = exponential({ scale: 0, positive: { offset: 1, bucketCounts: [4n] } });
  expect(exponentialQuantile(point, 0.5)).toBeCloseTo(2 * Math.SQRT2, 12);
  const negative = exponential({ scale: 0, negative: { offset: 1, bucketCounts: [4n] } });
  expect(exponentialQuantile(negative, 0.25)).toBeCloseTo(-(2 ** 1.75), 12);
});

test("a rank that lies between two buckets belongs to the upper one from the median on, to the lower one below", () => {
  const point = exponential({ scale: 0, positive: { offset: 0, bucketCounts: [2n, 0n, 2n, 0n, 4n] } });
  expect(exponentialQuantile(point, 0.25)).toBeCloseTo(2, 12);
  expect(exponentialQuantile(point, 0.5)).toBeCloseTo(16, 12);
});

test("the zero bucket is even, on the side on which anything lies", () => {
  const zero = { zeroCount: 4n, zeroThreshold: 1, scale: 0 };
  expect(exponentialQuantile(exponential(zero), 0.25)).toBe(-0.5);
  expect(exponentialQuantile(exponential({ ...zero, positive: { offset: 3, bucketCounts: [4n] } }), 0.25)).toBe(0.5);
  expect(exponentialQuantile(exponential({ ...zero, negative: { offset: 3, bucketCounts: [4n] } }), 0.75)).toBe(-0.5);
  expect(exponentialQuantile(exponential({ scale: 0 }), 0.5)).toBeUndefined();
});

test("whatever is observed, an exponential quantile is off by no more than its bucket is wide", () => {
  const observed = fc.array(
    fc.oneof(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), fc.double({ min: -1e3, max: -1e-3, noNaN: true })),
    {
      minLength: 1,
      maxLength: 50,
    },
  );
  fc.assert(
    fc.property(
      observed,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: -2, max: 5 }),
      (all, q, scale) => {
        const bucketsOf = (values: readonly number[]) => {
          const indexes = values.map((value) => Math.ceil(Math.log2(value) * 2 ** scale - 1e-12) - 1);
          const offset = Math.min(...indexes);
          const counts = Array.from({ length: Math.max(...indexes) - offset + 1 }, () => 0n);
          for (const index of indexes) counts[index - offset]!++;
          return { offset, bucketCounts: counts };
        };
        const positive = all.filter((value) => value > 0);
        const negative = all.filter((value) => value < 0).map((value) => -value);
        const point = exponential({
          scale,
          ...(positive.length > 0 ? { positive: bucketsOf(positive) } : {}),
          ...(negative.length > 0 ? { negative: bucketsOf(negative) } : {}),
        });
        const value = exponentialQuantile(point, q)!;
        const sorted = all.toSorted((x, y) => x - y);
        const rank = q * all.length;
        // A rank that lies between two of them may be said of either.
        const either = [Math.ceil(rank - 1e-9) - 1, Math.floor(rank + 1e-9)].map(
          (i) => value / sorted[Math.min(Math.max(i, 0), all.length - 1)]!,
        );
        const width = 2 ** (2 ** -scale) * (1 + 1e-9);
        expect(either.some((ratio) => ratio >= 1 / width && ratio <= width)).toBe(true);
      },
    ),
    { numRuns: Math.ceil(200 * inject("propertyScale")) },
  );
});

test("of an interval, only what came in it counts; what fell has begun anew", () => {
  const before = { histogram: { explicitBounds: [1, 2], bucketCounts: [10n, 0n, 0n] } };
  const now = { histogram: { explicitBounds: [1, 2], bucketCounts: [10n, 4n, 0n] } };
  expect(valuesOf(now, [0.5], before)).toEqual([1.5]);
  expect(valuesOf(before, [0.5], now)).toEqual([0.5]);
  expect(valuesOf({ histogram: { explicitBounds: [1], bucketCounts: [4n, 0n] } }, [0.5], before)).toEqual([0.5]);
  expect(valuesOf(now, [0.5], now)).toEqual([]);
});

test("of an interval in which the scale went down, what was there before is looked for in the wider buckets", () => {
  const buckets = (offset: number, ...counts: number[]) => ({ offset, bucketCounts: counts.map(BigInt) });
  const before = { exponentialHistogram: { scale: 1, zeroCount: 1n, positive: buckets(-2, 3, 1, 2, 2) } };
  const now = { exponentialHistogram: { scale: 0, zeroCount: 1n, positive: buckets(-1, 4, 4, 6) } };
  expect(valuesOf(now, [0.5], before)).toEqual([2 * Math.SQRT2]);
  // More there before than now, a finer scale, fewer zeros: begun anew.
  const gone = { exponentialHistogram: { scale: 0, zeroCount: 0n, positive: buckets(1, 2) } };
  expect(valuesOf(gone, [0.5], now)).toEqual([2 * Math.SQRT2]);
  expect(valuesOf(before, [1], now)).toEqual([2]);
});

test("of a summary it is what the producer computed, and nothing else", () => {
  const summary = {
    quantileValues: [
      { quantile: 0.5, value: 2 },
      { quantile: 0.99, value: 9 },
    ],
  };
  expect(quantilesOf(shape({ summary }), undefined, [0.99, 0.9])).toEqual([
    { quantile: 0.99, value: 9, source: QuantileSource.SUMMARY },
  ]);
  expect(quantilesOf(shape({}), undefined, [0.5])).toEqual([]);
});

test("they are written as fields of the point", () => {
  const sink = new ByteSink(8);
  const quantiles = [{ quantile: 0.5, value: -2.25, source: QuantileSource.EXPONENTIAL_BUCKETS }];
  writeQuantiles(sink, quantiles);
  expect(fromBinary(MetricPointSchema, sink.bytes.subarray(0, sink.used)).quantiles).toMatchObject(quantiles);
});
