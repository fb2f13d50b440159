// Connect's unary protocol: JSON as people send it with curl, Connect's own client, and what is on the wire.
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { Code as ConnectCode, ConnectError, createClient as createConnectClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport as createNodeTransport } from "@connectrpc/connect-node";
import { createConnectTransport } from "@connectrpc/connect-web";
import { BadRequestSchema, Code, errorDetail, frameOf, Frames, type Listener, RpcError } from "@sluice/rpc";
import { describe, expect, test } from "vitest";
import { ownHttp2 } from "../../packages/rpc/src/socket-transport.ts";
import { expectMetadataBothWays } from "./connect-es.ts";
import { EchoService } from "./gen/echo_pb.ts";
import { type EchoOptions, expectIdle, startEcho } from "./support.ts";

const kinds = ["fetch, JSON", "fetch, protobuf", "HTTP/1.1", "HTTP/2", "HTTP/2, JSON, gzip"] as const;

function clientOf(kind: (typeof kinds)[number], { address }: Listener) {
  const baseUrl = `http://${address}`;
  const useBinaryFormat = !kind.includes("JSON");
  const gzip = { sendCompression: compressionGzip, acceptCompression: [compressionGzip], compressMinBytes: 0 };
  const transport = kind.startsWith("fetch")
    ? createConnectTransport({ baseUrl, useBinaryFormat })
    : createNodeTransport({
        baseUrl,
        useBinaryFormat,
        httpVersion: kind.startsWith("HTTP/2") ? "2" : "1.1",
        idleConnectionTimeoutMs: 1,
        ...(kind.includes("gzip") ? gzip : {}),
      });
  return createConnectClient(EchoService, transport);
}

const echo = (options: EchoOptions = {}) => startEcho(ownHttp2(), options);

describe.each(kinds)("Connect's client by %s", (kind) => {
  test("a message there and back, also an empty and a large one", async () => {
    await using server = await echo();
    const client = clientOf(kind, server.listener);
    const payload = new Uint8Array(500_000).fill(7);
    await expect(client.echo({ text: "wéb", payload })).resolves.toMatchObject({ text: "wéb", payload });
    await expect(client.echo({})).resolves.toMatchObject({ text: "" });
  });

  test("metadata both ways, in headers and trailers", () =>
    expectMetadataBothWays((listener) => clientOf(kind, listener)));

  test("an error comes with code, text, details and metadata", async () => {
    const fieldViolations = [{ field: "text", description: "❌" }];
    const details = [errorDetail(BadRequestSchema, { fieldViolations })];
    await using server = await echo({
      handlers: { echo: () => Promise.reject(new RpcError(Code.INVALID_ARGUMENT, "no – 100 %\n", { details })) },
    });
    const failure = await clientOf(kind, server.listener)
      .echo({})
      .catch((caught: unknown) => ConnectError.from(caught));
    expect(failure).toMatchObject({ code: ConnectCode.InvalidArgument, rawMessage: "no – 100 %\n" });
    expect((failure as ConnectError).findDetails(BadRequestSchema)).toMatchObject([{ fieldViolations }]);
  });

  test("an unknown method is UNIMPLEMENTED, a deadline DEADLINE_EXCEEDED, a message too large RESOURCE_EXHAUSTED", async () => {
    await using server = await echo({
      limits: { messageBytesMax: 1000 },
      handlers: { echo: (_request, call) => new Promise((_, reject) => call.onEnd(() => reject(new Error("over")))) },
    });
    const client = clientOf(kind, server.listener);
    await expect(client.missing({})).rejects.toMatchObject({ code: ConnectCode.Unimplemented });
    await expect(client.echo({}, { timeoutMs: 20 })).rejects.toMatchObject({ code: ConnectCode.DeadlineExceeded });
    const payload = crypto.getRandomValues(new Uint8Array(2000));
    await expect(client.echo({ payload })).rejects.toMatchObject({ code: ConnectCode.ResourceExhausted });
    await expect.poll(() => server.server.openCalls).toBe(0);
  });
});

describe("on the wire", () => {
  function post(
    listener: Listener,
    method: string,
    body: string | Uint8Array<ArrayBuffer>,
    headers: Readonly<Record<string, string>> = { "content-type": "application/json" },
  ) {
    const url = `http://${listener.address}/${EchoService.typeName}/${method}`;
    return fetch(url, { method: "POST", headers, body });
  }

  test("JSON by POST, as curl sends it", async () => {
    await using server = await echo();
    const answer = await post(server.listener, "Echo", '{"text": "hi", "fieldOfTomorrow": 1}');
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
    await expect(answer.json()).resolves.toEqual({ text: "hi" });
  });

  test.each([
    [Code.NOT_FOUND, 404, "not_found"],
    [Code.CANCELLED, 499, "canceled"],
    [Code.UNAUTHENTICATED, 401, "unauthenticated"],
    [Code.UNAVAILABLE, 503, "unavailable"],
  ])("status %i is HTTP's %i, and %s in the body", async (code, status, name) => {
    await using server = await echo({ handlers: { echo: () => Promise.reject(new RpcError(code, "no – ❌")) } });
    const answer = await post(server.listener, "Echo", "{}");
    expect([answer.status, answer.headers.get("content-type")]).toEqual([status, "application/json"]);
    await expect(answer.json()).resolves.toEqual({ code: name, message: "no – ❌", details: [] });
  });

  test.each([
    ["{", 400, "invalid_argument", /^Cannot read the request: /],
    ['{"text": 1}', 400, "invalid_argument", /^Cannot read the request: .*text/],
    [new Uint8Array([0x22, 0xff, 0x22]), 400, "invalid_argument", /^Cannot read the request: /],
    ["", 400, "invalid_argument", /^Cannot read the request: /],
  ])("%j is refused", async (body, status, code, message) => {
    await using server = await echo();
    const answer = await post(server.listener, "Echo", body);
    expect(answer.status).toBe(status);
    await expect(answer.json()).resolves.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  test.each([
    ["connect-timeout-ms", "soon", 400, /connect-timeout-ms "soon": up to 10 digits/],
    ["connect-timeout-ms", "12345678901", 400, /up to 10 digits/],
    ["connect-protocol-version", "2", 400, /version "2" of Connect: use 1/],
    ["content-encoding", "br", 501, /the encoding "br": use one of/],
  ])("%s: %s is refused", async (name, value, status, message) => {
    await using server = await echo();
    const headers = { "content-type": "application/json", [name]: value };
    const answer = await post(server.listener, "Echo", "{}", headers);
    expect(answer.status).toBe(status);
    await expect(answer.json()).resolves.toMatchObject({ message: expect.stringMatching(message) as string });
  });

  test("a timeout of more than 8 digits is one of seconds", async () => {
    const deadlines: (number | undefined)[] = [];
    await using server = await echo({
      handlers: {
        echo({ text }, call) {
          deadlines.push(call.deadlineMs);
          return { text };
        },
      },
    });
    const headers = { "content-type": "application/json", "connect-timeout-ms": "9999999999" };
    expect((await post(server.listener, "Echo", "{}", headers)).status).toBe(200);
    expect(deadlines[0]).toBeGreaterThan(9_999_999_000);
  });

  test("what is no unary call by POST is refused in HTTP's words", async () => {
    await using server = await echo();
    const stream = await post(server.listener, "Count", "{}");
    expect([stream.status, await stream.text()]).toEqual([415, "Count is a stream: call it by gRPC or gRPC-Web.\n"]);
    const put = await fetch(`http://${server.listener.address}/${EchoService.typeName}/Echo`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect([put.status, put.headers.get("allow")]).toEqual([405, "POST"]);
    const unknown = await post(server.listener, "Nothing", "{}");
    expect(unknown.status).toBe(404);
  });

  test("a raw handler gets protobuf, whatever was sent, and its frames become JSON", async () => {
    const seen: Uint8Array[] = [];
    await using server = await echo({
      handlers: {
        echo: {
          raw: true,
          unary(bytes) {
            seen.push(bytes);
            return new Frames(frameOf(bytes));
          },
        },
      },
    });
    const answer = await post(server.listener, "Echo", '{"text": "hi"}');
    await expect(answer.json()).resolves.toEqual({ text: "hi" });
    expect(seen).toEqual([Uint8Array.of(0x0a, 2, 0x68, 0x69)]);
  });

  test("a body larger than the windows flows", async () => {
    await using server = await echo();
    const text = "a".repeat(2_000_000);
    const answer = await post(server.listener, "Echo", JSON.stringify({ text }));
    await expect(answer.json()).resolves.toEqual({ text });
  });

  test.each([
    ["plain", JSON.stringify({ text: "a".repeat(100_000) }), {}],
    ["a bomb", gzipSync(Buffer.alloc(10_000_000)), { "content-encoding": "gzip" }],
  ])("a message over the limit is RESOURCE_EXHAUSTED: %s", async (_what, body, headers) => {
    await using server = await echo({ limits: { messageBytesMax: 50_000 } });
    const json = { "content-type": "application/json", ...headers };
    const answer = await post(server.listener, "Echo", new Uint8Array(Buffer.from(body)), json);
    expect(answer.status).toBe(429);
    await expect(answer.json()).resolves.toMatchObject({ code: "resource_exhausted" });
  });

  test("a body that breaks off leaves nothing behind", async () => {
    await using server = await echo();
    const socket = connect(server.listener.port, "127.0.0.1");
    const head = [`POST /${EchoService.typeName}/Echo HTTP/1.1`, "host: a", "content-type: application/json"];
    socket.write(`${[...head, "content-length: 1000", "", ""].join("\r\n")}{"text": "`);
    await expect.poll(() => server.server.heldBytes).toBe(10);
    socket.destroy();
    await expectIdle(server.server);
  });
});
