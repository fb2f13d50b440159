import { afterEach, expect, test, vi } from "vitest";
import { systemClock } from "./clock.ts";

afterEach(() => void vi.useRealTimers());

test("a timer of months does not fire at once", () => {
  vi.useFakeTimers();
  let fired = 0;
  const timer = systemClock.setTimer(() => fired++, 2 ** 31);
  vi.advanceTimersByTime(2 ** 31 - 2);
  expect(fired).toBe(0);
  timer.cancel();
  expect(vi.getTimerCount()).toBe(0);
});
