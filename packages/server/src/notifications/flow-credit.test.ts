import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { FlowCredit } from "./flow-credit.ts";

test("without a flow there is no limit; with one it is seen + window - sent, set and never added", () => {
  const credit = new FlowCredit(undefined);
  for (let i = 0; i < 10; i++) credit.send(1);
  expect(credit.allows(1_000_000)).toBe(true);
  credit.set({ seen: 3, window: 8, windowBytes: 0 });
  credit.set({ seen: 3, window: 8, windowBytes: 0 });
  expect([credit.allows(1), credit.allows(2)]).toEqual([true, false]);
  credit.send(1);
  expect(credit.allows(1)).toBe(false);
  credit.set({ seen: 11, window: 0, windowBytes: 0 });
  expect(credit.allows(1)).toBe(false);
  credit.set({ seen: 11, window: 1, windowBytes: 0 });
  expect(credit.allows(1)).toBe(true);
});

test("by bytes: a large one goes alone, and what was seen makes room", () => {
  const credit = new FlowCredit({ seen: 0, window: 100, windowBytes: 10 });
  credit.send(50);
  expect(credit.allows(1)).toBe(false);
  credit.set({ seen: 1, window: 100, windowBytes: 10 });
  credit.send(4);
  credit.send(4);
  expect(credit.allows(1)).toBe(true);
  credit.send(4);
  expect(credit.allows(1)).toBe(false);
});

test("more than was sent cannot be seen, and seen does not go back", () => {
  const credit = new FlowCredit({ seen: 0, window: 2, windowBytes: 0 });
  credit.send(1);
  expect(() => credit.set({ seen: 2, window: 9, windowBytes: 0 })).toThrow(RangeError);
  expect(credit.allows(2)).toBe(false);
  credit.set({ seen: 1, window: 2, windowBytes: 0 });
  credit.set({ seen: 0, window: 2, windowBytes: 0 });
  expect(credit.allows(2)).toBe(true);
});

test("it cannot wedge: who has seen everything gets the whole window, whatever came before", () => {
  const step = fc.record({
    seen: fc.nat(20),
    window: fc.nat(8),
    windowBytes: fc.nat(30),
    send: fc.nat(4),
    size: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), fc.integer({ min: 1, max: 9 }), (steps, window) => {
      const credit = new FlowCredit(undefined);
      let sent = 0;
      for (const { seen, window, windowBytes, send, size } of steps) {
        for (let i = 0; i < send && credit.allows(1); i++) {
          credit.send(size);
          sent++;
        }
        credit.set({ seen: Math.min(seen, sent), window, windowBytes });
      }
      credit.set({ seen: sent, window, windowBytes: 1 });
      expect([credit.allows(window), credit.allows(window + 1)]).toEqual([true, false]);
    }),
    { numRuns: Math.ceil(200 * inject("propertyScale")) },
  );
});
