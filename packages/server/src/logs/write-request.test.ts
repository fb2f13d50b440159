import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { Durability, LogEntrySchema, WriteLogsRequestSchema } from "@sluice/api";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidRequest, LimitExceeded, SluiceError } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { checkNumbering, parseWriteRequest, type WriteRequest } from "./write-request.ts";

function parse(init: MessageInitShape<typeof WriteLogsRequestSchema>): WriteRequest {
  return parseWriteRequest(toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, init)), DEFAULT_LIMITS);
}

function fieldOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof InvalidRequest) return error.facts.violations?.[0]?.field;
    throw error;
  }
  return undefined;
}

describe("a write request", () => {
  test("is read without its entries being touched", () => {
    const entries = [{ message: "a" }, {}, { message: "b".repeat(300) }];
    const request = parse({
      log: "audit",
      producer: "prodücer",
      firstProducerSequence: 2n ** 52n,
      settledProducerSequence: 4n,
      durability: Durability.MEMORY,
      entries,
    });
    expect(request).toMatchObject({
      log: "audit",
      producer: "prodücer",
      firstProducerSequence: 2 ** 52,
      settledProducerSequence: 4,
      durability: Durability.MEMORY,
    });
    const { bytes, starts, ends } = request.entries;
    expect(starts.map((start, i) => Buffer.from(bytes.subarray(start, ends[i])))).toEqual(
      entries.map((entry) => Buffer.from(toBinary(LogEntrySchema, create(LogEntrySchema, entry)))),
    );
  });

  test("has defaults", () => {
    expect(parse({})).toMatchObject({ log: "", producer: "", durability: Durability.DISK, firstProducerSequence: 0 });
  });

  test("may have its fields in any order, and unknown ones", () => {
    const bytes = new BinaryWriter()
      .tag(4, 2)
      .bytes(Uint8Array.of())
      .tag(99, 0)
      .uint32(1)
      .tag(1, 2)
      .string("l")
      .finish();
    expect(parseWriteRequest(bytes, DEFAULT_LIMITS)).toMatchObject({ log: "l", entries: { starts: [2], ends: [2] } });
  });

  test("of any bytes is read or refused, and never fails otherwise", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          const { entries } = parseWriteRequest(bytes, DEFAULT_LIMITS);
          for (const [i, start] of entries.starts.entries()) {
            expect(start).toBeLessThanOrEqual(entries.ends[i]!);
            expect(entries.ends[i]).toBeLessThanOrEqual(bytes.length);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(SluiceError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    ["", Uint8Array.of(0x22, 0x05)],
    ["log", Uint8Array.of(0x0a, 0x01, 0xff)],
    ["producer", new BinaryWriter().tag(2, 2).string("p".repeat(257)).finish()],
    ["first_producer_sequence", new BinaryWriter().tag(3, 0).int64(-1n).finish()],
    [
      "settled_producer_sequence",
      new BinaryWriter()
        .tag(6, 0)
        .int64(2n ** 53n)
        .finish(),
    ],
    ["durability", new BinaryWriter().tag(5, 0).uint32(3).finish()],
  ])("is refused for its field %j", (field, bytes) => {
    expect(fieldOf(() => parseWriteRequest(bytes, DEFAULT_LIMITS))).toBe(field);
  });

  test("of too many entries is refused before they are looked at", () => {
    const bytes = toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, { entries: [{}, {}, {}] }));
    expect(() => parseWriteRequest(bytes, { ...DEFAULT_LIMITS, batchEntriesMax: 2 })).toThrow(LimitExceeded);
    expect(() => parseWriteRequest(bytes, { ...DEFAULT_LIMITS, batchEntriesMax: 3 })).not.toThrow();
  });

  test.each([
    ["first_producer_sequence", { producer: "p", entries: [{}] }],
    ["producer", { firstProducerSequence: 1n }],
    ["producer", { settledProducerSequence: 1n }],
    ["first_producer_sequence", { producer: "p", firstProducerSequence: 2n ** 53n - 1n, entries: [{}] }],
    [undefined, { producer: "p" }],
    [undefined, { producer: "p", firstProducerSequence: 1n, entries: [{}] }],
    [undefined, { entries: [{}] }],
  ])("and its numbers: %s", (field, init) => {
    const request = parse(init);
    expect(
      fieldOf(() => {
        checkNumbering(request, request.producer);
      }),
    ).toBe(field);
  });
});
