// Any history of a log against a model of it.
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import type { CountOptions, LogReader, ScanQuery } from "./contract.ts";
import type { StoredEntry, TestEntry } from "./testing/frames.ts";
import type { LogPlace } from "./testing/log-place.ts";
import { readThrough } from "./testing/reading.ts";
import { append } from "./testing/writing.ts";

/** What a test does to a log. */
type Action =
  | { readonly kind: "append"; readonly entries: readonly TestEntry[] }
  | { readonly kind: "reopen" }
  | {
      readonly kind: "read";
      readonly after: number;
      readonly maxBytes: number;
      readonly query: Asked;
      readonly counting: Pick<CountOptions, "bucketNs" | "byLabel" | "bySeverity">;
    };

interface Asked {
  readonly minSeverity: number | undefined;
  readonly labels: readonly string[] | undefined;
  readonly start: bigint | undefined;
  readonly end: bigint | undefined;
}

const LABELS = ["a", "b", "c", "d"];

const entryArbitrary: fc.Arbitrary<TestEntry> = fc.record({
  timestamp: fc.oneof(fc.bigInt(-5n, 5n), fc.bigInt(-(2n ** 62n), 2n ** 62n)),
  severity: fc.integer({ min: 0, max: 24 }),
  label: fc.constantFrom(...LABELS),
  payload: fc.string({ maxLength: 60 }),
});

const actionArbitrary: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      entries: fc.array(entryArbitrary, { maxLength: 40 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "reopen" as const }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      after: fc.nat({ max: 100 }),
      maxBytes: fc.integer({ min: 1, max: 3000 }),
      query: fc.record({
        minSeverity: fc.option(fc.integer({ min: 0, max: 24 }), { nil: undefined }),
        labels: fc.option(fc.subarray(LABELS), { nil: undefined }),
        start: fc.option(fc.bigInt(-6n, 6n), { nil: undefined }),
        end: fc.option(fc.bigInt(-6n, 6n), { nil: undefined }),
      }),
      counting: fc.record({
        bucketNs: fc.oneof(fc.bigInt(1n, 4n), fc.constantFrom(2n ** 20n, 2n ** 61n, 2n ** 62n + 1n)),
        byLabel: fc.boolean(),
        bySeverity: fc.boolean(),
      }),
    }),
  },
);

export function describeAnyHistory(openPlace: () => Promise<LogPlace>): void {
  test("reads what was appended and matches, whatever was done before", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(actionArbitrary, { minLength: 1, maxLength: 25 }), async (actions) => {
        await using place = await openPlace();
        await play(place, actions);
      }),
      { numRuns: Math.ceil(60 * inject("propertyScale")) },
    );
  });
}

async function play(place: LogPlace, actions: readonly Action[]): Promise<void> {
  const model: TestEntry[] = [];
  let log = await place.open();
  for (const action of actions) {
    if (action.kind === "append") {
      await append(log.writer, action.entries);
      model.push(...action.entries);
    } else if (action.kind === "reopen") {
      await log[Symbol.asyncDispose]();
      log = await place.open();
    } else {
      await compare(log.reader, model, action);
    }
  }
  await log[Symbol.asyncDispose]();
}

async function compare(reader: LogReader, model: readonly TestEntry[], read: Action & { kind: "read" }): Promise<void> {
  const { after, maxBytes, query } = read;
  const expected = model
    .map((entry, i) => ({ ...entry, sequence: i + 1 }))
    .filter(({ sequence }) => sequence > after)
    .filter((entry) => isAsked(entry, query));
  const found = await readThrough(reader, { after, maxBytes, query: toScanQuery(reader, query) });
  expect(found.gaps).toEqual([]);
  expect(found.entries.map(pick)).toEqual(expected);
  await compareCount(
    reader,
    model.filter((entry) => isAsked(entry, query)),
    read,
  );
  const before = model.length + 1;
  const tail = expected.slice(-3);
  if (after === 0 && tail.length === 3) {
    expect(await reader.findTail(3, before, toScanQuery(reader, query))).toBe(tail[0]!.sequence - 1);
  }
}

/** What the index counts is what a reader of all entries counts. */
async function compareCount(
  reader: LogReader,
  matching: readonly TestEntry[],
  { query, counting }: Action & { kind: "read" },
): Promise<void> {
  const rows = await reader.count(toScanQuery(reader, query), {
    ...counting,
    rowsMax: 10_000,
    giveWay: () => undefined,
  });
  const found = rows.map(({ label, ...row }) => ({ ...row, label: counting.byLabel ? reader.labelName(label) : "" }));
  const expected = new Map<string, (typeof found)[number]>();
  for (const { timestamp, severity, label } of matching) {
    const { bucketNs, byLabel, bySeverity } = counting;
    const intoBucket = ((timestamp % bucketNs) + bucketNs) % bucketNs;
    const row = {
      startNs: timestamp - intoBucket < -(2n ** 63n) ? -(2n ** 63n) : timestamp - intoBucket,
      severityRange: bySeverity ? Math.ceil(severity / 4) : 0,
      label: byLabel ? label : "",
    };
    const key = `${row.startNs} ${row.severityRange} ${row.label}`;
    expected.set(key, { ...row, count: (expected.get(key)?.count ?? 0) + 1 });
  }
  const byKey = (a: (typeof found)[number], b: (typeof found)[number]): number =>
    Number(a.startNs - b.startNs) || a.severityRange - b.severityRange || (a.label < b.label ? -1 : 1);
  expect(found.map(({ startNs }) => startNs)).toEqual(found.map(({ startNs }) => startNs).toSorted(compareBigInt));
  expect(found.toSorted(byKey)).toEqual([...expected.values()].toSorted(byKey));
}

function compareBigInt(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isAsked({ severity, label, timestamp }: TestEntry, { minSeverity, labels, start, end }: Asked): boolean {
  return (
    severity >= (minSeverity ?? 0) &&
    (labels === undefined || labels.includes(label)) &&
    (start === undefined || timestamp >= start) &&
    (end === undefined || timestamp < end)
  );
}

function toScanQuery(reader: LogReader, { minSeverity, labels, start, end }: Asked): ScanQuery {
  const ids = labels?.map((label) => reader.findLabel(label)).filter((id) => id !== undefined);
  return {
    ...(minSeverity === undefined ? {} : { minSeverity }),
    ...(ids === undefined ? {} : { labels: new Set(ids) }),
    ...(start === undefined ? {} : { startTimestamp: start }),
    ...(end === undefined ? {} : { endTimestamp: end }),
  };
}

function pick({ timestamp, severity, label, payload, sequence }: StoredEntry): TestEntry & { sequence: number } {
  return { timestamp, severity, label, payload, sequence };
}
