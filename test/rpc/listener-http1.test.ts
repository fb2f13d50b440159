// HTTP/1.1 connections: kept alive, drained, bounded.
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { createServer, listen, serve, type HttpHandlers, type ListenOptions } from "@sluice/rpc";
import { expect, test } from "vitest";
import { ManualClock } from "../../packages/rpc/src/testing/manual-clock.ts";
import { EchoService } from "./gen/echo_pb.ts";
import { echoHandlers } from "./support.ts";

function start(handlers: HttpHandlers, options: ListenOptions = {}) {
  return listen(createServer({ services: [serve(EchoService, echoHandlers)] }), { web: { handlers }, ...options });
}

interface Raw {
  readonly socket: Socket;
  readonly text: () => string;
  readonly closed: Promise<void>;
}

function open(port: number): Raw {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
  socket.on("error", () => {});
  return { socket, text: () => text, closed: new Promise((resolve) => socket.once("close", () => resolve())) };
}

const GET = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n";

test("a connection serves one request after the other, also those sent ahead, in order", async () => {
  let calls = 0;
  await using listener = await start({
    "/x": async () => {
      const number = ++calls;
      // The first answer is ready last.
      for (let turn = 0; turn < 10 - number; turn++) await new Promise((resolve) => setImmediate(resolve));
      return { status: 200, body: `answer ${number}\n` };
    },
  });
  const raw = open(listener.port);
  raw.socket.write(GET.repeat(3));
  await expect.poll(() => raw.text().match(/answer \d/g)).toEqual(["answer 1", "answer 2", "answer 3"]);
  raw.socket.write(GET);
  await expect.poll(() => raw.text()).toContain("answer 4");
  expect(listener.connections).toBe(1);
  raw.socket.destroy();
  await raw.closed;
});

test("who sends more requests ahead than a connection may have open is cut off", async () => {
  let calls = 0;
  const limits = { concurrentStreamsMax: 5 };
  await using listener = await start(
    {
      "/x": ({ signal }) => {
        calls++;
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve({ status: 200 })));
      },
    },
    { http2: { limits } },
  );
  const raw = open(listener.port);
  raw.socket.write(GET.repeat(50));
  await raw.closed;
  expect(calls).toBe(5);
});

test("headers that come too slowly are given up, in a first request and in a later one", async () => {
  await using listener = await start(
    { "/x": () => ({ status: 200 }) },
    { http2: { limits: { headersTimeoutMs: 60 } } },
  );
  const first = open(listener.port);
  first.socket.write("GET /x HTTP/1.1\r\nhost:");
  await first.closed;
  expect(first.text()).toMatch(/^HTTP\/1\.1 408 /);
  const later = open(listener.port);
  later.socket.write(`${GET}GET /x HTTP/1.1\r\n`);
  await later.closed;
  expect(later.text()).toMatch(/^HTTP\/1\.1 200 .*HTTP\/1\.1 408 /s);
});

test("headers over the limit are 431, rubbish is 400", async () => {
  await using listener = await start({ "/x": () => ({ status: 200 }) });
  const large = open(listener.port);
  large.socket.write(`GET /x HTTP/1.1\r\nhost: x\r\na: ${"b".repeat(20_000)}\r\n\r\n`);
  await large.closed;
  expect(large.text()).toMatch(/^HTTP\/1\.1 431 /);
  const rubbish = open(listener.port);
  rubbish.socket.write("GET /x HTTP/1.1\r\nhost x\r\n\r\n");
  await rubbish.closed;
  expect(rubbish.text()).toMatch(/^HTTP\/1\.1 400 /);
});

test("two lengths, or a length and chunks, are no request: nothing can be smuggled in", async () => {
  const paths: string[] = [];
  await using listener = await start({
    "/": ({ path }) => {
      paths.push(path);
      return { status: 200 };
    },
  });
  for (const lengths of ["content-length: 4\r\ncontent-length: 5", "content-length: 4\r\ntransfer-encoding: chunked"]) {
    const raw = open(listener.port);
    raw.socket.write(
      `POST /one HTTP/1.1\r\nhost: x\r\n${lengths}\r\n\r\n0\r\n\r\nGET /two HTTP/1.1\r\nhost: x\r\n\r\n`,
    );
    await raw.closed;
    expect(raw.text()).toMatch(/^HTTP\/1\.1 400 /);
  }
  expect(paths).toEqual([]);
});

test("an absolute target is its path; a missing host is 400", async () => {
  await using listener = await start({
    "/": ({ path, query }) => ({ status: 200, body: `${path} ${query.toString()}` }),
  });
  const absolute = open(listener.port);
  absolute.socket.write("GET http://other.example/a?b=c HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  await absolute.closed;
  expect(absolute.text()).toMatch(/\r\n\r\n\/a b=c$/);
  const missing = open(listener.port);
  missing.socket.write("GET / HTTP/1.1\r\n\r\n");
  await missing.closed;
  expect(missing.text()).toMatch(/^HTTP\/1\.1 400 /);
});

test("a drain closes idle connections and lets an open request end", async () => {
  const release = Promise.withResolvers<void>();
  const listener = await start({
    "/x": () => ({ status: 200 }),
    "/slow": async () => {
      await release.promise;
      return { status: 200, body: "done" };
    },
  });
  const idle = open(listener.port);
  idle.socket.write(GET);
  await expect.poll(() => idle.text()).toMatch(/^HTTP\/1\.1 200 /);
  const busy = open(listener.port);
  busy.socket.write("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n");
  await expect.poll(() => listener.connections).toBe(2);
  const drained = listener.drain({ graceMs: 60_000 });
  await idle.closed;
  release.resolve();
  await busy.closed;
  expect(busy.text()).toMatch(/^HTTP\/1\.1 200 .*connection: close.*done$/is);
  await drained;
});

test("a drain cuts off a request that does not end", async () => {
  const aborted: string[] = [];
  const listener = await start(
    {
      "/x": ({ signal }) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            aborted.push("signal");
            resolve({ status: 200 });
          });
        }),
    },
    { http2: { limits: { lingerMs: 10 } } },
  );
  const raw = open(listener.port);
  raw.socket.write(GET);
  await expect.poll(() => listener.connections).toBe(1);
  await listener.drain({ graceMs: 0 });
  await raw.closed;
  expect(aborted).toEqual(["signal"]);
});

test("an upload that nobody reads stays with the sender", async () => {
  let waiting = 0;
  let received = 0;
  await using listener = await start({
    "/x": async ({ body }) => {
      // Without a bound, each turn would take in what one read of the socket brings.
      for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
      const iterator = body[Symbol.asyncIterator]();
      let pending = iterator.next();
      for (let step = await ready(pending); step !== undefined && step.done !== true; step = await ready(pending)) {
        waiting += step.value.length;
        pending = iterator.next();
      }
      for (let step = await pending; step.done !== true; step = await iterator.next()) received += step.value.length;
      return { status: 200 };
    },
  });
  const agent = new Agent();
  const sent = request({ host: "127.0.0.1", port: listener.port, path: "/x", method: "POST", agent });
  const status = new Promise((resolve) => sent.once("response", (response) => resolve(response.resume().statusCode)));
  const total = 32 * 1024 * 1024;
  sent.end(Buffer.alloc(total));
  await expect(status).resolves.toBe(200);
  expect(waiting).toBeGreaterThan(0);
  expect(waiting).toBeLessThanOrEqual(256 * 1024);
  expect(waiting + received).toBe(total);
  agent.destroy();
});

/** What a promise has by now; undefined when it needs a turn of the event loop. */
function ready<T>(promise: Promise<T>): Promise<T | undefined> {
  let rival: Promise<T | undefined> = Promise.resolve(undefined);
  for (let at = 0; at < 10; at++) rival = rival.then(() => undefined);
  return Promise.race([promise, rival]);
}

test("what still comes of a body after its answer is dropped, up to a bound", async () => {
  await using listener = await start({ "/x": () => ({ status: 413, body: "too large" }) });
  const raw = open(listener.port);
  raw.socket.write("POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
  await expect.poll(() => raw.text()).toContain("too large");
  const chunk = `100000\r\n${"x".repeat(0x10_0000)}\r\n`;
  for (let sent = 0; sent < 8; sent++) await new Promise((resolve) => raw.socket.write(chunk, resolve));
  raw.socket.write("0\r\n\r\n");
  raw.socket.write(GET);
  await expect.poll(() => raw.text().match(/too large/g)).toHaveLength(2);

  raw.socket.write("POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
  await expect.poll(() => raw.text().match(/too large/g)).toHaveLength(3);
  for (let sent = 0; sent < 32; sent++) raw.socket.write(chunk);
  await raw.closed;
});

test("what still comes of a body after its answer may not take for ever", async () => {
  await using listener = await start({ "/x": () => ({ status: 413 }) }, { http1: { droppedTimeoutMs: 30 } });
  const raw = open(listener.port);
  raw.socket.write("POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
  await raw.closed;
  expect(raw.text()).toMatch(/^HTTP\/1\.1 413 /);
});

test("a body that ends in time keeps its connection", async () => {
  const clock = new ManualClock();
  await using listener = await start({ "/x": () => ({ status: 413 }) }, { clock });
  const raw = open(listener.port);
  raw.socket.write("POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
  await expect.poll(() => raw.text()).toContain(" 413 ");
  expect(clock.timers).toBe(1);
  raw.socket.write("0\r\n\r\n");
  await expect.poll(() => clock.timers).toBe(0);
  raw.socket.write(GET);
  await expect.poll(() => raw.text().match(/ 413 /g)).toHaveLength(2);
  raw.socket.destroy();
  await raw.closed;
});

test("a connection without a request is closed after a while", async () => {
  await using listener = await start({ "/x": () => ({ status: 200 }) }, { http1: { idleTimeoutMs: 30 } });
  const raw = open(listener.port);
  raw.socket.write(GET);
  await raw.closed;
  expect(raw.text()).toMatch(/^HTTP\/1\.1 200 /);
});

test("what the connections have unread together is bounded: the one with most is closed", async () => {
  let waiting = 0;
  const never: HttpHandlers = { "/x": () => (waiting++, new Promise<never>(() => {})) };
  await using listener = await start(never, { http2: { limits: { unreadBytesMax: 60_000, lingerMs: 10 } } });
  const post = (bytes: number): string =>
    `POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: ${bytes}\r\n\r\n${"x".repeat(bytes)}`;
  const modest = open(listener.port);
  modest.socket.write(post(20_000));
  await expect.poll(() => waiting).toBe(1);
  const greedy = open(listener.port);
  greedy.socket.write(post(10_000).repeat(5));
  await greedy.closed;
  expect(listener.connections).toBe(1);
  modest.socket.destroy();
  await modest.closed;
});

test("what waits to be sent by all connections is bounded: the one with most is closed", async () => {
  let calls = 0;
  const handlers: HttpHandlers = { "/x": () => (calls++, { status: 200, body: Buffer.alloc(8 * 1024 * 1024) }) };
  const queuedBytesMax = 30 * 1024 * 1024;
  await using listener = await start(handlers, { http2: { limits: { queuedBytesMax, lingerMs: 10 } } });
  const [modest, greedy] = [open(listener.port), open(listener.port)];
  for (const raw of [modest, greedy]) raw.socket.pause();
  modest.socket.write(GET);
  await expect.poll(() => calls).toBe(1);
  greedy.socket.write(GET.repeat(8));
  await expect.poll(() => calls).toBeGreaterThan(1);
  await expect.poll(() => listener.connections).toBe(1);
  for (const raw of [modest, greedy]) {
    raw.socket.resume();
    raw.socket.destroy();
    await raw.closed;
  }
});

test("an upgrade to h2c is not taken up: the request is answered as it is", async () => {
  await using listener = await start({ "/x": () => ({ status: 200 }) });
  const raw = open(listener.port);
  const upgrade = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
  raw.socket.write(`GET /x HTTP/1.1\r\nhost: x\r\n${upgrade}\r\n`);
  await expect.poll(() => raw.text()).toMatch(/^HTTP\/1\.1 200 /);
  raw.socket.destroy();
  await raw.closed;
});
