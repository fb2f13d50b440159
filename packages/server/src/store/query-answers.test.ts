import fc from "fast-check";
import { expect, inject, test } from "vitest";
import type { LogReader, Scan, ScanQuery } from "./contract.ts";
import type { TestEntry } from "./testing/frames.ts";
import { openEmbeddedPlace } from "./testing/place.ts";
import { drain, readThrough, sequencesOf } from "./testing/reading.ts";
import { append } from "./testing/writing.ts";

const LABELS = ["shop", "cart", "mail", "bank"];
const SECOND = 1_000_000_000n;

const entry: fc.Arbitrary<TestEntry> = fc.record({
  // Mostly in order, as logs come, so that pages differ.
  timestamp: fc.integer({ min: -50, max: 50 }).map(BigInt),
  severity: fc.constantFrom(0, 1, 9, 9, 9, 13, 17, 24),
  label: fc.constantFrom(...LABELS),
  payload: fc.string({ maxLength: 30 }),
});

interface Query {
  readonly minSeverity: number;
  readonly labels: readonly string[] | undefined;
  readonly start: bigint | undefined;
  readonly end: bigint | undefined;
}

const time = fc.option(fc.bigInt({ min: 0n, max: 400n }), { nil: undefined });
const query: fc.Arbitrary<Query> = fc.record({
  minSeverity: fc.constantFrom(0, 0, 1, 9, 13, 20),
  labels: fc.option(fc.subarray(LABELS, { minLength: 1 }), { nil: undefined }),
  start: time,
  end: time,
});

/** What the index is asked. */
function scanQuery(reader: LogReader, { minSeverity, labels, start, end }: Query): ScanQuery {
  const ids = labels?.map((name) => reader.findLabel(name)).filter((id) => id !== undefined);
  return {
    minSeverity,
    ...(ids === undefined ? {} : { labels: new Set(ids) }),
    ...(start === undefined ? {} : { startTimestamp: start * SECOND }),
    ...(end === undefined ? {} : { endTimestamp: end * SECOND }),
  };
}

/** What looking at every entry gives. */
function answer(written: readonly TestEntry[], { minSeverity, labels, start, end }: Query): number[] {
  return written.flatMap(({ severity, label, timestamp }, i) =>
    severity >= minSeverity &&
    (labels === undefined || labels.includes(label)) &&
    (start === undefined || timestamp >= start * SECOND) &&
    (end === undefined || timestamp < end * SECOND)
      ? [i + 1]
      : [],
  );
}

test("the index answers as a look at every entry does: while they come, from the tail and from files", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(entry, { minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 10 }),
      fc.array(query, { minLength: 1, maxLength: 6 }),
      fc.infiniteStream(fc.boolean()),
      fc.integer({ min: 1, max: 30 }),
      async (batches, queries, chance, tail) => {
        await using place = await openEmbeddedPlace({ segmentBytes: 4096, groupBytesMax: 2048, historyBytesMax: 1 });
        const written: TestEntry[] = [];
        {
          await using log = await place.open();
          for (const label of LABELS) log.writer.internLabel(label);
          // Two readers of each query, so that one finds what another has found before it.
          const scans = [...queries, ...queries].map((each) => ({
            each,
            scan: log.reader.scan(0, scanQuery(log.reader, each)),
            found: [] as number[],
          }));
          const pull = async ({ scan, found }: { scan: Scan; found: number[] }): Promise<void> => {
            found.push(...sequencesOf(await drain(scan, 1500)));
          };
          for (const batch of batches) {
            const base = BigInt(written.length);
            const entries = batch.map((one, i) => ({ ...one, timestamp: (base + BigInt(i) + one.timestamp) * SECOND }));
            await append(log.writer, entries);
            written.push(...entries);
            for (const reader of scans) if (chance.next().value === true) await pull(reader);
          }
          for (const reader of scans) {
            await pull(reader);
            reader.scan.close();
            expect(reader.found).toEqual(answer(written, reader.each));
          }
        }
        await using log = await place.open();
        for (const each of queries) {
          const expected = answer(written, each);
          const asked = scanQuery(log.reader, each);
          expect(sequencesOf(await readThrough(log.reader, { query: asked, maxBytes: 1500 }))).toEqual(expected);
          const after = await log.reader.findTail(tail, written.length + 1, asked);
          expect(expected.filter((sequence) => sequence > after)).toEqual(expected.slice(-tail));
        }
      },
    ),
    { numRuns: Math.ceil(60 * inject("propertyScale")) },
  );
}, 60_000);
