import { expect, test } from "vitest";
import { LookTurns } from "./watch-turns.ts";

test("so many at the same time, the others in the order in which they came", async () => {
  const turns = new LookTurns(2);
  const begun: number[] = [];
  const ends = new Map<number, () => void>();
  for (let i = 0; i < 5; i++) {
    void turns.begin().then((end) => {
      begun.push(i);
      ends.set(i, end);
    });
  }
  await expect.poll(() => begun).toEqual([0, 1]);
  ends.get(1)?.();
  await expect.poll(() => begun).toEqual([0, 1, 2]);
  ends.get(0)?.();
  ends.get(2)?.();
  await expect.poll(() => begun).toEqual([0, 1, 2, 3, 4]);
  ends.get(3)?.();
  ends.get(4)?.();
  // All places are free again, and no more than there were.
  await Promise.all([turns.begin(), turns.begin()]);
  let isThird = false;
  void turns.begin().then(() => (isThird = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(isThird).toBe(false);
});
