import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { ErrorCode, FrameType, PREFACE } from "./frame.ts";
import { Setting } from "./settings.ts";
import {
  dataFrame,
  frame,
  goawayFrame,
  headersFrame,
  REQUEST,
  resetFrame,
  RESPONSE,
  SETTINGS_ACK,
  settingsFrame,
  summary,
  uint32,
  windowUpdate,
} from "./testing/frames.ts";
import { drivenServer, freshServer, isServing } from "./testing/machines.ts";

const OPEN = { endStream: false };
const END = { endStream: true };
const response = new HeaderBlock(RESPONSE);
const trailers = new HeaderBlock(["grpc-status", "0"]);

describe("the handshake", () => {
  test("begins with SETTINGS, before the client has said anything", () => {
    const driven = freshServer();
    const [settings, update] = driven.sent();
    expect(settings!.type).toBe(FrameType.SETTINGS);
    expect(settings!.payload.length).toBe(5 * 6);
    expect(update).toMatchObject({ type: FrameType.WINDOW_UPDATE, streamId: 0 });
  });

  test("takes the preface in any pieces, and acknowledges the client's SETTINGS", () => {
    const driven = freshServer();
    driven.sent();
    for (const byte of Buffer.concat([PREFACE, settingsFrame(), SETTINGS_ACK])) driven.receive(Buffer.of(byte));
    expect(summary(driven.sent())).toEqual(["SETTINGS 0 ack"]);
    expect(isServing(driven, 1)).toBe(true);
  });

  test.each([
    ["bytes that are no preface", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["a preface that goes wrong late", Buffer.concat([PREFACE.subarray(0, 23), Buffer.from("x")])],
    ["another frame than SETTINGS first", Buffer.concat([PREFACE, frame(FrameType.PING, 0, 0, uint32(0, 0))])],
    ["an acknowledgement of SETTINGS first", Buffer.concat([PREFACE, SETTINGS_ACK])],
    ["DATA first", Buffer.concat([PREFACE, dataFrame(1, "x")])],
  ])("ends on %s", (_what, bytes) => {
    const driven = freshServer();
    driven.sent();
    driven.receive(bytes);
    expect(summary(driven.sent())).toEqual(["GOAWAY 0 PROTOCOL_ERROR"]);
    expect(driven.carrier.isClosed).toBe(true);
    expect(driven.server.closes).toBe(1);
  });
});

describe("frames of the wrong size end the connection", () => {
  test.each([
    ["RST_STREAM", frame(FrameType.RST_STREAM, 0, 1, Buffer.alloc(3))],
    ["WINDOW_UPDATE", frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.alloc(5))],
    ["SETTINGS", frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5))],
    ["SETTINGS, acknowledged with a payload", frame(FrameType.SETTINGS, 1, 0, Buffer.alloc(6))],
    ["PING", frame(FrameType.PING, 0, 0, Buffer.alloc(7))],
    ["GOAWAY", frame(FrameType.GOAWAY, 0, 0, Buffer.alloc(7))],
  ])("%s", (_type, bytes) => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), bytes);
    expect(summary(driven.sent())).toEqual(["GOAWAY 1 FRAME_SIZE_ERROR"]);
  });

  test("PRIORITY only its stream", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(4)));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 FRAME_SIZE_ERROR"]);
    expect(isServing(driven, 3)).toBe(true);
  });
});

describe("requests", () => {
  test("reach the handler, with data and trailers, and are answered", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), dataFrame(1, "hello "), dataFrame(1, "world"));
    driven.receive(headersFrame(1, ["x-checksum", "1"], END));
    const [recorded] = driven.server.streams;
    expect(recorded!.events).toEqual(["headers", "data 6", "data 5", "trailers"]);
    expect(recorded!.body.toString()).toBe("hello world");
    expect(recorded!.headers.map((list) => list.fields)).toEqual([REQUEST, ["x-checksum", "1"]]);
    recorded!.stream!.sendHeaders(response, OPEN);
    recorded!.stream!.write(Buffer.from("answer"));
    recorded!.stream!.end(trailers);
    expect(summary(driven.sent())).toEqual(["HEADERS 1", "DATA 1", "HEADERS 1 end"]);
    expect(recorded!.events.at(-1)).toBe("close by both-sides 0");
    expect(driven.connection.openStreams).toBe(0);
  });

  test("may be answered without trailers: an empty DATA frame ends the stream", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST, END));
    const { stream } = driven.server.streams[0]!;
    stream!.sendHeaders(response, OPEN);
    stream!.end();
    expect(summary(driven.sent())).toEqual(["HEADERS 1", "DATA 1 end"]);
  });

  test("that end with an empty DATA frame are told so", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), dataFrame(1, "x"), dataFrame(1, ""), dataFrame(1, "", END));
    expect(driven.server.streams[0]!.events).toEqual(["headers", "data 1", "data 0, end"]);
  });

  test("that are malformed are reset and never heard of", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, [":method", "GET"], END), headersFrame(3, [...REQUEST, "Upper", "x"], END));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 PROTOCOL_ERROR", "RST_STREAM 3 PROTOCOL_ERROR"]);
    expect(driven.server.streams).toEqual([]);
    expect(isServing(driven, 5)).toBe(true);
  });

  test.each([
    ["a second header block without END_STREAM", headersFrame(1, ["a", "b"])],
    ["a pseudo-header field in trailers", headersFrame(1, [":path", "/"], END)],
  ])("are reset on %s", (_what, bytes) => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), bytes);
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 PROTOCOL_ERROR"]);
    expect(driven.server.streams[0]!.events).toEqual(["headers", "close by stream-error 1"]);
    expect(isServing(driven, 3)).toBe(true);
  });

  test.each([
    ["less", [dataFrame(1, "abc", END)]],
    ["less, told by trailers", [dataFrame(1, "abc"), headersFrame(1, ["a", "b"], END)]],
    ["more", [dataFrame(1, "abcdef")]],
    ["more in several frames", [dataFrame(1, "abc"), dataFrame(1, "def", END)]],
  ])("are reset when the body is %s than content-length says", (_what, frames) => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, [...REQUEST, "content-length", "5"]), ...frames);
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 PROTOCOL_ERROR"]);
    expect(driven.server.streams[0]!.events.at(-1)).toBe("close by stream-error 1");
  });

  test("are reset when content-length promises a body and there is none", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, [...REQUEST, "content-length", "5"], END));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 1 PROTOCOL_ERROR"]);
    expect(driven.server.streams).toEqual([]);
  });

  test("are served when the body is as long as content-length says, padding aside", () => {
    const driven = drivenServer();
    const padded = frame(FrameType.DATA, 8 | 1, 1, Buffer.concat([Buffer.of(4), Buffer.from("de"), Buffer.alloc(4)]));
    driven.receive(headersFrame(1, [...REQUEST, "content-length", "5"]), dataFrame(1, "abc"), padded);
    expect(driven.server.streams[0]!.events).toEqual(["headers", "data 3", "data 2, end"]);
  });
});

describe("streams", () => {
  test("above the limit are refused, until one has ended", () => {
    const driven = drivenServer({ limits: { concurrentStreamsMax: 2 } });
    driven.receive(
      headersFrame(1, REQUEST),
      headersFrame(3, REQUEST),
      headersFrame(5, REQUEST),
      dataFrame(5, "x", END),
    );
    expect(summary(driven.sent())).toEqual(["RST_STREAM 5 REFUSED_STREAM"]);
    driven.receive(resetFrame(1, ErrorCode.CANCEL));
    expect(driven.connection.openStreams).toBe(1);
    expect(isServing(driven, 7)).toBe(true);
  });

  test("that are gone count as open while their handlers run", () => {
    const driven = drivenServer({ limits: { concurrentStreamsMax: 2 } });
    driven.connection.busyHandlers = 1;
    driven.receive(headersFrame(1, REQUEST), headersFrame(3, REQUEST));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 3 REFUSED_STREAM"]);
    driven.connection.busyHandlers = 0;
    expect(isServing(driven, 5)).toBe(true);
  });

  test("of one connection come to an end before their ids do: it drains, and those under way are served", () => {
    const driven = drivenServer({ limits: { streamsPerConnectionMax: 3 } });
    driven.receive(headersFrame(1, REQUEST), headersFrame(3, REQUEST));
    expect(driven.sent()).toEqual([]);
    driven.receive(headersFrame(5, REQUEST));
    const [goaway, ping] = driven.sent();
    expect(summary([goaway!])).toEqual(["GOAWAY 2147483647 NO_ERROR"]);
    driven.receive(headersFrame(7, REQUEST));
    expect(driven.server.streams.length).toBe(4);
    driven.receive(frame(FrameType.PING, 1, 0, ping!.payload), headersFrame(9, REQUEST));
    expect(summary(driven.sent())).toEqual(["GOAWAY 7 NO_ERROR", "RST_STREAM 9 REFUSED_STREAM"]);
  });

  test("whose answer is complete before the request are closed, and what still comes is ignored", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), dataFrame(1, "x"));
    const [recorded] = driven.server.streams;
    recorded!.stream!.sendHeaders(response, END);
    expect(summary(driven.sent())).toEqual(["HEADERS 1 end", "RST_STREAM 1 NO_ERROR"]);
    expect(recorded!.end).toEqual({ by: "both-sides", code: 0, reason: "" });
    driven.receive(dataFrame(1, "late"), windowUpdate(1, 10), headersFrame(1, ["a", "b"], END));
    expect(driven.sent()).toEqual([]);
    expect(recorded!.events).toEqual(["headers", "data 1", "close by both-sides 0"]);
  });

  test("that the client resets are closed with its code", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), resetFrame(1, ErrorCode.CANCEL));
    const [recorded] = driven.server.streams;
    expect(recorded!.events).toEqual(["headers", "close by peer-reset 8"]);
    recorded!.stream!.sendHeaders(response, OPEN);
    expect(recorded!.stream!.write(Buffer.from("late"))).toBe(true);
    recorded!.stream!.end();
    recorded!.stream!.reset(ErrorCode.CANCEL);
    recorded!.stream!.wake();
    recorded!.stream!.consume(100);
    expect(driven.sent()).toEqual([]);
  });

  test("that the handler resets drop what was not sent", () => {
    const driven = drivenServer({ peerSettings: [Setting.INITIAL_WINDOW_SIZE, 0] });
    driven.receive(headersFrame(1, REQUEST));
    const [recorded] = driven.server.streams;
    recorded!.stream!.sendHeaders(response, OPEN);
    recorded!.stream!.write(Buffer.from("waits"));
    recorded!.stream!.reset(ErrorCode.INTERNAL_ERROR);
    expect(summary(driven.sent())).toEqual(["HEADERS 1", "RST_STREAM 1 INTERNAL_ERROR"]);
    expect(recorded!.events).toEqual(["headers", "close by local-reset 2"]);
    driven.receive(windowUpdate(1, 100));
    expect(driven.sent()).toEqual([]);
  });

  test("may be answered in full while their handler is being made", () => {
    const driven = drivenServer();
    driven.server.onNewStream = ({ stream }) => stream!.sendHeaders(response, END);
    driven.receive(headersFrame(1, REQUEST, END));
    expect(driven.server.streams[0]!.events).toEqual(["headers, end", "close by both-sides 0"]);
  });

  test("may be reset while their handler is being made", () => {
    const driven = drivenServer();
    driven.server.onNewStream = ({ stream }) => stream!.reset(ErrorCode.CANCEL);
    driven.receive(headersFrame(1, REQUEST), dataFrame(1, "x"));
    expect(driven.server.streams[0]!.events).toEqual(["headers", "close by local-reset 8"]);
  });

  test.each(["data 1", "data 1, end"])("may be reset, or the connection destroyed, on hearing %s", (trigger) => {
    const last = trigger.endsWith("end") ? END : OPEN;
    const reset = drivenServer();
    reset.server.onNewStream = (recorded) => {
      recorded.onEvent = (event) => event === trigger && recorded.stream!.reset(ErrorCode.CANCEL);
    };
    reset.receive(headersFrame(1, REQUEST), dataFrame(1, "x", last), headersFrame(3, REQUEST));
    expect(reset.server.streams[0]!.events).toEqual(["headers", trigger, "close by local-reset 8"]);
    expect(reset.server.streams.length).toBe(2);

    const destroyed = drivenServer();
    destroyed.server.onNewStream = (recorded) => {
      recorded.onEvent = (event) =>
        event === trigger && destroyed.connection.destroy(ErrorCode.INTERNAL_ERROR, "on purpose");
    };
    destroyed.receive(headersFrame(1, REQUEST), dataFrame(1, "x", last), headersFrame(3, REQUEST));
    expect(destroyed.server.streams[0]!.events).toEqual(["headers", trigger, "close by connection-lost 2"]);
    expect(destroyed.server.streams.length).toBe(1);
    expect(summary(destroyed.sent())).toEqual(["GOAWAY 1 INTERNAL_ERROR"]);
  });
});

test.each([
  ["whole", 21],
  ["in two pieces", 12],
])("a last DATA frame ends its stream also when the handler resets the stream on its first byte: %s", (_how, cut) => {
  const driven = drivenServer();
  driven.server.onNewStream = (recorded) => {
    recorded.onEvent = (event) => event.startsWith("data") && recorded.stream?.reset(ErrorCode.CANCEL);
  };
  driven.receive(headersFrame(1, REQUEST));
  const last = dataFrame(1, "twelve bytes", END);
  driven.receive(last.subarray(0, cut));
  driven.receive(last.subarray(cut));
  driven.receive(headersFrame(1, REQUEST));
  expect(summary(driven.sent())).toEqual(["RST_STREAM 1 CANCEL", "GOAWAY 1 STREAM_CLOSED"]);
});

describe("the end", () => {
  test("drains in two steps: streams that were on their way are served", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST));
    driven.connection.drain();
    driven.connection.drain();
    const [goaway, ping] = driven.sent();
    expect(summary([goaway!])).toEqual(["GOAWAY 2147483647 NO_ERROR"]);
    driven.receive(headersFrame(3, REQUEST, END));
    expect(driven.server.streams.length).toBe(2);
    driven.receive(frame(FrameType.PING, 1, 0, ping!.payload));
    expect(summary(driven.sent())).toEqual(["GOAWAY 3 NO_ERROR"]);
    driven.receive(headersFrame(5, REQUEST, END));
    expect(summary(driven.sent())).toEqual(["RST_STREAM 5 REFUSED_STREAM"]);
    for (const { stream } of driven.server.streams) stream!.sendHeaders(response, END);
    expect(driven.carrier.isClosed).toBe(true);
    expect(summary(driven.sent())).toEqual(["HEADERS 1 end", "RST_STREAM 1 NO_ERROR", "HEADERS 3 end"]);
    expect(driven.server.closes).toBe(1);
  });

  test("an error after the drain names no later stream than the drain did", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST));
    driven.connection.drain();
    const [, ping] = driven.sent();
    driven.receive(frame(FrameType.PING, 1, 0, ping!.payload), headersFrame(3, REQUEST, END), dataFrame(0, "x"));
    expect(summary(driven.sent()).filter((each) => each.startsWith("GOAWAY"))).toEqual([
      "GOAWAY 1 NO_ERROR",
      "GOAWAY 1 PROTOCOL_ERROR",
    ]);
  });

  test("drains at once when nothing is open", () => {
    const driven = drivenServer();
    driven.connection.drain();
    const [, ping] = driven.sent();
    expect(driven.carrier.isClosed).toBe(false);
    driven.receive(frame(FrameType.PING, 1, 0, ping!.payload));
    expect(driven.carrier.isClosed).toBe(true);
  });

  test("an answer to a PING that was never sent is ignored", () => {
    const driven = drivenServer();
    driven.connection.drain();
    driven.sent();
    driven.receive(frame(FrameType.PING, 1, 0, uint32(7, 7)), frame(FrameType.PING, 1, 0, uint32(0, 7)));
    expect(driven.sent()).toEqual([]);
  });

  test("after a client's GOAWAY comes with the last stream", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST, END), goawayFrame(0, ErrorCode.NO_ERROR));
    expect(driven.carrier.isClosed).toBe(false);
    driven.server.streams[0]!.stream!.sendHeaders(response, END);
    expect(driven.carrier.isClosed).toBe(true);
  });

  test("by a lost socket closes every stream once, and sends nothing", () => {
    const driven = drivenServer();
    driven.receive(headersFrame(1, REQUEST), headersFrame(3, REQUEST));
    driven.server.streams[0]!.onEvent = () => driven.server.streams[1]!.stream!.reset(ErrorCode.CANCEL);
    driven.connection.disconnected("reset by peer");
    expect(driven.server.streams.map((each) => each.end)).toEqual([
      { by: "connection-lost", code: 0, reason: "reset by peer" },
      { by: "local-reset", code: 8, reason: "" },
    ]);
    expect(driven.server.closes).toBe(1);
    driven.connection.disconnected("again");
    driven.connection.destroy(ErrorCode.NO_ERROR, "again");
    driven.receive(headersFrame(5, REQUEST));
    expect(driven.server.closes).toBe(1);
    expect(driven.carrier.take().length).toBe(0);
  });
});
