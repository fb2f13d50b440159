import { fromBinary } from "@bufbuild/protobuf";
import { GapReason, LogEntrySchema, type StreamControl } from "@sluice/api";
import { expect, test } from "vitest";
import { ControlFrames } from "./control.ts";

const cursor = "AAAAAAAAAAAAAA";

function decode(frame: Uint8Array): StreamControl | undefined {
  expect(Buffer.from(frame).readUInt32BE(1)).toBe(frame.length - 5);
  return fromBinary(LogEntrySchema, frame.subarray(5)).control;
}

test("controls are frames of the message whose field they are in", () => {
  const controls = new ControlFrames(12);
  expect(decode(controls.sync(cursor))?.kind).toMatchObject({ case: "sync", value: { cursor } });
  expect(
    decode(controls.heartbeat({ headCursor: cursor, nowNs: 2n ** 62n, lagEntries: Number.MAX_SAFE_INTEGER }))?.kind,
  ).toMatchObject({
    case: "heartbeat",
    value: { headCursor: cursor, serverTimestamp: 2n ** 62n, lagEntries: BigInt(Number.MAX_SAFE_INTEGER) },
  });
  for (const [reason, expected] of [
    ["retention", GapReason.RETENTION],
    ["epoch", GapReason.EPOCH],
    ["corruption", GapReason.CORRUPTION],
  ] as const) {
    const gap = controls.gap({ afterCursor: cursor, toCursor: cursor, count: 7, reason });
    expect(decode(gap)?.kind).toMatchObject({ case: "gap", value: { count: 7n, reason: expected } });
  }
});

test("the field's number is the service's", () => {
  expect(new ControlFrames(3).sync(cursor)[5]).toBe((3 << 3) | 2);
  expect(() => new ControlFrames(2048)).toThrow(RangeError);
});
