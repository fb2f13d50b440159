import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { LogBatchSchema } from "@sluice/api";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { decodeBatch } from "./decode-batch.ts";
import { EntryDecoder } from "./decode-entry.ts";

const decoder = new EntryDecoder();

test("makes of entries what protobuf-es makes of them", () => {
  const entry = fc.record({
    message: fc.string({ maxLength: 300 }),
    application: fc.constantFrom("", "shop"),
    timestamp: fc.bigInt(-5n, 2n ** 62n),
    fields: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
      const bytes = toBinary(LogBatchSchema, create(LogBatchSchema, { entries }));
      expect(decodeBatch(bytes, decoder)).toEqual(fromBinary(LogBatchSchema, bytes));
    }),
  );
});

test("leaves to protobuf-es what is no plain list of entries", () => {
  const control = { kind: { case: "sync" as const, value: { cursor: "c" } } };
  const batch = create(LogBatchSchema, { entries: [{ message: "m" }], control });
  const bytes = toBinary(LogBatchSchema, batch);
  expect(decodeBatch(bytes, decoder)).toEqual(batch);
  const unknown = Uint8Array.from([...bytes, 0xd8, 0x3e, 7]);
  expect(decodeBatch(unknown, decoder)).toEqual(fromBinary(LogBatchSchema, unknown));
});

test("reads any bytes as protobuf-es does, or fails as it does", () => {
  const outcome = (decode: () => unknown): unknown => {
    try {
      return decode();
    } catch {
      return "failed";
    }
  };
  const some = toBinary(LogBatchSchema, create(LogBatchSchema, { entries: [{ message: "m1" }, { message: "m2" }] }));
  fc.assert(
    fc.property(fc.nat(some.length), fc.uint8Array({ maxLength: 6 }), (at, noise) => {
      const bytes = Uint8Array.from([...some.subarray(0, at), ...noise, ...some.subarray(at)]);
      expect(outcome(() => decodeBatch(bytes, decoder))).toEqual(outcome(() => fromBinary(LogBatchSchema, bytes)));
    }),
    { numRuns: Math.ceil(2000 * inject("propertyScale")) },
  );
});
