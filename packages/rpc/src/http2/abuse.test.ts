import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { ErrorCode, FrameType } from "./frame.ts";
import { Setting } from "./settings.ts";
import {
  dataFrame,
  frame,
  headersFrame,
  REQUEST,
  resetFrame,
  RESPONSE,
  settingsFrame,
  summary,
  uint32,
  windowUpdate,
} from "./testing/frames.ts";
import { drivenServer, isServing } from "./testing/machines.ts";

const OPEN = { endStream: false };
const END = { endStream: true };
const response = new HeaderBlock(RESPONSE);
const trailers = new HeaderBlock(["grpc-status", "0"]);

describe("abuse", () => {
  test("5,000 ordinary cancels are no abuse", () => {
    const driven = drivenServer();
    for (let id = 1; id < 10_000; id += 2) driven.receive(headersFrame(id, REQUEST), resetFrame(id, ErrorCode.CANCEL));
    expect(driven.server.streams.length).toBe(5000);
    expect(isServing(driven, 10_001)).toBe(true);
  });

  test("streams opened to be reset, without end, end the connection", () => {
    const driven = drivenServer({ limits: { resetBurst: 100, resetsPerSecond: 10 } });
    let id = 1;
    const cancel = (times: number): void => {
      for (let count = 0; count < times; count += 1, id += 2) {
        driven.receive(headersFrame(id, REQUEST), resetFrame(id, ErrorCode.CANCEL));
      }
    };
    cancel(100);
    expect(driven.connection.isClosed).toBe(false);
    driven.nowMs += 1000;
    cancel(10);
    expect(driven.connection.isClosed).toBe(false);
    driven.nowMs += 3_600_000;
    cancel(100);
    expect(driven.connection.isClosed).toBe(false);
    cancel(1);
    expect(summary(driven.sent())).toEqual(["GOAWAY 421 ENHANCE_YOUR_CALM"]);
  });

  test.each([
    ["malformed requests", (id: number) => [headersFrame(id, ["x", "y"], END)]],
    ["frames after a stream's end", (id: number) => [headersFrame(id, REQUEST, END), dataFrame(id, "x")]],
    ["zero window updates", (id: number) => [headersFrame(id, REQUEST), windowUpdate(id, 0)]],
    ["refused streams", (id: number) => [headersFrame(id, REQUEST)]],
    ["changes of settings", (id: number) => [settingsFrame(Setting.INITIAL_WINDOW_SIZE, 1000 + (id % 4))]],
    ["header lists over the limit", (id: number) => [headersFrame(id, [...REQUEST, "x", "y".repeat(2000)], END)]],
  ])("%s count as resets: they cost as much", (_what, framesOf) => {
    const driven = drivenServer({
      limits: { resetBurst: 100, concurrentStreamsMax: 50, headerListBytesMax: 1000 },
    });
    for (let id = 1; id < 1000 && !driven.connection.isClosed; id += 2) driven.receive(...framesOf(id));
    expect(summary(driven.sent()).at(-1)).toMatch(/GOAWAY \d+ ENHANCE_YOUR_CALM/);
  });

  test("streams that have begun to answer may be cancelled as often as the client likes", () => {
    const driven = drivenServer({ limits: { resetBurst: 10 } });
    driven.server.onNewStream = ({ stream }) => stream!.sendHeaders(response, OPEN);
    for (let id = 1; id < 2000; id += 2) driven.receive(headersFrame(id, REQUEST), resetFrame(id, ErrorCode.CANCEL));
    expect(isServing(driven, 2001)).toBe(true);
  });

  test("answered streams may be reset as often as the client likes", () => {
    const driven = drivenServer({ limits: { resetBurst: 10 } });
    driven.server.onNewStream = ({ stream }) => stream!.sendHeaders(response, END);
    for (let id = 1; id < 2000; id += 2)
      driven.receive(headersFrame(id, REQUEST, END), resetFrame(id, ErrorCode.CANCEL));
    expect(isServing(driven, 2001)).toBe(true);
  });

  test.each([
    ["PING", frame(FrameType.PING, 0, 0, uint32(1, 2))],
    ["SETTINGS", settingsFrame(Setting.MAX_FRAME_SIZE, 16_384)],
  ])("answers to %s never wait in heaps for a client that does not read", (_type, bytes) => {
    const driven = drivenServer();
    driven.carrier.outcome = "full";
    driven.connection.ping(() => {});
    driven.connection.flush();
    let received = 0;
    for (; !driven.connection.isClosed && received < 1_000_000; received += 1) driven.receive(bytes);
    const waiting = driven.carrier.take();
    expect(waiting.length).toBeGreaterThan(64 * 1024);
    expect(waiting.length).toBeLessThan(66 * 1024);
    expect(driven.server.closes).toBe(1);
  });

  test("a client that reads may ping as often as it likes", () => {
    const driven = drivenServer();
    const ping = frame(FrameType.PING, 0, 0, Buffer.from("12345678"));
    for (let round = 0; round < 10_000; round += 1) driven.receive(ping);
    const answers = driven.sent();
    expect(answers.length).toBe(10_000);
    expect(answers[9999]).toMatchObject({ type: FrameType.PING, flags: 1, payload: Buffer.from("12345678") });
  });

  test("requests of a client that does not read wait at its streams, and so at their limit", () => {
    const driven = drivenServer({ limits: { concurrentStreamsMax: 100 } });
    driven.server.onNewStream = ({ stream }) => {
      stream!.sendHeaders(response, OPEN);
      stream!.end(trailers);
    };
    driven.carrier.outcome = "full";
    driven.connection.ping(() => {});
    driven.connection.flush();
    for (let id = 1; id < 2000; id += 2) driven.receive(headersFrame(id, REQUEST, END));
    expect(driven.server.streams.length).toBe(100);
    expect(driven.connection.openStreams).toBe(100);
    driven.carrier.outcome = "sent";
    driven.connection.resume();
    expect(driven.connection.openStreams).toBe(0);
    const answers = summary(driven.sent());
    expect(answers.filter((each) => each.endsWith("end")).length).toBe(100);
  });
});
