import { expect, test } from "vitest";
import { roundFigure, summarize } from "./statistics.ts";

test("the median of an odd and of an even number of samples, with the extremes", () => {
  expect(summarize([5, 1, 9])).toEqual({ median: 5, min: 1, max: 9 });
  expect(summarize([4, 1, 9, 2])).toEqual({ median: 3, min: 1, max: 9 });
  expect(summarize([7])).toEqual({ median: 7, min: 7, max: 7 });
});

test("the samples stay in the order in which they were taken", () => {
  const samples = [3, 1, 2];
  summarize(samples);
  expect(samples).toEqual([3, 1, 2]);
});

test.each([[[]], [[1, Number.NaN]], [[Number.POSITIVE_INFINITY]]])("%j has no summary", (samples) => {
  expect(() => summarize(samples)).toThrow(RangeError);
});

test("figures have four significant digits", () => {
  expect([123_456, 0.123456, 0, 98_765.4321].map(roundFigure)).toEqual([123_500, 0.1235, 0, 98_770]);
});
