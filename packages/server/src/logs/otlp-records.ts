// OpenTelemetry's log records as LogEntry messages, from bytes to bytes: nothing is decoded but what is not text.
//
//   resource's service.name → application ("unknown_service" without one); the resource's other attributes and the scope
//   are not kept yet
//   time_unix_nano → timestamp (else observed_time_unix_nano, else the time of receipt)
//   severity_number, severity_text → severity_number, level (the number's name where the text is missing)
//   body → message; attributes → fields; event_name, flags, dropped_attributes_count, trace_id, span_id → the same
//
// R1. What comes out is checked as every other entry is (entry-scan.ts): here nothing is trusted, nor checked twice.
// R2. A trace or span id of a wrong length counts as none, as the data model wants it.
// R3. A time beyond 2262 (2^63 ns) makes a record malformed: the log could not order by it.
import { InvalidRequest, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { ByteSink } from "./byte-sink.ts";
import { MapTag, Tag as EntryTag } from "./entry-scan.ts";
import { ValueText } from "./otlp-value.ts";
import { Severity, severityName } from "./severity.ts";
import { varintSize, WireReader } from "./wire.ts";
import type { EntrySpans } from "./write-request.ts";

const UNKNOWN_SERVICE = "unknown_service";

const RequestTag = { RESOURCE_LOGS: (1 << 3) | 2 } as const;
const ResourceLogsTag = { RESOURCE: (1 << 3) | 2, SCOPE_LOGS: (2 << 3) | 2 } as const;
const ResourceTag = { ATTRIBUTES: (1 << 3) | 2 } as const;
const ScopeLogsTag = { LOG_RECORDS: (2 << 3) | 2 } as const;
const KeyValueTag = { KEY: (1 << 3) | 2, VALUE: (2 << 3) | 2 } as const;

const RecordTag = {
  TIME: (1 << 3) | 1,
  SEVERITY_NUMBER: (2 << 3) | 0,
  SEVERITY_TEXT: (3 << 3) | 2,
  BODY: (5 << 3) | 2,
  ATTRIBUTES: (6 << 3) | 2,
  DROPPED_ATTRIBUTES: (7 << 3) | 0,
  FLAGS: (8 << 3) | 5,
  TRACE_ID: (9 << 3) | 2,
  SPAN_ID: (10 << 3) | 2,
  OBSERVED_TIME: (11 << 3) | 1,
  EVENT_NAME: (12 << 3) | 2,
} as const;

/** Where the records of a request lie, and whose each is. */
export interface RecordSpans {
  readonly bytes: Uint8Array;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  /** The field `application` of LogEntry, encoded, of each record. */
  readonly applications: readonly Uint8Array[];
}

/** Finds the records of an ExportLogsServiceRequest. @throws InvalidRequest; LimitExceeded for too many records */
export function findRecords(bytes: Uint8Array, limits: Limits): RecordSpans {
  const wire = new WireReader();
  const starts: number[] = [];
  const ends: number[] = [];
  const applications: Uint8Array[] = [];
  wire.open(bytes, 0, bytes.length);
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag !== RequestTag.RESOURCE_LOGS) {
      wire.skip(tag);
      continue;
    }
    const outerEnd = wire.enter();
    const application = findApplication(wire);
    while (wire.pos < wire.end) {
      const inner = wire.tag();
      if (inner !== ResourceLogsTag.SCOPE_LOGS) {
        wire.skip(inner);
        continue;
      }
      const resourceEnd = wire.enter();
      collectRecords(wire, starts, ends);
      wire.leave(resourceEnd);
    }
    while (applications.length < starts.length) applications.push(application);
    wire.leave(outerEnd);
  }
  if (wire.hasFailed) {
    const description = `the request's ${bytes.length} bytes are no ExportLogsServiceRequest`;
    throw new InvalidRequest("MALFORMED", [{ field: "resource_logs", description }]);
  }
  if (starts.length > limits.batchEntriesMax) {
    const text = `Cannot take ${starts.length} log records at once: the limit is ${limits.batchEntriesMax}`;
    throw new LimitExceeded(text, "log records of a request");
  }
  return { bytes, starts, ends, applications };
}

/** Collects the records of the ScopeLogs in which `wire` is. */
function collectRecords(wire: WireReader, starts: number[], ends: number[]): void {
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag !== ScopeLogsTag.LOG_RECORDS) {
      wire.skip(tag);
      continue;
    }
    const end = wire.span();
    starts.push(wire.pos);
    ends.push(end);
    wire.pos = end;
  }
}

/** The encoded field `application` for the ResourceLogs in which `at` is; `at` does not move. */
function findApplication(at: WireReader): Uint8Array {
  const wire = new WireReader();
  const pair = new KeyValue();
  const sink = new ByteSink(64);
  wire.open(at.bytes, at.pos, at.end);
  let hasName = false;
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag !== ResourceLogsTag.RESOURCE) {
      wire.skip(tag);
      continue;
    }
    const outerEnd = wire.enter();
    while (wire.pos < wire.end) {
      const inner = wire.tag();
      if (inner !== ResourceTag.ATTRIBUTES) {
        wire.skip(inner);
        continue;
      }
      pair.read(wire);
      if (!pair.isKey(wire.bytes, SERVICE_NAME)) continue;
      sink.used = 0;
      pair.writeValue(sink, EntryTag.APPLICATION, wire.bytes);
      hasName = pair.hasText;
    }
    wire.leave(outerEnd);
  }
  if (!hasName) {
    sink.used = 0;
    sink.textField(EntryTag.APPLICATION, UNKNOWN_SERVICE);
  }
  return sink.bytes.subarray(0, sink.used);
}

const SERVICE_NAME = Buffer.from("service.name");

/** One attribute. */
class KeyValue {
  readonly value = new ValueText();
  keyStart = 0;
  keyEnd = 0;

  /** Reads the KeyValue whose length is next. */
  read(wire: WireReader): void {
    this.keyStart = 0;
    this.keyEnd = 0;
    this.value.clear();
    const outerEnd = wire.enter();
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === KeyValueTag.KEY) {
        this.keyEnd = wire.span();
        this.keyStart = wire.pos;
        wire.pos = this.keyEnd;
      } else if (tag === KeyValueTag.VALUE) {
        const pairEnd = wire.enter();
        this.value.read(wire);
        wire.leave(pairEnd);
      } else {
        wire.skip(tag);
      }
    }
    wire.leave(outerEnd);
  }

  get hasText(): boolean {
    return this.value.text === undefined ? this.value.end > this.value.start : this.value.text !== "";
  }

  isKey(bytes: Uint8Array, key: Uint8Array): boolean {
    return key.length === this.keyEnd - this.keyStart && key.every((byte, i) => byte === bytes[this.keyStart + i]);
  }

  /** Writes the value as a field of text. */
  writeValue(sink: ByteSink, tag: number, bytes: Uint8Array): void {
    const { text, start, end } = this.value;
    if (text === undefined) sink.spanField(tag, bytes, start, end);
    else sink.textField(tag, text);
  }

  /** Writes it as an entry of the map `fields`. */
  write(sink: ByteSink, bytes: Uint8Array): void {
    const { text, start, end } = this.value;
    const keySize = this.keyEnd - this.keyStart;
    const valueSize = text === undefined ? end - start : Buffer.byteLength(text);
    sink.varint(EntryTag.FIELDS);
    sink.varint(2 + varintSize(keySize) + keySize + varintSize(valueSize) + valueSize);
    sink.spanField(MapTag.KEY, bytes, this.keyStart, this.keyEnd);
    this.writeValue(sink, MapTag.VALUE, bytes);
  }
}

/** Transcoded records, and how many were none. */
export interface Transcoded {
  readonly entries: EntrySpans;
  readonly malformed: number;
}

/** Turns records into entries. The entries of a call are overwritten by the next. */
export class RecordTranscoder {
  readonly #records: RecordSpans;
  readonly #wire = new WireReader();
  readonly #sink: ByteSink;
  readonly #pair = new KeyValue();
  readonly #body = new ValueText();
  readonly #found = new Record();

  constructor(records: RecordSpans) {
    this.#records = records;
    this.#sink = new ByteSink(64 * 1024);
  }

  /** Transcodes records `from` to `to` (exclusive). */
  transcode(from: number, to: number): Transcoded {
    const { starts, ends, applications } = this.#records;
    const sink = this.#sink;
    const entries = { starts: [] as number[], ends: [] as number[], observed: [] as number[] };
    let malformed = 0;
    sink.used = 0;
    for (let i = from; i < to; i++) {
      const start = sink.used;
      if (!this.#transcodeOne(starts[i]!, ends[i]!, applications[i]!)) {
        malformed++;
        sink.used = start;
        continue;
      }
      entries.starts.push(start);
      entries.ends.push(sink.used);
      entries.observed.push(this.#found.observedLow, this.#found.observedHigh);
    }
    return { entries: { bytes: sink.bytes, ...entries }, malformed };
  }

  #transcodeOne(start: number, end: number, application: Uint8Array): boolean {
    const wire = this.#wire;
    const { bytes } = this.#records;
    wire.open(bytes, start, end);
    this.#sink.raw(application, 0, application.length);
    const found = this.#found;
    found.clear();
    this.#body.clear();
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      switch (tag) {
        case RecordTag.TIME:
          wire.fixed64();
          found.timeLow = wire.low;
          found.timeHigh = wire.high;
          break;
        case RecordTag.OBSERVED_TIME:
          wire.fixed64();
          found.observedLow = wire.low;
          found.observedHigh = wire.high;
          break;
        case RecordTag.SEVERITY_NUMBER:
          found.severity = wire.varint();
          if (wire.high !== 0 || found.severity > Severity.MAX) found.severity = Severity.UNSPECIFIED;
          break;
        case RecordTag.SEVERITY_TEXT:
          found.severityText.read(wire);
          break;
        case RecordTag.BODY: {
          const outerEnd = wire.enter();
          this.#body.read(wire);
          wire.leave(outerEnd);
          break;
        }
        case RecordTag.ATTRIBUTES:
          this.#pair.read(wire);
          if (!wire.hasFailed) this.#pair.write(this.#sink, bytes);
          break;
        case RecordTag.DROPPED_ATTRIBUTES:
          found.droppedAttributes = wire.varint();
          break;
        case RecordTag.FLAGS:
          found.flags = wire.fixed32();
          break;
        case RecordTag.TRACE_ID:
          found.traceId.read(wire);
          break;
        case RecordTag.SPAN_ID:
          found.spanId.read(wire);
          break;
        case RecordTag.EVENT_NAME:
          found.eventName.read(wire);
          break;
        default:
          wire.skip(tag);
      }
    }
    if (wire.hasFailed || found.timeHigh > INT32_MAX || found.observedHigh > INT32_MAX) return false;
    this.#writeFound();
    return true;
  }

  #writeFound(): void {
    const sink = this.#sink;
    const found = this.#found;
    const { bytes } = this.#records;
    if ((found.timeLow | found.timeHigh) !== 0) {
      sink.varint64Field(EntryTag.TIMESTAMP, found.timeLow, found.timeHigh);
    }
    if (found.severity !== Severity.UNSPECIFIED) sink.varintField(EntryTag.SEVERITY_NUMBER, found.severity);
    if (found.severityText.size > 0) found.severityText.write(sink, EntryTag.LEVEL, bytes);
    else if (found.severity !== Severity.UNSPECIFIED) sink.textField(EntryTag.LEVEL, severityName(found.severity));
    const { text, start, end } = this.#body;
    if (text !== undefined) sink.textField(EntryTag.MESSAGE, text);
    else if (end > start) sink.spanField(EntryTag.MESSAGE, bytes, start, end);
    if (found.traceId.size === 16) found.traceId.write(sink, EntryTag.TRACE_ID, bytes);
    if (found.spanId.size === 8) found.spanId.write(sink, EntryTag.SPAN_ID, bytes);
    if (found.flags !== 0) sink.varintField(EntryTag.TRACE_FLAGS, found.flags);
    if (found.eventName.size > 0) found.eventName.write(sink, EntryTag.EVENT_NAME, bytes);
    if (found.droppedAttributes !== 0) sink.varintField(EntryTag.DROPPED_ATTRIBUTES, found.droppedAttributes);
  }
}

const INT32_MAX = 0x7fff_ffff;

/** Bytes somewhere in the request. */
class Span {
  start = 0;
  end = 0;

  get size(): number {
    return this.end - this.start;
  }

  clear(): void {
    this.start = 0;
    this.end = 0;
  }

  /** Reads the field whose length is next. */
  read(wire: WireReader): void {
    this.end = wire.span();
    this.start = wire.pos;
    wire.pos = this.end;
  }

  write(sink: ByteSink, tag: number, bytes: Uint8Array): void {
    sink.spanField(tag, bytes, this.start, this.end);
  }
}

/** What was found of the record that is being read, its body and attributes apart. */
class Record {
  timeLow = 0;
  timeHigh = 0;
  observedLow = 0;
  observedHigh = 0;
  severity = 0;
  flags = 0;
  droppedAttributes = 0;
  readonly severityText = new Span();
  readonly traceId = new Span();
  readonly spanId = new Span();
  readonly eventName = new Span();

  clear(): void {
    this.timeLow = 0;
    this.timeHigh = 0;
    this.observedLow = 0;
    this.observedHigh = 0;
    this.severity = 0;
    this.flags = 0;
    this.droppedAttributes = 0;
    this.severityText.clear();
    this.traceId.clear();
    this.spanId.clear();
    this.eventName.clear();
  }
}
