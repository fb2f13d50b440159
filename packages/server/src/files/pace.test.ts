import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { Pace } from "./pace.ts";

test("what was taken is paid for with time; what was not taken is no credit beyond a moment", () => {
  const clock = new ManualClock();
  const pace = new Pace(1000, clock);
  expect(pace.waitMs()).toBe(0);
  pace.take(600);
  // A tenth of a second was there from the beginning.
  expect(pace.waitMs()).toBe(500);
  clock.skip(499);
  expect(pace.waitMs()).toBeGreaterThan(0);
  clock.skip(2);
  expect(pace.waitMs()).toBe(0);

  clock.skip(3_600_000);
  pace.take(100);
  expect(pace.waitMs()).toBe(1);
  clock.skip(1);
  expect(pace.waitMs()).toBe(0);
});

test("over time no more goes than the rate, whatever the pieces are", () => {
  const clock = new ManualClock();
  const pace = new Pace(10_000, clock);
  let taken = 0;
  for (let i = 0; i < 1000; i++) {
    clock.skip(pace.waitMs());
    const piece = 1 + ((i * 7919) % 5000);
    pace.take(piece);
    taken += piece;
  }
  const seconds = (clock.monotonicMs() + pace.waitMs()) / 1000;
  expect(taken / seconds / 10_000).toBeGreaterThan(0.99);
  expect(taken / seconds / 10_000).toBeLessThan(1.01);
});
