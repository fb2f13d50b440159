// gRPC-Web: clients that others wrote, over HTTP/1.1 and HTTP/2, and what is on the wire. Connect's speaks gRPC as well.
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { Code as ConnectCode, ConnectError, createClient as createConnectClient } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport as createNodeTransport } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { Code, errorDetail, BadRequestSchema, RpcError, type Listener } from "@sluice/rpc";
import { describe, expect, test } from "vitest";
import { expectMetadataBothWays } from "./connect-es.ts";
import { EchoService } from "./gen/echo_pb.ts";
import {
  callFields,
  fieldOf,
  openWire,
  otherSpellings,
  overBothTransports,
  startEcho,
  type EchoOptions,
} from "./support.ts";
import { ownHttp2 } from "../../packages/rpc/src/socket-transport.ts";

const kinds = ["fetch over HTTP/1.1", "HTTP/1.1", "HTTP/2", "gRPC"] as const;

function clientOf(kind: (typeof kinds)[number], { address }: Listener) {
  const baseUrl = `http://${address}`;
  if (kind === "gRPC")
    return createConnectClient(EchoService, createGrpcTransport({ baseUrl, idleConnectionTimeoutMs: 1 }));
  const transport =
    kind === "fetch over HTTP/1.1"
      ? createGrpcWebTransport({ baseUrl })
      : createNodeTransport({ baseUrl, httpVersion: kind === "HTTP/2" ? "2" : "1.1", idleConnectionTimeoutMs: 1 });
  return createConnectClient(EchoService, transport);
}

/** Splits a body into its frames. */
function framesOf(body: Uint8Array): { flag: number; bytes: Buffer }[] {
  const frames = [];
  const buffer = Buffer.from(body);
  for (let at = 0; at < buffer.length;) {
    const end = at + 5 + buffer.readUInt32BE(at + 1);
    frames.push({ flag: buffer.readUInt8(at), bytes: buffer.subarray(at + 5, end) });
    at = end;
  }
  return frames;
}

async function echo(options: EchoOptions = {}) {
  return startEcho(ownHttp2(), options);
}

/** One request of HTTP/1.1 with its target as it is, which `fetch` would make a tidy one. */
async function postRaw({ port }: Listener, target: string, { type, body }: { type: string; body: Uint8Array }) {
  const socket = connect({ host: "127.0.0.1", port });
  const fields = ["host: test", `content-type: ${type}`, `content-length: ${body.length}`, "connection: close"];
  socket.write(Buffer.concat([Buffer.from(`POST ${target} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`), body]));
  return text(socket);
}

describe.each(kinds)("Connect's client by %s", (kind) => {
  test("unary and server-streaming calls", async () => {
    await using server = await echo();
    const client = clientOf(kind, server.listener);
    await expect(client.echo({ text: "wéb" })).resolves.toMatchObject({ text: "wéb" });
    const answers = await Array.fromAsync(client.count({ count: 300, payloadBytes: 10_000 }));
    expect(answers.map(({ index }) => index)).toEqual(Array.from({ length: 300 }, (_, index) => index));
  });

  test("metadata both ways, in headers and trailers", () =>
    expectMetadataBothWays((listener) => clientOf(kind, listener)));

  test("an error comes with code, text and details, before and after messages", async () => {
    const fieldViolations = [{ field: "text", description: "❌" }];
    const error = new RpcError(Code.INVALID_ARGUMENT, "no – 100 %\n", {
      details: [errorDetail(BadRequestSchema, { fieldViolations })],
    });
    await using server = await echo({
      handlers: {
        echo: () => Promise.reject(error),
        async *count() {
          yield { index: 7 };
          throw error;
        },
      },
    });
    const client = clientOf(kind, server.listener);
    const failure = ConnectError.from(await client.echo({}).catch((caught: unknown) => caught));
    expect(failure).toMatchObject({ code: ConnectCode.InvalidArgument, rawMessage: "no – 100 %\n" });
    expect(failure.findDetails(BadRequestSchema)).toMatchObject([{ fieldViolations }]);
    const indexes: number[] = [];
    const late = (async () => {
      for await (const { index } of client.count({})) indexes.push(index);
    })();
    await expect(late).rejects.toMatchObject({ code: ConnectCode.InvalidArgument });
    expect(indexes).toEqual([7]);
  });

  test("an unknown method is UNIMPLEMENTED, a deadline DEADLINE_EXCEEDED", async () => {
    await using server = await echo({
      handlers: { echo: (_request, call) => new Promise((resolve) => call.onEnd(() => resolve({}))) },
    });
    const client = clientOf(kind, server.listener);
    await expect(client.missing({})).rejects.toMatchObject({ code: ConnectCode.Unimplemented });
    await expect(client.echo({}, { timeoutMs: 20 })).rejects.toMatchObject({ code: ConnectCode.DeadlineExceeded });
  });

  test("a client that gives up a stream cancels its call", async () => {
    const ends: Code[] = [];
    await using server = await echo({
      handlers: {
        async *count(_request, call) {
          call.onEnd((code) => ends.push(code));
          for (let index = 0; !call.isEnded; index++) yield { index, payload: new Uint8Array(10_000) };
        },
      },
    });
    const given = new AbortController();
    const stream = (async () => {
      for await (const { index } of clientOf(kind, server.listener).count({}, { signal: given.signal })) {
        if (index === 3) given.abort();
      }
    })();
    await expect(stream).rejects.toMatchObject({ code: ConnectCode.Canceled });
    await expect.poll(() => ends).toEqual([Code.CANCELLED]);
  });

  test("a drain's end reaches a stream that would never end", async () => {
    await using server = await echo({
      handlers: {
        async *count(_request, call) {
          yield { index: 1 };
          await new Promise<void>((resolve) => call.onEnd(() => resolve()));
        },
      },
    });
    const got: number[] = [];
    const stream = (async () => {
      for await (const { index } of clientOf(kind, server.listener).count({})) got.push(index);
    })();
    const ended = expect(stream).rejects.toMatchObject({ code: ConnectCode.Unavailable });
    await expect.poll(() => got).toEqual([1]);
    await server.listener.drain({ graceMs: 0 });
    await ended;
  });
});

const CALL = Buffer.concat([Uint8Array.of(0, 0, 0, 0, 4, 0x0a, 2), Buffer.from("hi")]);

describe("on the wire", () => {
  function post(listener: Listener, method: string, contentType: string, body: Uint8Array | string) {
    return fetch(`http://${listener.address}/${EchoService.typeName}/${method}`, {
      method: "POST",
      headers: { "content-type": contentType },
      body: typeof body === "string" ? body : new Uint8Array(body),
    });
  }

  test("the status is the body's last frame, also of a call that failed at once", async () => {
    await using server = await echo();
    const good = await post(server.listener, "Echo", "application/grpc-web+proto", CALL);
    expect(good.headers.get("content-type")).toBe("application/grpc-web+proto");
    const frames = framesOf(await good.bytes());
    expect(frames).toEqual([
      { flag: 0, bytes: CALL.subarray(5) },
      { flag: 0x80, bytes: Buffer.from("grpc-status: 0\r\n") },
    ]);
    const bad = await post(server.listener, "Nothing", "application/grpc-web", CALL);
    expect(bad.headers.get("grpc-status")).toBeNull();
    const [only, ...others] = framesOf(await bad.bytes());
    expect(only?.flag).toBe(0x80);
    expect(String(only?.bytes)).toMatch(/^grpc-status: 12\r\ngrpc-message: Cannot call .*\r\n$/);
    expect(others).toEqual([]);
  });

  test("text is base64 both ways, with padding in the middle", async () => {
    await using server = await echo();
    const pieces = [CALL.subarray(0, 1), CALL.subarray(1, 6), CALL.subarray(6)];
    const body = pieces.map((piece) => Buffer.from(piece).toString("base64")).join("");
    const answer = await post(server.listener, "Echo", "application/grpc-web-text+proto", body);
    expect(answer.headers.get("content-type")).toBe("application/grpc-web-text+proto");
    const segments = (await answer.text()).match(/[^=]+=*/g) ?? [];
    const bytes = Buffer.concat(segments.map((segment) => Buffer.from(segment, "base64")));
    expect(framesOf(bytes).map(({ flag }) => flag)).toEqual([0, 0x80]);
    expect(framesOf(bytes)[0]?.bytes).toEqual(CALL.subarray(5));
  });

  test.each(["AAAAAAA", "AAAA*AAA", "A=AA"])("text that is no base64 (%s) ends the request", async (text) => {
    await using server = await echo();
    await expect(post(server.listener, "Echo", "application/grpc-web-text", text)).rejects.toThrow("fetch failed");
    await expect.poll(() => server.server.openCalls).toBe(0);
  });

  test("a large text upload flows, whatever is consumed when", async () => {
    const payload = Buffer.alloc(3_000_000, 7);
    await using server = await echo({ handlers: { echo: (request) => ({ text: String(request.payload.length) }) } });
    const message = Buffer.concat([Buffer.from([0x12, 0xc0, 0x8d, 0xb7, 0x01]), payload]);
    const frame = Buffer.concat([Buffer.alloc(5), message]);
    frame.writeUInt32BE(message.length, 1);
    const answer = await post(server.listener, "Echo", "application/grpc-web-text", frame.toString("base64"));
    expect(Buffer.from(await answer.text(), "base64").toString("latin1")).toContain("3000000");
  });

  test("other methods and other message formats are refused in HTTP's words", async () => {
    await using server = await echo();
    const get = await fetch(`http://${server.listener.address}/x`, {
      headers: { "content-type": "application/grpc-web" },
    });
    expect([get.status, get.headers.get("allow")]).toEqual([405, "POST"]);
    const json = await post(server.listener, "Echo", "application/grpc-web+json", "{}");
    expect(json.status).toBe(415);
  });

  test.each(otherSpellings)("no other spelling of a path walks round an interceptor: %s", async (path) => {
    const reached: string[] = [];
    await using server = await echo({
      interceptors: [(call) => void reached.push(`interceptor ${call.method.name}`)],
      handlers: { echo: () => (reached.push("handler"), {}) },
    });
    const bodies = { "application/grpc-web": CALL, "application/json": Buffer.from("{}") };
    for (const [type, body] of Object.entries(bodies)) {
      reached.length = 0;
      const answer = await postRaw(server.listener, path, { type, body });
      // HTTP/1.1 may say the whole URL: that is the method's own path.
      const isPath = path.startsWith("http:");
      expect.soft(reached, type).toEqual(isPath ? ["interceptor Echo", "handler"] : []);
      expect.soft(answer, type).toMatch(isPath ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 (400|404|501) |grpc-status: 12/);
    }
  });

  test("gzip both ways", async () => {
    await using server = await echo();
    const { gzipSync, gunzipSync } = await import("node:zlib");
    const text = "z".repeat(5000);
    const message = gzipSync(Buffer.concat([Uint8Array.of(0x0a, 0x88, 0x27), Buffer.from(text)]));
    const frame = Buffer.concat([Uint8Array.of(1, 0, 0, 0, 0), message]);
    frame.writeUInt32BE(message.length, 1);
    const answer = await fetch(`http://${server.listener.address}/${EchoService.typeName}/Echo`, {
      method: "POST",
      headers: {
        "content-type": "application/grpc-web+proto",
        "grpc-encoding": "gzip",
        "grpc-accept-encoding": "gzip",
      },
      body: new Uint8Array(frame),
    });
    expect(answer.headers.get("grpc-encoding")).toBe("gzip");
    const [first] = framesOf(await answer.bytes());
    expect(first?.flag).toBe(1);
    expect(
      gunzipSync(first?.bytes ?? "")
        .subarray(3)
        .toString(),
    ).toBe(text);
  });
});

overBothTransports((transport) => {
  test.each(["", "-text"])("a FrameSource's frames, then its status (application/grpc-web%s)", async (form) => {
    const frame = Buffer.from([0, 0, 0, 0, 2, 8, 1]);
    await using server = await startEcho(transport, {
      handlers: {
        count: ({ count }) => {
          let left = count;
          let end = (): void => {};
          return {
            attach(stream) {
              end = () => stream.end();
            },
            pull() {
              if (left-- > 0) return frame;
              end();
              return undefined;
            },
          };
        },
      },
    });
    await using wire = await openWire(transport, server.listener.address);
    const request = Buffer.from([0, 0, 0, 0, 2, 8, 100]);
    const body = form === "" ? request : Buffer.from(request.toString("base64"));
    const fields = callFields("Count", { "content-type": `application/grpc-web${form}` });
    const answer = await wire.request(fields, body);
    expect(answer.trailers).toBeUndefined();
    const decoded =
      form === ""
        ? answer.data
        : Buffer.concat((answer.data.toString().match(/[^=]+=*/g) ?? []).map((text) => Buffer.from(text, "base64")));
    const frames = framesOf(decoded);
    expect(frames).toHaveLength(101);
    expect(frames[100]).toEqual({ flag: 0x80, bytes: Buffer.from("grpc-status: 0\r\n") });
  });

  test("a FrameSource that fails while it is idle still tells its status", async () => {
    let fail = (): void => {};
    await using server = await startEcho(transport, {
      handlers: {
        count: () => ({
          attach(stream) {
            fail = () => stream.fail(new RpcError(Code.ABORTED, "changed"));
          },
          pull: () => undefined,
        }),
      },
    });
    await using wire = await openWire(transport, server.listener.address);
    const { closed, stream } = wire.open(callFields("Count", { "content-type": "application/grpc-web" }));
    stream.write(Buffer.alloc(5));
    stream.end();
    await expect.poll(() => server.server.openCalls).toBe(1);
    fail();
    const answer = await closed;
    expect(fieldOf(answer.headers, "content-type")).toBe("application/grpc-web");
    expect(framesOf(answer.data)).toEqual([
      { flag: 0x80, bytes: Buffer.from("grpc-status: 10\r\ngrpc-message: changed\r\n") },
    ]);
  });
});
