// Random histories of a queue: jobs, workers that come, go and come back, a clock that jumps, full disks, restarts and cleaning
// between them. What must be true after each step is in testing/world.ts, by the numbers of queue.ts.
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { History, STEPS, type Step } from "./testing/history.ts";

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.oneof(
    ...Object.entries(STEPS).map(([what, weight]) => ({
      weight: weight * 10,
      arbitrary: fc.constant(what as Step["what"]),
    })),
  ),
  pick: fc.nat(1000),
  size: fc.nat(30),
});

const SETTINGS = {
  leaseMs: 1000,
  graceMs: 400,
  offerMs: 700,
  maxAttempts: 3,
  backoffMs: 100,
  backoffMaxMs: 1000,
  ageMs: 200,
  dedupWindowMs: 2000,
  deadRetentionMs: 10 * 86_400_000,
  maxRunMs: 5000,
};

test("whatever happens, no job is lost, done twice, or at two workers", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 100, size: "max" }), (steps) => {
      const history = new History(SETTINGS);
      for (const each of steps) history.play(each);
      history.finish();
      expect(history.world.queue.clock.timers).toBeLessThanOrEqual(1);
      history.world.queue.engine.close();
      expect(history.world.queue.clock.timers).toBe(0);
    }),
    { numRuns: Math.ceil(100 * inject("propertyScale")) },
  );
});
