import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { SilenceAlarm } from "./silence-alarm.ts";

test("goes off when something was waited for, for just so long, whenever that began", () => {
  const clock = new ManualClock();
  const silences: number[] = [];
  const alarm = new SilenceAlarm(clock, 100, () => silences.push(clock.passedMs));
  clock.advance(70);
  alarm.listen();
  clock.advance(99);
  expect(silences).toEqual([]);
  clock.advance(1);
  expect(silences).toEqual([170]);
  alarm.stop();
  expect(clock.timers).toBe(0);
});

test("what is heard in time, or not waited for, is no silence", () => {
  const clock = new ManualClock();
  const silences: number[] = [];
  const alarm = new SilenceAlarm(clock, 100, () => silences.push(clock.passedMs));
  for (let i = 0; i < 5; i++) {
    alarm.listen();
    clock.advance(99);
    alarm.heard();
    clock.advance(500);
  }
  expect([silences, clock.timers]).toEqual([[], 1]);
  alarm.stop();
});
