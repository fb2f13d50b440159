import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { SeriesCache } from "./series-cache.ts";
import { SeriesColumns } from "./series-columns.ts";
import { Series } from "./series.ts";

const seriesOf = (row: number): Series => new Series(new SeriesColumns(), row);

test("finds what was kept last for a source and its bytes, and nothing else, wherever they lie", () => {
  // Few bytes and few sources, so that many look alike.
  const bytes = fc.uint8Array({ min: 0, max: 2, maxLength: 9 });
  const step = fc.record({ source: fc.integer({ min: 0, max: 2 }), bytes, isKept: fc.boolean(), before: fc.nat(5) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const cache = new SeriesCache();
      const model = new Map<string, Series>();
      for (const [i, { source, bytes: own, isKept, before }] of steps.entries()) {
        const request = Uint8Array.from([...Array.from({ length: before }, () => 7), ...own, 8, 9]);
        const place = [source, request, before, before + own.length] as const;
        const key = `${source} ${own.join()}`;
        expect(cache.find(...place)).toBe(model.get(key));
        if (!isKept) continue;
        const series = seriesOf(i);
        cache.keep(...place, series);
        model.set(key, series);
      }
    }),
    { numRuns: Math.ceil(200 * inject("propertyScale")) },
  );
});

test("is emptied when it holds too many bytes, and goes on", () => {
  const cache = new SeriesCache(100);
  const keep = (text: string): Series => {
    const series = seriesOf(text.length);
    cache.keep(0, Buffer.from(text), 0, text.length, series);
    return series;
  };
  const find = (text: string) => cache.find(0, Buffer.from(text), 0, text.length);
  const [a, b] = [keep("a".repeat(50)), keep("b".repeat(50))];
  expect([find("a".repeat(50)), find("b".repeat(50))]).toEqual([a, b]);
  const c = keep("c");
  expect([find("a".repeat(50)), find("c")]).toEqual([undefined, c]);
});
