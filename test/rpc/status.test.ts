// How calls fail: codes, texts, details, and requests that are no gRPC.
import { create } from "@bufbuild/protobuf";
import {
  BadRequestSchema,
  Code,
  codeName,
  createServer,
  errorDetail,
  retryAfter,
  retryDelayMs,
  RpcError,
  serve,
} from "@sluice/rpc";
import { expect, test } from "vitest";
import { EchoResponseSchema, EchoService } from "./gen/echo_pb.ts";
import { HeaderBlock } from "../../packages/rpc/src/transport.ts";
import { callFields, fieldOf, openWire, overBothTransports, startEcho, startPlain } from "./support.ts";

overBothTransports((transport) => {
  test.each(Object.values(Code).filter((code) => code !== Code.OK))("code %i arrives with its text", async (code) => {
    const text = `nö: 100 % "${codeName(code)}"\n世界 😀`;
    await using echo = await startEcho(transport, {
      handlers: {
        echo() {
          throw new RpcError(code, text);
        },
      },
    });
    await expect(echo.client.echo({})).rejects.toMatchObject({ name: "RpcError", code, message: text });
  });

  test("typed details arrive decoded, unknown ones can be asked for by type", async () => {
    const details = [
      errorDetail(BadRequestSchema, { fieldViolations: [{ field: "filters[2]", description: "no operator" }] }),
      retryAfter(1500),
      errorDetail(EchoResponseSchema, { text: "of our own" }),
    ];
    await using echo = await startEcho(transport, {
      handlers: {
        echo() {
          throw new RpcError(Code.INVALID_ARGUMENT, "bad", { details });
        },
      },
    });
    const error = (await echo.client.echo({}).catch((caught: unknown) => caught)) as RpcError;
    expect(error.details.map(({ desc }) => desc.typeName)).toEqual([
      "google.rpc.BadRequest",
      "google.rpc.RetryInfo",
      "google.protobuf.Any",
    ]);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]).toMatchObject({ field: "filters[2]" });
    expect(error.findDetails(EchoResponseSchema)).toEqual([create(EchoResponseSchema, { text: "of our own" })]);
    expect(retryDelayMs(error)).toBe(1500);
  });

  test("an error too long for a header list is cut, not lost", async () => {
    const details = Array.from({ length: 100 }, (_, index) =>
      errorDetail(EchoResponseSchema, { text: `${index} `.repeat(50) }),
    );
    await using echo = await startEcho(transport, {
      handlers: {
        echo() {
          throw new RpcError(Code.INTERNAL, "ü".repeat(100_000), { details });
        },
      },
    });
    const error = (await echo.client.echo({}).catch((caught: unknown) => caught)) as RpcError;
    expect(error.code).toBe(Code.INTERNAL);
    expect(error.message).toMatch(/^ü+…$/);
    expect(error.details.length).toBeGreaterThan(0);
  });

  test("an unforeseen error tells the client nothing and the program everything", async () => {
    const secret = new Error("password=hunter2");
    await using echo = await startEcho(transport, {
      handlers: {
        echo() {
          throw secret;
        },
        sum: () => Promise.reject(secret),
        async *count() {
          throw secret;
        },
      },
    });
    const told = [
      await echo.client.echo({}).catch((caught: unknown) => caught),
      await echo.client.sum((async function* () {})()).catch((caught: unknown) => caught),
      await Array.fromAsync(echo.client.count({})).catch((caught: unknown) => caught),
    ];
    for (const error of told) {
      expect(error).toMatchObject({ code: Code.UNKNOWN });
      expect(String(error)).not.toContain("hunter2");
    }
    expect(echo.errors).toEqual([secret, secret, secret]);
  });

  test("domain errors are mapped in one place", async () => {
    class OutOfStock extends Error {}
    await using echo = await startEcho(transport, {
      mapError: (error) => (error instanceof OutOfStock ? new RpcError(Code.NOT_FOUND, "none left") : undefined),
      handlers: {
        echo({ text }) {
          throw text === "domain" ? new OutOfStock() : new Error("other");
        },
      },
    });
    await expect(echo.client.echo({ text: "domain" })).rejects.toMatchObject({
      code: Code.NOT_FOUND,
      message: "none left",
    });
    await expect(echo.client.echo({ text: "else" })).rejects.toMatchObject({ code: Code.UNKNOWN });
    expect(echo.errors).toHaveLength(1);
  });

  test("a mapping that fails itself is reported with what it was to map", async () => {
    await using echo = await startEcho(transport, {
      mapError() {
        throw new Error("broken mapping");
      },
      handlers: {
        echo() {
          throw new Error("broken handler");
        },
      },
    });
    await expect(echo.client.echo({})).rejects.toMatchObject({ code: Code.UNKNOWN });
    expect(echo.errors.map(String)).toEqual(["Error: broken mapping", "Error: broken handler"]);
  });

  test("what cannot be called is UNIMPLEMENTED, and says why", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const paths = {
      [`/${EchoService.typeName}/Missing`]: "not implemented",
      [`/${EchoService.typeName}/Nothing`]: `unknown method of ${EchoService.typeName}`,
      "/no.such.Service/Method": "unknown service",
      "/": "unknown service",
    };
    for (const [path, reason] of Object.entries(paths)) {
      const answer = await wire.request(callFields("", { ":path": path }), Buffer.alloc(5));
      expect.soft(answer.isTrailersOnly).toBe(true);
      expect.soft(fieldOf(answer.headers, "grpc-status")).toBe(String(Code.UNIMPLEMENTED));
      expect.soft(fieldOf(answer.headers, "grpc-message")).toContain(reason);
    }
  });

  test("what is no gRPC is told so in HTTP's words", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const statusOf = async (more: Record<string, string>): Promise<string | undefined> =>
      fieldOf((await wire.request(callFields("Echo", more), Buffer.alloc(5))).headers, ":status");
    expect.soft(await statusOf({ "content-type": "application/xml" })).toBe("415");
    expect.soft(await statusOf({ "content-type": "application/connect+json" })).toBe("415");
    expect.soft(await statusOf({ "content-type": "application/grpc+json" })).toBe("415");
    expect.soft(await statusOf({ ":method": "PUT" })).toBe("405");
    expect.soft(await statusOf({ "content-type": "application/grpc+proto" })).toBe("200");
    expect.soft(await statusOf({ "content-type": "application/grpc; charset=utf-8" })).toBe("200");
  });

  test("the response's content-type is the request's", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    for (const type of ["application/grpc", "application/grpc+proto"]) {
      const answer = await wire.request(callFields("Echo", { "content-type": type }), Buffer.alloc(5));
      expect(fieldOf(answer.headers, "content-type")).toBe(type);
    }
  });

  test("a request that does not decode is INTERNAL and names the type", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Echo"), Buffer.of(0, 0, 0, 0, 2, 0x0a, 0x7f));
    expect(fieldOf(answer.headers, "grpc-status")).toBe(String(Code.INTERNAL));
    expect(fieldOf(answer.headers, "grpc-message")).toContain("sluice.test.v1.EchoRequest");
  });

  test("a reply that does not encode is INTERNAL", async () => {
    await using echo = await startEcho(transport, {
      handlers: { echo: () => ({ shapes: { a: { size: { case: "area", value: 2 ** 40 } } } }) },
    });
    await expect(echo.client.echo({})).rejects.toMatchObject({ code: Code.INTERNAL });
  });

  test("a request that does not encode fails before anything is sent", async () => {
    await using echo = await startEcho(transport);
    const shape = { size: { case: "area", value: 2 ** 40 } } as const;
    await expect(echo.client.echo({ shape })).rejects.toMatchObject({ code: Code.INTERNAL });
    const responses = echo.client.count({ count: 2 ** 40 });
    await expect(Array.fromAsync(responses)).rejects.toMatchObject({ code: Code.INTERNAL });
    expect(echo.channel.state).toBe("idle");
  });

  test("a body that goes on after the answer is stopped, and the connection goes on", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const { stream, closed } = wire.open(callFields("Missing"));
    const more = Buffer.alloc(16 * 1024);
    stream.write(more);
    const answer = await closed;
    stream.write(more);
    expect(fieldOf(answer.headers, "grpc-status")).toBe(String(Code.UNIMPLEMENTED));
    const next = await wire.request(callFields("Echo"), Buffer.alloc(5));
    expect(fieldOf(next.trailers, "grpc-status")).toBe("0");
  });

  test.each([
    ["NO_ERROR", 0, Code.INTERNAL],
    ["PROTOCOL_ERROR", 1, Code.INTERNAL],
    ["INTERNAL_ERROR", 2, Code.INTERNAL],
    ["FLOW_CONTROL_ERROR", 3, Code.INTERNAL],
    ["STREAM_CLOSED", 5, Code.INTERNAL],
    ["FRAME_SIZE_ERROR", 6, Code.INTERNAL],
    ["REFUSED_STREAM", 7, Code.UNAVAILABLE],
    ["CANCEL", 8, Code.CANCELLED],
    ["COMPRESSION_ERROR", 9, Code.INTERNAL],
    ["CONNECT_ERROR", 10, Code.INTERNAL],
    ["ENHANCE_YOUR_CALM", 11, Code.RESOURCE_EXHAUSTED],
    ["INADEQUATE_SECURITY", 12, Code.PERMISSION_DENIED],
  ])("a stream that the server resets with %s (%i) ends its call with code %i", async (_name, reset, code) => {
    // The table of gRPC's PROTOCOL-HTTP2.md, "HTTP2 Transport Mapping".
    await using plain = await startPlain(transport, (stream) => stream.reset(reset), { limits: { replaysMax: 0 } });
    await expect(plain.client.echo({})).rejects.toMatchObject({ code });
    await expect(Array.fromAsync(plain.client.count({ count: 1 }))).rejects.toMatchObject({ code });
  });

  test("a service cannot be served twice", () => {
    const service = serve(EchoService, {});
    expect(() => createServer({ services: [service, service] })).toThrow(/twice/);
  });

  test.each([
    ["401", Code.UNAUTHENTICATED],
    ["403", Code.PERMISSION_DENIED],
    ["404", Code.UNIMPLEMENTED],
    ["400", Code.INTERNAL],
    ["503", Code.UNAVAILABLE],
    ["500", Code.UNKNOWN],
  ])("HTTP status %s without gRPC becomes code %i on the client", async (status, code) => {
    const block = new HeaderBlock([":status", status, "content-type", "text/html"]);
    await using plain = await startPlain(transport, (stream) => stream.sendHeaders(block, { endStream: true }));
    await expect(plain.client.echo({})).rejects.toMatchObject({ code });
  });
});
