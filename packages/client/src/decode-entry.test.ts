import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema } from "@sluice/api";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { EntryDecoder } from "./decode-entry.ts";

const int32 = fc.oneof(fc.integer(), fc.constantFrom(0, 127, 128, -1, 2 ** 31 - 1, -(2 ** 31)));
const uint32 = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const int64 = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: 0n, max: 300n }));
const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constantFrom(
    "",
    "INFO",
    "shop",
    "\ufeffx",
    "\ufffd",
    "x".repeat(48),
    "y".repeat(49),
    "é".repeat(24),
    "1",
    "__proto__",
  ),
);
const bytes = fc.uint8Array({ maxLength: 16 });
const entry = fc
  .record(
    {
      timestamp: int64,
      level: text,
      application: text,
      message: text,
      sourceFile: text,
      lineNumber: int32,
      fields: fc.dictionary(text, text, { maxKeys: 5, noNullPrototype: true }),
      sequence: int64,
      cursor: text,
      observedTimestamp: int64,
      resourceId: fc.constantFrom(0, 0, 0, 7),
      producer: text,
      producerSequence: int64,
      checksum: uint32,
      severityNumber: int32,
      traceId: bytes,
      spanId: bytes,
      traceFlags: uint32,
      eventName: text,
    },
    { requiredKeys: [] },
  )
  .map((init) => toBinary(LogEntrySchema, create(LogEntrySchema, init)));
/** Fields that this version does not know, or knows otherwise: by number, as a varint or as bytes. */
const oddField = fc.oneof(
  fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(127)).map(([no, value]) => [...tagOf(no, 0), value]),
  fc.tuple(fc.integer({ min: 1, max: 40 }), bytes).map(([no, value]) => [...tagOf(no, 2), value.length, ...value]),
  fc.constantFrom([0x80, 0x80, 0x01], [0x88, 0x80, 0x00, 0x05], [0x0b, 0x0c], [0x3a, 0x00], [0x3a, 0x02, 0x18, 0x01]),
);

function tagOf(no: number, wireType: number): number[] {
  const tag = no * 8 + wireType;
  return tag < 128 ? [tag] : [(tag & 0x7f) | 0x80, tag >> 7];
}

/** What a decoder makes of bytes: everything that a program can see of it, or the sentence that it refuses them with. */
function outcomeOf(decode: () => LogEntry): unknown {
  let decoded: LogEntry;
  try {
    decoded = decode();
  } catch (error) {
    return String(error);
  }
  return {
    decoded,
    names: Object.keys(decoded),
    fields: Object.entries(decoded.fields),
    prototype: Object.getPrototypeOf(decoded) as unknown,
  };
}

function expectAlike(message: Uint8Array, decoder = new EntryDecoder()): void {
  const expected = outcomeOf(() => fromBinary(LogEntrySchema, message));
  expect(outcomeOf(() => decoder.decode(message))).toStrictEqual(expected);
}

test("entries are decoded as protobuf-es decodes them, one after the other", () => {
  const decoder = new EntryDecoder();
  fc.assert(
    fc.property(entry, fc.nat(3), (message, offset) => {
      const shifted = new Uint8Array(offset + message.length).subarray(offset);
      shifted.set(message);
      expectAlike(shifted, decoder);
    }),
    { numRuns: Math.ceil(3000 * inject("propertyScale")) },
  );
});

test("so are bytes that were changed, cut, or put together", () => {
  const decoder = new EntryDecoder();
  let refused = 0;
  fc.assert(
    fc.property(
      fc.array(entry, { minLength: 1, maxLength: 2 }),
      fc.array(oddField, { maxLength: 2 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
      fc.oneof(fc.constant(0), fc.nat(20)),
      (messages, odd, changes, cut) => {
        const message = Uint8Array.from(Buffer.concat([...messages, ...odd.map((field) => Uint8Array.from(field))]));
        for (const [at, value] of changes) if (message.length > 0) message[at % message.length] = value;
        const bytes = message.subarray(0, Math.max(0, message.length - cut));
        expectAlike(bytes, decoder);
        if (typeof outcomeOf(() => decoder.decode(bytes)) === "string") refused++;
      },
    ),
    { numRuns: Math.ceil(6000 * inject("propertyScale")) },
  );
  expect(refused).toBeGreaterThan(500 * inject("propertyScale"));
});

test("so are bytes at random", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 24 }), (message) => {
      expectAlike(message);
    }),
    { numRuns: Math.ceil(5000 * inject("propertyScale")) },
  );
});

test.each([
  [
    "a control",
    toBinary(LogEntrySchema, create(LogEntrySchema, { control: { kind: { case: "heartbeat", value: {} } } })),
  ],
  [
    "what OpenTelemetry adds",
    toBinary(
      LogEntrySchema,
      create(LogEntrySchema, {
        otlpBody: Uint8Array.of(1),
        otlpAttributes: [Uint8Array.of(2)],
        scopeId: 3,
        droppedAttributes: 4,
      }),
    ),
  ],
  ["varints of eleven bytes", Uint8Array.of(8, ...Array.from({ length: 10 }, () => 0x80), 1)],
  ["varints of ten bytes with bits too many", Uint8Array.of(8, ...Array.from({ length: 9 }, () => 0xff), 0x7f)],
  ["a length beyond the end", Uint8Array.of(18, 5, 65)],
  ["a length of 2^32", Uint8Array.of(18, 0x80, 0x80, 0x80, 0x80, 0x10, 65)],
  ["a map entry whose value ends behind it", Uint8Array.of(58, 3, 10, 4, 65, 65, 65, 65)],
  ["a string that is no UTF-8", Uint8Array.of(18, 1, 0xff)],
  ["a checksum that is cut", Uint8Array.of(125, 1, 2)],
])("%s is left to protobuf-es", (_, message) => {
  expectAlike(message);
});

test("fields that are not known yet are kept, and written again", () => {
  const message = Uint8Array.of(18, 1, 65, ...tagOf(40, 2), 2, 7, 8);
  const decoded = new EntryDecoder().decode(message);
  expect(decoded.$unknown).toEqual([{ no: 40, wireType: 2, data: Uint8Array.of(2, 7, 8) }]);
  expect(toBinary(LogEntrySchema, decoded)).toEqual(message);
});

test("names whose bytes share a place are told apart", () => {
  const decoder = new EntryDecoder();
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 3000; i++) {
      const level = `level-${i}`;
      const message = toBinary(LogEntrySchema, create(LogEntrySchema, { level }));
      expect(decoder.decode(message).level).toBe(level);
    }
  }
});
