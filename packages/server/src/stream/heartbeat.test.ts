import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Beating, Heartbeats } from "./heartbeat.ts";

class Beater implements Beating {
  readonly beatEveryMs: number;
  beatDueMs = 0;
  beatPlace = -1;
  readonly beats: number[] = [];
  readonly #clock: ManualClock;
  onBeat: () => void = () => {};

  constructor(beatEveryMs: number, clock: ManualClock) {
    this.beatEveryMs = beatEveryMs;
    this.#clock = clock;
  }

  beat(): void {
    this.beats.push(this.#clock.passedMs);
    this.onBeat();
  }
}

test("each beats at its own interval from when it was added, with one timer for all", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ everyMs: fc.integer({ min: 1, max: 50 }), addAt: fc.nat(100), removeAt: fc.nat(200) }), {
        maxLength: 20,
      }),
      (rows) => {
        const clock = new ManualClock();
        const heartbeats = new Heartbeats(clock);
        const beaters = rows.map(({ everyMs }) => new Beater(everyMs, clock));
        for (let ms = 0; ms < 250; ms++) {
          for (const [i, row] of rows.entries()) {
            if (row.addAt === ms) heartbeats.add(beaters[i]!);
            if (row.addAt + row.removeAt === ms) heartbeats.remove(beaters[i]!);
          }
          expect(clock.timers).toBeLessThanOrEqual(1);
          clock.advance(1);
        }
        for (const [i, { everyMs, addAt, removeAt }] of rows.entries()) {
          const end = Math.min(250, addAt + removeAt);
          const expected: number[] = [];
          for (let ms = addAt + everyMs; ms <= end; ms += everyMs) expected.push(ms);
          expect(beaters[i]!.beats).toEqual(expected);
        }
      },
    ),
    { numRuns: 50 },
  );
});

test("whoever beats may be removed, or remove others, and nobody left means no timer", () => {
  const clock = new ManualClock();
  const heartbeats = new Heartbeats(clock);
  const beaters = Array.from({ length: 6 }, () => new Beater(10, clock));
  for (const beater of beaters) heartbeats.add(beater);
  beaters[0]!.onBeat = () => {
    for (const beater of beaters.slice(0, 4)) heartbeats.remove(beater);
  };
  clock.advance(20);
  expect(beaters.slice(4).map((beater) => beater.beats)).toEqual([
    [10, 20],
    [10, 20],
  ]);
  heartbeats.remove(beaters[4]!);
  heartbeats.remove(beaters[5]!);
  heartbeats.remove(beaters[5]!);
  expect(clock.timers).toBe(0);
});

test("after a pause of the process each beats once, not once for each interval that was missed", () => {
  const clock = new ManualClock();
  const heartbeats = new Heartbeats(clock);
  const beater = new Beater(10, clock);
  heartbeats.add(beater);
  clock.skip(95);
  clock.advance(0);
  expect(beater.beats).toEqual([95]);
  clock.advance(10);
  expect(beater.beats).toEqual([95, 105]);
  heartbeats.remove(beater);
});
