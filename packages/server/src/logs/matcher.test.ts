import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import fc from "fast-check";
import { RE2JS } from "re2js";
import { describe, expect, inject, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { Effort } from "./effort.ts";
import { parseFilters } from "./filter.ts";
import { Finder } from "./finder.ts";
import { ExpressionSearch } from "./matcher-expression.ts";
import { EntryMatcher } from "./matcher.ts";
import { producerEntry } from "./testing/arbitrary-entries.ts";
import { arbitraryTerm } from "./testing/arbitrary-terms.ts";
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
  return ask(new EntryMatcher(parseFilters(filters, DEFAULT_LIMITS)), frameOf(toBinary(LogEntrySchema, entry))).holds;
}

/** The answer for the frame `bytes[start..end)`, however often the matcher pauses. */
function ask(
  matcher: EntryMatcher,
  bytes: Uint8Array,
  [start, end] = [0, bytes.length],
): { holds: boolean; pauses: number } {
  for (let pauses = 0; ; pauses++) {
    const holds = matcher.matches(bytes, start, end);
    if (holds !== undefined) return { holds, pauses };
  }
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
      ask(new EntryMatcher(parseFilters(filters, DEFAULT_LIMITS)), frame).holds;
    expect([isMatch("second", "k=second", "line_number=2"), isMatch("first"), isMatch("k=first")]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test("characters of a long value that are cut in two do not count", () => {
    const long = create(LogEntrySchema, { message: `${"x".repeat(65_535)}é` });
    expect([matches(long, "message~x$"), matches(long, "message~[^x]")]).toEqual([true, false]);
    const fits = create(LogEntrySchema, { message: `${"x".repeat(65_534)}é` });
    expect([matches(fits, "message~xé$"), matches(fits, "message~[^x]")]).toEqual([true, true]);
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
  test("match on their bytes exactly when they match decoded", () => {
    let matched = 0;
    fc.assert(
      fc.property(
        fc.array(producerEntry, { minLength: 1, maxLength: 8 }),
        fc.array(arbitraryTerm, { minLength: 1, maxLength: 3 }),
        (entries, filters) => {
          const terms = parseFilters(filters, DEFAULT_LIMITS);
          const matcher = new EntryMatcher(terms);
          const frames = entries.map((entry) => frameOf(toBinary(LogEntrySchema, entry)));
          const run = Buffer.concat(frames);
          let at = 0;
          for (const frame of frames) {
            const expected = matchesPlainly(fromBinary(LogEntrySchema, frame.subarray(5)), terms);
            expect(ask(matcher, run, [at, at + frame.length]).holds).toBe(expected);
            if (expected) matched++;
            at += frame.length;
          }
        },
      ),
      { numRuns: Math.ceil(1500 * inject("propertyScale")) },
    );
    expect(matched).toBeGreaterThan(500 * inject("propertyScale"));
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
        const effort = new Effort();
        for (const [a, b] of ranges) {
          const [start, end] = [Math.min(a, b, text.length), Math.min(Math.max(a, b), text.length)];
          expect(finder.isWithin(bytes, start, end, effort)).toBe(text.slice(start, end).includes(sought));
        }
      },
    ),
  );
});

describe("whatever the filter and the entry are, matching pauses", () => {
  const message = (text: string): Uint8Array =>
    frameOf(toBinary(LogEntrySchema, create(LogEntrySchema, { message: text })));

  test("in an expression whose states never come again, after a bounded number of steps", () => {
    const [term] = parseFilters(["message~[ab]*a[ab]{400}[^x]*c"], DEFAULT_LIMITS);
    if (term?.kind !== "regex") throw new Error("This is no expression");
    const { dfa } = term.expression.re2();
    let instructions = 0;
    const step = dfa.step.bind(dfa);
    dfa.step = (state: { nfaStates: unknown[] }, ...rest: [number, number, number]) => {
      instructions += state.nfaStates.length;
      return step(state, ...rest) as unknown;
    };
    const matcher = new EntryMatcher([term]);
    const random = fc.sample(fc.integer({ min: 0, max: 0xffff }), { numRuns: 500, seed: 7 });
    const frame = message(
      `${random.map((bits) => bits.toString(2).replaceAll("0", "a").replaceAll("1", "b")).join("")}c`,
    );
    let most = 0;
    let pauses = 0;
    for (let holds: boolean | undefined; holds === undefined; pauses++) {
      instructions = 0;
      holds = matcher.matches(frame, 0, frame.length);
      most = Math.max(most, instructions);
    }
    expect(pauses).toBeGreaterThan(100);
    expect(most).toBeLessThan(6000);
  });

  test("in a text that nearly fits everywhere", () => {
    // Of its bytes "a" is the rarer one, so that is what is looked for.
    const text = "a".repeat(2000);
    const filter = `${text}e${text}`;
    const matcher = new EntryMatcher(parseFilters([filter], DEFAULT_LIMITS));
    const missing = ask(matcher, message("a".repeat(500_000)));
    expect(missing.holds).toBe(false);
    expect(missing.pauses).toBeGreaterThan(500);
    expect(ask(matcher, message(`${"a".repeat(50_000)}${filter}c`)).holds).toBe(true);
  });

  test("among many fields whose names nearly are the wanted ones", () => {
    const key = (i: number): string => `${"k".repeat(50)}${String(i).padStart(4, "0")}`;
    const fields = Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [key(i), "v"]));
    const frame = frameOf(toBinary(LogEntrySchema, create(LogEntrySchema, { fields })));
    const filters = Array.from({ length: 64 }, (_, i) => `${key(1023 - i)}=v`);
    const found = ask(new EntryMatcher(parseFilters(filters, DEFAULT_LIMITS)), frame);
    expect(found.holds).toBe(true);
    expect(found.pauses).toBeGreaterThan(5);
  });

  test("and what it found before a pause is not lost, in a run of many entries", () => {
    const texts = ["b", "needle", "x".repeat(70_000), `${"y".repeat(200_000)} needle`, "needle", "é".repeat(40_000)];
    const frames = texts.map((text) => message(text));
    const run = Buffer.concat(frames);
    for (const [filter, expected] of [
      ["needle", [false, true, false, true, true, false]],
      ["-needle", [true, false, true, false, false, true]],
      ["message~[xé]{900}|e$", [false, true, true, false, true, true]],
      ["message!~[xé]{900}|e$", [true, false, false, true, false, false]],
    ] as const) {
      const matcher = new EntryMatcher(parseFilters([filter], DEFAULT_LIMITS));
      let at = 0;
      const found = frames.map((frame) => {
        at += frame.length;
        return ask(matcher, run, [at - frame.length, at]).holds;
      });
      expect(found).toEqual(expected);
    }
  });
});

test("an expression is found as re2js finds it, in pieces and after its states were forgotten", () => {
  const atom = fc.constantFrom(
    "a",
    "b",
    "é",
    "😀",
    ".",
    "[^a]",
    "\\w",
    "\\b",
    "\\B",
    "^",
    "$",
    "\\pL",
    "(?i:A)",
    "\\n",
    "(?m:^)",
    "(?m:$)",
    "\\z",
  );
  const expression = fc
    .array(fc.tuple(atom, fc.constantFrom("", "", "*", "+?", "{2,3}", "|", "|")), { minLength: 1, maxLength: 6 })
    .map((parts) => parts.map(([one, more]) => (more === "|" ? `${one}|` : `(?:${one})${more}`)).join(""));
  const text = fc.string({ unit: fc.constantFrom("a", "b", "A", " ", "é", "😀", "\n", "_", "k"), maxLength: 40 });
  const effort = new Effort();
  fc.assert(
    fc.property(expression, fc.array(text, { minLength: 1, maxLength: 6 }), fc.boolean(), (source, texts, isTight) => {
      const compiled = RE2JS.compile(source);
      const search = new ExpressionSearch(compiled);
      const { dfa } = compiled.re2();
      if (isTight) dfa.stateBudget = dfa.memBudget = dfa.numClasses > 100 ? 60_000 : 3000;
      for (const each of texts) {
        const bytes = Buffer.from(`--${each}--`);
        let holds: boolean | undefined;
        while (holds === undefined) {
          effort.left = 1;
          holds = search.test(bytes, 2, bytes.length - 2, effort);
        }
        expect(holds, source).toBe(RE2JS.compile(source).test(each));
      }
    }),
    { numRuns: Math.ceil(2000 * inject("propertyScale")) },
  );
});
