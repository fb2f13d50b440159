// What a client may say, rightly or wrongly: one or a few frames under a name, for a stream of the caller's choice.
import { FrameType, PREFACE } from "../../../packages/rpc/src/http2/frame.ts";
import {
  dataFrame,
  frame,
  goawayFrame,
  headersFrame,
  literalBlock,
  resetFrame,
  SETTINGS_ACK,
  settingsFrame,
  uint32,
  windowUpdate,
} from "../../../packages/rpc/src/http2/testing/frames.ts";
import { Path } from "./side.ts";

export interface Step {
  readonly name: string;
  /** Whether it begins a connection, is about the connection, about a stream in any state, or a request on a new stream. */
  readonly about: "preface" | "connection" | "stream" | "request";
  readonly bytes: (streamId: number) => Buffer;
}

const END_STREAM = 0x1;
const END_HEADERS = 0x4;
const PADDED = 0x8;
const PRIORITY = 0x20;
const WHOLE = END_STREAM | END_HEADERS;
const CANCEL = 8;
const END = { endStream: true };

function fieldsFor(path: string): string[] {
  return [":method", "POST", ":scheme", "http", ":path", path, ":authority", "test"];
}
const HOLD = fieldsFor(Path.HOLD);

function headers(streamId: number, flags: number, payload: Uint8Array): Buffer {
  return frame(FrameType.HEADERS, flags, streamId, payload);
}

function without(name: string): string[] {
  const at = HOLD.indexOf(name);
  return HOLD.toSpliced(at, 2);
}

function replaced(name: string, value: string): string[] {
  return HOLD.with(HOLD.indexOf(name) + 1, value);
}

/** A request in one frame that ends with it. */
function request(fields: readonly string[]): (streamId: number) => Buffer {
  return (id) => headersFrame(id, fields, END);
}

function block(hex: string): (streamId: number) => Buffer {
  const bytes = Buffer.from(hex, "hex");
  return (id) => headers(id, WHOLE, Buffer.concat([literalBlock(HOLD), bytes]));
}

/** A request with a content-length, then DATA that ends the stream. */
function body(contentLength: string, content: string): (streamId: number) => Buffer {
  return (id) =>
    Buffer.concat([headersFrame(id, [...HOLD, "content-length", contentLength]), dataFrame(id, content, END)]);
}

const HALF = literalBlock(HOLD.slice(0, 4));
const OTHER_HALF = literalBlock(HOLD.slice(4));

const ofStreams: Readonly<Record<string, (streamId: number) => Buffer>> = {
  // -- HEADERS, in good order ------------------------------------------------------------------------------------------
  HEADERS: (id) => headersFrame(id, HOLD),
  "HEADERS with END_STREAM": request(HOLD),
  "HEADERS to be answered": (id) => headersFrame(id, fieldsFor(Path.ANSWER)),
  "HEADERS with END_STREAM to be answered": request(fieldsFor(Path.ANSWER)),
  "HEADERS to be answered at once": (id) => headersFrame(id, fieldsFor(Path.EARLY)),
  "HEADERS with a field": (id) => headersFrame(id, [...HOLD, "x", "y"]),
  "HEADERS with padding": (id) =>
    headers(id, WHOLE | PADDED, Buffer.concat([Buffer.of(3), literalBlock(HOLD), Buffer.alloc(3)])),
  "HEADERS with padding that is not zero": (id) =>
    headers(id, WHOLE | PADDED, Buffer.concat([Buffer.of(3), literalBlock(HOLD), Buffer.from("abc")])),
  "HEADERS with a priority": (id) =>
    headers(id, WHOLE | PRIORITY, Buffer.concat([uint32(0), Buffer.of(7), literalBlock(HOLD)])),
  "HEADERS and CONTINUATION": (id) =>
    Buffer.concat([headers(id, 0, HALF), frame(FrameType.CONTINUATION, END_HEADERS, id, OTHER_HALF)]),
  "HEADERS and an empty CONTINUATION": (id) =>
    Buffer.concat([headers(id, 0, literalBlock(HOLD)), frame(FrameType.CONTINUATION, END_HEADERS, id)]),
  "HEADERS with unknown flags": (id) => headers(id, WHOLE | 0xd2, literalBlock(HOLD)),
  "HEADERS with the reserved bit of the stream id": (id) => {
    const bytes = headersFrame(id, HOLD, END);
    bytes[5]! |= 0x80;
    return bytes;
  },
  "HEADERS with a table size update": (id) => headers(id, WHOLE, Buffer.concat([Buffer.of(0x20), literalBlock(HOLD)])),
  trailers: (id) => headersFrame(id, ["x-trailer", "1"], END),

  // -- HEADERS, in bad form --------------------------------------------------------------------------------------------
  "trailers without END_STREAM": (id) => headersFrame(id, ["x-trailer", "1"]),
  "trailers with a pseudo-header field": (id) => headersFrame(id, ["x-trailer", "1", ":path", "/"], END),
  "HEADERS with no fields": (id) => headers(id, WHOLE, Buffer.alloc(0)),
  "HEADERS with more padding than payload": (id) => headers(id, WHOLE | PADDED, Buffer.of(9, 0)),
  "HEADERS with PADDED and no payload": (id) => headers(id, WHOLE | PADDED, Buffer.alloc(0)),
  "HEADERS with half a priority": (id) => headers(id, WHOLE | PRIORITY, Buffer.of(0, 0)),
  "HEADERS that depend on themselves": (id) =>
    headers(id, WHOLE | PRIORITY, Buffer.concat([uint32(id), Buffer.of(7), literalBlock(HOLD)])),
  "HEADERS and CONTINUATION of another stream": (id) =>
    Buffer.concat([headers(id, 0, HALF), frame(FrameType.CONTINUATION, END_HEADERS, id + 2, OTHER_HALF)]),
  "HEADERS, DATA within the header block": (id) => Buffer.concat([headers(id, 0, HALF), dataFrame(id, "x")]),
  "HEADERS, an unknown frame within the header block": (id) =>
    Buffer.concat([headers(id, 0, HALF), frame(0x4d, 0, id, Buffer.from("x"))]),
  "HEADERS without an end of the header block": (id) => headers(id, 0, HALF),
  "HEADERS of more than a frame may have": (id) => headers(id, WHOLE, literalBlock([...HOLD, "x", "y".repeat(16_384)])),
  "HEADERS with an even stream id": (id) => headersFrame(id + 1, HOLD),

  // -- DATA ------------------------------------------------------------------------------------------------------------
  DATA: (id) => dataFrame(id, "hello"),
  "DATA with END_STREAM": (id) => dataFrame(id, "hello", END),
  "DATA without bytes": (id) => dataFrame(id, ""),
  "DATA without bytes, with END_STREAM": (id) => dataFrame(id, "", END),
  "DATA with padding": (id) => frame(FrameType.DATA, PADDED, id, Buffer.from("\x02hello\0\0")),
  "DATA with nothing but padding": (id) => frame(FrameType.DATA, PADDED, id, Buffer.from("\x02\0\0")),
  "DATA with more padding than payload": (id) => frame(FrameType.DATA, PADDED, id, Buffer.from("\x09hello")),
  "DATA with PADDED and no payload": (id) => frame(FrameType.DATA, PADDED, id),
  "DATA of more than a frame may have": (id) => dataFrame(id, Buffer.alloc(16_385)),

  // -- The others ------------------------------------------------------------------------------------------------------
  PRIORITY: (id) => frame(FrameType.PRIORITY, 0, id, Buffer.concat([uint32(0), Buffer.of(1)])),
  "PRIORITY that depends on itself": (id) =>
    frame(FrameType.PRIORITY, 0, id, Buffer.concat([uint32(id), Buffer.of(1)])),
  "PRIORITY of 4 bytes": (id) => frame(FrameType.PRIORITY, 0, id, Buffer.alloc(4)),
  RST_STREAM: (id) => resetFrame(id, CANCEL),
  "RST_STREAM with NO_ERROR": (id) => resetFrame(id, 0),
  "RST_STREAM with an unknown code": (id) => resetFrame(id, 0xbad),
  "RST_STREAM of 3 bytes": (id) => frame(FrameType.RST_STREAM, 0, id, Buffer.alloc(3)),
  WINDOW_UPDATE: (id) => windowUpdate(id, 1000),
  "WINDOW_UPDATE of 0": (id) => windowUpdate(id, 0),
  "WINDOW_UPDATE over 2^31-1": (id) => windowUpdate(id, 0x7fffffff),
  "WINDOW_UPDATE of 3 bytes": (id) => frame(FrameType.WINDOW_UPDATE, 0, id, Buffer.alloc(3)),
  "WINDOW_UPDATE with the reserved bit": (id) => windowUpdate(id, 0x80000001),
  PUSH_PROMISE: (id) => frame(FrameType.PUSH_PROMISE, END_HEADERS, id, Buffer.concat([uint32(2), literalBlock(HOLD)])),
  CONTINUATION: (id) => frame(FrameType.CONTINUATION, END_HEADERS, id, OTHER_HALF),
  "SETTINGS on a stream": (id) => frame(FrameType.SETTINGS, 0, id),
  "PING on a stream": (id) => frame(FrameType.PING, 0, id, Buffer.alloc(8)),
  "GOAWAY on a stream": (id) => frame(FrameType.GOAWAY, 0, id, uint32(0, 0)),
  // Of the connection, but what comes of it depends on whether streams are open.
  GOAWAY: () => goawayFrame(0, 0),
  "GOAWAY with an error": () => goawayFrame(0, 1),
  "GOAWAY and then a request": () => Buffer.concat([goawayFrame(0, 0), headersFrame(99, HOLD, END)]),
  "unknown frame": (id) => frame(0x4d, 0xff, id, Buffer.from("anything")),
  "ALTSVC (type 10)": (id) => frame(0x0a, 0, id, Buffer.from("\0\x04testx")),
  "ORIGIN (type 12)": (id) => frame(0x0c, 0, id, Buffer.from("\0\x04test")),
  "PRIORITY_UPDATE (type 16)": (id) => frame(0x10, 0, id, Buffer.concat([uint32(id), Buffer.from("u=1")])),
};

/** What a request says; each needs a new stream. */
const ofRequests: Readonly<Record<string, (streamId: number) => Buffer>> = {
  // -- HPACK -----------------------------------------------------------------------------------------------------------
  "HPACK: index 0": block("80"),
  "HPACK: index beyond the tables": block("ff20"),
  "HPACK: size update over the limit": (id) => headers(id, WHOLE, Buffer.from("3fe21f", "hex")),
  "HPACK: size update after a field": block("20"),
  "HPACK: string that is cut off": block("00056162"),
  "HPACK: integer that is cut off": block("ff80"),
  "HPACK: integer of 40 bits": block("ffffffffffffff01"),
  "HPACK: Huffman code with EOS": block("00017884ffffffff"),
  "HPACK: Huffman code with a byte of padding": block("000178821cff"),
  "HPACK: Huffman code padded with zeros": block("0001788118"),
  "HPACK: empty Huffman string": block("00017880"),

  // -- Fields (RFC 9113 §8) --------------------------------------------------------------------------------------------
  "request without :method": request(without(":method")),
  "request without :scheme": request(without(":scheme")),
  "request without :path": request(without(":path")),
  "request without :authority": request(without(":authority")),
  "request with host in place of :authority": request([...without(":authority"), "host", "test"]),
  "request with another host than :authority": request([...HOLD, "host", "other"]),
  "request with an empty :path": request(replaced(":path", "")),
  "request with a :path that does not begin with a slash": request(replaced(":path", "hold")),
  "request with a * as :path": request(replaced(":path", "*")),
  "request with a space in its :path": request(replaced(":path", "/ho ld")),
  "request with an empty :method": request(replaced(":method", "")),
  "request with a space in its :method": request(replaced(":method", "PO ST")),
  "request with an empty :scheme": request(replaced(":scheme", "")),
  "request with another :scheme": request(replaced(":scheme", "coap+tcp")),
  "request with a space in its :scheme": request(replaced(":scheme", "ht tp")),
  "request with an empty :authority": request(replaced(":authority", "")),
  "request with user information in :authority": request(replaced(":authority", "user@test")),
  "request with a slash in :authority": request(replaced(":authority", "te/st")),
  "request with :path twice": request([...HOLD, ":path", "/hold"]),
  "request with :status": request([":status", "200", ...HOLD]),
  "request with an unknown pseudo-header field": request([":other", "1", ...HOLD]),
  "request with a pseudo-header field after others": request([...without(":path"), "x", "y", ":path", Path.HOLD]),
  "request with :protocol": request([...HOLD, ":protocol", "websocket"]),
  "CONNECT with :authority": request([":method", "CONNECT", ":authority", "test:1"]),
  "CONNECT with :path": request(replaced(":method", "CONNECT")),
  "request with an upper-case field name": request([...HOLD, "X-Y", "z"]),
  "request with an empty field name": request([...HOLD, "", "z"]),
  "request with a space in a field name": request([...HOLD, "x y", "z"]),
  "request with a colon in a field name": request([...HOLD, "x:y", "z"]),
  "request with a NUL in a field name": request([...HOLD, "x\0y", "z"]),
  "request with a byte above 127 in a field name": request([...HOLD, "x\xe9", "z"]),
  "request with a NUL in a value": request([...HOLD, "x", "a\0b"]),
  "request with a line feed in a value": request([...HOLD, "x", "a\nb"]),
  "request with a carriage return in a value": request([...HOLD, "x", "a\rb"]),
  "request with a control character in a value": request([...HOLD, "x", "a\x01b"]),
  "request with a DEL in a value": request([...HOLD, "x", "a\x7fb"]),
  "request with a byte above 127 in a value": request([...HOLD, "x", "\xe9"]),
  "request with a tab in a value": request([...HOLD, "x", "a\tb"]),
  "request with a space before a value": request([...HOLD, "x", " a"]),
  "request with a tab after a value": request([...HOLD, "x", "a\t"]),
  "request with an empty value": request([...HOLD, "x", ""]),
  "request with connection": request([...HOLD, "connection", "close"]),
  "request with keep-alive": request([...HOLD, "keep-alive", "timeout=1"]),
  "request with proxy-connection": request([...HOLD, "proxy-connection", "close"]),
  "request with transfer-encoding": request([...HOLD, "transfer-encoding", "chunked"]),
  "request with upgrade": request([...HOLD, "upgrade", "h2c"]),
  "request with te: trailers": request([...HOLD, "te", "trailers"]),
  "request with te: gzip": request([...HOLD, "te", "gzip"]),
  "request with te: trailers, gzip": request([...HOLD, "te", "trailers, gzip"]),
  "request with a cookie in two fields": request([...HOLD, "cookie", "a=1", "cookie", "b=2"]),
  "request with content-length 0": request([...HOLD, "content-length", "0"]),
  "request with content-length 5 and no body": request([...HOLD, "content-length", "5"]),
  "request with content-length twice": request([...HOLD, "content-length", "0", "content-length", "0"]),
  "request with two content-lengths": request([...HOLD, "content-length", "0", "content-length", "1"]),
  "request with a content-length that is no number": request([...HOLD, "content-length", "x"]),
  "request with a negative content-length": request([...HOLD, "content-length", "-1"]),
  "request with a content-length list": request([...HOLD, "content-length", "0, 0"]),
  "body as long as content-length": body("5", "12345"),
  "body shorter than content-length": body("5", "1234"),
  "body longer than content-length": body("5", "123456"),
};

const ofConnection: Readonly<Record<string, Buffer>> = {
  PING: frame(FrameType.PING, 0, 0, Buffer.from("12345678")),
  "PING with unknown flags": frame(FrameType.PING, 0xfe, 0, Buffer.from("12345678")),
  "PING acknowledged that was never sent": frame(FrameType.PING, 1, 0, Buffer.from("12345678")),
  "PING of 7 bytes": frame(FrameType.PING, 0, 0, Buffer.alloc(7)),
  SETTINGS: settingsFrame(3, 100),
  "SETTINGS without settings": settingsFrame(),
  "SETTINGS acknowledged that were never sent": SETTINGS_ACK,
  "SETTINGS acknowledged with a payload": frame(FrameType.SETTINGS, 1, 0, Buffer.alloc(6)),
  "SETTINGS of 5 bytes": frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5)),
  "SETTINGS with an unknown setting": settingsFrame(0xabcd, 7),
  "SETTINGS with ENABLE_PUSH 1": settingsFrame(2, 1),
  "SETTINGS with ENABLE_PUSH 2": settingsFrame(2, 2),
  "SETTINGS with a table of 0": settingsFrame(1, 0),
  "SETTINGS with a table of 2^32-1": settingsFrame(1, 0xffffffff),
  "SETTINGS with a window of 0": settingsFrame(4, 0),
  "SETTINGS with a window of 2^31-1": settingsFrame(4, 0x7fffffff),
  "SETTINGS with a window of 2^31": settingsFrame(4, 0x80000000),
  "SETTINGS with a frame size of 16,383": settingsFrame(5, 16_383),
  "SETTINGS with a frame size of 2^24-1": settingsFrame(5, 0xffffff),
  "SETTINGS with a frame size of 2^24": settingsFrame(5, 0x1000000),
  "SETTINGS with ENABLE_CONNECT_PROTOCOL 1": settingsFrame(8, 1),
  "SETTINGS with ENABLE_CONNECT_PROTOCOL 2": settingsFrame(8, 2),
  "SETTINGS with NO_RFC7540_PRIORITIES 1": settingsFrame(9, 1),
  "SETTINGS with NO_RFC7540_PRIORITIES 2": settingsFrame(9, 2),
  "WINDOW_UPDATE of the connection": windowUpdate(0, 1000),
  "WINDOW_UPDATE of the connection by 0": windowUpdate(0, 0),
  "WINDOW_UPDATE of the connection over 2^31-1": windowUpdate(0, 0x7fffffff),
  "GOAWAY of 7 bytes": frame(FrameType.GOAWAY, 0, 0, Buffer.alloc(7)),
  "DATA on stream 0": dataFrame(0, "x"),
  "HEADERS on stream 0": headersFrame(0, HOLD),
  "PRIORITY on stream 0": frame(FrameType.PRIORITY, 0, 0, Buffer.alloc(5)),
  "RST_STREAM on stream 0": resetFrame(0, CANCEL),
  "PUSH_PROMISE on stream 0": frame(FrameType.PUSH_PROMISE, END_HEADERS, 0, uint32(2)),
  "CONTINUATION on stream 0": frame(FrameType.CONTINUATION, END_HEADERS, 0, HALF),
  "unknown frame on stream 0": frame(0x4d, 0xff, 0, Buffer.from("anything")),
  "frame of more bytes than allowed": frame(0x4d, 0, 0, Buffer.alloc(16_385)),
  "ORIGIN (type 12) on stream 0": frame(0x0c, 0, 0, Buffer.from("\0\x04test")),
  "PRIORITY_UPDATE (type 16) on stream 0": frame(0x10, 0, 0, Buffer.concat([uint32(1), Buffer.from("u=1")])),
};

const ofPrefaces: Readonly<Record<string, Buffer>> = {
  "preface and SETTINGS": Buffer.concat([PREFACE, settingsFrame(3, 10)]),
  "HTTP/1.1 as preface": Buffer.from("GET / HTTP/1.1\r\nhost: test\r\n\r\n"),
  "preface that goes wrong": Buffer.concat([PREFACE.subarray(0, 20), Buffer.from("wrong")]),
  "preface and no SETTINGS": Buffer.concat([PREFACE, frame(FrameType.PING, 0, 0, Buffer.alloc(8))]),
  "preface and an acknowledgement of SETTINGS": Buffer.concat([PREFACE, SETTINGS_ACK]),
  "preface and SETTINGS of 5 bytes": Buffer.concat([PREFACE, frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5))]),
  "preface and SETTINGS with a window of 2^31": Buffer.concat([PREFACE, settingsFrame(4, 0x80000000)]),
};

export const STEPS: readonly Step[] = [
  ...Object.entries(ofPrefaces).map(([name, bytes]) => ({ name, about: "preface" as const, bytes: () => bytes })),
  ...Object.entries(ofStreams).map(([name, bytes]) => ({ name, about: "stream" as const, bytes })),
  ...Object.entries(ofRequests).map(([name, bytes]) => ({ name, about: "request" as const, bytes })),
  ...Object.entries(ofConnection).map(([name, bytes]) => ({ name, about: "connection" as const, bytes: () => bytes })),
];

const BY_NAME: ReadonlyMap<string, Step> = new Map(STEPS.map((step) => [step.name, step]));

export function stepNamed(name: string): Step {
  const step = BY_NAME.get(name);
  if (step === undefined) throw new Error(`There is no step "${name}"`);
  return step;
}

/** The states of a stream, each with the steps that lead to it. */
export const STATES = {
  idle: [],
  open: ["HEADERS"],
  "half-closed (remote)": ["HEADERS with END_STREAM"],
  "closed by both": ["HEADERS with END_STREAM to be answered"],
  "reset by the client": ["HEADERS", "RST_STREAM"],
  "reset by the server": ["HEADERS", "trailers without END_STREAM"],
  "answered early": ["HEADERS to be answered at once"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type State = keyof typeof STATES;
