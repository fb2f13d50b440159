import fc from "fast-check";
import { expect, test } from "vitest";
import { type BackoffPolicy, backoffMs } from "./backoff.ts";
import { constantRandom } from "./testing/chance.ts";

const policy: BackoffPolicy = { initialMs: 200, maxMs: 30_000, factor: 2 };

test("the delay doubles up to the ceiling, and chance takes off at most half", () => {
  const most = [1, 2, 3, 8, 9, 5000].map((attempt) => Math.ceil(backoffMs(attempt, policy, constantRandom(255))));
  const least = [1, 2, 3, 8, 9, 5000].map((attempt) => backoffMs(attempt, policy, constantRandom(0)));
  expect(most).toEqual([200, 400, 800, 25_600, 30_000, 30_000]);
  expect(least).toEqual([100, 200, 400, 12_800, 15_000, 15_000]);
});

test("every delay lies between half of its ceiling and the ceiling", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), fc.uint8Array({ minLength: 4, maxLength: 4 }), (attempt, bytes) => {
      const delay = backoffMs(attempt, policy, { bytes: () => bytes });
      const ceiling = Math.min(30_000, 200 * 2 ** (attempt - 1));
      expect(delay).toBeGreaterThanOrEqual(ceiling / 2);
      expect(delay).toBeLessThanOrEqual(ceiling);
    }),
  );
});
