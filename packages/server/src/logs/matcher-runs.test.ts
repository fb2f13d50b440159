import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import type { EntryRun } from "../store/contract.ts";
import { selectFrames } from "../stream/frame-filter.ts";
import { entriesOf } from "../stream/testing/pulled-stream.ts";
import { parseFilters } from "./filter.ts";
import { EntryMatcher } from "./matcher.ts";
import { producerEntry } from "./testing/arbitrary-entries.ts";
import { arbitraryTerm } from "./testing/arbitrary-terms.ts";
import { matchesPlainly } from "./testing/plain-match.ts";

function runOf(entries: readonly LogEntry[]): EntryRun {
  const frames = entries.map((entry) => frameOf(toBinary(LogEntrySchema, entry)));
  const starts = new Uint32Array(frames.length + 1);
  frames.forEach((frame, i) => {
    starts[i + 1] = starts[i]! + frame.length;
  });
  const count = frames.length;
  return { kind: "entries", first: 1, last: count, count, bytes: Buffer.concat(frames), starts };
}

/** Sequences of what is selected from the run, by pulls that end whenever `isLate` says so. */
function select(run: EntryRun, matcher: EntryMatcher, isLate: () => boolean): number[] {
  const found: LogEntry[] = [];
  let counted = 0;
  for (let from = 0; from < run.count;) {
    const selection = selectFrames(run, matcher, { from, countMax: Number.POSITIVE_INFINITY, isLate });
    found.push(...entriesOf(selection.bytes));
    counted += selection.count;
    from = selection.next;
  }
  expect(counted).toBe(found.length);
  return found.map(({ sequence }) => Number(sequence));
}

test("from runs of any entries any terms select what decoding and looking gives, however often they are interrupted", () => {
  let selected = 0;
  fc.assert(
    fc.property(
      fc.array(producerEntry, { minLength: 1, maxLength: 200 }),
      fc.array(arbitraryTerm, { minLength: 1, maxLength: 3 }),
      fc.infiniteStream(fc.boolean()),
      (drawn, filters, lateness) => {
        const entries = drawn.map((entry, i) => create(LogEntrySchema, { ...entry, sequence: BigInt(i + 1) }));
        const terms = parseFilters(filters, DEFAULT_LIMITS);
        const run = runOf(entries);
        const expected = entries
          .map((entry) => fromBinary(LogEntrySchema, toBinary(LogEntrySchema, entry)))
          .filter((entry) => matchesPlainly(entry, terms))
          .map(({ sequence }) => Number(sequence));
        selected += expected.length;
        expect(select(run, new EntryMatcher(terms), () => lateness.next().value === true)).toEqual(expected);
      },
    ),
    { numRuns: Math.ceil(1500 * inject("propertyScale")) },
  );
  expect(selected).toBeGreaterThan(1000 * inject("propertyScale"));
});

test("frames without a rare text are not looked at, one by one", () => {
  const entries = Array.from({ length: 3000 }, (_, i) =>
    create(LogEntrySchema, { message: i === 1700 ? "a needle" : `hay ${i}`, sequence: BigInt(i + 1) }),
  );
  const matcher = new EntryMatcher(parseFilters(["needle", "message~^a nee"], DEFAULT_LIMITS));
  let looks = 0;
  const matches = matcher.matches.bind(matcher);
  matcher.matches = (...frame) => {
    looks++;
    return matches(...frame);
  };
  expect(select(runOf(entries), matcher, () => false)).toEqual([1701]);
  expect(looks).toBe(1);
});

test("an entry that was left half judged is forgotten when another one is asked for", () => {
  const long = runOf([create(LogEntrySchema, { message: `${"ab".repeat(250_000)}c`, sequence: 1n })]);
  const short = runOf([create(LogEntrySchema, { message: "xbc", sequence: 2n })]);
  const matcher = new EntryMatcher(parseFilters(["message!~d", "message!~e", "message~[^c]c$"], DEFAULT_LIMITS));
  expect(matcher.matches(long.bytes, 0, long.bytes.length)).toBeUndefined();
  expect(select(short, matcher, () => false)).toEqual([2]);
  expect(matcher.matches(long.bytes, 0, long.bytes.length)).toBeUndefined();
  expect(matcher.matches(short.bytes, 0, short.bytes.length)).toBe(true);
});

test("a search for a text goes on where it was when its effort was spent, also within an entry", () => {
  const messages = ["y".repeat(200_000), `${"x".repeat(300_000)} needle`, "needle"];
  const run = runOf(messages.map((message, i) => create(LogEntrySchema, { message, sequence: BigInt(i + 1) })));
  let pauses = 0;
  const isLate = (): boolean => ++pauses > 0;
  expect(select(run, new EntryMatcher(parseFilters(["needle"], DEFAULT_LIMITS)), isLate)).toEqual([2, 3]);
  expect(pauses).toBeGreaterThan(2);
});
