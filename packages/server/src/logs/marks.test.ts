import { crc32 } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { type FilterTerm, type Key, type OwnKey, parseFilters } from "./filter.ts";
import { entryMarks, marksOf } from "./marks.ts";
import { EntryMatcher } from "./matcher.ts";
import { producerEntry } from "./testing/arbitrary-entries.ts";
import { arbitraryTerm } from "./testing/arbitrary-terms.ts";

function marksIn(frame: Uint8Array): Set<number> {
  const marks = new Set<number>();
  entryMarks(frame, 0, frame.length, marks);
  return marks;
}

function wanted(...filters: string[]): Uint32Array {
  return marksOf(parseFilters(filters, DEFAULT_LIMITS));
}

function lacks(frame: Uint8Array, ...filters: string[]): boolean {
  const marks = marksIn(frame);
  return wanted(...filters).some((mark) => !marks.has(mark));
}

/** Terms that an entry matches by what is in it. */
function termsOf(entry: LogEntry, random: number): FilterTerm[] {
  const equal = (key: Key, value: string): FilterTerm => ({ kind: "equal", key, value, isNegated: false });
  const own = (name: OwnKey, value: string) => equal({ kind: "own", name }, value);
  const all = [
    own("message", entry.message),
    own("source_file", entry.sourceFile),
    own("event_name", entry.eventName),
    own("trace_id", Buffer.from(entry.traceId).toString("hex")),
    own("span_id", Buffer.from(entry.spanId).toString("hex")),
    ...Object.entries(entry.fields).map(([name, value]) => equal({ kind: "field", name }, value)),
  ];
  return [all[random % all.length]!];
}

test("what matches any terms has all marks that the terms ask for", () => {
  let asked = 0;
  fc.assert(
    fc.property(
      producerEntry,
      fc.array(arbitraryTerm, { maxLength: 2 }),
      fc.nat(),
      fc.boolean(),
      (entry, filters, random, isOwn) => {
        const frame = frameOf(toBinary(LogEntrySchema, entry));
        const terms = [...parseFilters(filters, DEFAULT_LIMITS), ...(isOwn ? termsOf(entry, random) : [])];
        const marks = marksOf(terms);
        if (marks.length === 0 || new EntryMatcher(terms).matches(frame, 0, frame.length) !== true) return;
        asked += marks.length;
        const all = marksIn(frame);
        for (const mark of marks) expect(all.has(mark)).toBe(true);
      },
    ),
    { numRuns: Math.ceil(5000 * inject("propertyScale")) },
  );
  expect(asked).toBeGreaterThan(500 * inject("propertyScale"));
});

const text = fc.oneof(
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }),
  fc.string({ unit: fc.constantFrom("1", "2", "9", ".", "1", "7", "a", " "), minLength: 1, maxLength: 60 }),
);

test("every part of a message is known by its marks, also in the middle of a word, and of any bytes", () => {
  fc.assert(
    fc.property(text, fc.nat(), fc.nat(), (message, a, b) => {
      const characters = Array.from(message);
      const start = a % characters.length;
      const part = characters.slice(start, start + 1 + (b % characters.length)).join("");
      const frame = frameOf(toBinary(LogEntrySchema, create(LogEntrySchema, { message })));
      const marks = marksIn(frame);
      for (const mark of marksOf([{ kind: "text", text: part, isNegated: false }])) expect(marks.has(mark)).toBe(true);
    }),
    { numRuns: Math.ceil(2000 * inject("propertyScale")) },
  );
});

const entry = create(LogEntrySchema, {
  message: "connection to 10.0.0.7 refused",
  fields: { user: "u-42", status: "500" },
  traceId: Uint8Array.from({ length: 16 }, (_, i) => i),
  eventName: "cart.opened",
});
const frame = frameOf(toBinary(LogEntrySchema, entry));

test("marks are what they were: who changes them raises VERSION in segment-filter.ts, then the figure here", () => {
  const marks = Uint32Array.from(marksIn(frame)).sort();
  expect([marks.length, crc32(new Uint8Array(marks.buffer))]).toEqual([41, 4_118_300_301]);
});

test("long numbers and addresses are known by more than six of their digits", () => {
  const numbers = frameOf(
    toBinary(LogEntrySchema, create(LogEntrySchema, { message: "block 1234567890123 from 10.20.30.40, 123456" })),
  );
  expect(wanted("1234567")).toHaveLength(0);
  expect(wanted("12345678")).toHaveLength(1);
  for (const present of ["12345678", "567890123 from", "10.20.30.40", "30.40, 123456", "123456"]) {
    expect(lacks(numbers, present), present).toBe(false);
  }
  for (const absent of ["12345679", "23456789012 ", "10.20.30.41", "20.30.40.12"]) {
    expect(lacks(numbers, absent), absent).toBe(true);
  }
});

describe("the marks of an entry deny", () => {
  test.each([
    "connected",
    "refused!",
    "10.0.0.8",
    "user=u-43",
    "user=u-4",
    "status=u-42",
    "missing=u-42",
    "event_name=cart.closed",
    "trace_id=100102030405060708090a0b0c0d0e0f",
    'message="connection to 10.0.0.9 refused"',
    "message~refusing (it|us)",
  ])("%s", (filter) => {
    expect(lacks(frame, filter)).toBe(true);
  });
});

describe("a term asks for nothing that it cannot know:", () => {
  test.each([
    "-connected",
    "short",
    "user!=u-42",
    "user=",
    "user~u-4",
    "user!~u-4",
    "status>=500",
    "level>=warn",
    "level=loud",
    "application=shop",
    "line_number=42",
    "message!=x",
    "message~(?i)refused",
    "message~.*refused",
    "message!~refused",
  ])("%s", (filter) => {
    expect(wanted(filter)).toHaveLength(0);
  });
});

test("a long text asks for few marks, from all of it", () => {
  const text = Array.from({ length: 100 }, (_, i) => `word${i}`).join(" ");
  const marks = wanted(text);
  expect(marks.length).toBeLessThanOrEqual(16);
  const cut = (message: string) => frameOf(toBinary(LogEntrySchema, create(LogEntrySchema, { message })));
  expect(lacks(cut(text), text)).toBe(false);
  expect(lacks(cut(text.slice(0, text.length / 2)), text)).toBe(true);
  expect(lacks(cut(text.slice(text.length / 2)), text)).toBe(true);
});
