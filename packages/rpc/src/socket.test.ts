// The glue to sockets, against ourselves and against Node's own HTTP/2.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2, createServer as createHttp2Server, type ClientHttp2Session } from "node:http2";
import {
  type AddressInfo,
  connect,
  createServer,
  type IpcNetConnectOpts,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { afterEach, expect, test } from "vitest";
import { FrameType, PREFACE } from "./http2/frame.ts";
import { frame, settingsFrame } from "./http2/testing/frames.ts";
import { RecordedClient, RecordedServer, RecordedStream } from "./http2/testing/machines.ts";
import { ManualClock } from "./testing/manual-clock.ts";
import {
  connectSocket,
  createConnectionResources,
  serveSocket,
  type ServeSocketOptions,
  type SocketOptions,
} from "./socket.ts";
import { type ClientTransportConnection, HeaderBlock, type TransportConnection } from "./transport.ts";

const REQUEST = new HeaderBlock([":method", "POST", ":scheme", "http", ":path", "/", ":authority", "test"]);
const RESPONSE = new HeaderBlock([":status", "200"]);
const TRAILERS = new HeaderBlock(["grpc-status", "0"]);

const LOOPBACK: ListenOptions = { port: 0, host: "127.0.0.1" };

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Answers with the request's body once it has ended. */
class EchoServer extends RecordedServer {
  override onNewStream = (recorded: RecordedStream): void => {
    const answer = (): void => {
      recorded.stream!.sendHeaders(RESPONSE, { endStream: false });
      recorded.stream!.write(recorded.body);
      recorded.stream!.end(TRAILERS);
    };
    recorded.onEvent = (event) => (event.endsWith("end") || event === "trailers") && answer();
  };
}

interface Listening {
  readonly port: number;
  readonly handler: RecordedServer;
  readonly sockets: Socket[];
  readonly connections: TransportConnection[];
}

async function listen(
  options: ServeSocketOptions = {},
  handler: RecordedServer = new EchoServer(),
  where: ListenOptions = LOOPBACK,
): Promise<Listening> {
  const sockets: Socket[] = [];
  const connections: TransportConnection[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    connections.push(serveSocket(socket, handler, options));
  });
  const port = await listening(server, where);
  cleanups.push(() => sockets.forEach((socket) => socket.destroy()));
  return { port, handler, sockets, connections };
}

/** Starts a server that the test's end closes; returns its port. */
async function listening(server: Server, where: ListenOptions = LOOPBACK): Promise<number> {
  server.listen(where);
  await once(server, "listening");
  cleanups.push(async () => {
    server.close();
    await once(server, "close");
  });
  return (server.address() as AddressInfo).port;
}

function dial(
  to: number | IpcNetConnectOpts,
  options: SocketOptions = {},
): { client: RecordedClient; connection: ClientTransportConnection; socket: Socket } {
  const socket = typeof to === "number" ? connect(to, "127.0.0.1") : connect(to);
  const client = new RecordedClient();
  const connection = connectSocket(socket, client, options);
  cleanups.push(() => closed(socket));
  return { client, connection, socket };
}

async function closed(socket: Socket): Promise<void> {
  socket.destroy();
  if (!socket.closed) await once(socket, "close");
}

function call(connection: ClientTransportConnection, body: Buffer): Promise<RecordedStream> {
  return new Promise((resolve) => {
    const recorded = new RecordedStream();
    recorded.onEvent = (event) => event.startsWith("close") && resolve(recorded);
    recorded.stream = connection.open(REQUEST, recorded, { endStream: false });
    recorded.stream.write(body);
    recorded.stream.end();
  });
}

test("carries calls over a real socket, small and large, many at a time", async () => {
  const { port } = await listen();
  const { client, connection } = dial(port);
  await expect.poll(() => connection.state).toBe("open");
  const bodies = Array.from({ length: 100 }, (_, at) => Buffer.alloc(at * at * 100, at));
  const calls = await Promise.all(bodies.map((body) => call(connection, body)));
  expect(calls.map((each) => each.body.equals(bodies[calls.indexOf(each)]!))).toEqual(bodies.map(() => true));
  expect([connection.peer.address, connection.peer.isEncrypted]).toEqual([`127.0.0.1:${port}`, false]);
  connection.drain();
  await expect.poll(() => client.events.at(-1)).toBe("close: drained");
});

test("serves Node's own client: requests, uploads, trailers, pings", async () => {
  const { port, connections } = await listen();
  const session: ClientHttp2Session = connectHttp2(`http://127.0.0.1:${port}`);
  cleanups.push(() => session.destroy());
  const body = Buffer.alloc(3_000_000, 7);
  const stream = session.request({ ":method": "POST", ":path": "/" });
  let status: unknown;
  stream.on("trailers", (headers: Readonly<Record<string, unknown>>) => {
    status = headers["grpc-status"];
  });
  stream.end(body);
  const parts: Buffer[] = [];
  for await (const part of stream as AsyncIterable<Buffer>) parts.push(part);
  expect(Buffer.concat(parts).equals(body)).toBe(true);
  expect(status).toBe("0");
  await new Promise((resolve) => session.ping(resolve));
  connections[0]!.drain();
  await once(session, "close");
});

test("calls Node's own server", async () => {
  const server = createHttp2Server((request, response) => {
    response.writeHead(200, { "x-length": request.headers["content-length"] ?? "none" });
    request.pipe(response);
  });
  const { connection } = dial(await listening(server));
  await expect.poll(() => connection.state).toBe("open");
  const body = Buffer.alloc(2_000_000, 9);
  for (let round = 0; round < 3; round += 1) {
    const answered = await call(connection, body);
    expect(answered.end!.by).toBe("both-sides");
    expect(answered.body.equals(body)).toBe(true);
    expect(answered.headers[0]!.fields).toContain("x-length");
  }
  connection.drain();
});

test("takes over what was read from the socket before", async () => {
  const handler = new EchoServer();
  const server = createServer((socket) => {
    socket.once("data", (firstBytes: Buffer) => serveSocket(socket, handler, { firstBytes }));
  });
  const { connection } = dial(await listening(server));
  await expect.poll(() => connection.state).toBe("open");
  expect((await call(connection, Buffer.from("hello"))).body.toString()).toBe("hello");
});

test("works over a Unix socket", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-socket-"));
  cleanups.push(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "socket");
  const { connections } = await listen({}, new EchoServer(), { path });
  const { connection } = dial({ path }, { peerAddress: `unix:${path}` });
  await expect.poll(() => connection.state).toBe("open");
  expect((await call(connection, Buffer.from("hello"))).body.toString()).toBe("hello");
  expect([connection.peer.address, connections[0]!.peer.address]).toEqual([`unix:${path}`, "unix:"]);
});

test("works over TLS", async () => {
  // A key known to both sides needs no certificate.
  const key = Buffer.alloc(32, 1);
  const shared = { ciphers: "PSK", maxVersion: "TLSv1.2" as const, ALPNProtocols: ["h2"] };
  const handler = new EchoServer();
  const connections: TransportConnection[] = [];
  const server = createTlsServer({ ...shared, pskCallback: () => key }, (socket) => {
    connections.push(serveSocket(socket, handler));
  });
  const port = await listening(server);
  const checkServerIdentity = (): undefined => undefined;
  const pskCallback = (): { psk: Buffer; identity: string } => ({ psk: key, identity: "test" });
  const socket = connectTls({ ...shared, port, host: "127.0.0.1", pskCallback, checkServerIdentity });
  cleanups.push(() => closed(socket));
  const connection = connectSocket(socket, new RecordedClient());
  await expect.poll(() => connection.state).toBe("open");
  const bodies = Array.from({ length: 20 }, (_, at) => Buffer.alloc(at * 20_000, at));
  const calls = await Promise.all(bodies.map((body) => call(connection, body)));
  expect(calls.map((each) => each.body)).toEqual(bodies);
  expect([connection.peer.isEncrypted, connections[0]!.peer.isEncrypted]).toEqual([true, true]);
});

test("a peer that goes away closes its streams and its connection, once", async () => {
  const { port, handler } = await listen({}, new RecordedServer());
  const { connection, socket } = dial(port);
  await expect.poll(() => connection.state).toBe("open");
  connection.open(REQUEST, new RecordedStream(), { endStream: false });
  await expect.poll(() => handler.streams.length).toBe(1);
  socket.resetAndDestroy();
  await expect.poll(() => handler.closes).toBe(1);
  expect(handler.streams[0]!.end!.by).toBe("connection-lost");
});

test("a server that cannot be reached closes the client's connection with the reason", async () => {
  const server = createServer();
  const port = await listening(server);
  await cleanups.pop()!();
  const { client } = dial(port);
  await expect.poll(() => client.events.length).toBe(1);
  expect(client.events[0]).toMatch(/^close: .*ECONNREFUSED/);
});

test("a client that never speaks is cut off, and no timer is left", async () => {
  const clock = new ManualClock();
  const { port, handler } = await listen({ clock, limits: { handshakeTimeoutMs: 5000, lingerMs: 100 } });
  const socket = connect(port, "127.0.0.1");
  cleanups.push(() => closed(socket));
  await expect.poll(() => clock.timers).toBe(1);
  clock.advance(4999);
  expect(handler.closes).toBe(0);
  clock.advance(1);
  expect(handler.closes).toBe(1);
  socket.resume();
  await once(socket, "close");
  await expect.poll(() => clock.timers).toBe(0);
});

test("a peer that never closes is closed after the linger", async () => {
  const clock = new ManualClock();
  const { port, sockets } = await listen({ clock, limits: { lingerMs: 100 } });
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  cleanups.push(() => closed(socket));
  socket.write("this is not HTTP/2, and it does not go away");
  await expect.poll(() => sockets[0]?.writableEnded).toBe(true);
  expect(sockets[0]!.destroyed).toBe(false);
  clock.advance(100);
  expect(sockets[0]!.destroyed).toBe(true);
  expect(clock.timers).toBe(0);
});

test("keepalive pings a silent peer and gives up when there is no answer", async () => {
  const clock = new ManualClock();
  const keepalive = { intervalMs: 1000, timeoutMs: 200 };
  const { port, handler } = await listen({ clock, keepalive });
  const { socket, pings } = await dialByHand(port);
  // From the handshake on, whatever the time that it might have taken.
  clock.advance(1000);
  await expect.poll(() => pings(0)).toBe(1);
  // Any frame is a sign of life; the answer tells that it has arrived.
  socket.write(PING);
  await expect.poll(() => pings(ACK)).toBe(2);
  clock.advance(200);
  expect(handler.closes).toBe(0);
  clock.advance(1000);
  await expect.poll(() => pings(0)).toBe(2);
  clock.advance(200);
  expect(handler.closes).toBe(1);
});

test("a connection past its age is drained; after its grace the handler hears of it, then it ends", async () => {
  const clock = new ManualClock();
  const handler = new EchoServer();
  const expired: TransportConnection[] = [];
  const heard = Object.assign(handler, { onExpired: (connection: TransportConnection) => expired.push(connection) });
  const age = { maxMs: 60_000, graceMs: 5000 };
  const { port, connections } = await listen({ clock, age, random: () => 0.5, limits: { lingerMs: 100 } }, heard);
  const { client, connection } = dial(port);
  await expect.poll(() => connection.state).toBe("open");
  const recorded = new RecordedStream();
  connection.open(REQUEST, recorded, { endStream: false });
  await expect.poll(() => handler.streams.length).toBe(1);
  clock.advance(60_000);
  await expect.poll(() => client.events).toContain("draining");
  clock.advance(4999);
  expect(expired).toEqual([]);
  clock.advance(1);
  expect(expired).toEqual([connections[0]]);
  expect(recorded.end).toBeUndefined();
  clock.advance(100);
  await expect.poll(() => recorded.end?.by).toBe("connection-lost");
});

test("a header block that never ends ends the connection in time", async () => {
  const clock = new ManualClock();
  const { port, handler } = await listen({ clock, limits: { headersTimeoutMs: 3000 } });
  const { socket, pings } = await dialByHand(port);
  // HEADERS of stream 1 without END_HEADERS, and now and then an empty CONTINUATION.
  socket.write(Buffer.concat([PING, frame(FrameType.HEADERS, 0, 1, Buffer.of(0x82))]));
  await expect.poll(() => pings(ACK)).toBe(2);
  clock.advance(2000);
  socket.write(frame(FrameType.CONTINUATION, 0, 1));
  clock.advance(999);
  expect(handler.closes).toBe(0);
  clock.advance(1);
  expect(handler.closes).toBe(1);
});

/** A client that says what the test says, once the server has heard its first PING. */
async function dialByHand(port: number): Promise<{ socket: Socket; pings: (flags: number) => number }> {
  const socket = connect(port, "127.0.0.1");
  cleanups.push(() => closed(socket));
  const received: Buffer[] = [];
  socket.on("data", (bytes: Buffer) => received.push(bytes));
  const pings = (flags: number): number => countPings(Buffer.concat(received), flags);
  socket.write(Buffer.concat([PREFACE, settingsFrame(), PING]));
  await expect.poll(() => pings(ACK)).toBe(1);
  return { socket, pings };
}

const ACK = 1;
const PING = frame(FrameType.PING, 0, 0, Buffer.alloc(8));

function countPings(bytes: Buffer, flags: number): number {
  let count = 0;
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === FrameType.PING && bytes[at + 4] === flags) count += 1;
  }
  return count;
}

test("receiveBudgetBytes, unreadBytesMax, queuedBytesMax: they bound what connections share", () => {
  const limits = { receiveBudgetBytes: 1000, unreadBytesMax: 2000, queuedBytesMax: 3000 };
  const { receiveBudget, unread, queued } = createConnectionResources(limits);
  expect(receiveBudget.reserve(1001)).toBe(false);
  expect(receiveBudget.reserve(1000)).toBe(true);
  for (const [shared, most] of [
    [unread, 2000],
    [queued, 3000],
  ] as const) {
    shared.bytes = most;
    expect(shared.isOverdrawn).toBe(false);
    shared.bytes = most + 1;
    expect(shared.isOverdrawn).toBe(true);
  }
});
