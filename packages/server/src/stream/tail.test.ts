import fc from "fast-check";
import { expect, test } from "vitest";
import type { FrameFilter } from "./frame-filter.ts";
import { findTail } from "./tail.ts";
import { MemoryLog } from "./testing/memory-log.ts";
import { entriesOf } from "./testing/pulled-stream.ts";

/** Lets entries through whose message says "yes". */
const saysYes: FrameFilter = {
  matches: (bytes, start, end) => entriesOf(bytes.subarray(start, end))[0]?.message === "yes",
  sequenceOf: (bytes, start, end) => Number(entriesOf(bytes.subarray(start, end))[0]?.sequence),
};

const options = { nowMs: () => 0, isCancelled: () => false };

test("the last n that match the query and the filter lie behind the position that is found", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ isYes: fc.boolean(), severityNumber: fc.integer({ min: 0, max: 3 }) }), { maxLength: 40 }),
      fc.nat(12),
      fc.nat(10),
      fc.boolean(),
      async (rows, count, dropped, isFiltered) => {
        const log = new MemoryLog();
        for (const { isYes, severityNumber } of rows)
          await log.write({ message: isYes ? "yes" : "no", severityNumber });
        log.onDiskTo = rows.length / 2;
        log.dropBefore(Math.min(dropped, rows.length) + 1);
        const query = { minSeverity: 2 };
        const filter = isFiltered ? saysYes : undefined;
        const after = await findTail(log, { ...options, count, query, filter });
        const matching = rows.flatMap(({ isYes, severityNumber }, i) =>
          severityNumber >= 2 && (isYes || !isFiltered) && i + 1 >= log.first ? [i + 1] : [],
        );
        const expected = matching.slice(matching.length - Math.min(count, matching.length));
        expect(matching.filter((sequence) => sequence > after)).toEqual(expected);
      },
    ),
  );
});

test("a long log is searched backwards in pieces, until enough is found", async () => {
  const log = new MemoryLog();
  log.runEntriesMax = 500;
  const many = Array.from({ length: 9000 }, (_, i) => ({ message: i % 3000 === 0 ? "yes" : "no" }));
  await log.write(...many);
  const tails: number[] = [];
  const findInIndex = log.findTail.bind(log);
  log.findTail = async (count, before, query) => {
    tails.push(count);
    return await findInIndex(count, before, query);
  };
  expect(await findTail(log, { ...options, count: 1, query: {}, filter: saysYes })).toBe(6000);
  expect(tails).toEqual([4096]);
  expect(await findTail(log, { ...options, count: 3, query: {}, filter: saysYes })).toBe(0);
  expect(tails).toEqual([4096, 4096, 8192]);
});

test("no match is missed or counted twice where one piece of the search meets the next", async () => {
  const log = new MemoryLog();
  log.runEntriesMax = 1000;
  const matches = [1, 4903, 4904, 4905, 4906, 8999, 9000]; // the first piece begins with 4905
  const isMatch = new Set(matches);
  await log.write(...Array.from({ length: 9000 }, (_, i) => ({ message: isMatch.has(i + 1) ? "yes" : "no" })));
  for (let count = 1; count <= matches.length; count++) {
    const after = await findTail(log, { ...options, count, query: {}, filter: saysYes });
    expect(matches.filter((sequence) => sequence > after)).toEqual(matches.slice(-count));
  }
});

/** Takes long for each entry: knows of it when it is asked again. */
function hesitant(filter: FrameFilter): FrameFilter {
  let asked = -1;
  return {
    ...filter,
    matches(bytes, start, end) {
      const isKnown = asked === start;
      asked = isKnown ? -1 : start;
      return isKnown ? filter.matches(bytes, start, end) : undefined;
    },
  };
}

test("a filter that is not ready with an entry is asked for it again", async () => {
  const log = new MemoryLog();
  await log.write(...Array.from({ length: 30 }, (_, i) => ({ message: i % 10 === 0 ? "yes" : "no" })));
  expect(await findTail(log, { ...options, count: 2, query: {}, filter: hesitant(saysYes) })).toBe(10);
});

test("gives the event loop back when it takes long, and stops when nobody waits any more", async () => {
  const log = new MemoryLog();
  await log.write(...Array.from({ length: 50 }, () => ({ message: "no" })));
  let ms = 0;
  let turns = 0;
  let isWatching = true;
  const watch = (): void => {
    turns++;
    if (isWatching) setImmediate(watch);
  };
  setImmediate(watch);
  await findTail(log, { ...options, nowMs: () => ms++, count: 1, query: {}, filter: hesitant(saysYes) });
  isWatching = false;
  expect(turns).toBeGreaterThan(10);

  let looks = 0;
  const counting = hesitant({ ...saysYes, matches: () => ++looks < 0 });
  await findTail(log, {
    ...options,
    nowMs: () => ms++,
    isCancelled: () => looks > 5,
    count: 1,
    query: {},
    filter: counting,
  });
  expect(looks).toBeLessThan(10);
  expect(log.openScans).toBe(0);
});
