// Each term of a filter as a function over the values of an entry (matcher-values.ts), and the text without which no entry
// matches it.
import type { Effort } from "./effort.ts";
import type { Comparison, FilterTerm, Key } from "./filter.ts";
import { OWN_KEYS, parseNumber } from "./filter.ts";
import { Finder } from "./finder.ts";
import { ExpressionSearch, literalOf } from "./matcher-expression.ts";
import { type EntryValues, isEqual, type Slot } from "./matcher-values.ts";
import { bigintOf } from "../stream/wire.ts";

/** Of longer values expressions see the beginning. */
const REGEX_BYTES_MAX = 64 * 1024;
/** Longer values are no numbers. */
const NUMBER_BYTES_MAX = 64;
/** What is shorter than this is too common for a search through the run to pay. */
const SOUGHT_BYTES_MIN = 3;

/** A term, ready: looks at the values last read, of an entry in `bytes`. undefined: the effort is spent. */
export type Test = (bytes: Uint8Array) => boolean | undefined;

const MESSAGE: Key = { kind: "own", name: "message" };
const SEVERITY: Key = { kind: "own", name: "severity_number" };

export interface Tools {
  readonly effort: Effort;
  /** What the term is sought by; its place is remembered for all who ask. */
  readonly sought: Finder | undefined;
  /** Takes those that are made. */
  readonly expressions: ExpressionSearch[];
}

export function compileTerm(term: FilterTerm, values: EntryValues, tools: Tools): Test {
  const { effort, sought } = tools;
  switch (term.kind) {
    case "text": {
      const slot = values.slotOf(MESSAGE);
      const finder = sought ?? new Finder(term.text);
      return (bytes) => unless(term.isNegated, finder.isWithin(bytes, slot.start, slot.end, effort));
    }
    case "equal": {
      const slot = values.slotOf(term.key);
      const form = formOf(term.key);
      if (form === "text") {
        const value = Buffer.from(term.value, "utf8");
        return (bytes) => isEqual(bytes, slot.start, slot.end, value) !== term.isNegated;
      }
      return (bytes) => (textOf(form, slot, bytes) === term.value) !== term.isNegated;
    }
    case "regex":
      return compileExpression(term, values, tools);
    case "compare": {
      const slot = values.slotOf(term.key);
      const form = formOf(term.key);
      return (bytes) => {
        const value = numberIn(form, slot, bytes);
        return value !== undefined && compares(value, term.operator, term.operand);
      };
    }
    case "level": {
      const slot = values.slotOf(SEVERITY);
      const { operator, severity } = term;
      if (operator === "=") return () => slot.low === severity;
      if (operator === "!=") return () => slot.low !== severity;
      return () => slot.low !== 0 && compares(slot.low, operator, severity);
    }
    default:
      return term satisfies never;
  }
}

function compileExpression(
  { key, expression, isNegated }: Extract<FilterTerm, { kind: "regex" }>,
  values: EntryValues,
  { effort, expressions }: Tools,
): Test {
  const slot = values.slotOf(key);
  const form = formOf(key);
  const search = new ExpressionSearch(expression);
  expressions.push(search);
  if (form !== "text") {
    return (bytes) => {
      const text = Buffer.from(textOf(form, slot, bytes), "latin1");
      return unless(isNegated, search.test(text, 0, text.length, effort));
    };
  }
  return (bytes) => unless(isNegated, search.test(bytes, slot.start, beginningOf(slot, bytes), effort));
}

/** Where the part of a value ends that expressions see: whole characters. */
function beginningOf(slot: Slot, bytes: Uint8Array): number {
  let end = slot.start + REGEX_BYTES_MAX;
  if (slot.end <= end) return slot.end;
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return end;
}

/** What a term says when `holds`; nobody knows yet when it is undefined. */
function unless(isNegated: boolean, holds: boolean | undefined): boolean | undefined {
  return holds === undefined ? undefined : holds !== isNegated;
}

type Form = "text" | "hex" | "int32" | "uint32" | "int64";

function formOf(key: Key): Form {
  if (key.kind === "field") return "text";
  const form = OWN_KEYS[key.name];
  return form === "level" ? "text" : form;
}

function textOf(form: Exclude<Form, "text">, slot: Slot, bytes: Uint8Array): string {
  if (form === "hex")
    return Buffer.from(bytes.buffer, bytes.byteOffset + slot.start, slot.end - slot.start).toString("hex");
  return String(integerIn(form, slot));
}

function integerIn(form: "int32" | "uint32" | "int64", slot: Slot): bigint | number {
  switch (form) {
    case "int32":
      return slot.low | 0;
    case "uint32":
      return slot.low >>> 0;
    case "int64":
      return bigintOf(slot.low, slot.high);
    default:
      return form satisfies never;
  }
}

function numberIn(form: Form, slot: Slot, bytes: Uint8Array): bigint | number | undefined {
  if (form === "hex") return undefined;
  if (form !== "text") return integerIn(form, slot);
  const size = slot.end - slot.start;
  if (size === 0 || size > NUMBER_BYTES_MAX) return undefined;
  return parseNumber(Buffer.from(bytes.buffer, bytes.byteOffset + slot.start, size).toString("latin1"));
}

/** Also between a bigint and a number: the language compares their mathematical values. */
function compares(value: bigint | number, operator: Comparison, operand: bigint | number): boolean {
  switch (operator) {
    case ">":
      return value > operand;
    case ">=":
      return value >= operand;
    case "<":
      return value < operand;
    case "<=":
      return value <= operand;
    default:
      return operator satisfies never;
  }
}

/** The text that an entry must hold somewhere when it matches the term. */
export function soughtIn(term: FilterTerm): Finder | undefined {
  switch (term.kind) {
    case "text":
      return term.isNegated ? undefined : new Finder(term.text);
    case "equal":
      return term.isNegated ? undefined : finderOf(bytesOf(term));
    case "regex":
      return term.isNegated || formOf(term.key) !== "text"
        ? undefined
        : finderOf(Buffer.from(literalOf(term.expression)));
    default:
      return undefined;
  }
}

function finderOf(bytes: Buffer): Finder | undefined {
  return bytes.length < SOUGHT_BYTES_MIN ? undefined : new Finder(bytes);
}

/** How an equal value is stored; nothing for numbers, which have several forms. */
function bytesOf({ key, value }: Extract<FilterTerm, { kind: "equal" }>): Buffer {
  switch (formOf(key)) {
    case "text":
      return Buffer.from(value, "utf8");
    case "hex":
      return Buffer.from(value, "hex");
    default:
      return Buffer.alloc(0);
  }
}
