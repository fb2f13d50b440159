import fc from "fast-check";
import { expect, test } from "vitest";
import { Journal } from "./watch-journal.ts";

test("what changed after a number, each item once and in the order of its last change", () => {
  const step = fc.record({
    item: fc.nat(30),
    isDropped: fc.boolean(),
    after: fc.nat(4000),
    count: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 2500, maxLength: 3000 }), (steps) => {
      const journal = new Journal<{ at: number; id: number }>();
      const items = Array.from({ length: 31 }, (_, id) => ({ at: 0, id }));
      // The model: the number of each item's last change.
      const last = new Map<number, number>();
      let head = 0;
      for (const { item, isDropped, after, count } of steps) {
        if (isDropped) {
          journal.drop(items[item]!);
          last.delete(item);
        } else {
          journal.note(items[item]!);
          last.set(item, ++head);
        }
        const wanted = [...last].filter(([, at]) => at > after).toSorted(([, a], [, b]) => a - b);
        expect(journal.after(after, count).map(({ id }) => id)).toEqual(wanted.slice(0, count).map(([id]) => id));
      }
      expect(journal.head).toBe(head);
    }),
    { numRuns: 3 },
  );
});
