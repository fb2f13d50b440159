import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { isLent, keepBytes, readShared } from "./read-buffer.ts";
import { lentBuffer } from "./testing/lent-buffer.ts";

const sockets: Socket[] = [];
const servers: Server[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

const FIXTURES = new URL("../../../../test/fixtures/tls/", import.meta.url);

/** An accepted socket and the one at its other end. */
async function pair({ isSecure }: { isSecure: boolean }): Promise<{ near: Socket; far: Socket }> {
  const credentials = (): { key: Buffer; cert: Buffer } => ({
    key: readFileSync(new URL("localhost.key", FIXTURES)),
    cert: readFileSync(new URL("localhost.crt", FIXTURES)),
  });
  const server: Server = isSecure ? createTlsServer(credentials()) : createServer();
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const accepted = new Promise<Socket>((resolve) => server.once(isSecure ? "secureConnection" : "connection", resolve));
  const far = isSecure ? connectTls({ port, rejectUnauthorized: false }) : connect(port, "127.0.0.1");
  const near = await accepted;
  sockets.push(near, far);
  return { near, far };
}

/** What a socket reads until its end, each part kept when it came, and whether it was lent. */
async function readAll(socket: Socket): Promise<{ bytes: Buffer; isLent: boolean[] }> {
  const parts: Uint8Array[] = [];
  const lent: boolean[] = [];
  expect(
    readShared(socket, (bytes) => {
      lent.push(isLent(bytes));
      parts.push(keepBytes(bytes, 0, bytes.length));
    }),
  ).toBe(true);
  await once(socket, "end");
  return { bytes: Buffer.concat(parts), isLent: lent };
}

describe.each([{ isSecure: false }, { isSecure: true }])("a socket, $isSecure", (options) => {
  test("is read into the shared buffer, to its end", async () => {
    const { near, far } = await pair(options);
    const sent = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, at) => at * 31));
    far.end(sent);
    const { bytes, isLent: lent } = await readAll(near);
    expect(bytes.equals(sent)).toBe(true);
    expect(new Set(lent)).toEqual(new Set([true]));
  });

  test("stops and goes on as ever", async () => {
    const { near, far } = await pair(options);
    const read = Promise.withResolvers<string>();
    expect(readShared(near, (bytes) => read.resolve(bytes.toString("latin1")))).toBe(true);
    near.pause();
    const sent = Promise.withResolvers<void>();
    far.write("hello", () => sent.resolve());
    await sent.promise;
    near.resume();
    expect(await read.promise).toBe("hello");
  });
});

test("a socket that was closed by a reset says so", async () => {
  const { near, far } = await pair({ isSecure: false });
  readShared(near, () => {});
  const failed = once(near, "error");
  far.resetAndDestroy();
  expect(await failed).toEqual([expect.objectContaining({ code: "ECONNRESET" })]);
});

test("where Node's fields are not as expected nothing is touched", async () => {
  const unconnected = new Socket();
  sockets.push(unconnected);
  expect(readShared(unconnected, () => {})).toBe(false);
  expect(unconnected.isPaused() || unconnected.readableFlowing === null).toBe(true);

  const { near, far } = await pair({ isSecure: false });
  far.write("already here");
  await once(near, "readable");
  expect(readShared(near, () => {})).toBe(false);
  expect(String(near.read())).toBe("already here");
});

describe("what is kept", () => {
  test.each([1, 100, 2048, 2049, 60_000])("of lent memory is a copy: %d bytes", (length) => {
    const lent = lentBuffer();
    lent.fill(7);
    const kept = keepBytes(lent, 3, 3 + length);
    const next = keepBytes(lent, 0, 10);
    lent.fill(9);
    expect(kept).toEqual(new Uint8Array(length).fill(7));
    expect(next).toEqual(new Uint8Array(10).fill(7));
  });

  test("of other memory is a view", () => {
    const own = Buffer.from(new ArrayBuffer(100));
    const kept = keepBytes(own, 10, 20);
    expect(kept.buffer).toBe(own.buffer);
    expect([kept.byteOffset, kept.length]).toEqual([10, 10]);
  });

  test("many small ones share pages, and do not keep one for each", () => {
    const lent = lentBuffer();
    const pages = new Set(Array.from({ length: 1000 }, () => keepBytes(lent, 0, 100).buffer));
    expect(pages.size).toBeLessThanOrEqual(8);
  });
});
