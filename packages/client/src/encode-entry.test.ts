import { create, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { EntryEncoder, type NewLogEntry } from "./encode-entry.ts";

/** The same by protobuf-es, from the descriptor. */
function reference(entry: NewLogEntry, timestamp: bigint): Uint8Array {
  return toBinary(LogEntrySchema, create(LogEntrySchema, { ...entry, timestamp }));
}

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.constantFrom(
    "",
    "x".repeat(42),
    "x".repeat(43),
    "ä".repeat(64),
    "€".repeat(6000),
    "x".repeat(100_000),
    "\ud800",
    "a\udc00b",
  ),
);
const int32 = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(0, 127, 128, -1));
const entry: fc.Arbitrary<NewLogEntry> = fc.record(
  {
    level: text,
    application: text,
    message: text,
    sourceFile: text,
    lineNumber: int32,
    // Keys that look like numbers change their place in an object, for both alike; and of `__proto__` there is only one.
    fields: fc.dictionary(
      text.filter((name) => name !== "__proto__"),
      text,
      { maxKeys: 6, noNullPrototype: true },
    ),
    severityNumber: int32,
    traceId: fc.uint8Array({ maxLength: 16 }),
    spanId: fc.uint8Array({ maxLength: 8 }),
    traceFlags: fc.nat({ max: 2 ** 32 - 1 }),
    eventName: text,
  },
  { requiredKeys: [] },
);
const timestamp = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(0n, 1n, -1n, 127n, 128n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 35n, 1_700_000_000_000_000_000n),
);

test("its bytes are those of protobuf-es, entry after entry", () => {
  const encoder = new EntryEncoder();
  fc.assert(
    fc.property(entry, timestamp, (each, at) => {
      expect(Buffer.from(encoder.encode(each, at)).equals(reference(each, at))).toBe(true);
    }),
    { numRuns: Math.ceil(500 * inject("propertyScale")) },
  );
});

test("what it returned stays as it is", () => {
  const encoder = new EntryEncoder();
  const first = encoder.encode({ message: "one" }, 1n);
  const copy = Uint8Array.from(first);
  encoder.encode({ message: "two" }, 2n);
  encoder.encode({ message: "x".repeat(3_000_000) }, 2n);
  encoder.encode({ message: "two" }, 2n);
  expect(Uint8Array.from(first)).toEqual(copy);
});
