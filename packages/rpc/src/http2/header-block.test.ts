import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { ErrorCode, Flag, FrameType } from "./frame.ts";
import { HpackDecoder } from "./hpack.ts";
import { Setting } from "./settings.ts";
import {
  dataFrame,
  frame,
  headersFrame,
  literalBlock,
  literalText,
  type ParsedFrame,
  REQUEST,
  RESPONSE,
  settingsFrame,
  summary,
  uint32,
} from "./testing/frames.ts";
import { type DrivenServer, drivenServer, isServing } from "./testing/machines.ts";

const END = { endStream: true };
const response = new HeaderBlock(RESPONSE);

describe("header blocks", () => {
  test("may be padded and carry a priority, which is ignored", () => {
    const driven = drivenServer();
    const payload = Buffer.concat([Buffer.of(3), uint32(0), Buffer.of(9), literalBlock(REQUEST), Buffer.alloc(3)]);
    driven.receive(frame(FrameType.HEADERS, 4 | 1 | 8 | 0x20, 1, payload));
    expect(driven.server.streams[0]!.headers[0]!.fields).toEqual(REQUEST);
  });

  test.each([
    ["padding longer than the payload", Flag.PADDED, Buffer.of(9, 1, 2), "PROTOCOL_ERROR"],
    ["padding in an empty frame", Flag.PADDED, Buffer.alloc(0), "FRAME_SIZE_ERROR"],
    ["half a priority", Flag.PRIORITY, Buffer.of(0, 0, 0), "FRAME_SIZE_ERROR"],
    ["padding and half a priority", Flag.PADDED | Flag.PRIORITY, Buffer.alloc(5), "FRAME_SIZE_ERROR"],
    ["padding in the place of a priority", Flag.PADDED | Flag.PRIORITY, Buffer.of(1, 0, 0, 0, 0, 0), "PROTOCOL_ERROR"],
  ])("with %s end the connection", (_what, flags, payload, code) => {
    const driven = drivenServer();
    driven.receive(frame(FrameType.HEADERS, Flag.END_HEADERS | flags, 1, payload));
    expect(summary(driven.sent())).toEqual([`GOAWAY 0 ${code}`]);
  });

  test("of a stream that depends on itself fail it, and are decoded", () => {
    const driven = drivenServer();
    const payload = Buffer.concat([uint32(1), Buffer.of(9), literalBlock(REQUEST)]);
    driven.receive(frame(FrameType.HEADERS, 4 | 0x20, 1, payload));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 PROTOCOL_ERROR"]);
    // A handler that answers at once would have answered it.
    expect(driven.server.streams).toEqual([]);
    expect(isServing(driven, 3)).toBe(true);
  });

  test("of a stream that depends on itself fail it once they are whole, and only once", () => {
    const driven = drivenServer();
    const itself = (id: number): Buffer => Buffer.concat([uint32(id), Buffer.of(9)]);
    driven.receive(frame(FrameType.HEADERS, Flag.PRIORITY, 1, itself(1)));
    expect(driven.sent()).toEqual([]);
    driven.receive(frame(FrameType.CONTINUATION, Flag.END_HEADERS, 1, literalBlock(REQUEST)));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 PROTOCOL_ERROR"]);
    const malformed = Buffer.concat([itself(3), literalBlock(["x", "y"])]);
    driven.receive(frame(FrameType.HEADERS, Flag.PRIORITY | Flag.END_HEADERS, 3, malformed));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 3 PROTOCOL_ERROR"]);
    expect(isServing(driven, 5)).toBe(true);
  });

  test("are put together from CONTINUATION frames, also empty ones", () => {
    const driven = drivenServer();
    const block = literalBlock(REQUEST);
    const parts = [block.subarray(0, 1), block.subarray(1, 1), block.subarray(1, 20), block.subarray(20)];
    driven.receive(
      frame(FrameType.HEADERS, 1, 1, parts[0]),
      frame(FrameType.CONTINUATION, 0, 1, parts[1]),
      frame(FrameType.CONTINUATION, 0, 1, parts[2]),
      frame(FrameType.CONTINUATION, 4, 1, parts[3]),
    );
    expect(driven.server.streams[0]!.events).toEqual(["headers, end"]);
    expect(driven.server.streams[0]!.headers[0]!.fields).toEqual(REQUEST);
  });

  test.each([
    ["DATA", dataFrame(1, "x")],
    ["HEADERS", headersFrame(3, REQUEST)],
    ["PING", frame(FrameType.PING, 0, 0, uint32(0, 0))],
    ["a frame of unknown type", frame(0xaa, 0, 0)],
    ["CONTINUATION of another stream", frame(FrameType.CONTINUATION, 4, 3, literalBlock(REQUEST))],
  ])("end the connection when %s comes within", (_what, bytes) => {
    const driven = drivenServer();
    driven.receive(frame(FrameType.HEADERS, 0, 1, literalBlock(REQUEST)), bytes);
    expect(summary(driven.sent())).toEqual(["GOAWAY 0 PROTOCOL_ERROR"]);
  });

  test("that are no HPACK end the connection", () => {
    const driven = drivenServer();
    driven.receive(frame(FrameType.HEADERS, 4 | 1, 1, Buffer.of(0x80)));
    expect(summary(driven.sent())).toEqual(["GOAWAY 0 COMPRESSION_ERROR"]);
  });

  test("that are unfinished hold no more memory than themselves: the socket's bytes are not needed", () => {
    const driven = drivenServer();
    const block = literalBlock(REQUEST);
    const first = frame(FrameType.HEADERS, 1, 1, block.subarray(0, 20));
    driven.connection.receive(first, 0);
    first.fill(0);
    driven.receive(frame(FrameType.CONTINUATION, 4, 1, block.subarray(20)));
    expect(driven.server.streams[0]!.headers[0]!.fields).toEqual(REQUEST);
  });

  test("end the connection when they come in too many pieces", () => {
    const driven = drivenServer({ limits: { continuationFramesMax: 10 } });
    driven.receive(frame(FrameType.HEADERS, 0, 1));
    for (let count = 0; count < 10; count += 1) driven.receive(frame(FrameType.CONTINUATION, 0, 1));
    expect(driven.connection.isClosed).toBe(false);
    driven.receive(frame(FrameType.CONTINUATION, 0, 1));
    expect(summary(driven.sent())).toEqual(["GOAWAY 0 ENHANCE_YOUR_CALM"]);
  });

  test("end the connection when they are too large", () => {
    const driven = drivenServer({ limits: { headerBlockBytesMax: 40_000 } });
    const part = Buffer.alloc(16_000);
    driven.receive(frame(FrameType.HEADERS, 0, 1, part), frame(FrameType.CONTINUATION, 0, 1, part));
    expect(driven.connection.isClosed).toBe(false);
    driven.receive(frame(FrameType.CONTINUATION, 0, 1, part));
    expect(summary(driven.sent())).toEqual(["GOAWAY 0 ENHANCE_YOUR_CALM"]);
  });

  /** A request whose block puts `x: y` into the table; index 62 means it from then on. */
  const indexing = Buffer.concat([literalBlock(REQUEST), Buffer.of(0x40), literalText("x"), literalText("y")]);
  const indexed = Buffer.concat([literalBlock(REQUEST), Buffer.of(0x80 | 62)]);
  const isInStep = (driven: DrivenServer, streamId: number): boolean => {
    driven.receive(frame(FrameType.HEADERS, 4 | 1, streamId, indexed));
    return driven.server.streams.at(-1)?.headers[0]?.fields.slice(-2).join() === "x,y";
  };

  test("of refused streams are decoded", () => {
    const driven = drivenServer({ limits: { concurrentStreamsMax: 1 } });
    driven.receive(headersFrame(1, REQUEST, END), frame(FrameType.HEADERS, 4, 3, indexing));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 3 REFUSED_STREAM"]);
    driven.server.streams[0]!.stream!.sendHeaders(response, END);
    expect(isInStep(driven, 5)).toBe(true);
  });

  test("of malformed requests are decoded", () => {
    const driven = drivenServer();
    const malformed = Buffer.concat([indexing, literalBlock(["Upper", "x"])]);
    driven.receive(frame(FrameType.HEADERS, 4, 1, malformed));
    expect(isInStep(driven, 3)).toBe(true);
  });

  test("of streams that were reset here are decoded", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST));
    driven.server.streams[0]!.stream!.reset(ErrorCode.CANCEL);
    driven.receive(frame(FrameType.HEADERS, 4 | 1, 1, indexing.subarray(literalBlock(REQUEST).length)));
    expect(isInStep(driven, 3)).toBe(true);
  });

  test("of trailers that come too late are decoded", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST, END));
    driven.receive(frame(FrameType.HEADERS, 4 | 1, 1, indexing.subarray(literalBlock(REQUEST).length)));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 STREAM_CLOSED"]);
    expect(isInStep(driven, 3)).toBe(true);
  });

  test("over the size limit are decoded, and answered with 431", () => {
    const driven = drivenServer({ limits: { headerListBytesMax: 1000 } });
    const tooLarge = Buffer.concat([indexing, literalBlock(["big", "x".repeat(1000)])]);
    driven.receive(frame(FrameType.HEADERS, 4 | 1, 1, tooLarge), frame(FrameType.HEADERS, 4, 3, tooLarge));
    const answers = driven.sent();
    expect(summary(answers)).toEqual(["HEADERS 1 end", "HEADERS 3 end", "RST_STREAM 3 NO_ERROR"]);
    const [{ payload }] = answers as [ParsedFrame];
    expect(new HpackDecoder(4096, 16_384).decode(payload, 0, payload.length).fields).toContain("431");
    expect(driven.server.streams).toEqual([]);
    expect(isInStep(driven, 5)).toBe(true);
  });

  test("over the size limit are answered as the options say, once the socket has room", () => {
    const headersTooLarge = new HeaderBlock([":status", "200", "grpc-status", "8"]);
    const driven = drivenServer({ limits: { headerListBytesMax: 1000 }, headersTooLarge });
    driven.connection.ping(() => {});
    driven.carrier.outcome = "full";
    driven.sent();
    driven.receive(headersFrame(1, [...REQUEST, "big", "x".repeat(1000)]), dataFrame(1, "ignored"));
    expect(driven.sent()).toEqual([]);
    driven.carrier.outcome = "sent";
    driven.connection.resume();
    const [{ payload }] = driven.sent() as [ParsedFrame];
    expect(new HpackDecoder(4096, 16_384).decode(payload, 0, payload.length).fields).toEqual(headersTooLarge.fields);
    expect(isServing(driven, 3)).toBe(true);
  });

  test("start with a size update after the client lowered its table", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST, END), headersFrame(3, REQUEST, END));
    driven.receive(settingsFrame(Setting.HEADER_TABLE_SIZE, 0, Setting.HEADER_TABLE_SIZE, 4096));
    driven.sent();
    for (const { stream } of driven.server.streams) stream!.sendHeaders(response, END);
    const blocks = driven.sent().map((each) => each.payload.toString("hex"));
    expect(blocks).toEqual(["2088", "88"]);
  });

  test("larger than the client's frames are sent in CONTINUATION frames", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST, END));
    const large = new HeaderBlock([":status", "200", "x", "\xff".repeat(40_000)]);
    driven.server.streams[0]!.stream!.sendHeaders(large, END);
    const frames = driven.sent();
    expect(summary(frames)).toEqual(["HEADERS 1 end", "CONTINUATION 1", "CONTINUATION 1"]);
    expect(frames.map((each) => each.flags & 4)).toEqual([0, 0, 4]);
    const block = Buffer.concat(frames.map((each) => each.payload));
    expect(new HpackDecoder(4096, 100_000).decode(block, 0, block.length).fields).toEqual(large.fields);
  });
});
