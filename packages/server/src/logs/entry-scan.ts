// Checks one entry as its producer sent it, in one pass over the bytes and without decoding it, and picks out what the
// index needs.
//
// E1. What passes can be read by every protobuf decoder, the strictest included: wire format (wire.ts), UTF-8 of every
//     string, of keys and values of the map too. One bad string would make an entry that a strict reader can never pass.
// E2. What passes holds no field of the server's own. Else a producer could forge a cursor, or a control: a gap.
// E3. Unknown fields pass (a newer producer's), but not numbers that are kept for the server. A known number with
//     another wire type does not: decoders disagree about it.
// E4. As in protobuf, the last occurrence of a field counts.
import type { Limits } from "../limits.ts";
import { BytesTable } from "./bytes-table.ts";
import { Severity, severityOfLevel } from "./severity.ts";
import { ANY_VALUE, isPart, KEY_VALUE, RECORD_REST, type Shape } from "./otlp-shape.ts";
import { isText, WireReader } from "../stream/wire.ts";

/** Why an entry was not taken; `reason` is stable, `text` is for people. */
export interface Rejection {
  readonly reason: RejectionReason;
  readonly text: string;
}

export type RejectionReason =
  | "MALFORMED"
  | "INVALID_UTF8"
  | "RESERVED_FIELD"
  | "ENTRY_TOO_LARGE"
  | "TOO_MANY_FIELDS"
  | "INVALID_SEVERITY"
  | "INVALID_TRACE_ID"
  | "INVALID_SPAN_ID"
  | "APPLICATION_TOO_LONG"
  | "TOO_MANY_APPLICATIONS";

/** Tags of LogEntry: field number × 8 + wire type. */
export const Tag = {
  TIMESTAMP: (1 << 3) | 0,
  LEVEL: (2 << 3) | 2,
  APPLICATION: (3 << 3) | 2,
  MESSAGE: (4 << 3) | 2,
  SOURCE_FILE: (5 << 3) | 2,
  LINE_NUMBER: (6 << 3) | 0,
  FIELDS: (7 << 3) | 2,
  SEQUENCE: (8 << 3) | 0,
  CURSOR: (9 << 3) | 2,
  OBSERVED_TIMESTAMP: (10 << 3) | 0,
  RESOURCE_ID: (11 << 3) | 0,
  PRODUCER: (13 << 3) | 2,
  PRODUCER_SEQUENCE: (14 << 3) | 0,
  CHECKSUM: (15 << 3) | 5,
  SEVERITY_NUMBER: (16 << 3) | 0,
  TRACE_ID: (17 << 3) | 2,
  SPAN_ID: (18 << 3) | 2,
  TRACE_FLAGS: (19 << 3) | 0,
  EVENT_NAME: (20 << 3) | 2,
  OTLP_BODY: (21 << 3) | 2,
  OTLP_ATTRIBUTES: (22 << 3) | 2,
  DROPPED_ATTRIBUTES: (23 << 3) | 0,
  SCOPE_ID: (24 << 3) | 0,
  OTLP_RESOURCE: (25 << 3) | 2,
  OTLP_SCOPE: (26 << 3) | 2,
  OTLP_REST: (32 << 3) | 2,
} as const;

/** Key and value of one entry of the map `fields`. */
export const MapTag = { KEY: (1 << 3) | 2, VALUE: (2 << 3) | 2 } as const;

/** From here on to 31 numbers are kept for the server; what is behind them is a producer's. */
const LAST_KNOWN = 24;

function isReserved(number: number): boolean {
  return (number >= 8 && number <= 15) || (number >= LAST_KNOWN && number <= 31);
}

/** Scans entries, one after the other; its fields say what the last one held. */
export class EntryScanner {
  /** Halves of the event time; both 0 when the producer left it to the server. */
  timestampLow = 0;
  timestampHigh = 0;
  /** 0 to 24: as given, or else derived from the level. */
  severity = 0;
  /** Whether the entry itself has the number. */
  hasSeverityNumber = false;
  applicationStart = 0;
  applicationEnd = 0;
  /** Why the last one did not pass. */
  rejection: Rejection | undefined = undefined;

  readonly #limits: Limits;
  readonly #wire = new WireReader();
  readonly #levels = new BytesTable(severityOfLevel);
  #fieldCount = 0;
  #levelStart = 0;
  #levelEnd = 0;
  #textStart = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Scans the message `bytes[start..end)`. Answers whether it passes; if not, see `rejection`. */
  scan(bytes: Uint8Array, start: number, end: number): boolean {
    this.#reset();
    const wire = this.#wire;
    wire.open(bytes, start, end);
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      switch (tag) {
        case Tag.TIMESTAMP:
          wire.varint();
          this.timestampLow = wire.low;
          this.timestampHigh = wire.high;
          break;
        case Tag.LEVEL:
          if (!this.#scanText("level")) return false;
          this.#levelStart = this.#textStart;
          this.#levelEnd = wire.pos;
          break;
        case Tag.APPLICATION:
          if (!this.#scanText("application")) return false;
          this.applicationStart = this.#textStart;
          this.applicationEnd = wire.pos;
          break;
        case Tag.MESSAGE:
          if (!this.#scanText("message")) return false;
          break;
        case Tag.SOURCE_FILE:
          if (!this.#scanText("source_file")) return false;
          break;
        case Tag.LINE_NUMBER:
        case Tag.TRACE_FLAGS:
        case Tag.DROPPED_ATTRIBUTES:
          wire.varint();
          break;
        case Tag.FIELDS:
          if (!this.#scanMapEntry()) return false;
          break;
        case Tag.SEVERITY_NUMBER:
          if (!this.#scanSeverity()) return false;
          break;
        case Tag.TRACE_ID:
          if (!this.#scanId("INVALID_TRACE_ID", "trace_id", 16)) return false;
          break;
        case Tag.SPAN_ID:
          if (!this.#scanId("INVALID_SPAN_ID", "span_id", 8)) return false;
          break;
        case Tag.EVENT_NAME:
          if (!this.#scanText("event_name")) return false;
          break;
        case Tag.OTLP_BODY:
          if (!this.#scanPart("otlp_body", ANY_VALUE)) return false;
          break;
        case Tag.OTLP_ATTRIBUTES:
          if (!this.#scanPart("a row of otlp_attributes", KEY_VALUE)) return false;
          break;
        case Tag.OTLP_REST:
          if (!this.#scanPart("otlp_rest", RECORD_REST)) return false;
          break;
        default:
          if (!this.#scanOther(tag)) return false;
      }
    }
    if (wire.hasFailed) return this.#reject("MALFORMED", `the ${end - start} bytes are no protobuf message`);
    return this.#finish(bytes);
  }

  #reset(): void {
    this.timestampLow = 0;
    this.timestampHigh = 0;
    this.severity = 0;
    this.hasSeverityNumber = false;
    this.applicationStart = 0;
    this.applicationEnd = 0;
    this.rejection = undefined;
    this.#fieldCount = 0;
    this.#levelStart = 0;
    this.#levelEnd = 0;
  }

  #finish(bytes: Uint8Array): boolean {
    if (!this.hasSeverityNumber && this.#levelEnd > this.#levelStart) {
      this.severity = this.#levels.get(bytes, this.#levelStart, this.#levelEnd);
    }
    const applicationBytes = this.applicationEnd - this.applicationStart;
    if (applicationBytes > this.#limits.applicationBytesMax) {
      const max = this.#limits.applicationBytesMax;
      return this.#reject("APPLICATION_TOO_LONG", `application has ${applicationBytes} bytes: the limit is ${max}`);
    }
    return true;
  }

  #scanText(name: string): boolean {
    const wire = this.#wire;
    const end = wire.span();
    const start = wire.pos;
    wire.pos = end;
    this.#textStart = start;
    return isText(wire.bytes, start, end) || this.#reject("INVALID_UTF8", `${name} is not valid UTF-8`);
  }

  /** A field that holds a message of OTLP's, encoded: a reader of it must be able to decode that too (E1). */
  #scanPart(name: string, shape: Shape): boolean {
    const wire = this.#wire;
    const end = wire.span();
    const start = wire.pos;
    wire.pos = end;
    return (
      isPart(wire.bytes, start, end, shape) ||
      this.#reject("MALFORMED", `${name} has ${end - start} bytes that are not what OTLP has there`)
    );
  }

  #scanMapEntry(): boolean {
    if (++this.#fieldCount > this.#limits.entryFieldsMax) {
      return this.#reject("TOO_MANY_FIELDS", `fields has more than ${this.#limits.entryFieldsMax} entries`);
    }
    const wire = this.#wire;
    const outerEnd = wire.enter();
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === MapTag.KEY || tag === MapTag.VALUE) {
        if (!this.#scanText(tag === MapTag.KEY ? "a key of fields" : "a value of fields")) return false;
      } else {
        wire.fail();
      }
    }
    wire.leave(outerEnd);
    return true;
  }

  #scanSeverity(): boolean {
    const number = this.#wire.varint();
    if (this.#wire.high !== 0 || number > Severity.MAX) {
      return this.#reject("INVALID_SEVERITY", `severity_number is none of 0 to ${Severity.MAX}`);
    }
    this.severity = number;
    this.hasSeverityNumber = number !== Severity.UNSPECIFIED;
    return true;
  }

  #scanId(reason: RejectionReason, name: string, size: number): boolean {
    const wire = this.#wire;
    const end = wire.span();
    const actual = end - wire.pos;
    wire.pos = end;
    if (actual === size || actual === 0) return true;
    return this.#reject(reason, `${name} has ${actual} bytes: it takes ${size}, or none`);
  }

  /** A tag that is none of a producer's known fields. */
  #scanOther(tag: number): boolean {
    const wire = this.#wire;
    if (wire.hasFailed) return true;
    const number = tag >>> 3;
    if (isReserved(number)) return this.#reject("RESERVED_FIELD", `field ${number} is the server's own`);
    if (number < LAST_KNOWN || number === Tag.OTLP_REST >>> 3) wire.fail();
    else wire.skip(tag);
    return true;
  }

  #reject(reason: RejectionReason, text: string): false {
    this.rejection = { reason, text };
    return false;
  }
}
