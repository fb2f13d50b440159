// The client's channel: connecting, waiting, reconnecting, sending again what nobody saw.
import {
  connect,
  createServer as createNetServer,
  type AddressInfo,
  type Server as NetServer,
  type Socket,
} from "node:net";
import { Code, createClient, createServer, listen, openChannel, serve, type RpcServer } from "@sluice/rpc";
import { expect, test } from "vitest";
import { Http2Error } from "../../packages/rpc/src/grpc/status.ts";
import { HeaderBlock, type TransportStream } from "../../packages/rpc/src/transport.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { EchoService } from "./gen/echo_pb.ts";
import { ManualClock } from "@sluice/rpc/testing";
import { echoHandlers, fieldOf, overBothTransports, startEcho, startPlain } from "./support.ts";

const FAST = { initialMs: 1, maxMs: 5 };

/** An address that nobody listens on. */
async function freeAddress(): Promise<{ address: string; port: number }> {
  const server = createNetServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await closeServer(server);
  return { address: `127.0.0.1:${port}`, port };
}

function closeServer(server: NetServer): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function echoServer(): RpcServer {
  return createServer({ services: [serve(EchoService, echoHandlers)] });
}

/** A server that says SETTINGS, and at the first HEADERS that it has taken no stream at all. */
function refuseByGoaway(socket: Socket): void {
  const emptySettings = Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0);
  const goaway = Buffer.of(0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  let received = Buffer.alloc(0);
  let at = 24;
  socket.on("error", () => {}).write(emptySettings);
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= at + 9) {
      if (received[at + 3] === 1) socket.write(goaway);
      at += 9 + received.readUIntBE(at, 3);
    }
  });
}

/** Answers EchoResponse{}. */
function answerEcho(stream: TransportStream): void {
  stream.sendHeaders(new HeaderBlock([":status", "200", "content-type", "application/grpc"]), { endStream: false });
  stream.write(Buffer.alloc(5));
  stream.end(new HeaderBlock(["grpc-status", "0"]));
}

overBothTransports((transport) => {
  test("nobody listens: calls fail at once with UNAVAILABLE, also during the pause", async () => {
    const { address } = await freeAddress();
    await using channel = openChannel(address, { transport });
    const client = createClient(EchoService, channel);
    const refused = {
      code: Code.UNAVAILABLE,
      message: expect.stringContaining(`Cannot connect to ${address}`) as string,
    };
    await expect(client.echo({})).rejects.toMatchObject(refused);
    expect(channel.state).toBe("backoff");
    await expect(client.echo({})).rejects.toMatchObject(refused);
    await expect(Array.fromAsync(client.count({}))).rejects.toMatchObject(refused);
  });

  test("a call that waits for the server gets it when it comes", async () => {
    const { address, port } = await freeAddress();
    await using channel = openChannel(address, { transport, backoff: FAST });
    const client = createClient(EchoService, channel);
    const answer = client.echo({ text: "patience" }, { waitForReady: true });
    await expect.poll(() => channel.state).toBe("backoff");
    await using _listener = await listen(echoServer(), { transport, port });
    await expect(answer).resolves.toMatchObject({ text: "patience" });
    expect(channel.state).toBe("ready");
    await channel.close();
  });

  test("a process waits with a call that waits for the server, and not without one", async () => {
    const { address } = await freeAddress();
    let holds = 0;
    const clock = {
      monotonicMs: () => performance.now(),
      setTimer: () => ({ cancel() {}, hold: () => void holds++ }),
    };
    await using channel = openChannel(address, { transport, backoff: FAST, clock });
    const client = createClient(EchoService, channel);
    await expect(client.echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    expect([channel.state, holds]).toEqual(["backoff", 0]);
    const answer = client.echo({}, { waitForReady: true });
    expect(holds).toBe(1);
    const ended = expect(answer).rejects.toMatchObject({ code: Code.CANCELLED });
    await channel.close();
    await ended;
  });

  test("a waiting call can be cancelled and run out of time", async () => {
    const { address } = await freeAddress();
    await using channel = openChannel(address, { transport, backoff: FAST });
    const client = createClient(EchoService, channel);
    const controller = new AbortController();
    const cancelled = client.echo({}, { waitForReady: true, signal: controller.signal });
    const late = client.echo({}, { waitForReady: true, timeoutMs: 30 });
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: Code.CANCELLED });
    await expect(late).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
    expect(channel.openCalls).toBe(0);
  });

  test("pauses grow to their maximum, with jitter", async () => {
    const { address } = await freeAddress();
    const pauses: number[] = [];
    const connectTimeoutMs = 20_000;
    const clock = {
      monotonicMs: () => performance.now(),
      setTimer(callback: () => void, ms: number) {
        // The connect timeout is the one that is never waited for.
        if (ms === connectTimeoutMs) return { cancel() {} };
        pauses.push(ms);
        const timer = setImmediate(callback);
        return { cancel: () => clearImmediate(timer) };
      },
    };
    const backoff = { initialMs: 100, maxMs: 1000, multiplier: 2, jitter: 0.5 };
    let draw = 0;
    const random = (): number => draw++ % 2;
    await using channel = openChannel(address, { transport, clock, backoff, random, connectTimeoutMs });
    const answer = createClient(EchoService, channel).echo({}, { waitForReady: true });
    await expect.poll(() => pauses.length).toBeGreaterThan(5);
    await Promise.all([expect(answer).rejects.toMatchObject({ code: Code.CANCELLED }), channel.close()]);
    expect(pauses.slice(0, 6)).toEqual([50, 300, 200, 1200, 500, 1500]);
  });

  test("after a connection came about, pauses begin small again", async () => {
    const { address, port } = await freeAddress();
    const clock = new ManualClock();
    const backoff = { initialMs: 100, multiplier: 10, jitter: 0 };
    await using channel = openChannel(address, { transport, clock, backoff, connectTimeoutMs: 1e9 });
    const client = createClient(EchoService, channel);
    const refuse = async (pauseMs: number): Promise<void> => {
      await expect(client.echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
      expect(channel.state).toBe("backoff");
      clock.advance(pauseMs - 1);
      expect(channel.state).toBe("backoff");
      clock.advance(1);
      expect(channel.state).toBe("idle");
    };
    await refuse(100);
    await refuse(1000);
    const listener = await listen(echoServer(), { transport, port });
    await client.echo({});
    await listener.drain({ graceMs: 0 });
    await expect.poll(() => channel.state).toBe("idle");
    await refuse(100);
  });

  test("a server that is lost fails its calls with UNAVAILABLE; the next call connects anew", async () => {
    const { address, port } = await freeAddress();
    const first = await listen(echoServer(), { transport, port });
    await using channel = openChannel(address, { transport, backoff: FAST });
    const client = createClient(EchoService, channel);
    async function* silent() {
      await new Promise(() => {});
      yield {};
    }
    const responses = client.chat(silent());
    const pending = responses.next();
    const open = client.sum(silent());
    await client.echo({});
    await Promise.all([
      expect(pending).rejects.toMatchObject({ code: Code.UNAVAILABLE }),
      expect(open).rejects.toMatchObject({ code: Code.UNAVAILABLE }),
      first.drain({ graceMs: 0 }),
    ]);
    await using _second = await listen(echoServer(), { transport, port });
    await expect(client.echo({ text: "again" }, { waitForReady: true })).resolves.toMatchObject({ text: "again" });
    await channel.close();
  });

  test("calls above the server's limit of streams wait their turn", async () => {
    let open = 0;
    let most = 0;
    const release: (() => void)[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo: async ({ text }) => {
          most = Math.max(most, ++open);
          await new Promise<void>((resolve) => release.push(resolve));
          open--;
          return { text };
        },
      },
    });
    // Both transports allow 1,000 streams.
    const calls = Array.from({ length: 1500 }, (_, at) => echo.client.echo({ text: String(at) }));
    await expect.poll(() => open).toBe(1000);
    while (release.length > 0) {
      for (const each of release.splice(0)) each();
      await expect.poll(() => release.length > 0 || echo.channel.openCalls === 0).toBe(true);
    }
    expect((await Promise.all(calls)).map(({ text }) => text)).toEqual(calls.map((_, at) => String(at)));
    expect(most).toBe(1000);
  });

  test("more waiting calls than the limit are refused", async () => {
    const { address } = await freeAddress();
    await using channel = openChannel(address, { transport, limits: { waitingCallsMax: 2 } });
    const client = createClient(EchoService, channel);
    const options = { waitForReady: true };
    const waiting = [client.echo({}, options), client.echo({}, options)];
    await expect(client.echo({}, options)).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
    await Promise.all([
      ...waiting.map((each) => expect(each).rejects.toMatchObject({ code: Code.CANCELLED })),
      channel.close(),
    ]);
  });

  test("a call that the server refused unseen is sent again, its requests with it", async () => {
    let seen = 0;
    await using plain = await startPlain(transport, (stream, headers) => {
      if (++seen % 3 !== 0) {
        stream.reset(Http2Error.REFUSED_STREAM);
        return {};
      }
      const received: Buffer[] = [];
      return {
        onData(buffer, start, end, endStream) {
          received.push(buffer.subarray(start, end));
          stream.consume(end - start);
          if (!endStream) return;
          expect(fieldOf(headers, ":path")).toMatch(/Echo|Sum/);
          expect(Buffer.concat(received).length).toBe(fieldOf(headers, ":path")?.endsWith("Sum") === true ? 14 : 8);
          answerEcho(stream);
        },
      };
    });
    await expect(plain.client.echo({ text: "x" })).resolves.toBeDefined();
    expect(seen).toBe(3);
    async function* requests() {
      yield { value: 1n };
      yield { value: 2n };
    }
    await expect(plain.client.sum(requests())).resolves.toBeDefined();
    expect(seen).toBe(6);
  });

  test("a server that always refuses is given up on", async () => {
    let seen = 0;
    await using plain = await startPlain(
      transport,
      (stream) => {
        seen++;
        stream.reset(Http2Error.REFUSED_STREAM);
      },
      { limits: { replaysMax: 3 } },
    );
    await expect(plain.client.echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    expect(seen).toBe(4);
  });

  test("a call whose requests are no longer all there is not sent again", async () => {
    let seen = 0;
    await using plain = await startPlain(
      transport,
      (stream) => {
        seen++;
        let received = 0;
        return {
          onData(_buffer, start, end) {
            received += end - start;
            stream.consume(end - start);
            if (received > 5000) stream.reset(Http2Error.REFUSED_STREAM);
          },
        };
      },
      { limits: { replayBytesMax: 2000 } },
    );
    async function* requests() {
      for (;;) yield { payload: new Uint8Array(1000) };
    }
    await expect(plain.client.sum(requests())).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    expect(seen).toBe(1);
  });

  test("a call above GOAWAY's last stream is sent again on a new connection", async () => {
    await using echo = await startEcho(transport);
    let connections = 0;
    const relay = createNetServer((socket) => {
      if (++connections === 1) refuseByGoaway(socket);
      else {
        const upstream = connect({ host: "127.0.0.1", port: echo.listener.port });
        socket.on("error", () => {}).on("close", () => upstream.destroy());
        upstream.on("error", () => {}).on("close", () => socket.destroy());
        socket.pipe(upstream).pipe(socket);
      }
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const { port } = relay.address() as AddressInfo;
    const channel = openChannel(`127.0.0.1:${port}`, { transport });
    const client = createClient(EchoService, channel);
    await expect(client.echo({ text: "twice" })).resolves.toMatchObject({ text: "twice" });
    expect(connections).toBe(2);
    await channel.close();
    await closeServer(relay);
  });

  test("a call that the server has begun to answer is not sent again", async () => {
    let seen = 0;
    await using plain = await startPlain(transport, (stream) => {
      seen++;
      stream.sendHeaders(new HeaderBlock([":status", "200", "content-type", "application/grpc"]), { endStream: false });
      setImmediate(() => stream.reset(Http2Error.REFUSED_STREAM));
    });
    await expect(plain.client.echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    expect(seen).toBe(1);
  });

  test("GOAWAY: open calls end on the old connection, new ones go to a new one", async () => {
    const streams: TransportStream[] = [];
    await using plain = await startPlain(transport, (stream) => {
      streams.push(stream);
      if (streams.length === 1) stream.connection.drain();
      else answerEcho(stream);
    });
    const slow = plain.client.echo({});
    await expect.poll(() => plain.channel.state).toBe("idle");
    expect(streams.length).toBe(1);
    await expect(plain.client.echo({})).resolves.toBeDefined();
    for (const stream of streams.slice(0, 1)) answerEcho(stream);
    await expect(slow).resolves.toBeDefined();
    expect(streams[0]?.connection === streams[1]?.connection).toBe(false);
  });

  test("closing the channel cancels what is open, and is idempotent", async () => {
    await using echo = await startEcho(transport);
    const responses = echo.client.chat(
      (async function* () {
        await new Promise(() => {});
        yield {};
      })(),
    );
    const pending = responses.next();
    await expect.poll(() => echo.server.openCalls).toBe(1);
    await Promise.all([
      expect(pending).rejects.toMatchObject({ code: Code.CANCELLED }),
      echo.channel.close(),
      echo.channel.close(),
    ]);
    expect(echo.channel.state).toBe("closed");
    await expect(echo.client.echo({})).rejects.toMatchObject({ code: Code.CANCELLED });
  });

  test("closing while it connects leaves nothing", async () => {
    const { address } = await freeAddress();
    const channel = openChannel(address, { transport });
    const answer = createClient(EchoService, channel).echo({});
    await Promise.all([expect(answer).rejects.toMatchObject({ code: Code.CANCELLED }), channel.close()]);
  });

  test("a server that accepts and says nothing is given up on", async () => {
    const mute = createNetServer((socket) => socket.on("error", () => {}).resume());
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    const { port } = mute.address() as AddressInfo;
    const channel = openChannel(`127.0.0.1:${port}`, { transport, connectTimeoutMs: 30 });
    await expect(createClient(EchoService, channel).echo({})).rejects.toMatchObject({
      code: Code.UNAVAILABLE,
      message: `Cannot connect to 127.0.0.1:${port}: no answer within 30 ms`,
    });
    await channel.close();
    await closeServer(mute);
  });

  test("a server that speaks something else is UNAVAILABLE", async () => {
    const http1 = createNetServer((socket) =>
      socket
        .on("error", () => {})
        .resume()
        .end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    );
    await new Promise<void>((resolve) => http1.listen(0, "127.0.0.1", resolve));
    const { port } = http1.address() as AddressInfo;
    const channel = openChannel(`127.0.0.1:${port}`, { transport });
    await expect(createClient(EchoService, channel).echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    await channel.close();
    await closeServer(http1);
  });

  test("a Unix socket serves as well", async () => {
    await using folder = await openTemporaryFolder("rpc");
    const path = `${folder.path}/rpc.sock`;
    await using listener = await listen(echoServer(), { transport, path });
    expect(listener.address).toBe(`unix:${path}`);
    const channel = openChannel(listener.address, { transport });
    await expect(createClient(EchoService, channel).echo({ text: "unix" })).resolves.toMatchObject({ text: "unix" });
    await channel.close();
  });
});

test.each(["", "host", "host:", ":80", "host:0", "host:65536", "[::1]", "::1:80", "http://host:80"])(
  "%j is no address",
  (address) => {
    expect(() => openChannel(address)).toThrow(TypeError);
  },
);
