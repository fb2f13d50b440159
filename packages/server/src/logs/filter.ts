// Filter terms of a request, parsed: what they mean is written in logs.proto at LogStreamRequest.filters.
//
//   term     = text | "-" text | key operator value
//   text     = quoted | anything that is no other term
//   operator = "=" | "!=" | "~" | "!~" | ">" | ">=" | "<" | "<="
//   key      = letter or _, then letters, digits and _ . - / @      or quoted
//   value    = quoted | the rest of the term
//   quoted   = " … ", with \" and \\ inside
import type { RE2JS } from "re2js";
import type { FieldViolation } from "../errors.ts";
import { InvalidRequest } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { BadExpression, ExpressionCompiler } from "./filter-expression.ts";
import { findSeverity, LEVEL_HINT } from "./severity.ts";

/** Keys that mean the entry's own fields, with the form in which each is compared. */
export const OWN_KEYS = {
  timestamp: "int64",
  level: "level",
  application: "text",
  message: "text",
  source_file: "text",
  line_number: "int32",
  sequence: "int64",
  observed_timestamp: "int64",
  producer: "text",
  producer_sequence: "int64",
  severity_number: "int32",
  trace_id: "hex",
  span_id: "hex",
  trace_flags: "uint32",
  event_name: "text",
} as const;

export type OwnKey = keyof typeof OWN_KEYS;

/** What a term looks at. */
export type Key = { readonly kind: "own"; readonly name: OwnKey } | { readonly kind: "field"; readonly name: string };

export type Comparison = ">" | ">=" | "<" | "<=";

export type FilterTerm =
  | { readonly kind: "text"; readonly text: string; readonly isNegated: boolean }
  | { readonly kind: "equal"; readonly key: Key; readonly value: string; readonly isNegated: boolean }
  | { readonly kind: "regex"; readonly key: Key; readonly expression: RE2JS; readonly isNegated: boolean }
  | { readonly kind: "compare"; readonly key: Key; readonly operator: Comparison; readonly operand: bigint | number }
  | { readonly kind: "level"; readonly operator: Comparison | "=" | "!="; readonly severity: number };

/** Parses the terms of a request; all must hold. @throws InvalidRequest that names each bad one by its index */
export function parseFilters(filters: readonly string[], limits: Limits): FilterTerm[] {
  if (filters.length > limits.filtersMax) {
    throw new InvalidRequest("TOO_MANY_FILTERS", [
      { field: "filters", description: `has ${filters.length} terms: the limit is ${limits.filtersMax}` },
    ]);
  }
  const terms: FilterTerm[] = [];
  const compiler = new ExpressionCompiler();
  const violations: FieldViolation[] = [];
  for (const [index, filter] of filters.entries()) {
    try {
      terms.push(parseTerm(filter, limits, compiler));
    } catch (error) {
      if (!(error instanceof BadTerm || error instanceof BadExpression)) throw error;
      violations.push({ field: `filters[${index}]`, description: error.message });
    }
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_FILTER", violations);
  compiler.boundCaches();
  return terms;
}

/** The same text for filters that say the same, in whatever order and spelling. */
export function filterKey(terms: readonly FilterTerm[]): string {
  const texts = terms.map((term) =>
    JSON.stringify(
      term.kind === "regex" ? { ...term, expression: term.expression.pattern() } : term,
      (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value),
    ),
  );
  return [...new Set(texts)].toSorted().join("\n");
}

/** Why one term cannot be understood; `parseFilters` knows which it is. */
class BadTerm extends Error {}

const KEY_TERM = /^([A-Za-z_][\w.\-/@]*)(!=|!~|>=|<=|=|~|>|<)(.*)$/s;
const QUOTED = /^"((?:[^"\\]|\\.)*)"(.*)$/s;
const OPERATOR = /^(!=|!~|>=|<=|=|~|>|<)(.*)$/s;

function parseTerm(filter: string, limits: Limits, compiler: ExpressionCompiler): FilterTerm {
  const size = Buffer.byteLength(filter);
  if (size > limits.filterBytesMax) throw new BadTerm(`has ${size} bytes: the limit is ${limits.filterBytesMax}`);
  if (filter === "") throw new BadTerm("is empty");
  if (filter.startsWith('"')) return parseQuotedTerm(filter, compiler);
  if (filter.startsWith("-")) return { kind: "text", text: parseNegatedText(filter.slice(1)), isNegated: true };
  const [, name, operator, rest] = KEY_TERM.exec(filter) ?? [];
  if (name === undefined || operator === undefined || rest === undefined) {
    return { kind: "text", text: filter, isNegated: false };
  }
  return parseKeyTerm({ key: parseKey(name), operator: operator as Operator, rest }, compiler);
}

function parseQuotedTerm(filter: string, compiler: ExpressionCompiler): FilterTerm {
  const { text, rest } = unquote(filter);
  if (rest === "") return { kind: "text", text: nonEmpty(text), isNegated: false };
  const [, operator, value] = OPERATOR.exec(rest) ?? [];
  if (operator === undefined || value === undefined) {
    throw new BadTerm(`after the closing quote stands neither an operator nor the end; write \\" for a quote inside`);
  }
  return parseKeyTerm({ key: { kind: "field", name: text }, operator: operator as Operator, rest: value }, compiler);
}

function parseNegatedText(rest: string): string {
  if (rest.startsWith('"')) return nonEmpty(parseValue(rest));
  const [, name, operator] = KEY_TERM.exec(rest) ?? [];
  if (name !== undefined && (operator === "=" || operator === "~")) {
    throw new BadTerm(`to exclude a value write ${name}!${operator}…; to exclude this text put it in quotes`);
  }
  return nonEmpty(rest);
}

type Operator = Comparison | "=" | "!=" | "~" | "!~";

interface KeyTerm {
  readonly key: Key;
  readonly operator: Operator;
  /** What stands behind the operator. */
  readonly rest: string;
}

function parseKeyTerm({ key, operator, rest }: KeyTerm, compiler: ExpressionCompiler): FilterTerm {
  if ((operator === "=" && /^[=~]/.test(rest)) || (operator === "~" && rest.startsWith("="))) {
    throw new BadTerm(`"${operator}${rest[0]}" is no operator: use = != ~ !~ > >= < <=, or put the value in quotes`);
  }
  const value = parseValue(rest);
  const severity = key.kind === "own" && OWN_KEYS[key.name] === "level" ? findSeverity(value) : undefined;
  switch (operator) {
    case "=":
    case "!=":
      if (severity !== undefined) return { kind: "level", operator, severity };
      return { kind: "equal", key, value: normalised(key, value), isNegated: operator === "!=" };
    case "~":
    case "!~":
      return { kind: "regex", key, expression: compiler.compile(value), isNegated: operator === "!~" };
    default:
      if (severity !== undefined) return { kind: "level", operator, severity };
      if (key.kind === "own" && key.name === "level") throw new BadTerm(`"${value}" is no level; ${LEVEL_HINT}`);
      return { kind: "compare", key, operator, operand: parseOperand(value) };
  }
}

function parseKey(name: string): Key {
  if (Object.hasOwn(OWN_KEYS, name)) return { kind: "own", name: name as OwnKey };
  return { kind: "field", name: name.startsWith("fields.") ? name.slice("fields.".length) : name };
}

function parseValue(text: string): string {
  if (!text.startsWith('"')) return text;
  const value = unquote(text);
  if (value.rest !== "") throw new BadTerm(`after the closing quote stands more; write \\" for a quote inside`);
  return value.text;
}

function unquote(quoted: string): { text: string; rest: string } {
  const [, inside, rest] = QUOTED.exec(quoted) ?? [];
  if (inside === undefined || rest === undefined) throw new BadTerm("the closing quote is missing");
  return { text: inside.replaceAll(/\\(["\\])/g, "$1"), rest };
}

function nonEmpty(text: string): string {
  if (text === "") throw new BadTerm("has no text to look for");
  return text;
}

/** Identifiers are compared as lower-case hexadecimal. */
function normalised(key: Key, value: string): string {
  return key.kind === "own" && OWN_KEYS[key.name] === "hex" ? value.toLowerCase() : value;
}

/** A decimal number, exact where it is an integer; undefined for anything else. */
export function parseNumber(text: string): bigint | number | undefined {
  if (!/^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/.test(text)) return undefined;
  return text.length > 15 && /^[+-]?\d+$/.test(text) ? BigInt(text.replace("+", "")) : Number(text);
}

function parseOperand(value: string): bigint | number {
  const operand = parseNumber(value);
  if (operand === undefined) throw new BadTerm(`"${value}" is no number`);
  return operand;
}
