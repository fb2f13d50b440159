// The log entries that every contestant serves: the same bytes for all.

import { create, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";

/** Length of each frame, its five bytes of prefix included. */
export const entryFrameBytes = 171;
/** How many different entries there are; servers and writers go round in them. */
export const distinctEntries = 1000;

/** The application that wrote them. */
export const writtenApplication = "myapp";

// From here line numbers take two bytes, so that all entries are equally long.
const firstLineNumber = 128;

/** Entry number `index` as a stored message. */
function encodeEntry(index: number): Uint8Array {
  const entry = create(LogEntrySchema, {
    timestamp: 1_770_000_000_000_000_000n + BigInt(index) * 1_000_000n,
    level: "INFO",
    application: writtenApplication,
    message: `GET /api/v1/orders/${String(index).padStart(6, "0")} took 12 ms, 200 OK, 1532 bytes sent`,
    sourceFile: "handler.go",
    lineNumber: firstLineNumber + index,
    fields: { trace_id: `4bf92f3577b34da6a3ce929d0e0e${String(index).padStart(4, "0")}`, user: "u-1234567" },
  });
  return toBinary(LogEntrySchema, entry);
}

/** `distinctEntries` gRPC frames, one after the other. */
export function encodeEntryFrames(): Buffer {
  const frames = Buffer.alloc(distinctEntries * entryFrameBytes);
  for (let index = 0; index < distinctEntries; index++) {
    const message = encodeEntry(index);
    const start = index * entryFrameBytes;
    if (message.length !== entryFrameBytes - 5) {
      throw new Error(`Entry ${index} has ${message.length} bytes, not ${entryFrameBytes - 5}`);
    }
    frames.writeUInt32BE(message.length, start + 1);
    frames.set(message, start + 5);
  }
  return frames;
}
