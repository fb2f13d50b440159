import { expect, test } from "vitest";
import { nextTurn } from "./turn.ts";
import { TurnShares } from "./turn-shares.ts";

test("searches share the time of a turn: the more wait for the next one, the less each has", async () => {
  const shares = new TurnShares();
  const alone = shares.ms;
  let gone = 0;
  const cancels = Array.from({ length: 3 }, () => shares.wait(() => gone++));
  expect(shares.ms).toBe(alone / 4);
  cancels[1]!();
  expect(shares.ms).toBe(alone / 3);
  await nextTurn();
  expect(gone).toBe(2);
  expect(shares.ms).toBe(alone);
  for (let i = 0; i < 1000; i++) shares.wait(() => {});
  expect(shares.ms).toBe(0.25);
  await nextTurn();
  expect(shares.ms).toBe(alone);
});
