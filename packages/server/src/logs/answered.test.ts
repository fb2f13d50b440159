import { expect, test } from "vitest";
import { DiskFull } from "../errors.ts";
import { MemoryLog } from "../stream/testing/memory-log.ts";
import { AnsweredNumbers } from "./answered.ts";

function openLog(): { log: MemoryLog; answered: AnsweredNumbers; pend: () => Promise<unknown>; fail: () => void } {
  const log = new MemoryLog();
  log.isAutomatic = false;
  return {
    log,
    answered: new AnsweredNumbers({ reader: log, writer: log }, { max: 2 }),
    pend: () => log.write({}).catch(() => undefined),
    fail: () => log.failPending(new DiskFull("default")),
  };
}

test("what was answered is known, of each producer by itself", () => {
  const { answered } = openLog();
  answered.note("p", 4);
  answered.note("q", 9);
  expect([answered.find("p"), answered.find("q"), answered.find("r")]).toEqual([4, 9, undefined]);
  answered.note("p", 3);
  expect(answered.find("p")).toBe(4);
});

test("what was answered behind something pending does not hold when that fails; what was answered before it does", () => {
  const { answered, pend, fail } = openLog();
  answered.note("p", 4);
  void pend();
  answered.note("p", 9);
  expect(answered.find("p")).toBe(9);
  fail();
  expect(answered.find("p")).toBe(4);
  answered.note("p", 5);
  expect(answered.find("p")).toBe(5);
});

test("what was pending and became durable is not taken back by what fails later", () => {
  const { log, answered, pend, fail } = openLog();
  void pend();
  answered.note("p", 9);
  log.commit();
  answered.note("p", 12);
  void pend();
  answered.note("p", 20);
  fail();
  expect(answered.find("p")).toBe(12);
});

test("where a new producer began counts only when its first batch failed", () => {
  const { answered, pend, fail } = openLog();
  answered.begin("p", 6);
  void pend();
  expect(answered.find("p")).toBeUndefined();
  fail();
  expect(answered.find("p")).toBe(6);
});

test("beyond the bound the producer noted first is forgotten", () => {
  const { answered } = openLog();
  answered.note("p", 1);
  answered.note("q", 1);
  answered.note("p", 2);
  answered.note("r", 1);
  expect([answered.find("p"), answered.find("q"), answered.find("r")]).toEqual([2, undefined, 1]);
});
