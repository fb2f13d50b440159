// Encodes the entries that a writer is given: the hot path of every producer. Making a message and encoding it by its
// descriptor took two thirds of a writer's time; a test compares the two byte by byte.
//
// E1. One buffer for all entries of a writer; what is returned is a copy of its own.
import type { LogEntry } from "@sluice/api";

/** An entry to write: what a producer may say. Without a timestamp the moment of `write` counts. */
export type NewLogEntry = Partial<
  Pick<
    LogEntry,
    | "timestamp"
    | "level"
    | "application"
    | "message"
    | "sourceFile"
    | "lineNumber"
    | "fields"
    | "severityNumber"
    | "traceId"
    | "spanId"
    | "traceFlags"
    | "eventName"
  >
>;

const SCRATCH_BYTES = 16 * 1024;
/** A larger scratch buffer, grown for one large entry, is not kept. */
const SCRATCH_BYTES_MAX = 1024 * 1024;
/** A string of fewer UTF-16 units takes at most 127 bytes: its length is one byte. */
const SHORT_STRING = 43;
const VARINT_BYTES_MAX = 10;
/** Any int64, as a varint needs it: 32 low bits and the rest. */
const LOW_BITS = 32;

/** Tags of LogEntry's fields: number and wire type. */
const Tag = {
  timestamp: (1 << 3) | 0,
  level: (2 << 3) | 2,
  application: (3 << 3) | 2,
  message: (4 << 3) | 2,
  sourceFile: (5 << 3) | 2,
  lineNumber: (6 << 3) | 0,
  fields: (7 << 3) | 2,
  severityNumber: (16 << 3) | 0,
  traceId: (17 << 3) | 2,
  spanId: (18 << 3) | 2,
  traceFlags: (19 << 3) | 0,
  eventName: (20 << 3) | 2,
} as const;
const KEY_TAG = (1 << 3) | 2;
const VALUE_TAG = (2 << 3) | 2;

export class EntryEncoder {
  #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  #at = 0;

  /** The bytes of a LogEntry; `timestamp` instead of the entry's own. Lone surrogates become U+FFFD. */
  encode(entry: NewLogEntry, timestamp: bigint): Uint8Array {
    this.#at = 0;
    this.#int64(Tag.timestamp, timestamp);
    this.#string(Tag.level, entry.level);
    this.#string(Tag.application, entry.application);
    this.#string(Tag.message, entry.message);
    this.#string(Tag.sourceFile, entry.sourceFile);
    this.#int32(Tag.lineNumber, entry.lineNumber);
    if (entry.fields !== undefined)
      for (const name of Object.keys(entry.fields)) this.#field(name, entry.fields[name] ?? "");
    this.#int32(Tag.severityNumber, entry.severityNumber);
    this.#bytes(Tag.traceId, entry.traceId);
    this.#bytes(Tag.spanId, entry.spanId);
    this.#int32(Tag.traceFlags, entry.traceFlags);
    this.#string(Tag.eventName, entry.eventName);
    const bytes = Buffer.from(this.#scratch.subarray(0, this.#at)); // E1
    if (this.#scratch.length > SCRATCH_BYTES_MAX) this.#scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    return bytes;
  }

  /** One entry of the map; with both parts said, also empty ones. */
  #field(name: string, value: string): void {
    const length = stringLength(name) + stringLength(value);
    this.#reserve(length + 2 * VARINT_BYTES_MAX);
    this.#varint(Tag.fields);
    this.#varint(length);
    this.#text(KEY_TAG, name);
    this.#text(VALUE_TAG, value);
  }

  #string(tag: number, text: string | undefined): void {
    if (text !== undefined && text !== "") this.#text(tag, text);
  }

  #text(tag: number, text: string): void {
    this.#reserve(3 * text.length + 2 * VARINT_BYTES_MAX);
    this.#varint(tag);
    if (text.length < SHORT_STRING) {
      const written = this.#scratch.write(text, this.#at + 1);
      this.#scratch[this.#at] = written;
      this.#at += 1 + written;
    } else {
      this.#varint(Buffer.byteLength(text));
      this.#at += this.#scratch.write(text, this.#at);
    }
  }

  #bytes(tag: number, bytes: Uint8Array | undefined): void {
    if (bytes === undefined || bytes.length === 0) return;
    this.#reserve(bytes.length + 2 * VARINT_BYTES_MAX);
    this.#varint(tag);
    this.#varint(bytes.length);
    this.#scratch.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Negative ones take ten bytes, as those of an int64. */
  #int32(tag: number, value: number | undefined): void {
    if (value === undefined || value === 0) return;
    if (value < 0) return this.#int64(tag, BigInt(value));
    this.#reserve(2 * VARINT_BYTES_MAX);
    this.#varint(tag);
    this.#varint(value);
  }

  #int64(tag: number, value: bigint): void {
    if (value === 0n) return;
    this.#reserve(2 * VARINT_BYTES_MAX);
    this.#varint(tag);
    let low = Number(BigInt.asUintN(LOW_BITS, value));
    let high = Number(BigInt.asUintN(LOW_BITS, value >> BigInt(LOW_BITS)));
    while (high > 0) {
      this.#scratch[this.#at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#varint(low);
  }

  /** A number below 2^32. */
  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#scratch[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#scratch[this.#at++] = rest;
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#scratch.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#at + count));
    this.#scratch.copy(larger, 0, 0, this.#at);
    this.#scratch = larger;
  }
}

/** Bytes of a string field with its tag (one byte) and length. */
function stringLength(text: string): number {
  const bytes = Buffer.byteLength(text);
  let prefix = 1;
  for (let rest = bytes >>> 7; rest > 0; rest >>>= 7) prefix++;
  return 1 + prefix + bytes;
}
