// Tells whether a stored entry matches filter terms, on its bytes: nothing is decoded but the few values that are asked
// for, and of those most are compared in place.
//
// M1. Answers as if the entry had been decoded and the terms applied to the object (the tests compare the two).
// M2. Linear in the bytes: a text is searched through a run once (Finder), an expression by automaton, over a bounded
//     part of a value.
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import type { RE2JS } from "re2js";
import type { FrameFilter } from "../stream/frame-filter.ts";
import { MapTag, Tag } from "./entry-scan.ts";
import type { Comparison, FilterTerm, Key, OwnKey } from "./filter.ts";
import { OWN_KEYS, parseNumber } from "./filter.ts";
import { Finder } from "./finder.ts";
import { bigintOf, numberOf, WIRE_BYTES, WireReader } from "./wire.ts";

/** Bytes × instructions that one expression may spend on one value: 20 ms where its automaton fails, 0.1 ms else. */
const REGEX_STEPS_MAX = 1024 * 1024;
const REGEX_BYTES_MAX = 64 * 1024;
/** Longer values are no numbers. */
const NUMBER_BYTES_MAX = 64;
/** A value shorter than this is too common for a search through the run to pay. */
const SOUGHT_BYTES_MIN = 3;

/** Matches entries. One per reader: it remembers where in a run it has searched. */
export class EntryMatcher implements FrameFilter {
  readonly isCostly: boolean;
  readonly #values = new EntryValues();
  /** Texts without which an entry cannot match: looked for before the entry is read. */
  readonly #sought: readonly Finder[];
  readonly #tests: readonly Test[];

  /** @param terms all of them must hold */
  constructor(terms: readonly FilterTerm[]) {
    this.isCostly = terms.some((term) => term.kind === "regex");
    this.#sought = terms.flatMap((term) => soughtIn(term));
    this.#tests = terms.map((term) => compile(term, this.#values));
  }

  /** Whether the entry in the frame `bytes[start..end)` matches. */
  matches(bytes: Uint8Array, start: number, end: number): boolean {
    for (const finder of this.#sought) {
      if (!finder.isWithin(bytes, start, end)) return false;
    }
    const values = this.#values;
    values.read(bytes, start + FRAME_HEADER_BYTES, end);
    for (const test of this.#tests) {
      if (!test(values.bytes)) return false;
    }
    return true;
  }

  sequenceOf(bytes: Uint8Array, start: number, end: number): number {
    const wire = new WireReader();
    let sequence = 0;
    wire.open(bytes, start + FRAME_HEADER_BYTES, end);
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      wire.skip(tag);
      if (tag === Tag.SEQUENCE) sequence = numberOf(wire.low, wire.high);
    }
    return sequence;
  }
}

/** A term, ready: looks at the values last read, of an entry in `bytes`. */
type Test = (bytes: Uint8Array) => boolean;

/** Where a value lies, or the halves of a number. All zero: the entry has none. */
class Slot {
  start = 0;
  end = 0;
  low = 0;
  high = 0;

  clear(): void {
    this.start = 0;
    this.end = 0;
    this.low = 0;
    this.high = 0;
  }
}

/** Tag of each key that is not one of `fields`. */
const ownTags: Readonly<Record<OwnKey, number>> = {
  timestamp: Tag.TIMESTAMP,
  level: Tag.LEVEL,
  application: Tag.APPLICATION,
  message: Tag.MESSAGE,
  source_file: Tag.SOURCE_FILE,
  line_number: Tag.LINE_NUMBER,
  sequence: Tag.SEQUENCE,
  observed_timestamp: Tag.OBSERVED_TIMESTAMP,
  producer: Tag.PRODUCER,
  producer_sequence: Tag.PRODUCER_SEQUENCE,
  severity_number: Tag.SEVERITY_NUMBER,
  trace_id: Tag.TRACE_ID,
  span_id: Tag.SPAN_ID,
  trace_flags: Tag.TRACE_FLAGS,
  event_name: Tag.EVENT_NAME,
};

/** The values that some terms look at, found in one walk over an entry. */
class EntryValues {
  bytes: Uint8Array = new Uint8Array(0);
  readonly #wire = new WireReader();
  readonly #own = new Map<number, Slot>();
  readonly #fields: { readonly key: Uint8Array; readonly slot: Slot }[] = [];
  readonly #slots: Slot[] = [];
  readonly #keySpan = new Slot();
  readonly #valueSpan = new Slot();

  /** Where the value of `key` will be found after `read`. */
  slotOf(key: Key): Slot {
    if (key.kind === "field") {
      const slot = this.#newSlot();
      this.#fields.push({ key: Buffer.from(key.name, "utf8"), slot });
      return slot;
    }
    const tag = ownTags[key.name];
    const slot = this.#own.get(tag) ?? this.#newSlot();
    this.#own.set(tag, slot);
    return slot;
  }

  read(bytes: Uint8Array, start: number, end: number): void {
    for (const slot of this.#slots) slot.clear();
    this.bytes = bytes;
    const wire = this.#wire;
    wire.open(bytes, start, end);
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === Tag.FIELDS && this.#fields.length > 0) {
        this.#readField();
        continue;
      }
      const slot = this.#own.get(tag);
      if (slot === undefined) {
        wire.skip(tag);
      } else if ((tag & 7) === WIRE_BYTES) {
        slot.end = wire.span();
        slot.start = wire.pos;
        wire.pos = slot.end;
      } else {
        wire.varint();
        slot.low = wire.low;
        slot.high = wire.high;
      }
    }
  }

  #readField(): void {
    const wire = this.#wire;
    const outerEnd = wire.enter();
    const keySpan = this.#keySpan;
    const valueSpan = this.#valueSpan;
    keySpan.clear();
    valueSpan.clear();
    while (wire.pos < wire.end) {
      const span = wire.tag() === MapTag.KEY ? keySpan : valueSpan;
      span.end = wire.span();
      span.start = wire.pos;
      wire.pos = span.end;
    }
    wire.leave(outerEnd);
    for (const { key, slot } of this.#fields) {
      if (!isEqual(wire.bytes, keySpan.start, keySpan.end, key)) continue;
      slot.start = valueSpan.start;
      slot.end = valueSpan.end;
    }
  }

  #newSlot(): Slot {
    const slot = new Slot();
    this.#slots.push(slot);
    return slot;
  }
}

const MESSAGE: Key = { kind: "own", name: "message" };
const SEVERITY: Key = { kind: "own", name: "severity_number" };

function compile(term: FilterTerm, values: EntryValues): Test {
  switch (term.kind) {
    case "text": {
      const slot = values.slotOf(MESSAGE);
      const finder = new Finder(term.text);
      return (bytes) => finder.isWithin(bytes, slot.start, slot.end) !== term.isNegated;
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
      return compileExpression(term.key, term.expression, term.isNegated, values);
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

function compileExpression(key: Key, expression: RE2JS, isNegated: boolean, values: EntryValues): Test {
  const slot = values.slotOf(key);
  const form = formOf(key);
  if (form !== "text") return (bytes) => expression.test(textOf(form, slot, bytes)) !== isNegated;
  const bytesMax = Math.min(REGEX_BYTES_MAX, Math.floor(REGEX_STEPS_MAX / expression.programSize()));
  return (bytes) => {
    const end = Math.min(slot.end, slot.start + bytesMax);
    return expression.test(bytes.subarray(slot.start, end)) !== isNegated;
  };
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
function soughtIn(term: FilterTerm): Finder[] {
  if (term.kind === "text" && !term.isNegated) return [new Finder(term.text)];
  if (term.kind !== "equal" || term.isNegated || formOf(term.key) !== "text") return [];
  return Buffer.byteLength(term.value) < SOUGHT_BYTES_MIN ? [] : [new Finder(term.value)];
}

function isEqual(bytes: Uint8Array, start: number, end: number, wanted: Uint8Array): boolean {
  if (end - start !== wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) {
    if (bytes[start + i] !== wanted[i]) return false;
  }
  return true;
}
