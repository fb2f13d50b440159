import { expect, test } from "vitest";
import { Latency } from "./canary-latency.ts";

test("nothing recorded: all zero", () => {
  expect(new Latency().summary()).toEqual({ count: 0, sumMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
});

// From the shortest to longer than any outage: what is told lies in the bucket's width above the truth.
test.each([0.001, 0.0635, 0.064, 0.1, 1, 3.3, 17, 999, 1000, 86_400, 1e6, 5e7])("%d ms is told within 1/64", (ms) => {
  const latency = new Latency();
  for (let i = 0; i < 99; i++) latency.record(ms);
  latency.record(6e7);
  const { p50Ms, p99Ms, maxMs } = latency.summary();
  expect(p50Ms).toBeGreaterThanOrEqual(ms);
  expect(p50Ms).toBeLessThanOrEqual(ms * (1 + 1 / 64) + 0.001);
  expect(p99Ms).toBe(p50Ms);
  expect(maxMs).toBe(6e7);
});

test("quantiles are those of the sorted durations", () => {
  const latency = new Latency();
  for (let ms = 1000; ms >= 1; ms--) latency.record(ms);
  const { count, sumMs, p50Ms, p99Ms, maxMs } = latency.summary();
  expect({ count, sumMs, maxMs }).toEqual({ count: 1000, sumMs: 500_500, maxMs: 1000 });
  expect(p50Ms).toBeGreaterThanOrEqual(500);
  expect(p50Ms).toBeLessThan(509);
  expect(p99Ms).toBeGreaterThanOrEqual(990);
  expect(p99Ms).toBeLessThanOrEqual(1000);
});

test("longer than 19 hours, and less than nothing, are counted", () => {
  const latency = new Latency();
  latency.record(1e9);
  latency.record(-5);
  expect(latency.summary()).toMatchObject({ count: 2, sumMs: 1e9, maxMs: 1e9 });
  latency.clear();
  expect(latency.summary()).toMatchObject({ count: 0, maxMs: 0, p50Ms: 0 });
});
