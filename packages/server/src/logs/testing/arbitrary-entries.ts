// Entries of all shapes, for tests that want any.
import { create, toBinary } from "@bufbuild/protobuf";
import { AnyValueSchema, KeyValueSchema, type LogEntry, LogEntrySchema } from "@sluice/api";
import fc from "fast-check";
import { anyValue, attribute } from "./arbitrary-otlp.ts";

const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.constantFrom("", "myapp", "timed out", "connection refused", "ä€😀", "x".repeat(200), "é".repeat(100)),
);
const level = fc.constantFrom("", "INFO", "info", "Warning", "ERROR3", "fatal", "CRITICAL", "loud", "TRACE");
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const bytesOf = (size: number): fc.Arbitrary<Uint8Array<ArrayBuffer>> =>
  fc.oneof(
    fc.constant(new Uint8Array(0)),
    fc.uint8Array({ minLength: size, maxLength: size }).map((id) => Uint8Array.from(id)),
  );

/** An entry as a producer may send it. */
export const producerEntry: fc.Arbitrary<LogEntry> = fc
  .record({
    timestamp: fc.oneof(fc.constant(0n), fc.constant(1_760_000_000_123_456_789n), int64),
    level,
    application: text,
    message: text,
    sourceFile: text,
    lineNumber: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    fields: fc.dictionary(text, text, { maxKeys: 4 }),
    severityNumber: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 24 })),
    traceId: bytesOf(16),
    spanId: bytesOf(8),
    traceFlags: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    eventName: text,
    otlpBody: fc.oneof(
      fc.constant(new Uint8Array(0)),
      anyValue.map((value) => toBinary(AnyValueSchema, value)),
    ),
    otlpAttributes: fc.array(
      attribute.map((pair) => toBinary(KeyValueSchema, pair)),
      { maxLength: 2 },
    ),
    droppedAttributes: fc.constantFrom(0, 1, 2 ** 32 - 1),
  })
  .map((init) => create(LogEntrySchema, init));

export function encodeEntry(entry: LogEntry): Uint8Array<ArrayBuffer> {
  return toBinary(LogEntrySchema, entry);
}
