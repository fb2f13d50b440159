import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { NotificationSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { ByteSink } from "../stream/byte-sink.ts";
import type { InboxItem } from "./contract.ts";
import { SharedFrames, typeIn, writeItem } from "./item-frames.ts";

const ms = fc.integer({ min: 0, max: 4e12 });
const item: fc.Arbitrary<InboxItem> = fc.record({
  id: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  sequence: fc.nat(),
  priority: fc.nat(7),
  type: fc.constant(undefined),
  topic: fc.string(),
  isShared: fc.boolean(),
  deliveredAtMs: ms,
  expiresAtMs: ms,
  silent: fc.boolean(),
  place: fc.nat(),
  state: fc.record({
    seen: fc.boolean(),
    read: fc.boolean(),
    archived: fc.boolean(),
    snoozedUntilMs: ms,
    revision: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  }),
});
const text = fc.string({ unit: "binary" }).map((each) => each.toWellFormed());
const stored = fc.record({
  type: text,
  title: text,
  message: text,
  priority: fc.nat(7),
  metadata: fc.dictionary(text, text),
});

test("what is stored, and what depends on the reader, is one message as protobuf-es reads it", () => {
  fc.assert(
    fc.property(item, stored, fc.stringMatching(/^[A-Za-z0-9_-]{0,90}$/), (item, fields, cursor) => {
      const body = toBinary(NotificationSchema, create(NotificationSchema, fields));
      const sink = new ByteSink(16);
      writeItem(sink, item, { body, cursor });
      const { revision, snoozedUntilMs, ...flags } = item.state;
      const state = { ...flags, snoozedUntil: BigInt(snoozedUntilMs) * 1_000_000n, revision: BigInt(revision) };
      const wanted = create(NotificationSchema, {
        ...fields,
        id: String(item.id),
        cursor,
        topic: item.topic,
        expiresAt: BigInt(item.expiresAtMs) * 1_000_000n,
        silent: item.silent,
        ...(revision === 0 ? {} : { state }),
      });
      expect(sink.bytes.readUInt32BE(1)).toBe(sink.used - FRAME_HEADER_BYTES);
      expect(fromBinary(NotificationSchema, sink.bytes.subarray(FRAME_HEADER_BYTES, sink.used))).toEqual(wanted);
      expect(typeIn(body)).toBe(fields.type);
    }),
    { numRuns: Math.ceil(200 * inject("propertyScale")) },
  );
});

test("frames are shared while they are new, of each topic its own", () => {
  const shared = new SharedFrames();
  const frames = Array.from({ length: 17 }, (_, i) => Uint8Array.of(i));
  for (const [i, frame] of frames.entries()) shared.add(i, "", frame);
  expect(shared.find(0, "")).toBeUndefined();
  expect(shared.find(1, "")).toBe(frames[1]);
  expect(shared.find(16, "")).toBe(frames[16]);
  expect(shared.find(16, "topic")).toBeUndefined();
});
