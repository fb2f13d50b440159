import fc from "fast-check";
import { expect, test } from "vitest";
import { EntryQueue } from "./entry-queue.ts";

test("an entry is found by its sequence until it was answered", () => {
  const queue = new EntryQueue(5);
  for (const byte of [1, 2, 3]) queue.push(new Uint8Array([byte, byte]));
  queue.dropBefore(6);
  expect([queue.first, queue.next, queue.length, queue.bytes]).toEqual([6, 8, 2, 4]);
  expect(queue.at(7)).toEqual(new Uint8Array([3, 3]));
  expect(() => queue.at(5)).toThrow("Entry 5 is not among 6..7");
  expect(() => queue.at(8)).toThrow(RangeError);
});

test("whatever comes and goes, sequences stay dense and the bytes are those of what is there", () => {
  const step = fc.oneof(fc.record({ push: fc.nat({ max: 20 }) }), fc.record({ drop: fc.integer({ min: -2, max: 8 }) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new EntryQueue(1);
      const model: number[] = [];
      let first = 1;
      for (const each of steps) {
        if ("push" in each) {
          queue.push(new Uint8Array(each.push));
          model.push(each.push);
        } else {
          queue.dropBefore(queue.first + each.drop);
          first += model.splice(0, Math.max(each.drop, 0)).length;
        }
        expect(queue.first).toBe(first);
        expect(queue.length).toBe(model.length);
        expect(queue.bytes).toBe(model.reduce((sum, length) => sum + length, 0));
        for (const [i, length] of model.entries()) expect(queue.at(first + i).length).toBe(length);
      }
    }),
  );
});
