// Finds out, before a reader waits for ever, that nothing can match what it asked for. Only what is certain is said: what
// is not found here may still match nothing.
import { type Comparison, type FilterTerm, parseNumber } from "./filter.ts";
import type { LogQuery } from "./query.ts";
import { severityName } from "./severity.ts";

const SEVERITY_MAX = 24;

/** Why no entry can ever match, in words; undefined: some may. */
export function impossibility(query: LogQuery): string | undefined {
  const { startTimestamp: start, endTimestamp: end, terms, minSeverity, applications } = query;
  if (start !== undefined && end === start) return "start_timestamp and end_timestamp leave no time between them";
  return (
    impossibleLevel(terms, minSeverity) ??
    impossibleText(terms) ??
    impossibleValue(terms) ??
    impossibleApplication(terms, applications)
  );
}

/** There are few levels: each is tried. */
function impossibleLevel(terms: readonly FilterTerm[], minSeverity: number): string | undefined {
  for (let severity = minSeverity; severity <= SEVERITY_MAX; severity++) {
    if (terms.every((term) => term.kind !== "level" || levelHolds(term.operator, severity, term.severity))) {
      return undefined;
    }
  }
  const least = minSeverity === 0 ? "" : `at least ${severityName(minSeverity)} and `;
  return `no level is ${least}what the terms of level ask for`;
}

function impossibleText(terms: readonly FilterTerm[]): string | undefined {
  const texts = terms.filter((term) => term.kind === "text");
  for (const wanted of texts.filter((term) => !term.isNegated)) {
    const refused = texts.find((term) => term.isNegated && wanted.text.includes(term.text));
    if (refused !== undefined) return `whatever has "${wanted.text}" has "${refused.text}" too, which is excluded`;
  }
  return undefined;
}

type ValueTerm = Extract<FilterTerm, { readonly key: unknown }>;

/** A value that must be equal is tried with the other terms of its key; without one, ranges are laid over each other. */
function impossibleValue(terms: readonly FilterTerm[]): string | undefined {
  for (const [name, own] of byKey(terms)) {
    const equal = own.find((term) => term.kind === "equal" && !term.isNegated);
    const isImpossible =
      equal?.kind === "equal"
        ? own.some((term) => !valueHolds(term, equal.value))
        : own.some((low) => own.some((high) => isEmptyRange(low, high)));
    if (isImpossible) return `the terms of ${name} contradict each other`;
  }
  return undefined;
}

function impossibleApplication(terms: readonly FilterTerm[], names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined;
  const own = terms.filter(isValueTerm).filter(({ key }) => key.kind === "own" && key.name === "application");
  if (names.some((name) => own.every((term) => valueHolds(term, name)))) return undefined;
  return "the terms of application exclude all applications that are asked for";
}

function byKey(terms: readonly FilterTerm[]): Map<string, ValueTerm[]> {
  const keys = new Map<string, ValueTerm[]>();
  for (const term of terms.filter(isValueTerm)) {
    const name = term.key.kind === "own" ? term.key.name : `fields.${term.key.name}`;
    keys.set(name, [...(keys.get(name) ?? []), term]);
  }
  return keys;
}

function isValueTerm(term: FilterTerm): term is ValueTerm {
  return "key" in term;
}

function valueHolds(term: ValueTerm, value: string): boolean {
  switch (term.kind) {
    case "equal":
      return (term.value === value) !== term.isNegated;
    case "regex":
      return term.expression.test(value) !== term.isNegated;
    case "compare": {
      const number = parseNumber(value);
      return number !== undefined && compareHolds(term.operator, number, term.operand);
    }
    default:
      return term satisfies never;
  }
}

/** Whether no number is above the one and below the other. */
function isEmptyRange(low: ValueTerm, high: ValueTerm): boolean {
  if (low.kind !== "compare" || high.kind !== "compare") return false;
  if (!low.operator.startsWith(">") || !high.operator.startsWith("<")) return false;
  const isClosed = low.operator === ">=" && high.operator === "<=";
  return low.operand > high.operand || (low.operand >= high.operand && !isClosed);
}

/** An entry without a level is in no range of levels. */
function levelHolds(operator: Comparison | "=" | "!=", severity: number, operand: number): boolean {
  if (operator === "=") return severity === operand;
  if (operator === "!=") return severity !== operand;
  return severity !== 0 && compareHolds(operator, severity, operand);
}

function compareHolds(operator: Comparison, value: bigint | number, operand: bigint | number): boolean {
  if (value > operand) return operator === ">" || operator === ">=";
  if (value < operand) return operator === "<" || operator === "<=";
  return operator === ">=" || operator === "<=";
}
