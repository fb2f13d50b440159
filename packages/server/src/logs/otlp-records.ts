// OpenTelemetry's log records as LogEntry messages, from bytes to bytes: nothing is decoded but what is not text.
//
//   resource's service.name → application ("unknown_service" without one); resource and scope → the log's dictionary
//   time_unix_nano → timestamp (else observed_time_unix_nano, else the time of receipt)
//   severity_number, severity_text → severity_number, level (the number's name where the text is missing)
//   body → message; attributes → fields; event_name, flags, dropped_attributes_count, trace_id, span_id → the same
//   what is no plain string: its text → message, fields; all of it → otlp_body, otlp_attributes
//   what an entry has no place for → otlp_rest
//
// R1. What comes out is checked as every other entry is (entry-scan.ts): here nothing is trusted, nor checked twice.
// R2. A trace or span id of a wrong length, a severity that is none: for the entry there is none, as the data model wants it.
// R3. A time beyond 2262 (2^63 ns) makes a record malformed: the log could not order by it.
// R4. Nothing is lost: otlp-read.ts makes the same record of the entry. Beside the values that needs the order of fields:
//     attributes stand as they came; an attribute of otlp_attributes stands right before its text in `fields`; `level`
//     stands before severity_number when the producer gave it, behind when it is only the number's name.
import { ByteSink } from "../stream/byte-sink.ts";
import { Tag as EntryTag } from "./entry-scan.ts";
import type { RecordSource, RecordSpans } from "./otlp-request.ts";
import { KeyValue, ValueText } from "./otlp-value.ts";
import { Severity, severityName } from "./severity.ts";
import { Span } from "./span.ts";
import { WireReader } from "../stream/wire.ts";
import type { EntrySpans } from "./write-request.ts";

/** Tags of LogRecord. */
export const RecordTag = {
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

/** Transcoded records, and how many were none. */
export interface Transcoded {
  readonly entries: EntrySpans;
  /** Of each entry. */
  readonly sources: readonly RecordSource[];
  readonly malformed: number;
}

/** Turns records into entries. The entries of a call are overwritten by the next. */
export class RecordTranscoder {
  readonly #records: RecordSpans;
  readonly #wire = new WireReader();
  readonly #sink: ByteSink;
  readonly #pair = new KeyValue();
  readonly #body = new ValueText();
  readonly #rest = new ByteSink(64);
  readonly #found = new Record();

  constructor(records: RecordSpans) {
    this.#records = records;
    this.#sink = new ByteSink(64 * 1024);
  }

  /** Transcodes records `from` to `to` (exclusive). */
  transcode(from: number, to: number): Transcoded {
    const { starts, ends, sources } = this.#records;
    const sink = this.#sink;
    const entries = { starts: [] as number[], ends: [] as number[], observed: [] as number[] };
    const entrySources: RecordSource[] = [];
    let malformed = 0;
    sink.used = 0;
    for (let i = from; i < to; i++) {
      const start = sink.used;
      const source = sources[i]!;
      if (!source.isValid || !this.#transcodeOne(starts[i]!, ends[i]!, source.application)) {
        malformed++;
        sink.used = start;
        continue;
      }
      entries.starts.push(start);
      entries.ends.push(sink.used);
      entries.observed.push(this.#found.observedLow, this.#found.observedHigh);
      entrySources.push(source);
    }
    return { entries: { bytes: sink.bytes, ...entries }, sources: entrySources, malformed };
  }

  #transcodeOne(start: number, end: number, application: Uint8Array): boolean {
    const wire = this.#wire;
    const { bytes } = this.#records;
    wire.open(bytes, start, end);
    this.#sink.raw(application, 0, application.length);
    const found = this.#found;
    found.clear();
    this.#body.clear();
    this.#rest.used = 0;
    while (wire.pos < wire.end) {
      const start = wire.pos;
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
          if (wire.high !== 0 || found.severity > Severity.MAX) {
            found.severity = Severity.UNSPECIFIED;
            this.#rest.raw(bytes, start, wire.pos);
          }
          break;
        case RecordTag.SEVERITY_TEXT:
          found.severityText.read(wire);
          break;
        case RecordTag.BODY: {
          const outerEnd = wire.enter();
          found.body.start = wire.pos;
          found.body.end = wire.end;
          found.hasBody = true;
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
          this.#readId(found.traceId, 16, start);
          break;
        case RecordTag.SPAN_ID:
          this.#readId(found.spanId, 8, start);
          break;
        case RecordTag.EVENT_NAME:
          found.eventName.read(wire);
          break;
        default:
          wire.skip(tag);
          if (!wire.hasFailed) this.#rest.raw(bytes, start, wire.pos);
      }
    }
    if (wire.hasFailed || found.timeHigh > INT32_MAX || found.observedHigh > INT32_MAX) return false;
    this.#writeFound();
    return true;
  }

  /** R2. @param start of the field */
  #readId(id: Span, size: number, start: number): void {
    const wire = this.#wire;
    id.read(wire);
    if (id.size !== size && id.size !== 0) this.#rest.raw(wire.bytes, start, wire.pos);
  }

  #writeFound(): void {
    const sink = this.#sink;
    const found = this.#found;
    const { bytes } = this.#records;
    if ((found.timeLow | found.timeHigh) !== 0) {
      sink.varint64Field(EntryTag.TIMESTAMP, found.timeLow, found.timeHigh);
    }
    const isLevelGiven = found.severityText.size > 0;
    if (isLevelGiven) found.severityText.write(sink, EntryTag.LEVEL, bytes);
    if (found.severity !== Severity.UNSPECIFIED) {
      sink.varintField(EntryTag.SEVERITY_NUMBER, found.severity);
      if (!isLevelGiven) sink.textField(EntryTag.LEVEL, severityName(found.severity));
    }
    if (found.hasBody) this.#writeBody();
    if (found.traceId.size === 16) found.traceId.write(sink, EntryTag.TRACE_ID, bytes);
    if (found.spanId.size === 8) found.spanId.write(sink, EntryTag.SPAN_ID, bytes);
    if (found.flags !== 0) sink.varintField(EntryTag.TRACE_FLAGS, found.flags);
    if (found.eventName.size > 0) found.eventName.write(sink, EntryTag.EVENT_NAME, bytes);
    if (found.droppedAttributes !== 0) sink.varintField(EntryTag.DROPPED_ATTRIBUTES, found.droppedAttributes);
    const { bytes: rest, used } = this.#rest;
    if (used > 0) sink.spanField(EntryTag.OTLP_REST, rest, 0, used);
  }

  #writeBody(): void {
    const sink = this.#sink;
    const { body } = this.#found;
    const { bytes } = this.#records;
    const { text, start, end, isPlain } = this.#body;
    if (!isPlain) body.write(sink, EntryTag.OTLP_BODY, bytes);
    if (text !== undefined) sink.textField(EntryTag.MESSAGE, text);
    else if (end > start || isPlain) sink.spanField(EntryTag.MESSAGE, bytes, start, end);
  }
}

const INT32_MAX = 0x7fff_ffff;

/** What was found of the record that is being read, its body and attributes apart. */
class Record {
  timeLow = 0;
  timeHigh = 0;
  observedLow = 0;
  observedHigh = 0;
  severity = 0;
  flags = 0;
  droppedAttributes = 0;
  hasBody = false;
  readonly body = new Span();
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
    this.hasBody = false;
    this.severityText.clear();
    this.traceId.clear();
    this.spanId.clear();
    this.eventName.clear();
  }
}
