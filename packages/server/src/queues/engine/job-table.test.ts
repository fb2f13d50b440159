// The structures below the engine, against what a Map, a Set and a sort say.
import fc from "fast-check";
import { expect, test } from "vitest";
import { Chains } from "./chains.ts";
import { Heap } from "./heap.ts";
import { JobTable, NONE } from "./job-table.ts";
import { Line, isBefore } from "./line.ts";
import { NumberBlocks } from "./number-blocks.ts";
import { NumberIndex } from "./number-index.ts";

/** Mostly dense, some far away, as the numbers of a queue with old jobs are. */
const numbers = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 3000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 2 ** 32 - 50, max: 2 ** 32 + 50 }) },
  { weight: 1, arbitrary: fc.maxSafeNat() },
);

test("a table finds what is in it, and nothing else", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(numbers, fc.boolean()), { maxLength: 400, size: "max" }), (steps) => {
      const table = new JobTable();
      const model = new Map<number, number>();
      for (const [number, isAdded] of steps) {
        const slot = model.get(number);
        if (isAdded && slot === undefined) {
          const added = table.add(number);
          table.setPhase(added, 1);
          table.setPlace(added, number + 1);
          table.setFailures(added, number % 1000);
          table.setPriority(added, number % 8);
          model.set(number, added);
        } else if (!isAdded && slot !== undefined) {
          table.remove(slot);
          model.delete(number);
        }
        expect(table.find(number)).toBe(model.get(number) ?? NONE);
      }
      expect(table.size).toBe(model.size);
      expect([...table.slots()].map((slot) => table.number(slot)).toSorted((a, b) => a - b)).toEqual(
        [...model.keys()].toSorted((a, b) => a - b),
      );
      for (const [number, slot] of model) {
        const { place, failures, priority } = {
          place: table.place(slot),
          failures: table.failures(slot),
          priority: table.priority(slot),
        };
        expect({ place, failures, priority }).toEqual({
          place: number + 1,
          failures: number % 1000,
          priority: number % 8,
        });
      }
    }),
    { numRuns: 100 },
  );
});

test("a table of many jobs grows without losing one, and gives its memory back", () => {
  const table = new JobTable();
  const count = 50_000;
  const slots = Array.from({ length: count }, (_, i) => table.add(i + 1));
  for (const slot of slots) table.setPhase(slot, 1);
  expect(table.rowBytes / count).toBeLessThan(86);
  expect(slots.every((slot, i) => table.find(i + 1) === slot)).toBe(true);
  for (const [i, slot] of slots.entries()) if (i % 1000 !== 7) table.remove(slot);
  expect(slots.every((slot, i) => table.find(i + 1) === (i % 1000 === 7 ? slot : NONE))).toBe(true);
  for (const [i, slot] of slots.entries()) if (i % 1000 === 7) table.remove(slot);
  expect(table.size).toBe(0);
  expect(table.rowBytes).toBe(1024 * 1024);
  // The spare one is used again.
  expect(table.find(1)).toBe(NONE);
  expect(table.number(table.add(5))).toBe(5);
});

test("an index of a great many jobs grows in small steps", () => {
  let looks = 0;
  const numbers = {
    number(slot: number): number {
      looks++;
      return slot + 1;
    },
  };
  const index = new NumberIndex(numbers);
  let most = 0;
  for (let slot = 0; slot < 500_000;) {
    const before = looks;
    for (let i = 0; i < 500; i++) index.add(slot++);
    most = Math.max(most, looks - before);
  }
  // Each job itself, and the entries of two tables.
  expect(most).toBeLessThan(500 + 2 * 3 * 2 ** 12);
});

test("a heap gives its items in order, whichever leave or move", () => {
  interface Item {
    key: number;
    index: number;
  }
  const step = fc.record({
    what: fc.constantFrom("push", "push", "remove", "move"),
    key: fc.nat(50),
    pick: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
      const heap = new Heap<Item>({
        before: (a, b) => a.key < b.key,
        moved: (item, index) => void (item.index = index),
      });
      const model: Item[] = [];
      for (const { what, key, pick } of steps) {
        const item = model[pick % Math.max(1, model.length)];
        if (what === "push" || item === undefined) {
          const added = { key, index: NONE };
          model.push(added);
          heap.push(added);
        } else if (what === "remove") {
          heap.remove(item.index);
          model.splice(model.indexOf(item), 1);
          expect(item.index).toBe(NONE);
        } else {
          item.key = key;
          heap.update(item.index);
        }
      }
      const keys = model.map((each) => each.key).toSorted((a, b) => a - b);
      expect([...heap.inOrder()].map((each) => each.key)).toEqual(keys);
      const taken: number[] = [];
      for (let first = heap.first; first !== undefined; first = heap.first) {
        taken.push(first.key);
        heap.remove(0);
      }
      expect(taken).toEqual(keys);
    }),
    { numRuns: 100 },
  );
});

test("a line is in order, whatever comes in between or leaves", () => {
  const step = fc.record({ atMs: fc.nat(20), isAdded: fc.boolean(), pick: fc.nat(1000) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
      const table = new JobTable();
      const line = new Line(table);
      const model: number[] = [];
      for (const [index, { atMs, isAdded, pick }] of steps.entries()) {
        if (isAdded || model.length === 0) {
          const slot = table.add(index + 1);
          table.setPhase(slot, 1);
          table.setEligibleAtMs(slot, atMs);
          line.add(slot);
          model.push(slot);
        } else line.remove(model.splice(pick % model.length, 1)[0]!);
        model.sort((a, b) => (isBefore(table, a, b) ? -1 : 1));
        expect(line.first).toBe(model[0] ?? NONE);
      }
      expect([...line.inOrder()]).toEqual(model);
      expect(line.size).toBe(model.length);
    }),
    { numRuns: 100 },
  );
});

test("of a chain the lowest number is first, however late it comes", () => {
  const step = fc.record({ what: fc.constantFrom("join", "join", "leave"), pick: fc.nat(1000) });
  fc.assert(
    fc.property(
      fc.shuffledSubarray(Array.from({ length: 40 }, (_, i) => i + 1)),
      fc.array(step, { maxLength: 80, size: "max" }),
      (order, steps) => {
        const table = new JobTable();
        const chains = new Chains(table);
        const model: number[] = [];
        for (const { what, pick } of steps) {
          if (what === "leave" && model.length > 0) {
            const slot = model.splice(pick % model.length, 1)[0]!;
            if (chains.firstOf(slot) !== slot) chains.removeBehind(slot);
            chains.leave(slot);
            table.remove(slot);
            continue;
          }
          const number = order.pop();
          if (number === undefined) break;
          const slot = table.add(number);
          table.setPhase(slot, 1);
          const behind = chains.join(slot, "k", { isAtWorker: () => false });
          if (behind !== NONE) chains.putBehind(behind);
          model.push(slot);
        }
        model.sort((a, b) => table.number(a) - table.number(b));
        expect(chains.count).toBe(model.length === 0 ? 0 : 1);
        const [first] = model;
        if (first !== undefined) expect([chains.firstOf(first), ...chains.behindOf(first)]).toEqual(model);
      },
    ),
    { numRuns: 200 },
  );
});

test("the lowest number of a set is known", () => {
  const set = new Set<number>();
  const blocks = new NumberBlocks();
  fc.assert(
    fc.property(fc.array(fc.nat(30_000), { maxLength: 50, size: "max" }), (toggled) => {
      for (const number of toggled) {
        if (set.delete(number)) blocks.remove(number);
        else {
          set.add(number);
          blocks.add(number);
        }
      }
      const lowest = set.size === 0 ? undefined : Math.min(...set);
      expect(blocks.lowest((number) => set.has(number))).toBe(lowest);
    }),
    { numRuns: 100 },
  );
});
