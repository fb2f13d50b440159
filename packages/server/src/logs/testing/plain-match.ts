// Filter terms applied to a decoded entry, as plainly as they can be written.
import type { LogEntry } from "@sluice/api";
import type { Comparison, FilterTerm, Key } from "../filter.ts";
import { parseNumber } from "../filter.ts";

export function matchesPlainly(entry: LogEntry, terms: readonly FilterTerm[]): boolean {
  return terms.every((term) => {
    switch (term.kind) {
      case "text":
        return entry.message.includes(term.text) !== term.isNegated;
      case "equal":
        return (textOf(entry, term.key) === term.value) !== term.isNegated;
      case "regex":
        return term.expression.test(textOf(entry, term.key)) !== term.isNegated;
      case "compare": {
        const value = parseNumber(textOf(entry, term.key));
        return value !== undefined && isHex(term.key) === false && compares(value, term.operator, term.operand);
      }
      case "level":
        if (term.operator === "=") return entry.severityNumber === term.severity;
        if (term.operator === "!=") return entry.severityNumber !== term.severity;
        return entry.severityNumber !== 0 && compares(entry.severityNumber, term.operator, term.severity);
      default:
        return term satisfies never;
    }
  });
}

function isHex(key: Key): boolean {
  return key.kind === "own" && (key.name === "trace_id" || key.name === "span_id");
}

function textOf(entry: LogEntry, key: Key): string {
  if (key.kind === "field") return Object.hasOwn(entry.fields, key.name) ? entry.fields[key.name]! : "";
  switch (key.name) {
    case "level":
    case "application":
    case "message":
    case "producer":
      return entry[key.name];
    case "source_file":
      return entry.sourceFile;
    case "event_name":
      return entry.eventName;
    case "timestamp":
    case "sequence":
      return String(entry[key.name]);
    case "observed_timestamp":
      return String(entry.observedTimestamp);
    case "producer_sequence":
      return String(entry.producerSequence);
    case "line_number":
      return String(entry.lineNumber);
    case "severity_number":
      return String(entry.severityNumber);
    case "trace_flags":
      return String(entry.traceFlags);
    case "trace_id":
      return Buffer.from(entry.traceId).toString("hex");
    case "span_id":
      return Buffer.from(entry.spanId).toString("hex");
    default:
      return key satisfies never;
  }
}

function compares(value: bigint | number, operator: Comparison, operand: bigint | number): boolean {
  if (value > operand) return operator === ">" || operator === ">=";
  if (value < operand) return operator === "<" || operator === "<=";
  return operator === ">=" || operator === "<=";
}
