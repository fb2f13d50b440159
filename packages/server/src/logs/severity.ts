// Severity: OpenTelemetry's 24 numbers, and the names that programs use for them
// (https://opentelemetry.io/docs/specs/otel/logs/data-model/#severity-fields).
import { InvalidRequest } from "../errors.ts";

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"] as const;

/** Smallest number of each level; 0 is "unspecified". */
export const Severity = {
  UNSPECIFIED: 0,
  TRACE: 1,
  DEBUG: 5,
  INFO: 9,
  WARN: 13,
  ERROR: 17,
  FATAL: 21,
  MAX: 24,
} as const;

/** Names by number: "", "TRACE", "TRACE2", … "FATAL4". */
const names: readonly string[] = ["", ...LEVELS.flatMap((level) => [level, `${level}2`, `${level}3`, `${level}4`])];

const numbers: ReadonlyMap<string, number> = new Map([
  ...names.slice(1).map((name, index): [string, number] => [name, index + 1]),
  ["WARNING", Severity.WARN],
]);

/**
 * What programs write beside those names, read as the data model's appendix B reads syslog and its like. Only entries
 * may use them: a request names one of the 24.
 */
const foreign: ReadonlyMap<string, number> = new Map([
  ["VERBOSE", Severity.DEBUG],
  ["INFORMATION", Severity.INFO],
  ["NOTICE", Severity.INFO + 1],
  ["ERR", Severity.ERROR],
  ["CRITICAL", Severity.ERROR + 1],
  ["CRIT", Severity.ERROR + 1],
  ["ALERT", Severity.ERROR + 2],
  ["EMERGENCY", Severity.FATAL],
  ["EMERG", Severity.FATAL],
  ["PANIC", Severity.FATAL],
]);

/** The name of a severity number; "" when it is none of 1 to 24. */
export function severityName(number: number): string {
  return names[number] ?? "";
}

/** The number of one of the 24 names (or WARNING) in any case; undefined when it is none. */
export function findSeverity(name: string): number | undefined {
  return numbers.get(name.toUpperCase());
}

/** The number behind the level of an entry; 0 when the level says none. */
export function severityOfLevel(level: string): number {
  const name = level.trim().toUpperCase();
  return numbers.get(name) ?? foreign.get(name) ?? Severity.UNSPECIFIED;
}

/** The number of the level that a request names; empty means all: 0. @throws InvalidRequest that lists the levels. */
export function parseSeverity(name: string, field: string): number {
  if (name === "") return Severity.UNSPECIFIED;
  const number = findSeverity(name);
  if (number === undefined) {
    throw new InvalidRequest("UNKNOWN_LEVEL", [
      { field, description: `"${shorten(name)}" is no level; ${LEVEL_HINT}` },
    ]);
  }
  return number;
}

/** For error messages. */
export const LEVEL_HINT = `use one of ${LEVELS.join(", ")} (or WARNING), each also with 2, 3 or 4 behind it, in any case`;

function shorten(text: string): string {
  return text.length <= 64 ? text : `${text.slice(0, 64)}…`;
}
