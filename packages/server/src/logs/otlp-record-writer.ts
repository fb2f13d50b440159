// A stored entry as OpenTelemetry's LogRecord, from bytes to bytes: what otlp-records.ts made of a record, backwards.
//
// L1. An entry that came by OTLP gives the record that came, field for field, attributes in their order (R4).
// L2. Any other is translated: timestamp, observed_timestamp, severity_number, level, message, fields, ids, flags, event
//     name to what they are called there; source_file and line_number to the attributes code.file.path and
//     code.line.number, as OpenTelemetry's conventions name them; otlp_body and otlp_attributes count before their text.
// L3. What the server added to an entry is known by its place: it stands behind the sequence.
import { fromBinary } from "@bufbuild/protobuf";
import { KeyValueSchema } from "@sluice/api";
import type { ByteSink } from "../stream/byte-sink.ts";
import { MapTag, Tag } from "./entry-scan.ts";
import { RecordTag } from "./otlp-records.ts";
import { AnyValueTag, KeyValueTag } from "./otlp-value.ts";
import { Span } from "./span.ts";
import { varintSize, WireReader } from "../stream/wire.ts";

const SOURCE_FILE_KEY = Buffer.from("code.file.path");
const LINE_NUMBER_KEY = Buffer.from("code.line.number");

/** Writes records, one after the other; its fields say what the last entry held beside its record. */
export class RecordWriter {
  /** Of an entry that came by OTLP: its resource, by number or whole; its scope, if it has one. */
  resourceId = 0;
  scopeId = 0;
  readonly resource = new Span();
  readonly scope = new Span();
  readonly application = new Span();
  readonly cursor = new Span();
  /** Whether it came by OTLP. */
  isOtlp = false;

  readonly #wire = new WireReader();
  readonly #sink: ByteSink;
  readonly #level = new Span();
  readonly #message = new Span();
  readonly #body = new Span();
  readonly #traceId = new Span();
  readonly #spanId = new Span();
  readonly #eventName = new Span();
  readonly #sourceFile = new Span();
  readonly #rest = new Span();
  readonly #key = new Span();
  readonly #value = new Span();
  #numbers = noNumbers();
  #hasAttributes = false;

  /** @param sink where records are appended */
  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Appends the record of the stored entry `bytes[start..end)`. @throws TypeError when the bytes are none */
  write(bytes: Uint8Array, start: number, end: number): void {
    const recordStart = this.#sink.used;
    this.#clear();
    this.#readFields(bytes, start, end);
    if (!this.isOtlp && this.#hasAttributes) {
      this.#sink.used = recordStart;
      this.#writeAttributesByKey(bytes, start, end);
    }
    if (this.#wire.hasFailed) throw new TypeError("Cannot make a record of what is no stored entry");
    if (this.#rest.size > 0) this.#sink.raw(bytes, this.#rest.start, this.#rest.end);
    this.#writeNumbers();
    this.#writeTexts(bytes);
  }

  #clear(): void {
    const spans = [this.resource, this.scope, this.application, this.cursor, this.#level, this.#message, this.#body];
    for (const span of spans) span.clear();
    for (const span of [this.#traceId, this.#spanId, this.#eventName, this.#sourceFile, this.#rest]) span.clear();
    this.resourceId = 0;
    this.scopeId = 0;
    this.isOtlp = false;
    this.#hasAttributes = false;
    this.#numbers = noNumbers();
  }

  /** Attributes are written at once; the rest is noted. */
  #readFields(bytes: Uint8Array, start: number, end: number): void {
    const wire = this.#wire;
    const numbers = this.#numbers;
    let isServers = false;
    let isTextOfLast = false;
    wire.open(bytes, start, end);
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      switch (tag) {
        case Tag.FIELDS:
          if (isTextOfLast) wire.skip(tag);
          else this.#writeField(bytes);
          isTextOfLast = false;
          break;
        case Tag.OTLP_ATTRIBUTES:
          this.#value.read(wire);
          this.#value.write(this.#sink, RecordTag.ATTRIBUTES, bytes);
          this.#hasAttributes = true;
          isTextOfLast = true;
          break;
        case Tag.TIMESTAMP:
          wire.varint();
          numbers.timeLow = wire.low;
          numbers.timeHigh = wire.high;
          numbers.isTimeGiven = !isServers;
          break;
        case Tag.OBSERVED_TIMESTAMP:
          wire.varint();
          numbers.observedLow = wire.low;
          numbers.observedHigh = wire.high;
          numbers.isObservedGiven = !this.isOtlp;
          break;
        case Tag.SEVERITY_NUMBER:
          numbers.severity = wire.varint();
          numbers.isSeverityGiven = !isServers;
          break;
        case Tag.LEVEL:
          this.#level.read(wire);
          numbers.isLevelGiven = numbers.severity === 0;
          break;
        case Tag.SEQUENCE:
          wire.skip(tag);
          isServers = true;
          break;
        case Tag.RESOURCE_ID:
          this.resourceId = wire.varint();
          this.isOtlp = true;
          break;
        case Tag.OTLP_RESOURCE:
          this.resource.read(wire);
          this.isOtlp = true;
          break;
        default:
          this.#readOther(tag);
      }
    }
  }

  /** A field whose place among the others says nothing. */
  #readOther(tag: number): void {
    const wire = this.#wire;
    const numbers = this.#numbers;
    switch (tag) {
      case Tag.SCOPE_ID:
        this.scopeId = wire.varint();
        break;
      case Tag.LINE_NUMBER:
        numbers.line = wire.varint() | 0;
        break;
      case Tag.TRACE_FLAGS:
        numbers.flags = wire.varint();
        break;
      case Tag.DROPPED_ATTRIBUTES:
        numbers.dropped = wire.varint();
        break;
      case Tag.MESSAGE:
        numbers.hasMessage = true;
        this.#message.read(wire);
        break;
      case Tag.OTLP_BODY:
        numbers.hasBody = true;
        this.#body.read(wire);
        break;
      default: {
        const span = this.#spanOf(tag);
        if (span === undefined) wire.skip(tag);
        else span.read(wire);
      }
    }
  }

  #spanOf(tag: number): Span | undefined {
    switch (tag) {
      case Tag.APPLICATION:
        return this.application;
      case Tag.CURSOR:
        return this.cursor;
      case Tag.TRACE_ID:
        return this.#traceId;
      case Tag.SPAN_ID:
        return this.#spanId;
      case Tag.EVENT_NAME:
        return this.#eventName;
      case Tag.SOURCE_FILE:
        return this.#sourceFile;
      case Tag.OTLP_SCOPE:
        return this.scope;
      case Tag.OTLP_REST:
        return this.#rest;
      default:
        return undefined;
    }
  }

  /** Writes the entry of the map `fields` whose length is next as an attribute. */
  #writeField(bytes: Uint8Array): void {
    this.#readField();
    const key = this.#key;
    const value = this.#value;
    this.#writeAttributeHead(key.size, 1 + varintSize(value.size) + value.size);
    this.#sink.spanField(KeyValueTag.KEY, bytes, key.start, key.end);
    this.#sink.varintField(KeyValueTag.VALUE, 1 + varintSize(value.size) + value.size);
    value.write(this.#sink, AnyValueTag.STRING, bytes);
  }

  #readField(): void {
    const wire = this.#wire;
    this.#key.clear();
    this.#value.clear();
    const outerEnd = wire.enter();
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === MapTag.KEY) this.#key.read(wire);
      else if (tag === MapTag.VALUE) this.#value.read(wire);
      else wire.skip(tag);
    }
    wire.leave(outerEnd);
  }

  #writeAttributeHead(keyBytes: number, valueBytes: number): void {
    const size = 1 + varintSize(keyBytes) + keyBytes + 1 + varintSize(valueBytes) + valueBytes;
    this.#sink.varintField(RecordTag.ATTRIBUTES, size);
  }

  /** L2: such an entry may have them in any order. */
  #writeAttributesByKey(bytes: Uint8Array, start: number, end: number): void {
    const wire = this.#wire;
    const typed = new Set<string>();
    wire.open(bytes, start, end);
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag !== Tag.OTLP_ATTRIBUTES) {
        wire.skip(tag);
        continue;
      }
      this.#value.read(wire);
      this.#value.write(this.#sink, RecordTag.ATTRIBUTES, bytes);
      typed.add(fromBinary(KeyValueSchema, bytes.subarray(this.#value.start, this.#value.end)).key);
    }
    wire.open(bytes, start, end);
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      const fieldStart = wire.pos;
      wire.skip(tag);
      if (tag !== Tag.FIELDS) continue;
      const next = wire.pos;
      wire.pos = fieldStart;
      this.#readField();
      if (!typed.has(decoder.decode(bytes.subarray(this.#key.start, this.#key.end)))) {
        wire.pos = fieldStart;
        this.#writeField(bytes);
      }
      wire.pos = next;
    }
  }

  #writeNumbers(): void {
    const sink = this.#sink;
    const { isOtlp } = this;
    const numbers = this.#numbers;
    if (!isOtlp || numbers.isTimeGiven) sink.fixed64Field(RecordTag.TIME, numbers.timeLow, numbers.timeHigh);
    if (!isOtlp || numbers.isObservedGiven) {
      sink.fixed64Field(RecordTag.OBSERVED_TIME, numbers.observedLow, numbers.observedHigh);
    }
    if (numbers.severity !== 0 && (!isOtlp || numbers.isSeverityGiven)) {
      sink.varintField(RecordTag.SEVERITY_NUMBER, numbers.severity);
    }
    if (numbers.flags !== 0) sink.fixed32Field(RecordTag.FLAGS, numbers.flags);
    if (numbers.dropped !== 0) sink.varintField(RecordTag.DROPPED_ATTRIBUTES, numbers.dropped);
    if (numbers.line > 0) {
      const size = varintSize(numbers.line);
      this.#writeAttributeHead(LINE_NUMBER_KEY.length, 1 + size);
      sink.spanField(KeyValueTag.KEY, LINE_NUMBER_KEY, 0, LINE_NUMBER_KEY.length);
      sink.varintField(KeyValueTag.VALUE, 1 + size);
      sink.varintField(AnyValueTag.INT, numbers.line);
    }
  }

  #writeTexts(bytes: Uint8Array): void {
    const sink = this.#sink;
    const numbers = this.#numbers;
    const level = this.#level;
    if (level.size > 0 && (!this.isOtlp || numbers.isLevelGiven)) level.write(sink, RecordTag.SEVERITY_TEXT, bytes);
    if (numbers.hasBody) this.#body.write(sink, RecordTag.BODY, bytes);
    else if (numbers.hasMessage || !this.isOtlp) {
      const { size } = this.#message;
      sink.varintField(RecordTag.BODY, 1 + varintSize(size) + size);
      this.#message.write(sink, AnyValueTag.STRING, bytes);
    }
    if (this.#traceId.size > 0) this.#traceId.write(sink, RecordTag.TRACE_ID, bytes);
    if (this.#spanId.size > 0) this.#spanId.write(sink, RecordTag.SPAN_ID, bytes);
    if (this.#eventName.size > 0) this.#eventName.write(sink, RecordTag.EVENT_NAME, bytes);
    if (this.#sourceFile.size > 0) {
      const { size } = this.#sourceFile;
      this.#writeAttributeHead(SOURCE_FILE_KEY.length, 1 + varintSize(size) + size);
      sink.spanField(KeyValueTag.KEY, SOURCE_FILE_KEY, 0, SOURCE_FILE_KEY.length);
      sink.varintField(KeyValueTag.VALUE, 1 + varintSize(size) + size);
      this.#sourceFile.write(sink, AnyValueTag.STRING, bytes);
    }
  }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What an entry's numbers are, and which of its fields the producer gave. */
function noNumbers() {
  return {
    timeLow: 0,
    timeHigh: 0,
    isTimeGiven: false,
    observedLow: 0,
    observedHigh: 0,
    isObservedGiven: false,
    severity: 0,
    isSeverityGiven: false,
    isLevelGiven: false,
    flags: 0,
    dropped: 0,
    line: 0,
    hasMessage: false,
    hasBody: false,
  };
}
