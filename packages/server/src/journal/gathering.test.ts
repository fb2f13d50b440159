import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { Gathering } from "./gathering.ts";

const SYNC_MS = 1;

function afterSync(answered: number, waiting: number, ms = SYNC_MS) {
  const clock = new ManualClock();
  const gathering = new Gathering(clock);
  const sync = (counts: { answered: number; waiting: number }) => {
    gathering.begin();
    clock.advance(ms);
    gathering.end(counts);
  };
  sync({ answered, waiting });
  return { clock, gathering, sync };
}

test("a batch waits until all are there who were answered or waited", () => {
  const { gathering } = afterSync(4, 3);
  expect([3, 5, 6, 7].map((count) => gathering.waits(count))).toEqual([true, true, true, false]);
});

test("nobody waits longer than the sync before took, nor longer than two milliseconds", () => {
  const short = afterSync(4, 4);
  short.clock.advance(0.9);
  expect(short.gathering.waits(4)).toBe(true);
  short.clock.advance(0.1);
  expect(short.gathering.waits(4)).toBe(false);
  const long = afterSync(4, 4, 50);
  long.clock.advance(1.9);
  expect(long.gathering.waits(4)).toBe(true);
  long.clock.advance(0.1);
  expect(long.gathering.waits(4)).toBe(false);
});

test("a clock that stands still holds nobody up", () => {
  const { gathering } = afterSync(4, 4);
  let turns = 0;
  while (turns < 10_000 && gathering.waits(4)) turns++;
  expect(turns).toBe(1000);
});

test("before the first sync, and for those who come long after one, there is no waiting", () => {
  expect(new Gathering(new ManualClock()).waits(1)).toBe(false);
  const { clock, gathering } = afterSync(4, 0);
  clock.advance(1000);
  expect(gathering.waits(1)).toBe(false);
});

test("where it is in vain it is tried ever more rarely, and as often as before when it was not", () => {
  const { clock, gathering, sync } = afterSync(4, 4);
  /** Syncs until one is waited for, which is one in vain. */
  const untilNext = (): number => {
    for (let syncs = 1; ; syncs++) {
      sync({ answered: 4, waiting: 4 });
      const isWaiting = gathering.waits(4);
      clock.advance(SYNC_MS);
      if (gathering.waits(4)) throw new Error("It waits for longer than a sync");
      if (isWaiting) return syncs;
    }
  };
  clock.advance(SYNC_MS);
  expect(gathering.waits(4)).toBe(false);
  expect([untilNext(), untilNext(), untilNext()]).toEqual([3, 5, 9]);
  for (let i = 0; i < 10; i++) untilNext();
  expect(untilNext()).toBe(65);
  for (let i = 0; i <= 64; i++) sync({ answered: 4, waiting: 4 });
  expect(gathering.waits(8)).toBe(false);
  expect(untilNext()).toBe(1);
  expect(untilNext()).toBe(3);
});
