// Which header lists can be messages: RFC 9113 §8.
import { describe, expect, test } from "vitest";
import { type DecodedHeaders, requestFault, responseFault, trailersFault } from "./header-list.ts";
import { HpackDecoder } from "./hpack.ts";
import { literalBlock, REQUEST, RESPONSE } from "./testing/frames.ts";

function decode(...fields: readonly string[]): DecodedHeaders {
  const block = literalBlock(fields);
  return new HpackDecoder(4096, 16_384).decode(block, 0, block.length);
}

function without(name: string): string[] {
  const at = REQUEST.indexOf(name);
  return REQUEST.toSpliced(at, 2);
}

function replaced(name: string, value: string): string[] {
  return REQUEST.with(REQUEST.indexOf(name) + 1, value);
}

describe("a request", () => {
  test.each([
    ["with all pseudo-header fields", REQUEST],
    ["without :authority", without(":authority")],
    ["with te: trailers", [...REQUEST, "te", "trailers"]],
    ["with a content-length", [...REQUEST, "content-length", "17"]],
    ["with characters beyond ASCII in a value", [...REQUEST, "x", "\xe4\xff"]],
    ["with an empty value", [...REQUEST, "x", ""]],
    ["with spaces and tabs within a value", [...REQUEST, "x", "a b\tc"]],
    ["with a field twice", [...REQUEST, "x", "1", "x", "2"]],
    ["with CONNECT", [":method", "CONNECT", ":authority", "host:1"]],
    ["with an extension's method", replaced(":method", "M-SEARCH")],
    ["with another scheme", replaced(":scheme", "coap+tcp")],
    ["with an asterisk as :path", replaced(":path", "*")],
    ["with a query and characters beyond ASCII in :path", replaced(":path", "/a?b=%20\xe4")],
  ])("may come %s", (_what, fields) => {
    expect(requestFault(decode(...fields))).toBe("");
  });

  test.each([
    ["without :method", without(":method")],
    ["without :scheme", without(":scheme")],
    ["without :path", without(":path")],
    ["without any field", []],
    ["with an empty :path", [...without(":path"), ":path", ""]],
    ["with a :path that does not begin with a slash", replaced(":path", "S/M")],
    ["with a space in :path", replaced(":path", "/S/ M")],
    ["with a control character in :path", replaced(":path", "/S/\x7f")],
    ["with an empty :method", replaced(":method", "")],
    ["with a space in :method", replaced(":method", "PO ST")],
    ["with an empty :scheme", replaced(":scheme", "")],
    ["with a :scheme that begins with a digit", replaced(":scheme", "1http")],
    ["with :path twice", [...REQUEST, ":path", "/"]],
    ["with :authority twice", [...REQUEST, ":authority", "test"]],
    ["with :status", [...REQUEST, ":status", "200"]],
    ["with an unknown pseudo-header field", [...REQUEST, ":unknown", "x"]],
    ["with :protocol, which was not offered", [...REQUEST, ":protocol", "websocket"]],
    ["with a pseudo-header field after another field", [...without(":path"), "x", "y", ":path", "/"]],
    ["with an upper-case name", [...REQUEST, "X-Upper", "y"]],
    ["with an empty name", [...REQUEST, "", "y"]],
    ["with a space in a name", [...REQUEST, "a b", "y"]],
    ["with a colon in a name", [...REQUEST, "a:b", "y"]],
    ["with a control character in a name", [...REQUEST, "a\0", "y"]],
    ["with NUL in a value", [...REQUEST, "x", "a\0b"]],
    ["with CR in a value", [...REQUEST, "x", "a\rb"]],
    ["with LF in a value", [...REQUEST, "x", "a\nb"]],
    ["with a space before a value", [...REQUEST, "x", " a"]],
    ["with a tab after a value", [...REQUEST, "x", "a\t"]],
    ["with connection", [...REQUEST, "connection", "close"]],
    ["with keep-alive", [...REQUEST, "keep-alive", "timeout=5"]],
    ["with proxy-connection", [...REQUEST, "proxy-connection", "close"]],
    ["with transfer-encoding", [...REQUEST, "transfer-encoding", "chunked"]],
    ["with upgrade", [...REQUEST, "upgrade", "h2c"]],
    ["with te: gzip", [...REQUEST, "te", "gzip"]],
    ["with content-length twice", [...REQUEST, "content-length", "1", "content-length", "1"]],
    ["with a content-length that is no number", [...REQUEST, "content-length", "1x"]],
    ["with a negative content-length", [...REQUEST, "content-length", "-1"]],
    ["with CONNECT and :path", [":method", "CONNECT", ":authority", "host:1", ":path", "/"]],
    ["with CONNECT and no :authority", [":method", "CONNECT"]],
  ])("is malformed %s", (_what, fields) => {
    expect(requestFault(decode(...fields))).not.toBe("");
  });
});

describe("a response", () => {
  test.each([["200"], ["100"], ["599"]])("may come with :status %s", (status) => {
    const list = decode(":status", status, "x", "y");
    expect(responseFault(list)).toBe("");
    expect(list.status).toBe(Number(status));
  });

  test.each([
    ["without :status", ["x", "y"]],
    ["with :status twice", [...RESPONSE, ":status", "200"]],
    ["with :status 101", [":status", "101"]],
    ["with a :status of two digits", [":status", "20"]],
    ["with a :status that is no number", [":status", "abc"]],
    ["with a request's fields", [...RESPONSE, ":path", "/"]],
    ["with connection", [...RESPONSE, "connection", "close"]],
  ])("is malformed %s", (_what, fields) => {
    expect(responseFault(decode(...fields))).not.toBe("");
  });
});

describe("trailers", () => {
  test("may have any ordinary fields", () => {
    expect(trailersFault(decode("grpc-status", "0", "x-bin", "AA=="))).toBe("");
  });

  test.each([
    ["with a pseudo-header field", [":status", "200"]],
    ["with an upper-case name", ["Grpc-Status", "0"]],
  ])("are malformed %s", (_what, fields) => {
    expect(trailersFault(decode(...fields))).not.toBe("");
  });
});

test("a content-length is read as a number", () => {
  expect(decode("content-length", "1234").contentLength).toBe(1234);
  expect(decode("x", "y").contentLength).toBe(-1);
});
