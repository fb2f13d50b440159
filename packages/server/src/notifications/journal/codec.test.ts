import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { CarriedItemSchema, NotificationRecordSchema, NotificationSchema, PublishedSchema } from "@sluice/api";
import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { FRAME_HEADER_BYTES } from "../../journal/layout.ts";
import type { NewNotificationRecord } from "../contract.ts";
import { findNotification, NotificationRecordReader } from "./decode.ts";
import { measureNotification, NotificationRecordEncoder } from "./encode.ts";

const runs = { numRuns: Math.ceil(200 * inject("propertyScale")) };
const text = fc.oneof(fc.string({ unit: "grapheme", maxLength: 80 }), fc.string({ maxLength: 6 }));
const number = fc.bigInt({ min: 0n, max: 2n ** 62n });

const notification = fc.record({
  type: text,
  title: text,
  message: text,
  timestamp: number,
  priority: fc.integer({ min: 0, max: 7 }),
  metadata: fc.dictionary(
    text.filter((key) => key !== "__proto__"),
    text,
    { maxKeys: 3 },
  ),
  collapseKey: text,
  actionUrl: text,
});
const published = fc.record({
  notification,
  userIds: fc.array(text, { maxLength: 4 }),
  topics: fc.array(text, { maxLength: 3 }),
  everyone: fc.boolean(),
  idempotencyKey: text,
  ttlMs: number,
  deliverAt: number,
  at: number,
  ttlMsByUser: fc.array(number, { maxLength: 3 }),
});
const item = fc.record({
  id: number,
  sequence: number,
  published,
  expiresAt: number,
  deliveredAt: number,
  holders: fc.array(
    fc.record({
      userId: text,
      state: fc.record({ read: fc.boolean(), revision: number }),
      changed: number,
      sequence: number,
    }),
    { maxLength: 3 },
  ),
});

const encoder = new NotificationRecordEncoder();

function encode(record: NewNotificationRecord, body?: Uint8Array): Buffer {
  const bytes = Buffer.alloc(encoder.measure(record, body));
  expect(encoder.write(bytes, 0)).toBe(bytes.length);
  return bytes;
}

describe("records of notifications", () => {
  test("are written byte for byte as protobuf-es writes them", () => {
    fc.assert(
      fc.property(fc.oneof(published, item), (value) => {
        const kind = "id" in value ? { case: "item" as const, value } : { case: "published" as const, value };
        const record: NewNotificationRecord = { kind };
        const expected = toBinary(NotificationRecordSchema, create(NotificationRecordSchema, record));
        expect(encode(record)).toEqual(Buffer.from(expected));
      }),
      runs,
    );
  });

  test("of every other kind too", () => {
    const kinds: NewNotificationRecord["kind"][] = [
      { case: "due", value: { id: 3n, userId: "ann", at: 5n } },
      { case: "state", value: { userId: "ann", ids: [1n, 2n], read: false, requestId: "r", ifRevision: 0n } },
      { case: "removed", value: { reason: 2, ids: [7n], userId: "ann", priorities: [0], sequences: [7n] } },
      { case: "touched", value: { userId: "ann" } },
      { case: "topics", value: { userId: "ann", joined: ["red"] } },
      { case: "device", value: { userId: "ann", deviceId: "phone", ack: [1n, 0n] } },
      { case: "policy", value: { policy: { maxItems: 3 } } },
      { case: "deleted", value: { userId: "ann" } },
      { case: "user", value: { userId: "ann", since: 4n } },
      { case: "server", value: { topics: ["red"], era: 9 } },
    ];
    for (const kind of kinds) {
      const expected = toBinary(NotificationRecordSchema, create(NotificationRecordSchema, { kind: kind! }));
      expect(encode({ kind: kind! })).toEqual(Buffer.from(expected));
      expect(new NotificationRecordReader().read(expected, 0, expected.length).kind).toMatchObject({
        case: kind!.case,
      });
    }
  });

  test("are read as protobuf-es reads them, but for what a store is opened without", () => {
    fc.assert(
      fc.property(item, (value) => {
        const reader = new NotificationRecordReader();
        const bytes = encode({ kind: { case: "item", value } });
        const read = reader.read(bytes, 0, bytes.length);
        const { type, priority, collapseKey } = value.published.notification;
        const expected = create(CarriedItemSchema, value);
        const { notification: found, ...rest } = (read.kind!.value as typeof value).published;
        expect(found).toEqual({ type, priority, collapseKey });
        expect(create(PublishedSchema, rest)).toEqual(
          create(PublishedSchema, { ...value.published, notification: undefined as never }),
        );
        const again = create(CarriedItemSchema, { ...(read.kind!.value as typeof value), published: value.published });
        expect(toBinary(CarriedItemSchema, again)).toEqual(toBinary(CarriedItemSchema, expected));
        const stored = bytes.subarray(reader.bodyStart, reader.bodyEnd);
        expect(read.bodyBytes).toBe(measureNotification(value.published.notification));
        expect(fromBinary(NotificationSchema, stored)).toEqual(
          create(NotificationSchema, value.published.notification),
        );
      }),
      runs,
    );
  });

  test("a stored notification is found in its frame, and carried as it is", () => {
    fc.assert(
      fc.property(published, item, (from, to) => {
        const framed = (bytes: Buffer) => Buffer.concat([Buffer.alloc(FRAME_HEADER_BYTES), bytes]);
        const body = findNotification(framed(encode({ kind: { case: "published", value: from } })))!;
        expect(Buffer.from(body)).toEqual(
          Buffer.from(toBinary(NotificationSchema, create(NotificationSchema, from.notification))),
        );
        const carried = encode({ kind: { case: "item", value: to } }, body);
        expect(Buffer.from(findNotification(framed(carried))!)).toEqual(Buffer.from(body));
      }),
      runs,
    );
  });
});
