// What of an entry can be looked for in the filter of its segment, as marks (FrameCodec.marks), and which marks a filter
// term asks for.
//
// K1. Whatever matches a term has all marks that `marksOf` gives for it (the tests try it with any entries and terms). So a
//     text is known by each piece of GRAM_BYTES bytes in it (of eight, where they are digits), wherever it begins: nobody
//     needs to know where words end.
// K2. What marks are is part of the format of filters: who changes them raises VERSION in store/segment-filter.ts, and all
//     filters are made anew.
// K3. A value that is compared as a whole (of a field, an identifier, a file) is known as a whole, with its key.
import type { FrameCodec } from "../store/contract.ts";
import { MapTag, Tag } from "./entry-scan.ts";
import type { FilterTerm, OwnKey } from "./filter.ts";
import { literalOf } from "./matcher-expression.ts";
import { WIRE_BYTES, WireReader } from "../stream/wire.ts";

const FRAME_HEADER_BYTES = 5;
/** Measured: pieces of 4 are all there when identifiers are, of 8 there are half as many again (decision record 0008). */
const GRAM_BYTES = 6;
const WHOLE_MARKS = 4;
/** Asked for in one search: each costs a read of each segment's filter, and a few tell as much as hundreds. */
const MARKS_MAX = 16;

interface MarkSink {
  add(mark: number): void;
}

/** Keys of an entry's own whose values are compared whole, by tag. The index answers level and application. */
const WHOLE_TAGS: Readonly<Partial<Record<OwnKey, number>>> = {
  source_file: Tag.SOURCE_FILE,
  producer: Tag.PRODUCER,
  trace_id: Tag.TRACE_ID,
  span_id: Tag.SPAN_ID,
  event_name: Tag.EVENT_NAME,
};
const wholeTags: ReadonlySet<number> = new Set(Object.values(WHOLE_TAGS));

/** The marks of a stored LogEntry. */
export const entryMarks: NonNullable<FrameCodec["marks"]> = (bytes, start, end, to) => {
  const wire = new WireReader();
  wire.open(bytes, start + FRAME_HEADER_BYTES, end);
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag === Tag.FIELDS) {
      addField(wire, to);
    } else if ((tag & 7) === WIRE_BYTES) {
      const valueEnd = wire.span();
      if (tag === Tag.MESSAGE) addGrams(bytes, wire.pos, valueEnd, to);
      else if (wholeTags.has(tag)) addWhole(hashOf(bytes, wire.pos, valueEnd, tag), to);
      wire.pos = valueEnd;
    } else {
      wire.skip(tag);
    }
  }
};

function addField(wire: WireReader, to: MarkSink): void {
  let keyStart = 0;
  let keyEnd = 0;
  let valueStart = 0;
  let valueEnd = 0;
  const outerEnd = wire.enter();
  while (wire.pos < wire.end) {
    const isKey = wire.tag() === MapTag.KEY;
    const end = wire.span();
    if (isKey) {
      keyStart = wire.pos;
      keyEnd = end;
    } else {
      valueStart = wire.pos;
      valueEnd = end;
    }
    wire.pos = end;
  }
  wire.leave(outerEnd);
  const key = hashOf(wire.bytes, keyStart, keyEnd, Tag.FIELDS);
  addWhole(hashOf(wire.bytes, valueStart, valueEnd, key), to);
}

/** Several marks: a whole value has no others beside it that would be missing as well. */
function addWhole(hash: number, to: MarkSink): void {
  for (let i = 1; i <= WHOLE_MARKS; i++) to.add(mixed(Math.imul(hash, 0x5bd1_e995) + i * 0x9e37_79b1));
}

/**
 * Every piece of a text. There are few different ones of digits alone, and logs have them all: those are known together
 * with the two bytes behind them. Which of the two a piece is only its own bytes say, so a part of a text has the same.
 */
function addGrams(bytes: Uint8Array, start: number, end: number, to: MarkSink): void {
  let upper = 0;
  let lower = 0;
  // How many digits stand in a row, up to here, and up to one and two bytes before.
  let digits = 0;
  let digitsBefore = 0;
  let digitsBeforeThat = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    upper = (upper << 8) | (lower >>> 24);
    lower = (lower << 8) | byte;
    digitsBeforeThat = digitsBefore;
    digitsBefore = digits;
    digits = isDigit(byte) ? digits + 1 : 0;
    const length = at - start + 1;
    if (length >= GRAM_BYTES && digits < GRAM_BYTES) to.add(gramMark(upper & 0xffff, lower, GRAM_BYTES));
    if (length >= GRAM_BYTES + 2 && digitsBeforeThat >= GRAM_BYTES) to.add(gramMark(upper, lower, GRAM_BYTES + 2));
  }
}

/** Also the dot, of numbers and addresses. */
function isDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || byte === 0x2e;
}

function gramMark(upper: number, lower: number, length: number): number {
  return mixed(Math.imul(lower, 0x9e37_79b1) ^ Math.imul(upper ^ length, 0x85eb_ca77));
}

function hashOf(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = Math.imul(seed ^ (end - start), 0x27d4_eb2f);
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x0100_0193) ^ (hash >>> 15);
  return hash;
}

/** The end of MurmurHash3 (Appleby): every bit of the hash counts in every bit of the mark. */
function mixed(hash: number): number {
  let mark = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  mark = Math.imul(mark ^ (mark >>> 13), 0xc2b2_ae35);
  return (mark ^ (mark >>> 16)) >>> 0;
}

/** Marks of everything that matches all terms (K1); none when the terms tell nothing. */
export function marksOf(terms: readonly FilterTerm[]): Uint32Array {
  const wholes: number[] = [];
  const grams: number[] = [];
  const toWholes = { add: (mark: number) => void wholes.push(mark) };
  const toGrams = { add: (mark: number) => void grams.push(mark) };
  for (const term of terms) {
    if (term.kind === "equal" && !term.isNegated && !isMessage(term)) addEqual(term, toWholes);
    else addText(textIn(term), toGrams);
  }
  return Uint32Array.from(new Set([...wholes.slice(0, MARKS_MAX), ...spread(grams, MARKS_MAX)]));
}

function isMessage(term: FilterTerm): boolean {
  return "key" in term && term.key.kind === "own" && term.key.name === "message";
}

function addEqual({ key, value }: Extract<FilterTerm, { kind: "equal" }>, to: MarkSink): void {
  // What is missing has the empty value, and no mark.
  if (value === "") return;
  const bytes = Buffer.from(value, "utf8");
  if (key.kind === "field") {
    const name = Buffer.from(key.name, "utf8");
    addWhole(hashOf(bytes, 0, bytes.length, hashOf(name, 0, name.length, Tag.FIELDS)), to);
    return;
  }
  const tag = WHOLE_TAGS[key.name];
  if (tag === undefined) return;
  const stored = key.name === "trace_id" || key.name === "span_id" ? Buffer.from(value, "hex") : bytes;
  addWhole(hashOf(stored, 0, stored.length, tag), to);
}

/** A text that is in the message of every entry which matches the term; empty: nobody knows one. */
function textIn(term: FilterTerm): string {
  if (term.kind === "text" && !term.isNegated) return term.text;
  if (!isMessage(term)) return "";
  if (term.kind === "equal" && !term.isNegated) return term.value;
  return term.kind === "regex" && !term.isNegated ? literalOf(term.expression) : "";
}

function addText(text: string, to: MarkSink): void {
  const bytes = Buffer.from(text, "utf8");
  addGrams(bytes, 0, bytes.length, to);
}

/** At most `max` of the marks, from all of the text. */
function spread(marks: readonly number[], max: number): number[] {
  if (marks.length <= max) return [...marks];
  return Array.from({ length: max }, (_, i) => marks[Math.floor((i * marks.length) / max)]!);
}
