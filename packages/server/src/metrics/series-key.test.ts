import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { keyOf, labelInText, labelsOfText, labelsText } from "./series-key.ts";

test("labels come out of a key as they went in, and no two sets of them look alike", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "n", "=", ",", "\\", "\n", "ä", "😀"), maxLength: 6 });
  const labels = fc.array(fc.tuple(text, text), { maxLength: 4 });
  fc.assert(
    fc.property(labels, labels, (some, others) => {
      expect(labelsOfText(labelsText(some))).toEqual(some);
      const keys = [some, others].map((each) => keyOf({ origin: "o", name: "m", labels: each }));
      expect(keys[0] === keys[1]).toBe(JSON.stringify(some) === JSON.stringify(others));
    }),
    { numRuns: Math.ceil(500 * inject("propertyScale")) },
  );
});

test("one label is found in the text of all, whatever is in them", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "n", "=", ",", "\\", "\n", "ä"), maxLength: 4 });
  const labels = fc.array(fc.tuple(text, text), { maxLength: 5 });
  fc.assert(
    fc.property(labels, text, (some, other) => {
      const all = labelsText(some);
      for (const name of [other, ...some.map(([label]) => label)]) {
        expect(labelInText(all, name)).toBe(some.find(([label]) => label === name)?.[1] ?? "");
      }
    }),
    { numRuns: Math.ceil(500 * inject("propertyScale")) },
  );
});
