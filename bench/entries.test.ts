import { fromBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";
import { expect, test } from "vitest";
import { distinctEntries, encodeEntryFrames, entryFrameBytes } from "./entries.ts";

test("every frame is 171 bytes long and holds one entry with two fields", () => {
  const frames = encodeEntryFrames();
  expect(frames).toHaveLength(distinctEntries * 171);
  for (const index of [0, distinctEntries - 1]) {
    const start = index * entryFrameBytes;
    expect([frames[start], frames.readUInt32BE(start + 1)]).toEqual([0, 166]);
    const entry = fromBinary(LogEntrySchema, frames.subarray(start + 5, start + entryFrameBytes));
    expect(entry.message).toBe(
      `GET /api/v1/orders/${String(index).padStart(6, "0")} took 12 ms, 200 OK, 1532 bytes sent`,
    );
    expect(Object.keys(entry.fields)).toEqual(["trace_id", "user"]);
    expect(entry.sequence).toBe(0n);
  }
});
