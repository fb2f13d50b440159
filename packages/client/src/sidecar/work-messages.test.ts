import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { DeliverySchema, LeaseSchema, type WorkResponse, WorkResponseSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readResponse, renumbered } from "./work-messages.ts";

const arbitraryDelivery = fc.record({
  number: fc.bigInt(1n, 2n ** 40n),
  jobId: fc.string({ maxLength: 20 }),
  attempt: fc.bigInt(1n, 2n ** 50n),
  failures: fc.nat(9),
  leaseUntil: fc.bigInt(0n, 2n ** 62n),
  body: fc.uint8Array({ maxLength: 300 }),
  header: fc.string({ maxLength: 5 }),
});

const messageOf = (bytes: Uint8Array): WorkResponse["kind"] => fromBinary(WorkResponseSchema, bytes).kind;

test("of a delivery its lease is read; with another number the rest of it is the same, and the job's bytes are untouched", () => {
  fc.assert(
    fc.property(arbitraryDelivery, fc.bigInt(1n, 2n ** 60n), (given, number) => {
      const { jobId, attempt, body, header, ...rest } = given;
      const lease = create(LeaseSchema, { jobId, attempt });
      const delivery = create(DeliverySchema, { ...rest, lease, job: { jobId, body, headers: { header } } });
      const bytes = toBinary(
        WorkResponseSchema,
        create(WorkResponseSchema, { kind: { case: "delivery", value: delivery } }),
      );
      expect(readResponse(bytes)).toEqual({ case: "delivery", lease, isStarted: rest.leaseUntil !== 0n });
      const frame = Buffer.from(renumbered(bytes, number));
      expect(frame.readUInt32BE(1)).toBe(frame.length - FRAME_HEADER_BYTES);
      const value = create(DeliverySchema, { ...delivery, number });
      expect(messageOf(Uint8Array.from(frame.subarray(FRAME_HEADER_BYTES)))).toEqual({ case: "delivery", value });
      expect(frame.includes(toBinary(DeliverySchema, delivery))).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("a delivery in two pieces is one, and what a newer contract says is handed on", () => {
  const whole = create(DeliverySchema, { number: 3n, lease: { jobId: "7", attempt: 9n }, leaseUntil: 5n });
  const piece = (value: MessageInitShape<typeof DeliverySchema>) =>
    toBinary(
      WorkResponseSchema,
      create(WorkResponseSchema, { kind: { case: "delivery", value: create(DeliverySchema, value) } }),
    );
  const bytes = Buffer.concat([piece({ number: 3n }), piece({ lease: whole.lease!, leaseUntil: 5n })]);
  expect(readResponse(bytes)).toMatchObject({ case: "delivery", lease: { jobId: "7", attempt: 9n }, isStarted: true });
  const value = create(DeliverySchema, { ...whole, number: 4n });
  expect(messageOf(renumbered(bytes, 4n).subarray(FRAME_HEADER_BYTES))).toEqual({ case: "delivery", value });
  expect(readResponse(Uint8Array.of(0xfa, 0x01, 0x00))).toEqual({ case: "other" });
});
