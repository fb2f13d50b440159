import { expect, test } from "vitest";
import { RecentCache } from "./recent-cache.ts";

test("keeps what is asked for, forgets what is not", () => {
  const cache = new RecentCache<number>(10_000);
  cache.set("hot", 1, 100);
  cache.set("cold", 2, 100);
  for (let round = 0; round < 1000; round += 1) {
    cache.set(`new ${round}`, round, 100);
    expect(cache.get("hot")).toBe(1);
  }
  expect(cache.get("cold")).toBeUndefined();
});

test("stays within its bound", () => {
  const cache = new RecentCache<number>(10_000);
  for (let round = 0; round < 1000; round += 1) cache.set(String(round), round, 100);
  const kept = Array.from({ length: 1000 }, (_, round) => cache.get(String(round))).filter(
    (value) => value !== undefined,
  );
  expect(kept.length).toBeGreaterThan(10);
  expect(kept.length).toBeLessThanOrEqual(100);
});

test("does not keep an entry that would push out everything", () => {
  const cache = new RecentCache<number>(10_000);
  cache.set("small", 1, 100);
  cache.set("huge", 2, 6000);
  expect([cache.get("small"), cache.get("huge")]).toEqual([1, undefined]);
});

test("can be emptied", () => {
  const cache = new RecentCache<number>(1000);
  expect(cache.isEmpty).toBe(true);
  for (let round = 0; round < 10; round += 1) cache.set(String(round), round, 100);
  expect(cache.isEmpty).toBe(false);
  cache.clear();
  expect(cache.isEmpty).toBe(true);
  expect(Array.from({ length: 10 }, (_, round) => cache.get(String(round)))).toEqual(Array.from({ length: 10 }));
});
