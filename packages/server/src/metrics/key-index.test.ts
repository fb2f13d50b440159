import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { KeyIndex } from "./key-index.ts";

test("finds what a map finds, whatever comes and goes", () => {
  // Few keys, so that they come and go often; more than the first places hold, so that it grows.
  const step = fc.record({ number: fc.nat(99), isAdded: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const keyOf = (number: number): string => `key ${number}`;
      const index = new KeyIndex(keyOf);
      const model = new Set<number>();
      for (const { number, isAdded } of steps) {
        if (isAdded && !model.has(number)) {
          index.add(number, keyOf(number));
          model.add(number);
        } else if (!isAdded) {
          index.delete(keyOf(number));
          model.delete(number);
        }
      }
      expect(index.size).toBe(model.size);
      for (let number = 0; number < 100; number++) {
        expect(index.find(keyOf(number))).toBe(model.has(number) ? number : undefined);
      }
    }),
    { numRuns: Math.ceil(300 * inject("propertyScale")) },
  );
});
