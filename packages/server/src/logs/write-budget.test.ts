import { expect, test } from "vitest";
import { WriteBudget } from "../stream/write-budget.ts";

test("one request is always taken, others while there is room", () => {
  const budget = new WriteBudget(100);
  const release = budget.take(1000);
  expect(() => budget.take(1)).toThrow(/writers have 1000 bytes waiting already, the limit is 100$/u);
  release();
  budget.take(60);
  budget.take(40);
  expect(() => budget.take(1)).toThrow(/limit/u);
  expect(budget.held).toBe(100);
});

test("a stream's window is its share of half the budget, between 16 KiB and 8 MiB", () => {
  const budget = new WriteBudget(64 * 1024 * 1024);
  expect([budget.windowBytes, budget.firstWindowBytes]).toEqual([8 * 1024 * 1024, 64 * 1024]);
  const leave = Array.from({ length: 8 }, () => budget.enter());
  expect(budget.windowBytes).toBe(4 * 1024 * 1024);
  for (let i = 0; i < 10_000; i++) budget.enter();
  expect([budget.windowBytes, budget.firstWindowBytes]).toEqual([16 * 1024, 16 * 1024]);
  for (const each of leave) each();
  expect(budget.windowBytes).toBe(16 * 1024);
});
