// Tells whether a stored entry matches filter terms, on its bytes: nothing is decoded but the few values that are asked
// for, and of those most are compared in place.
//
// M1. Answers as if the entry had been decoded and the terms applied to the object (the tests compare the two).
// M2. Linear in the bytes: a text is searched through a run once (Finder), an expression by automaton, over a bounded
//     part of a value (ExpressionSearch).
// M3. Nothing holds the event loop, whatever the terms and the entry are: every part of the work is charged to the
//     effort, stops when that is spent, and goes on where it stopped.
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import type { FrameFilter } from "../stream/frame-filter.ts";
import { Effort } from "./effort.ts";
import { MapTag, Tag } from "./entry-scan.ts";
import type { Comparison, FilterTerm, Key, OwnKey } from "./filter.ts";
import { OWN_KEYS, parseNumber } from "./filter.ts";
import { Finder } from "./finder.ts";
import { ExpressionSearch } from "./matcher-expression.ts";
import { bigintOf, numberOf, WIRE_BYTES, WireReader } from "./wire.ts";

/** Of longer values expressions see the beginning. */
const REGEX_BYTES_MAX = 64 * 1024;
/** Longer values are no numbers. */
const NUMBER_BYTES_MAX = 64;
/** A value shorter than this is too common for a search through the run to pay. */
const SOUGHT_BYTES_MIN = 3;

/** What it costs to begin with an entry, to read one of its values, and to compare the key of one of its `fields`. */
const ENTRY_STEPS = 100;
const TAG_STEPS = 10;
const FIELD_STEPS = 30;

/** Matches entries. One per reader: it remembers where in a run it has searched, and where in an entry it stopped. */
export class EntryMatcher implements FrameFilter {
  readonly #effort = new Effort();
  /** All must hold, in this order. First texts without which an entry cannot match, then the entry is read. */
  readonly #tests: readonly FrameTest[];
  /** Where to go on with an entry; 0: with the next one. */
  #next = 0;

  /** @param terms all of them must hold */
  constructor(terms: readonly FilterTerm[]) {
    const effort = this.#effort;
    const values = new EntryValues(effort);
    this.#tests = [
      ...terms.flatMap((term) => soughtIn(term)).map((finder) => testOf(finder, effort)),
      (bytes, start, end) => values.read(bytes, start + FRAME_HEADER_BYTES, end),
      ...terms.map((term) => compile(term, values, effort)),
    ];
  }

  /** Whether the entry in the frame `bytes[start..end)` matches. */
  matches(bytes: Uint8Array, start: number, end: number): boolean | undefined {
    const effort = this.#effort;
    const tests = this.#tests;
    if (effort.isSpent) effort.renew();
    for (let i = this.#next; i < tests.length; i++) {
      const holds = tests[i]!(bytes, start, end);
      if (holds === true) continue;
      this.#next = holds === undefined ? i : 0;
      return holds;
    }
    this.#next = 0;
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

/** A term, ready: looks at the values last read, of an entry in `bytes`. undefined: the effort is spent. */
type Test = (bytes: Uint8Array) => boolean | undefined;
type FrameTest = (bytes: Uint8Array, start: number, end: number) => boolean | undefined;

function testOf(finder: Finder, effort: Effort): FrameTest {
  return (bytes, start, end) => finder.isWithin(bytes, start, end, effort);
}

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
  readonly #wire = new WireReader();
  readonly #own = new Map<number, Slot>();
  readonly #fields: { readonly key: Uint8Array; readonly slot: Slot }[] = [];
  readonly #slots: Slot[] = [];
  readonly #keySpan = new Slot();
  readonly #valueSpan = new Slot();
  readonly #effort: Effort;
  #isReading = false;

  constructor(effort: Effort) {
    this.#effort = effort;
  }

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

  /** Finds the values in the entry `bytes[start..end)`. undefined: the effort is spent, the next call goes on. */
  read(bytes: Uint8Array, start: number, end: number): true | undefined {
    const wire = this.#wire;
    const effort = this.#effort;
    if (!this.#isReading) {
      for (const slot of this.#slots) slot.clear();
      wire.open(bytes, start, end);
      effort.left -= ENTRY_STEPS;
    }
    this.#isReading = true;
    while (wire.pos < wire.end) {
      if (effort.isSpent) return undefined;
      effort.left -= TAG_STEPS;
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
    this.#isReading = false;
    return true;
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
    this.#effort.left -= FIELD_STEPS;
    for (const { key, slot } of this.#fields) {
      this.#effort.left -= key.length === keySpan.end - keySpan.start ? FIELD_STEPS + key.length : 1;
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

function compile(term: FilterTerm, values: EntryValues, effort: Effort): Test {
  switch (term.kind) {
    case "text": {
      const slot = values.slotOf(MESSAGE);
      const finder = new Finder(term.text);
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
      return compileExpression(term, values, effort);
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
  effort: Effort,
): Test {
  const slot = values.slotOf(key);
  const form = formOf(key);
  const search = new ExpressionSearch(expression);
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
