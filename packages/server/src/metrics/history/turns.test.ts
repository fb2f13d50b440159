import { expect, test } from "vitest";
import { nextTurn } from "../../stream/turn.ts";
import { Turns } from "./turns.ts";

test("however many read at once, each turn of the event loop has one slice of one of them", async () => {
  const turns = new Turns();
  let turn = 0;
  const slices: number[] = [];
  const isDone = { value: false };
  const counting = (async () => {
    while (!isDone.value) {
      await nextTurn();
      turn++;
    }
  })();
  const readers = Array.from({ length: 5 }, async () => {
    const own = turns.slices();
    expect(own.isDue).toBe(true);
    for (let i = 0; i < 4; i++) {
      await own.next();
      slices.push(turn);
    }
  });
  await Promise.all(readers);
  isDone.value = true;
  await counting;
  expect(slices).toHaveLength(20);
  expect(new Set(slices).size).toBe(20);
});
