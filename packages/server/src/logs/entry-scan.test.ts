import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { AnyValueSchema, LogEntrySchema, StreamControlSchema } from "@sluice/api";
import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { EntryScanner } from "./entry-scan.ts";
import { severityOfLevel } from "./severity.ts";
import { encodeEntry, producerEntry } from "./testing/arbitrary-entries.ts";
import { findFault } from "./testing/plain-scan.ts";
import { bigintOf } from "../stream/wire.ts";

function scan(bytes: Uint8Array, limits = DEFAULT_LIMITS): EntryScanner & { passes: boolean } {
  const scanner = new EntryScanner(limits);
  return Object.assign(scanner, { passes: scanner.scan(bytes, 0, bytes.length) });
}

/** Bytes of a message that a generated encoder would not make. */
function written(write: (writer: BinaryWriter) => void): Uint8Array {
  const writer = new BinaryWriter();
  write(writer);
  return writer.finish();
}

const invalidText = Uint8Array.of(0x61, 0xff, 0x62);

describe("what passes", () => {
  test("every entry that a producer may send, with its columns as protobuf-es reads them", () => {
    fc.assert(
      fc.property(producerEntry, (entry) => {
        const bytes = encodeEntry(entry);
        const scanned = scan(bytes);
        expect(scanned.rejection).toBeUndefined();
        expect(bigintOf(scanned.timestampLow, scanned.timestampHigh)).toBe(entry.timestamp);
        const application = bytes.subarray(scanned.applicationStart, scanned.applicationEnd);
        expect(Buffer.from(application).toString()).toBe(entry.application);
        expect(scanned.hasSeverityNumber).toBe(entry.severityNumber !== 0);
        expect(scanned.severity).toBe(entry.severityNumber || severityOfLevel(entry.level));
      }),
      { numRuns: 500 },
    );
  });

  test("an entry without a field", () => {
    expect(scan(new Uint8Array(0)).passes).toBe(true);
  });

  test("unknown fields above the numbers that are the server's, in every wire type but groups", () => {
    const bytes = written((writer) => {
      writer.tag(33, WireType.Varint).uint64(2n ** 64n - 1n);
      writer.tag(34, WireType.Bit64).fixed64(1n);
      writer.tag(35, WireType.LengthDelimited).bytes(invalidText);
      writer.tag(2 ** 29 - 1, WireType.Bit32).fixed32(1);
    });
    expect(scan(bytes).passes).toBe(true);
  });

  test("the last occurrence of a field counts", () => {
    const first = encodeEntry(
      create(LogEntrySchema, { timestamp: 5n, application: "a", level: "INFO", severityNumber: 4 }),
    );
    const second = encodeEntry(create(LogEntrySchema, { timestamp: 6n, application: "bb", level: "ERROR" }));
    const scanned = scan(Buffer.concat([first, second, Uint8Array.of(0x80, 0x01, 0x00)]));
    expect([scanned.timestampLow, scanned.severity, scanned.hasSeverityNumber]).toEqual([6, 17, false]);
    expect(scanned.applicationEnd - scanned.applicationStart).toBe(2);
  });

  test("nothing is left over from the entry before", () => {
    const scanner = new EntryScanner(DEFAULT_LIMITS);
    const full = encodeEntry(
      create(LogEntrySchema, { timestamp: -1n, application: "a", level: "FATAL", severityNumber: 3 }),
    );
    expect(scanner.scan(full, 0, full.length)).toBe(true);
    expect(scanner.scan(Uint8Array.of(0xff), 0, 1)).toBe(false);
    expect(scanner.scan(full, 0, 0)).toBe(true);
    expect(scanner).toMatchObject({
      timestampLow: 0,
      timestampHigh: 0,
      severity: 0,
      hasSeverityNumber: false,
      applicationEnd: 0,
    });
    expect(scanner.rejection).toBeUndefined();
  });
});

describe("what is rejected", () => {
  test.each([
    ["level", written((writer) => writer.tag(2, 2).bytes(invalidText))],
    ["application", written((writer) => writer.tag(3, 2).bytes(invalidText))],
    ["message", written((writer) => writer.tag(4, 2).bytes(invalidText))],
    [
      "a long message",
      written((writer) => writer.tag(4, 2).bytes(Buffer.concat([Buffer.alloc(500, "x"), invalidText]))),
    ],
    ["a surrogate", written((writer) => writer.tag(4, 2).bytes(Uint8Array.of(0xed, 0xa0, 0x80)))],
    ["an overlong form", written((writer) => writer.tag(4, 2).bytes(Uint8Array.of(0xc0, 0x80)))],
    ["a cut character", written((writer) => writer.tag(4, 2).bytes(Uint8Array.of(0xe2, 0x82)))],
    ["source_file", written((writer) => writer.tag(5, 2).bytes(invalidText))],
    ["a key of fields", written((writer) => writer.tag(7, 2).fork().tag(1, 2).bytes(invalidText).join())],
    ["a value of fields", written((writer) => writer.tag(7, 2).fork().tag(2, 2).bytes(invalidText).join())],
    ["event_name", written((writer) => writer.tag(20, 2).bytes(invalidText))],
  ])("text that is not UTF-8: %s", (_, bytes) => {
    expect(scan(bytes).rejection?.reason).toBe("INVALID_UTF8");
  });

  test.each([
    ["sequence", { sequence: 1n }],
    ["cursor", { cursor: "AAAAAAAAAAAAAA" }],
    ["observed_timestamp", { observedTimestamp: 1n }],
    ["resource_id", { resourceId: 1 }],
    ["control", { control: create(StreamControlSchema, { kind: { case: "gap", value: { count: 5n } } }) }],
    ["producer", { producer: "p" }],
    ["producer_sequence", { producerSequence: 1n }],
    ["checksum", { checksum: 1 }],
    ["scope_id", { scopeId: 1 }],
  ])("the server's own field %s", (_, init) => {
    const bytes = toBinary(LogEntrySchema, create(LogEntrySchema, { message: "m", ...init }));
    expect(scan(bytes).rejection?.reason).toBe("RESERVED_FIELD");
  });

  test("an empty field of the server's own, and the numbers kept for it", () => {
    expect(scan(Uint8Array.of((12 << 3) | 2, 0)).rejection?.reason).toBe("RESERVED_FIELD");
    for (let number = 25; number <= 31; number++) {
      expect(scan(written((writer) => writer.tag(number, 0).uint32(1))).rejection?.reason).toBe("RESERVED_FIELD");
    }
  });

  test.each([
    ["a cut varint", [0x08, 0x80]],
    ["a varint of 65 bits", [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]],
    ["a varint of 11 bytes", [0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]],
    ["a text longer than the entry", [0x22, 0x05, 0x61]],
    ["a length of 2^32", [0x22, 0x80, 0x80, 0x80, 0x80, 0x10]],
    ["a tag alone", [0x22]],
    ["field number 0", [0x00, 0x00]],
    ["a tag of more than 32 bits", [0x80, 0x80, 0x80, 0x80, 0x10, 0x00]],
    ["an overlong tag", [0x88, 0x80, 0x80, 0x80, 0x80, 0x00, 0x01]],
    ["a group", [((40 << 3) & 0x7f) | 0x80 | 3, 0x02, ((40 << 3) & 0x7f) | 0x80 | 4, 0x02]],
    ["an end of a group", [((40 << 3) & 0x7f) | 0x80 | 4, 0x02]],
    ["wire type 6", [0x80 | 6, 0x02, 0x00]],
    ["a text as a varint", [(4 << 3) | 0, 0x01]],
    ["a timestamp as fixed64", [(1 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8]],
    ["a map entry cut by the entry", [0x3a, 0x04, 0x0a, 0x01]],
    ["a key longer than its map entry", [0x3a, 0x03, 0x0a, 0x02, 0x61, 0x22, 0x00]],
    ["an unknown field in a map entry", [0x3a, 0x02, 0x18, 0x01]],
  ])("broken wire format: %s", (_, bytes) => {
    expect(scan(Uint8Array.from(bytes)).rejection?.reason).toBe("MALFORMED");
  });

  test("a part of OpenTelemetry's that is no such message, or deeper than decoders go", () => {
    const within = (inner: Uint8Array): Uint8Array<ArrayBuffer> =>
      Uint8Array.from(written((writer) => writer.tag(5, 2).fork().tag(1, 2).bytes(inner).join()));
    const deepest = toBinary(AnyValueSchema, create(AnyValueSchema, { value: { case: "stringValue", value: "deep" } }));
    const nested = (depth: number) => Array.from({ length: depth }).reduce<typeof deepest>(within, deepest);
    const reasonOf = (init: Parameters<typeof create<typeof LogEntrySchema>>[1]) =>
      scan(encodeEntry(create(LogEntrySchema, init))).rejection?.reason;
    expect([reasonOf({ otlpBody: nested(40) }), reasonOf({ otlpBody: nested(60) })]).toEqual([undefined, "MALFORMED"]);
    expect(reasonOf({ otlpBody: Uint8Array.of(0x0a, 0x01, 0xff) })).toBe("MALFORMED");
    expect(reasonOf({ otlpAttributes: [Uint8Array.of(0x08, 0x01)] })).toBe("MALFORMED");
    expect(reasonOf({ otlpRest: written((writer) => writer.tag(5, 2).bytes(invalidText)) })).toBe("MALFORMED");
    expect(reasonOf({ otlpRest: written((writer) => writer.tag(2, 0).int32(-1)) })).toBeUndefined();
  });

  test.each([
    ["INVALID_TRACE_ID", { traceId: new Uint8Array(15) }],
    ["INVALID_SPAN_ID", { spanId: new Uint8Array(16) }],
    ["INVALID_SEVERITY", { severityNumber: 25 }],
    ["INVALID_SEVERITY", { severityNumber: -1 }],
    ["APPLICATION_TOO_LONG", { application: "a".repeat(257) }],
    ["TOO_MANY_FIELDS", { fields: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [`k${i}`, "v"])) }],
  ])("%s", (reason, init) => {
    const bytes = encodeEntry(create(LogEntrySchema, init));
    const { rejection } = scan(bytes);
    expect(rejection?.reason).toBe(reason);
    expect(rejection?.text).toMatch(/\d/);
  });
});

describe("bytes that were tampered with", () => {
  const tampered = fc
    .tuple(
      producerEntry,
      fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom("set", "insert", "delete")), { maxLength: 3 }),
    )
    .map(([entry, edits]) => {
      const bytes = [...encodeEntry(entry)];
      for (const [place, byte, edit] of edits) {
        const at = bytes.length === 0 ? 0 : place % bytes.length;
        bytes.splice(at, edit === "insert" ? 0 : 1, ...(edit === "delete" ? [] : [byte]));
      }
      return Uint8Array.from(bytes);
    });

  test("pass exactly when a slow and simple reading of the rules lets them, and then protobuf-es reads them too", () => {
    let passed = 0;
    let rejected = 0;
    fc.assert(
      fc.property(fc.oneof(tampered, fc.uint8Array({ maxLength: 24 })), (bytes) => {
        const scanned = scan(bytes);
        expect(scanned.rejection?.reason).toBe(findFault(bytes, DEFAULT_LIMITS));
        if (!scanned.passes) {
          rejected++;
          return;
        }
        passed++;
        const entry = fromBinary(LogEntrySchema, bytes);
        expect(bigintOf(scanned.timestampLow, scanned.timestampHigh)).toBe(entry.timestamp);
        expect(entry.control).toBeUndefined();
        expect(entry.sequence).toBe(0n);
      }),
      { numRuns: Math.ceil(4000 * inject("propertyScale")) },
    );
    expect(Math.min(passed, rejected)).toBeGreaterThan(200 * inject("propertyScale"));
  });
});
