import { readdir, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { LimitExceeded } from "../errors.ts";
import type { CountOptions, CountRow, LogReader, ScanQuery } from "./contract.ts";
import type { TestEntry } from "./testing/frames.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

const SMALL = { segmentBytes: 16 * 1024, groupBytesMax: 4096, tailBytes: 1024 };
const LABELS = ["a", "b", "c"];

/** Sealed segments in the order of time, with a few late entries, and an open one. */
const entries: readonly TestEntry[] = range(1, 1500).map((number) =>
  makeEntry(number, {
    label: LABELS[(number * 7) % 5] ?? "a",
    severity: (number * 11) % 25,
    timestamp: BigInt(number % 97 === 0 ? number - 400 : number) * 1000n,
  }),
);

const everything: CountOptions = {
  bucketNs: 100_000n,
  byLabel: true,
  bySeverity: true,
  rowsMax: 10_000,
  giveWay: () => undefined,
};

function countPlainly(matching: readonly TestEntry[], options: CountOptions): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { timestamp, label, severity } of matching) {
    const start = timestamp - (((timestamp % options.bucketNs) + options.bucketNs) % options.bucketNs);
    const key = `${start} ${options.byLabel ? label : ""} ${options.bySeverity ? Math.ceil(severity / 4) : 0}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

function asRecord(reader: LogReader, rows: readonly CountRow[], { byLabel }: CountOptions): Record<string, number> {
  return Object.fromEntries(
    rows.map(({ startNs, label, severityRange, count }) => [
      `${startNs} ${byLabel ? reader.labelName(label) : ""} ${severityRange}`,
      count,
    ]),
  );
}

test("what the index counts is what a scan counts, over sealed segments and an open one", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  {
    await using log = await place.open();
    for (const entry of entries) await append(log.writer, [entry]);
  }
  await using log = await place.open();
  const { reader } = log;
  const time = fc.option(fc.bigInt(-300_000n, 1_600_000n), { nil: undefined });
  const query = fc.record({
    minSeverity: fc.constantFrom(0, 0, 1, 9, 17),
    labels: fc.subarray(LABELS),
    start: time,
    end: time,
  });
  const counting = fc.record({
    bucketNs: fc.constantFrom(1000n, 33_333n, 500_000n, 10_000_000n),
    byLabel: fc.boolean(),
    bySeverity: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(query, counting, async ({ minSeverity, labels, start, end }, asked) => {
      const options = { ...everything, ...asked };
      const scanQuery: ScanQuery = {
        minSeverity,
        ...(labels.length === 0 ? {} : { labels: new Set(labels.map((label) => reader.findLabel(label)!)) }),
        ...(start === undefined ? {} : { startTimestamp: start }),
        ...(end === undefined ? {} : { endTimestamp: end }),
      };
      const matching = entries.filter(
        ({ severity, label, timestamp }) =>
          severity >= minSeverity &&
          (labels.length === 0 || labels.includes(label)) &&
          (start === undefined || timestamp >= start) &&
          (end === undefined || timestamp < end),
      );
      const rows = await reader.count(scanQuery, options);
      expect(asRecord(reader, rows, options)).toEqual(countPlainly(matching, options));
    }),
    { numRuns: Math.ceil(300 * inject("propertyScale")) },
  );
});

test("gives way between pieces, and what is written meanwhile does not count", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  await using log = await place.open();
  for (const entry of entries) await append(log.writer, [entry]);
  let pauses = 0;
  const giveWay = async (): Promise<void> => {
    pauses++;
    await append(log.writer, [makeEntry(1)]);
  };
  const rows = await log.reader.count({}, { ...everything, giveWay });
  expect(rows.reduce((sum, row) => sum + row.count, 0)).toBe(entries.length);
  expect(pauses).toBeGreaterThan(5);
});

test("an index that must be built anew meanwhile is counted once", async () => {
  await using place = await openEmbeddedPlace(SMALL);
  {
    await using log = await place.open();
    for (const entry of entries) await append(log.writer, [entry]);
  }
  await using log = await place.open();
  const indexes = (await readdir(place.logFolder)).filter((name) => name.endsWith(".index")).toSorted();
  expect(indexes.length).toBeGreaterThan(3);
  let pauses = 0;
  const giveWay = async (): Promise<void> => {
    if (pauses++ === 0) await writeFile(`${place.logFolder}/${indexes[2]!}`, "no index");
  };
  const rows = await log.reader.count({}, { ...everything, giveWay });
  expect(asRecord(log.reader, rows, everything)).toEqual(countPlainly(entries, everything));
});

test("more rows than are allowed are refused", async () => {
  await using place = await openEmbeddedPlace();
  await using log = await place.open();
  await append(log.writer, entries.slice(0, 50));
  await expect(log.reader.count({}, { ...everything, bucketNs: 1n, rowsMax: 49 })).rejects.toThrow(LimitExceeded);
  expect(await log.reader.count({}, { ...everything, bucketNs: 1n, rowsMax: 50 })).toHaveLength(50);
});
