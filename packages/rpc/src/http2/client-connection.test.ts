import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { ErrorCode, FrameType, PREFACE } from "./frame.ts";
import { Setting } from "./settings.ts";
import {
  dataFrame,
  frame,
  goawayFrame,
  headersFrame,
  literalBlock,
  parseFrames,
  REQUEST,
  resetFrame,
  RESPONSE,
  settingsFrame,
  summary,
  uint32,
} from "./testing/frames.ts";
import { drivenClient, type DrivenClient, freshClient, RecordedStream } from "./testing/machines.ts";

const OPEN = { endStream: false };
const END = { endStream: true };
const request = new HeaderBlock(REQUEST);

function open(driven: DrivenClient, options = OPEN): RecordedStream {
  const recorded = new RecordedStream();
  recorded.stream = driven.connection.open(request, recorded, options);
  return recorded;
}

describe("the handshake", () => {
  test("sends preface and SETTINGS at once, and opens with the server's SETTINGS", () => {
    const driven = freshClient();
    driven.connection.flush();
    const bytes = driven.carrier.take();
    expect(bytes.subarray(0, PREFACE.length)).toEqual(PREFACE);
    const frames = parseFrames(bytes.subarray(PREFACE.length));
    expect(summary(frames)).toEqual(["SETTINGS 0", `WINDOW_UPDATE 0 ${16 * 1024 * 1024 - 65_535}`]);
    expect(frames[0]!.payload.subarray(0, 6)).toEqual(Buffer.of(0, Setting.ENABLE_PUSH, 0, 0, 0, 0));
    expect(driven.connection.state).toBe("connecting");
    expect(driven.connection.streamsAvailable).toBe(0);
    expect(() => open(driven)).toThrow("Cannot open a stream");
    driven.receive(settingsFrame());
    expect(driven.client.events).toEqual(["open", "available"]);
    expect(driven.connection.state).toBe("open");
  });

  test("ends when the server's first frame is not SETTINGS", () => {
    const driven = freshClient();
    driven.receive(frame(FrameType.PING, 0, 0, uint32(0, 0)));
    expect(driven.client.events).toEqual(["close: the first frame is not SETTINGS"]);
    expect(driven.carrier.isClosed).toBe(true);
  });

  test.each([
    ["ENABLE_PUSH, which only a client may set", settingsFrame(Setting.ENABLE_PUSH, 1), ErrorCode.PROTOCOL_ERROR],
    ["a window over 2^31-1", settingsFrame(Setting.INITIAL_WINDOW_SIZE, 0x80000000), ErrorCode.FLOW_CONTROL_ERROR],
    ["a frame size below the least", settingsFrame(Setting.MAX_FRAME_SIZE, 16_383), ErrorCode.PROTOCOL_ERROR],
    ["a frame size above the greatest", settingsFrame(Setting.MAX_FRAME_SIZE, 0x1000000), ErrorCode.PROTOCOL_ERROR],
  ])("ends on SETTINGS with %s", (_what, bytes, code) => {
    const driven = drivenClient();
    driven.receive(bytes);
    expect(driven.sent().at(-1)!.payload.readUInt32BE(4)).toBe(code);
    expect(driven.connection.state).toBe("closed");
  });
});

describe("responses", () => {
  test("reach the handler: headers, data, trailers", () => {
    const driven = drivenClient();
    const recorded = open(driven);
    expect(recorded.stream!.write(Buffer.from("question"))).toBe(true);
    recorded.stream!.end();
    expect(summary(driven.sent())).toEqual(["HEADERS 1", "DATA 1", "DATA 1 end"]);
    driven.receive(headersFrame(1, RESPONSE), dataFrame(1, "answer"), headersFrame(1, ["grpc-status", "0"], END));
    expect(recorded.events).toEqual(["headers", "data 6", "trailers", "close by both-sides 0"]);
    expect(recorded.headers.map((list) => list.fields)).toEqual([RESPONSE, ["grpc-status", "0"]]);
  });

  test("may be headers alone", () => {
    const driven = drivenClient();
    const recorded = open(driven, END);
    expect(summary(driven.sent())).toEqual(["HEADERS 1 end"]);
    driven.receive(headersFrame(1, [...RESPONSE, "grpc-status", "5"], END));
    expect(recorded.events).toEqual(["headers, end", "close by both-sides 0"]);
  });

  test("may end with data", () => {
    const driven = drivenClient();
    const recorded = open(driven, END);
    driven.receive(headersFrame(1, RESPONSE), dataFrame(1, "x", END));
    expect(recorded.events).toEqual(["headers", "data 1, end", "close by both-sides 0"]);
  });

  test("may end before the request does; the stream stays until this side has ended too", () => {
    const driven = drivenClient();
    const recorded = open(driven);
    driven.receive(headersFrame(1, RESPONSE, END));
    expect(recorded.events).toEqual(["headers, end"]);
    recorded.stream!.end();
    expect(recorded.events).toEqual(["headers, end", "close by both-sides 0"]);
    const other = open(driven);
    driven.receive(headersFrame(3, RESPONSE, END), resetFrame(3, ErrorCode.NO_ERROR));
    expect(other.events).toEqual(["headers, end", "close by peer-reset 0"]);
  });

  test("of information only are passed over", () => {
    const driven = drivenClient();
    const recorded = open(driven, END);
    driven.receive(headersFrame(1, [":status", "103", "link", "x"]), headersFrame(1, [":status", "100"]));
    driven.receive(headersFrame(1, RESPONSE), headersFrame(1, ["a", "b"], END));
    expect(recorded.headers.map((list) => list.fields)).toEqual([RESPONSE, ["a", "b"]]);
  });

  test.each([
    ["DATA before headers", [dataFrame(1, "x")], ErrorCode.PROTOCOL_ERROR],
    ["headers without :status", [headersFrame(1, ["x", "y"])], ErrorCode.PROTOCOL_ERROR],
    ["an informational response that ends", [headersFrame(1, [":status", "100"], END)], ErrorCode.PROTOCOL_ERROR],
    ["a second response", [headersFrame(1, RESPONSE), headersFrame(1, RESPONSE)], ErrorCode.PROTOCOL_ERROR],
    ["headers over the limit", [headersFrame(1, [...RESPONSE, "x", "y".repeat(2000)])], ErrorCode.ENHANCE_YOUR_CALM],
    [
      "trailers over the limit",
      [headersFrame(1, RESPONSE), headersFrame(1, ["x", "y".repeat(2000)], END)],
      ErrorCode.ENHANCE_YOUR_CALM,
    ],
    [
      "a body shorter than content-length",
      [headersFrame(1, [...RESPONSE, "content-length", "2"]), dataFrame(1, "x", END)],
      ErrorCode.PROTOCOL_ERROR,
    ],
  ])("fail their stream alone on %s", (_what, frames, code) => {
    const driven = drivenClient({ limits: { headerListBytesMax: 1000 } });
    const recorded = open(driven, END);
    const other = open(driven, END);
    driven.sent();
    driven.receive(...frames, headersFrame(3, RESPONSE, END));
    expect(recorded.end).toMatchObject({ by: "stream-error", code });
    expect(recorded.end!.reason).not.toBe("");
    expect(driven.sent().map((each) => [each.streamId, each.type])).toEqual([[1, FrameType.RST_STREAM]]);
    expect(other.end!.by).toBe("both-sides");
  });

  test("may have another answer's content-length when they have no body", () => {
    const driven = drivenClient();
    const recorded = open(driven, END);
    driven.receive(headersFrame(1, [":status", "304", "content-length", "17"], END));
    expect(recorded.end!.by).toBe("both-sides");
  });

  test("that come after this side's reset are ignored, thousands of them", () => {
    const driven = drivenClient({ peerSettings: [Setting.MAX_CONCURRENT_STREAMS, 1] });
    for (let count = 0; count < 5000; count += 1) open(driven, END).stream!.reset(ErrorCode.CANCEL);
    driven.sent();
    for (let id = 1; id < 10_000; id += 2) driven.receive(headersFrame(id, RESPONSE), dataFrame(id, "x", END));
    expect(driven.sent()).toEqual([]);
    expect(driven.connection.state).toBe("open");
  });

  test("never come by push", () => {
    const driven = drivenClient();
    open(driven, END);
    driven.sent();
    const promise = Buffer.concat([uint32(2), literalBlock(REQUEST)]);
    driven.receive(frame(FrameType.PUSH_PROMISE, 4, 1, promise));
    expect(summary(driven.sent())).toEqual(["GOAWAY 0 PROTOCOL_ERROR"]);
  });
});

describe("streams", () => {
  test("are as many as the server allows", () => {
    const driven = drivenClient({ peerSettings: [Setting.MAX_CONCURRENT_STREAMS, 2] });
    expect(driven.connection.streamsAvailable).toBe(2);
    const first = open(driven, END);
    open(driven, END);
    expect(driven.connection.streamsAvailable).toBe(0);
    expect(() => open(driven)).toThrow("Cannot open a stream");
    expect(driven.client.events).toEqual(["open", "available"]);
    first.stream!.reset(ErrorCode.CANCEL);
    expect(driven.client.events).toEqual(["open", "available", "available"]);
    expect(driven.connection.streamsAvailable).toBe(1);
    driven.receive(settingsFrame(Setting.MAX_CONCURRENT_STREAMS, 0));
    expect(driven.connection.streamsAvailable).toBe(0);
    driven.receive(settingsFrame(Setting.MAX_CONCURRENT_STREAMS, 10));
    expect(driven.connection.streamsAvailable).toBe(9);
    expect(driven.client.events.length).toBe(5);
  });

  test("are not available while the socket is full, and are told of when it no longer is", () => {
    const driven = drivenClient();
    driven.carrier.outcome = "full";
    open(driven, END);
    driven.sent();
    expect(driven.connection.streamsAvailable).toBe(0);
    driven.carrier.outcome = "sent";
    driven.connection.resume();
    expect(driven.client.events.at(-1)).toBe("available");
    expect(driven.connection.streamsAvailable).toBeGreaterThan(0);
  });

  test("have odd numbers, one after the other", () => {
    const driven = drivenClient();
    const recorded = [open(driven), open(driven), open(driven)];
    expect(driven.sent().map((each) => each.streamId)).toEqual([1, 3, 5]);
    expect(recorded.length).toBe(3);
  });

  test("of one connection come to an end before their ids do: it drains, and those that are open go on", () => {
    const driven = drivenClient({ limits: { streamsPerConnectionMax: 2 } });
    const recorded = [open(driven, END), open(driven, END)];
    expect(driven.connection.state).toBe("draining");
    expect(driven.client.events.at(-1)).toBe("draining");
    expect(() => open(driven)).toThrow("draining");
    for (const id of [1, 3]) driven.receive(headersFrame(id, RESPONSE, END));
    expect(recorded.map((each) => each.end?.by)).toEqual(["both-sides", "both-sides"]);
    expect(driven.connection.state).toBe("closed");
  });

  test("that the server refuses say so", () => {
    const driven = drivenClient();
    const recorded = open(driven);
    driven.receive(resetFrame(1, ErrorCode.REFUSED_STREAM));
    expect(recorded.end).toEqual({ by: "peer-reset", code: ErrorCode.REFUSED_STREAM, reason: "" });
  });
});

describe("GOAWAY", () => {
  test("refuses the streams above its number; the others go on, then the connection ends", () => {
    const driven = drivenClient();
    const [first, second, third] = [open(driven, END), open(driven, END), open(driven, END)];
    driven.sent();
    driven.receive(goawayFrame(3, ErrorCode.NO_ERROR));
    expect(third.end).toEqual({ by: "refused-by-goaway", code: 0, reason: "" });
    expect(driven.connection.state).toBe("draining");
    expect(driven.client.events).toEqual(["open", "available", "draining"]);
    expect(() => open(driven)).toThrow("draining");
    driven.receive(goawayFrame(1, ErrorCode.NO_ERROR));
    expect(second.end!.by).toBe("refused-by-goaway");
    driven.receive(headersFrame(1, RESPONSE, END));
    expect(first.end!.by).toBe("both-sides");
    expect(driven.carrier.isClosed).toBe(true);
    expect(driven.client.events).toEqual(["open", "available", "draining", "close: drained"]);
  });

  test("passes on the server's code and reason", () => {
    const driven = drivenClient();
    const recorded = open(driven, END);
    const payload = Buffer.concat([uint32(0, ErrorCode.ENHANCE_YOUR_CALM), Buffer.from("too_many_pings")]);
    driven.receive(frame(FrameType.GOAWAY, 0, 0, payload));
    expect(recorded.end).toEqual({ by: "refused-by-goaway", code: 11, reason: "too_many_pings" });
  });

  test("is known before the refused stream's handler hears, so that it opens none here", () => {
    const driven = drivenClient();
    const recorded = open(driven, END);
    let state = "";
    recorded.onEvent = () => {
      state = driven.connection.state;
    };
    driven.receive(goawayFrame(0, ErrorCode.NO_ERROR));
    expect(state).toBe("draining");
  });

  test("is sent by drain, which lets open streams end", () => {
    const driven = drivenClient();
    const recorded = open(driven, END);
    driven.sent();
    driven.connection.drain();
    driven.connection.drain();
    expect(summary(driven.sent())).toEqual(["GOAWAY 0 NO_ERROR"]);
    expect(driven.client.events.at(-1)).toBe("draining");
    driven.receive(headersFrame(1, RESPONSE, END));
    expect(recorded.end!.by).toBe("both-sides");
    expect(driven.carrier.isClosed).toBe(true);
  });
});

test("a lost socket closes every stream, then tells of the connection", () => {
  const driven = drivenClient();
  const recorded = open(driven);
  recorded.onEvent = () => expect(() => open(driven)).toThrow("closed");
  driven.connection.disconnected("read ECONNRESET");
  expect(recorded.events).toEqual(["close by connection-lost 0"]);
  expect(driven.client.events.at(-1)).toBe("close: read ECONNRESET");
});

test("requests that repeat take few bytes", () => {
  const driven = drivenClient();
  const sizes = [1, 2, 3, 4].map(() => {
    open(driven, END);
    return driven.sent()[0]!.payload.length;
  });
  expect(sizes[2]).toBe(REQUEST.length / 2);
  expect(sizes[3]).toBe(sizes[2]);
});
