import { expect, test } from "vitest";
import { summarizeLatencies } from "./percentiles.ts";

test("half of the latencies are below p50, one in a hundred is above p99, in whatever order they came", () => {
  const milliseconds = Float64Array.from({ length: 1000 }, (_, at) => (at * 7) % 1000);
  expect(summarizeLatencies(milliseconds)).toEqual({ p50Microseconds: 500_000, p99Microseconds: 990_000 });
});

test("one latency is both", () => {
  expect(summarizeLatencies(new Float64Array([3]))).toEqual({ p50Microseconds: 3000, p99Microseconds: 3000 });
});
