// A server on a port: addresses, first bytes, drain.
import { connect, type Socket } from "node:net";
import {
  Code,
  createClient,
  createServer,
  listen,
  ListenError,
  openChannel,
  retryDelayMs,
  serve,
  type RpcError,
} from "@sluice/rpc";
import { expect, test } from "vitest";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { EchoService } from "./gen/echo_pb.ts";
import { callFields, echoHandlers, fieldOf, openWire, overBothTransports, startEcho } from "./support.ts";

function echoServer() {
  return createServer({ services: [serve(EchoService, echoHandlers)] });
}

/** Sends the pieces one after the other as packets of their own; resolves with all that came back. */
async function exchange(port: number, ...pieces: string[]): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  const received: Buffer[] = [];
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  socket.on("data", (chunk: Buffer) => received.push(chunk)).on("error", () => {});
  for (const piece of pieces) await new Promise<void>((resolve) => socket.write(piece, () => resolve()));
  await closed;
  return Buffer.concat(received).toString("latin1");
}

overBothTransports((transport) => {
  test("port 0 picks a free one, the address says which", async () => {
    await using listener = await listen(echoServer(), { transport });
    expect(listener.address).toBe(`127.0.0.1:${listener.port}`);
    expect(listener.port).toBeGreaterThan(0);
  });

  test("a taken port is said in a sentence", async () => {
    await using first = await listen(echoServer(), { transport });
    const error = await listen(echoServer(), { transport, port: first.port }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ListenError);
    expect(error).toMatchObject({
      code: "EADDRINUSE",
      message: `Cannot listen on ${first.address}: another program listens there; stop it or choose another address`,
    });
  });

  test("an address of another machine, and a folder that is not there", async () => {
    await expect(listen(echoServer(), { transport, host: "192.0.2.1" })).rejects.toMatchObject({
      code: "EADDRNOTAVAIL",
    });
    await using folder = await openTemporaryFolder("rpc");
    const path = `${folder.path}/missing/rpc.sock`;
    await expect(listen(echoServer(), { transport, path })).rejects.toBeInstanceOf(ListenError);
  });

  test("gRPC over HTTP/1.1 is told what it needs, in two pieces as well", async () => {
    await using listener = await listen(echoServer(), { transport });
    const head = "ST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc+proto\r\ncontent-length: 0\r\n\r\n";
    const answer = await exchange(listener.port, "PO", head);
    expect(answer).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n/);
    expect(answer).toMatch(/gRPC needs HTTP\/2 .*\n/);
  });

  test("a path that nobody serves is 404, with a sentence", async () => {
    await using listener = await listen(echoServer(), { transport });
    const answer = await exchange(listener.port, "GET /x?y HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
    expect(answer).toMatch(/\r\n\r\nNothing is served at \/x over plain HTTP\.\n$/);
  });

  test.each(["\x16\x03\x01\x02\x00\x01", "hello\r\n", "PRX"])(
    "bytes that are no HTTP (%j) end the connection",
    async (bytes) => {
      await using listener = await listen(echoServer(), { transport });
      await expect(exchange(listener.port, bytes)).resolves.toBe("");
    },
  );

  test("a connection that says nothing, or too little, is closed", async () => {
    const limits = { handshakeTimeoutMs: 30 };
    await using listener = await listen(echoServer(), { transport, http2: { limits } });
    await expect(exchange(listener.port)).resolves.toBe("");
    await expect(exchange(listener.port, "PR")).resolves.toBe("");
  });

  test("a preface that comes byte by byte is understood", async () => {
    await using echo = await startEcho(transport);
    const { port } = echo.listener;
    const relayed: Socket[] = [];
    const { createServer: createNetServer } = await import("node:net");
    const relay = createNetServer((client) => {
      const upstream = connect({ host: "127.0.0.1", port, noDelay: true });
      relayed.push(client, upstream);
      upstream.pipe(client);
      client.on("error", () => {}).on("close", () => upstream.destroy());
      upstream.on("error", () => {}).on("close", () => client.destroy());
      client.on("data", (chunk: Buffer) => {
        for (const byte of chunk) upstream.write(Uint8Array.of(byte));
      });
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const { port: relayPort } = relay.address() as { port: number };
    const channel = openChannel(`127.0.0.1:${relayPort}`, { transport });
    await expect(createClient(EchoService, channel).echo({ text: "drip" })).resolves.toMatchObject({ text: "drip" });
    await channel.close();
    await new Promise<void>((resolve) => relay.close(() => resolve()));
  });

  test("drain does not wait for a connection that has not said anything", async () => {
    const listener = await listen(echoServer(), { transport });
    const answer = exchange(listener.port);
    await using _wire = await openWire(transport, listener.address);
    await listener.drain({ graceMs: 0 });
    await expect(answer).resolves.toBe("");
  });

  test("drain lets open calls end, takes no new ones, and closes", async () => {
    const release = Promise.withResolvers<void>();
    await using echo = await startEcho(transport, {
      handlers: { echo: ({ text }) => release.promise.then(() => ({ text })) },
    });
    const answer = echo.client.echo({ text: "finish me" });
    await expect.poll(() => echo.server.openCalls).toBe(1);
    const drained = echo.listener.drain({ graceMs: 60_000 });
    await expect.poll(() => echo.channel.state).toBe("idle");
    await expect(echo.client.echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    release.resolve();
    await expect(answer).resolves.toMatchObject({ text: "finish me" });
    await drained;
    expect(echo.listener.connections).toBe(0);
  });

  test("after the grace endless calls get UNAVAILABLE and RetryInfo, and their handlers hear of it", async () => {
    const reasons: unknown[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        async *count(_request, call) {
          call.onEnd(() => reasons.push(call.signal.reason));
          yield { index: 1 };
          await new Promise<void>((resolve) => call.onEnd(() => resolve()));
        },
      },
    });
    const responses = echo.client.count({});
    await responses.next();
    const pending = responses.next().catch((error: unknown) => error);
    await echo.listener.drain({ graceMs: 20 });
    const error = (await pending) as RpcError;
    expect(error).toMatchObject({ code: Code.UNAVAILABLE, message: "The server is shutting down; try again" });
    expect(retryDelayMs(error)).toBe(1000);
    expect(reasons).toEqual([expect.objectContaining({ code: Code.UNAVAILABLE })]);
    await expect.poll(() => echo.server.runningHandlers).toBe(0);
  });

  test("a second drain shortens the grace of the first", async () => {
    await using echo = await startEcho(transport, {
      handlers: { count: () => ({ attach() {}, pull: () => undefined }) },
    });
    const pending = echo.client.count({}).next();
    await expect.poll(() => echo.server.openCalls).toBe(1);
    const first = echo.listener.drain({ graceMs: 3_600_000 });
    await Promise.all([
      expect(pending).rejects.toMatchObject({ code: Code.UNAVAILABLE }),
      echo.listener.drain({ graceMs: 0 }),
      first,
    ]);
  });

  test("a peer that never reads does not hold up a drain", async () => {
    const limits = { lingerMs: 20 };
    const server = createServer({
      services: [
        serve(EchoService, {
          async *count() {
            for (const payload = new Uint8Array(64 * 1024); ;) yield { payload };
          },
        }),
      ],
    });
    const listener = await listen(server, { transport, http2: { limits } });
    const wire = await openWire(transport, listener.address);
    const { stream } = wire.open(callFields("Count"));
    stream.consume = () => {};
    stream.write(Buffer.alloc(5));
    stream.end();
    await expect.poll(() => server.openCalls).toBe(1);
    await listener.drain({ graceMs: 0 });
    expect(server.openCalls).toBe(0);
    await wire[Symbol.asyncDispose]();
  });

  test("connections over the limit are closed", async () => {
    await using listener = await listen(echoServer(), { transport, connectionsMax: 1 });
    await using _first = await openWire(transport, listener.address);
    await expect(exchange(listener.port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).resolves.toBe("");
  });

  test("draining one listener leaves the calls of another one alone", async () => {
    const services = [serve(EchoService, { count: () => ({ attach() {}, pull: () => undefined }) })];
    const server = createServer({ services });
    const [first, second] = [await listen(server, { transport }), await listen(server, { transport })];
    const channels = [openChannel(first.address, { transport }), openChannel(second.address, { transport })];
    const pending = channels.map((channel) =>
      createClient(EchoService, channel)
        .count({})
        .next()
        .catch((error: unknown) => error),
    );
    await expect.poll(() => server.openCalls).toBe(2);
    await first.drain({ graceMs: 0 });
    expect(server.openCalls).toBe(1);
    await second.drain({ graceMs: 0 });
    await expect(Promise.all(pending)).resolves.toMatchObject([{ code: Code.UNAVAILABLE }, { code: Code.UNAVAILABLE }]);
    for (const channel of channels) await channel.close();
  });

  test("connections are counted", async () => {
    await using echo = await startEcho(transport);
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Echo"), Buffer.alloc(5));
    expect(fieldOf(answer.trailers, "grpc-status")).toBe("0");
    await echo.client.echo({});
    expect(echo.listener.connections).toBe(2);
  });
});
