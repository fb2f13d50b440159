import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { parseFilters } from "./filter.ts";
import { Finder } from "./finder.ts";
import { EntryMatcher } from "./matcher.ts";
import { producerEntry } from "./testing/arbitrary-entries.ts";
import { matchesPlainly } from "./testing/plain-match.ts";

const sample = create(LogEntrySchema, {
  timestamp: 1_760_000_000_000_000_001n,
  level: "Warning",
  severityNumber: 13,
  application: "shop",
  message: "GET /cart took 35 ms — ok",
  sourceFile: "src/cart.ts",
  lineNumber: 42,
  fields: { user: "u-1", took: "35", big: "9007199254740993", empty: "", level: "odd", "a b": "c" },
  sequence: 7n,
  observedTimestamp: 5n,
  producer: "p1",
  producerSequence: 9n,
  traceId: Uint8Array.from({ length: 16 }, (_, i) => i),
  spanId: new Uint8Array(8).fill(0xab),
  traceFlags: 4294967295,
  eventName: "cart.opened",
});

function matches(entry: LogEntry, ...filters: string[]): boolean {
  const frame = frameOf(toBinary(LogEntrySchema, entry));
  return new EntryMatcher(parseFilters(filters, DEFAULT_LIMITS)).matches(frame, 0, frame.length);
}

describe("an entry", () => {
  test.each([
    "cart",
    "GET /cart",
    "— ok",
    "-Cart",
    "-shop",
    '"took 35"',
    "user=u-1",
    "user!=u-2",
    "user!=",
    "missing=",
    "missing!=x",
    "empty=",
    "user~^u-\\d$",
    "user!~^v",
    "missing~^$",
    "took>34.9",
    "took>=35",
    "took<36",
    "took<=35",
    "big>9007199254740992",
    "big<=9007199254740993",
    "application=shop",
    "message~(?i)get",
    "source_file~\\.ts$",
    "line_number=42",
    "line_number<43",
    "level=warn",
    "level=WARNING",
    "level>=warn",
    "level>info",
    "level<error",
    "level!=info",
    "level~arn",
    "fields.level=odd",
    '"level"=odd',
    '"a b"=c',
    "severity_number=13",
    "timestamp>1760000000000000000",
    "timestamp=1760000000000000001",
    "observed_timestamp=5",
    "sequence>=7",
    "producer=p1",
    "producer_sequence<10",
    "trace_id=000102030405060708090A0B0C0D0E0F",
    "trace_id~^0001",
    "span_id=abababababababab",
    "trace_flags=4294967295",
    "event_name~opened",
  ])("matches %s", (filter) => {
    expect(matches(sample, filter)).toBe(true);
    expect(matches(sample, filter, "GET")).toBe(true);
    expect(matches(sample, filter, "-GET")).toBe(false);
  });

  test.each([
    "Cart",
    "shop",
    "-cart",
    "user=u",
    "user=u-11",
    "user=",
    "missing!=",
    "missing=x",
    "user~^-",
    "took>35",
    "took<35",
    "took>=35.01",
    "user>0",
    "missing<1",
    "empty<1",
    "big>9007199254740993",
    "level=error",
    "level>warn",
    "level<warn",
    "level=odd",
    "fields.level=warn",
    "fields.user~x",
    "timestamp>1760000000000000001",
    "trace_id>0",
    "line_number>42",
  ])("does not match %s", (filter) => {
    expect(matches(sample, filter)).toBe(false);
    expect(matches(sample, "GET", filter)).toBe(false);
  });

  test("without a severity has none that compares, but is unlike any", () => {
    const silent = create(LogEntrySchema, { level: "loud" });
    expect([matches(silent, "level<fatal"), matches(silent, "level>=trace"), matches(silent, "level!=info")]).toEqual([
      false,
      false,
      true,
    ]);
    expect(matches(silent, "level=loud")).toBe(true);
  });

  test("whose fields repeat in the bytes counts as a decoder takes it: the last", () => {
    const bytes = Buffer.concat(
      [
        { message: "first", fields: { k: "first" }, lineNumber: 1 },
        { message: "second", fields: { k: "second" }, lineNumber: 2 },
      ].map((init) => toBinary(LogEntrySchema, create(LogEntrySchema, init))),
    );
    const frame = frameOf(bytes);
    const isMatch = (...filters: string[]): boolean =>
      new EntryMatcher(parseFilters(filters, DEFAULT_LIMITS)).matches(frame, 0, frame.length);
    expect([isMatch("second", "k=second", "line_number=2"), isMatch("first"), isMatch("k=first")]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test("long values are matched by expressions on their first 64 KiB", () => {
    const long = create(LogEntrySchema, { message: `${"x".repeat(65_000)}near${"x".repeat(10_000)}far` });
    expect([matches(long, "message~near"), matches(long, "message~far"), matches(long, "far")]).toEqual([
      true,
      false,
      true,
    ]);
  });
});

describe("any entries in one run", () => {
  const words = fc.constantFrom(
    "timed out",
    "connection refused",
    "myapp",
    "x",
    "é",
    "ä€😀",
    "INFO",
    "error3",
    "0",
    "1",
  );
  const keys = fc.constantFrom(
    "myapp",
    "x",
    "message",
    "level",
    "application",
    "line_number",
    "trace_id",
    "timestamp",
    "fields.level",
  );
  const term = fc.oneof(
    words,
    words.map((word) => `-${word}`),
    fc.tuple(keys, fc.constantFrom("=", "!=", "~", "!~"), words).map((parts) => parts.join("")),
    fc
      .tuple(
        fc.constantFrom("x", "line_number", "timestamp", "severity_number", "trace_flags"),
        fc.constantFrom(">", ">=", "<", "<="),
        fc.integer(),
      )
      .map((parts) => parts.join("")),
    fc
      .tuple(fc.constantFrom("level>=", "level<", "level=", "level!="), fc.constantFrom("warn", "info2", "FATAL"))
      .map((parts) => parts.join("")),
  );

  test("match on their bytes exactly when they match decoded", () => {
    let matched = 0;
    fc.assert(
      fc.property(
        fc.array(producerEntry, { minLength: 1, maxLength: 8 }),
        fc.array(term, { minLength: 1, maxLength: 3 }),
        (entries, filters) => {
          const terms = parseFilters(filters, DEFAULT_LIMITS);
          const matcher = new EntryMatcher(terms);
          const frames = entries.map((entry) => frameOf(toBinary(LogEntrySchema, entry)));
          const run = Buffer.concat(frames);
          let at = 0;
          for (const frame of frames) {
            const expected = matchesPlainly(fromBinary(LogEntrySchema, frame.subarray(5)), terms);
            expect(matcher.matches(run, at, at + frame.length)).toBe(expected);
            if (expected) matched++;
            at += frame.length;
          }
        },
      ),
      { numRuns: 1500 },
    );
    expect(matched).toBeGreaterThan(500);
  });
});

test("the sequence of an entry is found in its frame", () => {
  const frame = frameOf(toBinary(LogEntrySchema, sample));
  const padded = Buffer.concat([Buffer.alloc(3), frame, Buffer.alloc(3)]);
  expect(new EntryMatcher([]).sequenceOf(padded, 3, 3 + frame.length)).toBe(7);
});

test("a finder says where a text lies, whatever order it is asked in", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 30 }),
      fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 3 }),
      fc.array(fc.tuple(fc.nat(30), fc.nat(30)), { maxLength: 10 }),
      (text, sought, ranges) => {
        const bytes = Buffer.from(text);
        const finder = new Finder(sought);
        for (const [a, b] of ranges) {
          const [start, end] = [Math.min(a, b, text.length), Math.min(Math.max(a, b), text.length)];
          expect(finder.isWithin(bytes, start, end)).toBe(text.slice(start, end).includes(sought));
        }
      },
    ),
  );
});
