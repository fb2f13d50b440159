import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LogEntrySchema, LogStreamRequestSchema } from "@sluice/api";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { impossibility } from "./impossible.ts";
import { type LogQuery, parseLogQuery } from "./query.ts";
import { matchesPlainly } from "./testing/plain-match.ts";

function parse(init: MessageInitShape<typeof LogStreamRequestSchema>): LogQuery {
  const defaults = { hasControls: true, heartbeatMs: 0, hasBatches: false };
  return parseLogQuery(create(LogStreamRequestSchema, init), DEFAULT_LIMITS, defaults);
}

test.each<[string, MessageInitShape<typeof LogStreamRequestSchema>]>([
  ["no time between", { startTimestamp: 5n, endTimestamp: 5n }],
  ["at least ERROR", { logLevel: "ERROR", filters: ["level<warn"] }],
  ["level", { filters: ["level>=error", "level<error"] }],
  ["level", { filters: ["level=info", "level=warn"] }],
  ["level", { filters: ["level>fatal4"] }],
  ["timed", { filters: ["timed out", "-time"] }],
  ["fields.user", { filters: ["user=a", "user=b"] }],
  ["fields.user", { filters: ["user=a", "user!=a"] }],
  ["fields.user", { filters: ["user=abc", "user~^x"] }],
  ["fields.user", { filters: ["user=abc", "user!~b"] }],
  ["fields.user", { filters: ["user=abc", "user>1"] }],
  ["fields.took", { filters: ["took>5", "took<5"] }],
  ["fields.took", { filters: ["took>=5", "took<5"] }],
  ["line_number", { filters: ["line_number>9", "line_number<=3"] }],
  ["application", { application: "shop", filters: ["application=cart"] }],
  ["application", { applications: ["a", "b"], filters: ["application!=a", "application!=b"] }],
])("says so: %s", (what, init) => {
  expect(impossibility(parse(init))).toContain(what);
});

test.each<MessageInitShape<typeof LogStreamRequestSchema>>([
  {},
  { startTimestamp: 5n, endTimestamp: 6n },
  { logLevel: "ERROR", filters: ["level>=warn", "level!=error"] },
  { filters: ["level!=info"] },
  { filters: ["time", '-"timed out"'] },
  { filters: ["user=a", "name=b"] },
  { filters: ["user=", "user!=a"] },
  { filters: ["took>=5", "took<=5"] },
  { filters: ["took>5", "took<6"] },
  { application: "shop", filters: ["application~^s"] },
])("says nothing of what may match: %o", (init) => {
  expect(impossibility(parse(init))).toBeUndefined();
});

test("never says it of a query that an entry matches", () => {
  const value = fc.constantFrom("", "1", "2", "3", "ab");
  const operator = fc.constantFrom("=", "!=", "~", "!~");
  const comparison = fc.constantFrom(">", ">=", "<", "<=");
  const number = fc.constantFrom("1", "2", "3");
  const level = fc.constantFrom("info", "warn", "error", "fatal4");
  const term = fc.oneof(
    fc.tuple(fc.constantFrom("k", "application", "line_number"), operator, value).map((parts) => parts.join("")),
    fc.tuple(fc.constantFrom("k", "line_number"), comparison, number).map((parts) => parts.join("")),
    fc
      .tuple(fc.constant("level"), fc.oneof(comparison, fc.constantFrom("=", "!=")), level)
      .map((parts) => parts.join("")),
    fc.constantFrom("a", "ab", "-a", "-b", "-ab"),
  );
  const entry = fc.record({
    application: value,
    message: fc.constantFrom("", "a", "b", "ab", "ba"),
    severityNumber: fc.constantFrom(0, 9, 13, 17, 24),
    lineNumber: fc.integer({ min: 0, max: 3 }),
    k: value,
  });
  let said = 0;
  fc.assert(
    fc.property(
      fc.array(term, { maxLength: 4 }),
      fc.constantFrom("", "warn"),
      fc.array(entry),
      (filters, logLevel, all) => {
        const query = parse({ filters, logLevel });
        if (impossibility(query) === undefined) return;
        said++;
        for (const { k, ...init } of all) {
          const candidate = create(LogEntrySchema, { ...init, fields: k === "" ? {} : { k } });
          expect(matchesPlainly(candidate, query.terms) && candidate.severityNumber >= query.minSeverity).toBe(false);
        }
      },
    ),
    { numRuns: 1000 },
  );
  expect(said).toBeGreaterThan(100);
});
