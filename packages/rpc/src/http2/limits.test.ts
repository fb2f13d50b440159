// What each limit of a connection does, where no other test of its part shows it.
import { expect, test } from "vitest";
import { ErrorCode, FrameType, PREFACE } from "./frame.ts";
import {
  dataFrame,
  frame,
  headersFrame,
  literalBlock,
  REQUEST,
  resetFrame,
  settingsFrame,
  summary,
} from "./testing/frames.ts";
import { drivenServer, freshServer } from "./testing/machines.ts";

const KIB = 1024;

test("headerTableBytes: a block that wants a larger table ends the connection", () => {
  const driven = drivenServer();
  // Dynamic Table Size Update to 4,097 (RFC 7541 §6.3).
  const update = Buffer.of(0x3f, 0xe2, 0x1f);
  driven.receive(frame(FrameType.HEADERS, 5, 1, Buffer.concat([update, literalBlock(REQUEST)])));
  expect(summary(driven.sent())).toEqual(["GOAWAY 0 COMPRESSION_ERROR"]);
});

test("frameBytesMax: it is told to the peer, and a larger frame ends the connection", () => {
  const limits = { frameBytesMax: 20_000 };
  const fresh = freshServer({ limits });
  fresh.receive(PREFACE, settingsFrame());
  const [settings] = fresh.sent();
  expect(settings?.payload.indexOf(Buffer.from("000500004e20", "hex"))).toBeGreaterThanOrEqual(0);
  const driven = drivenServer({ limits });
  driven.receive(headersFrame(1, REQUEST), dataFrame(1, Buffer.alloc(20_000)));
  expect(driven.connection.isClosed).toBe(false);
  driven.receive(dataFrame(1, Buffer.alloc(20_001)));
  expect(summary(driven.sent())).toContain("GOAWAY 1 FRAME_SIZE_ERROR");
  const usual = drivenServer();
  usual.receive(headersFrame(1, REQUEST), dataFrame(1, Buffer.alloc(16_385)));
  expect(summary(usual.sent())).toContain("GOAWAY 1 FRAME_SIZE_ERROR");
});

test("streamWindowBytesMax: a window widens so far, however fast its stream is read", () => {
  const driven = drivenServer({ limits: { streamWindowBytesMax: 256 * KIB } });
  driven.receive(headersFrame(1, REQUEST));
  let window = 64 * KIB;
  let widest = window;
  for (let round = 0; round < 1000; round++) {
    driven.receive(dataFrame(1, Buffer.alloc(16 * KIB)));
    window -= 16 * KIB;
    for (const { type, streamId, payload } of driven.sent()) {
      if (type === FrameType.WINDOW_UPDATE && streamId === 1) window += payload.readUInt32BE(0);
    }
    widest = Math.max(widest, window);
  }
  expect(widest).toBeGreaterThan(128 * KIB);
  expect(widest).toBeLessThanOrEqual(256 * KIB);
});

test("resetsPerSecond: so many come back in a second, and no more", () => {
  const driven = drivenServer({ limits: { resetBurst: 10, resetsPerSecond: 5 } });
  let id = 1;
  const resets = (count: number): void => {
    for (let at = 0; at < count; at++, id += 2)
      driven.receive(headersFrame(id, REQUEST), resetFrame(id, ErrorCode.CANCEL));
  };
  resets(10);
  driven.nowMs += 1000;
  resets(5);
  expect(driven.connection.isClosed).toBe(false);
  resets(1);
  expect(driven.connection.isClosed).toBe(true);
});
