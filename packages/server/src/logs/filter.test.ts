import { describe, expect, test } from "vitest";
import { InvalidRequest } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { weightOf } from "./filter-expression.ts";
import { type FilterTerm, parseFilters, parseNumber } from "./filter.ts";

function parse(...filters: string[]): FilterTerm[] {
  return parseFilters(filters, DEFAULT_LIMITS);
}

function violationsOf(...filters: string[]): readonly { field: string; description: string }[] {
  try {
    parse(...filters);
  } catch (error) {
    if (error instanceof InvalidRequest) return error.facts.violations ?? [];
    throw error;
  }
  return [];
}

const field = (name: string): { kind: "field"; name: string } => ({ kind: "field", name });
const own = (name: string): { kind: "own"; name: string } => ({ kind: "own", name });

describe("a term", () => {
  test.each([
    ["timeout", { kind: "text", text: "timeout", isNegated: false }],
    ["connection refused", { kind: "text", text: "connection refused", isNegated: false }],
    ["GET /users?id=5", { kind: "text", text: "GET /users?id=5", isNegated: false }],
    ["-timeout", { kind: "text", text: "timeout", isNegated: true }],
    ["--dry-run", { kind: "text", text: "-dry-run", isNegated: true }],
    ['"k=v"', { kind: "text", text: "k=v", isNegated: false }],
    ['"say \\"hi\\" \\\\ \\n"', { kind: "text", text: 'say "hi" \\ \\n', isNegated: false }],
    ['-"k=v"', { kind: "text", text: "k=v", isNegated: true }],
    ["user=u-1", { kind: "equal", key: field("user"), value: "u-1", isNegated: false }],
    ["user!=u-1", { kind: "equal", key: field("user"), value: "u-1", isNegated: true }],
    ["user=", { kind: "equal", key: field("user"), value: "", isNegated: false }],
    ['user="a b"', { kind: "equal", key: field("user"), value: "a b", isNegated: false }],
    ["q=a=b", { kind: "equal", key: field("q"), value: "a=b", isNegated: false }],
    ["http.status/code-x@y=5", { kind: "equal", key: field("http.status/code-x@y"), value: "5", isNegated: false }],
    ['"my key"=v', { kind: "equal", key: field("my key"), value: "v", isNegated: false }],
    ["message=m", { kind: "equal", key: own("message"), value: "m", isNegated: false }],
    ["fields.message=m", { kind: "equal", key: field("message"), value: "m", isNegated: false }],
    ['"message"=m', { kind: "equal", key: field("message"), value: "m", isNegated: false }],
    ["trace_id=ABCDEF", { kind: "equal", key: own("trace_id"), value: "abcdef", isNegated: false }],
    ["level=warning", { kind: "level", operator: "=", severity: 13 }],
    ["level!=INFO", { kind: "level", operator: "!=", severity: 9 }],
    ["level>=error", { kind: "level", operator: ">=", severity: 17 }],
    ["level=loud", { kind: "equal", key: own("level"), value: "loud", isNegated: false }],
    ["fields.level=warn", { kind: "equal", key: field("level"), value: "warn", isNegated: false }],
    ["took>35", { kind: "compare", key: field("took"), operator: ">", operand: 35 }],
    ["took>=-3.5e2", { kind: "compare", key: field("took"), operator: ">=", operand: -350 }],
    ["took<.5", { kind: "compare", key: field("took"), operator: "<", operand: 0.5 }],
    [
      "timestamp<=1760000000000000001",
      { kind: "compare", key: own("timestamp"), operator: "<=", operand: 1760000000000000001n },
    ],
  ])("%s", (filter, expected) => {
    expect(parse(filter)).toEqual([expected]);
  });

  test.each([
    ["message~^a.*b$", "message", false],
    ["message!~(?i)error", "message", true],
    ['path~"\\\\d+ x"', "path", false],
  ])("%s", (filter, name, isNegated) => {
    const [term] = parse(filter);
    expect(term).toMatchObject({ kind: "regex", key: { name }, isNegated });
  });
});

describe("a bad term", () => {
  test.each([
    ["", "is empty"],
    ["-", "no text"],
    ['""', "no text"],
    ['"open', "closing quote is missing"],
    ['"a" b', "neither an operator nor the end"],
    ['k="a" b', "after the closing quote"],
    ["-k=v", "write k!=…"],
    ["-k~v", "write k!~…"],
    ["k==v", "no operator"],
    ["k=~v", "no operator"],
    ["k~=v", "no operator"],
    ["k>", "is no number"],
    ["k>fast", "is no number"],
    ["k<0x10", "is no number"],
    ["k<Infinity", "is no number"],
    ["level>loud", "TRACE, DEBUG"],
    ["k~(", "missing closing )"],
    ["k~a**(", "RE2 syntax"],
    ["k~(?=x)", "RE2 syntax"],
    ["k~a{1001}", "RE2 syntax"],
    ["k~(?:a{1000}){2}", "weigh"],
    ["k~(a{30}){70}", "weigh"],
    ["k~a{999,}b{999,}", "weigh"],
    ["k~\\pL{300}", "weigh"],
    [`k~${"\\PN".repeat(90)}`, "weigh"],
    ["k~(?i)[a-\\x{1E943}]", "weigh"],
    ["k~(?s-i:x)(?i:[a-\u{1e943}])", "weigh"],
    ["k~(?:[a-z]{500}){1}(?:[0-9]{600}){1}", "instructions"],
    ["x".repeat(4097), "4097 bytes: the limit is 4096"],
  ])("%s", (filter, description) => {
    const violations = violationsOf(filter);
    expect(violations).toHaveLength(1);
    expect(violations[0]!.field).toBe("filters[0]");
    expect(violations[0]!.description).toContain(description);
  });

  test("is named by its index, each of several", () => {
    expect(violationsOf("fine", "k>x", "also fine", "k~(").map(({ field }) => field)).toEqual([
      "filters[1]",
      "filters[3]",
    ]);
  });

  test("is refused together with too many others", () => {
    const filters = Array.from({ length: 65 }, (_, i) => `t${i}`);
    expect(violationsOf(...filters)).toEqual([{ field: "filters", description: "has 65 terms: the limit is 64" }]);
    expect(parse(...filters.slice(1))).toHaveLength(64);
  });
});

test("the expressions of one request are weighed together, before they are compiled", () => {
  const filters = Array.from({ length: 64 }, (_, i) => `k~(?i)time(d )?out|user-${i}|[а-я]{1,8}`);
  expect(violationsOf(...filters.slice(0, 20))).toEqual([]);
  const violations = violationsOf(...filters);
  expect(violations[0]!.description).toMatch(
    /^the expressions of this request weigh 20\d\d with this one: the limit is 2000/,
  );
  expect(violations.length).toBeGreaterThan(10);
});

test.each([
  "x{500}y{400,}",
  "(a{9}|b?){50}",
  "(?:(?:ab){3}){5,7}",
  "\\pL{20}[^\\PN]{3,9}",
  "(a|b*)+?(?i)k[a-z]{4}",
  "\\Q){9}\\E",
])("what %s compiles to is no more than it weighs", (source) => {
  const [term] = parse(`k~${source}`);
  const size = term?.kind === "regex" ? term.expression.programSize() : Number.NaN;
  expect(size).toBeLessThanOrEqual(weightOf(source) + 4);
});

test("expressions of one request share a bounded cache of states", () => {
  const terms = parse(...Array.from({ length: 64 }, (_, i) => `k~a${i}(b|c)*`));
  const budgets = terms.map((term) => (term.kind === "regex" ? term.expression.re2().dfa.stateBudget : 0));
  expect(budgets.reduce((sum, budget) => sum + budget, 0)).toBeLessThanOrEqual(8 * 1024 * 1024);
});

test.each([
  ["5", 5],
  ["+5", 5],
  ["-0.25", -0.25],
  ["5.", 5],
  ["1e3", 1000],
  ["12345678901234567890", 12345678901234567890n],
  ["-9007199254740993", -9007199254740993n],
  ["+9007199254740993", 9007199254740993n],
  ["", undefined],
  [".", undefined],
  ["1 ", undefined],
  ["0x1", undefined],
  ["NaN", undefined],
  ["1_000", undefined],
])("the number in %j is %s", (text, number) => {
  expect(parseNumber(text)).toBe(number);
});
