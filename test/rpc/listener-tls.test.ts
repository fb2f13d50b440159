// One port with TLS: what is let in, ALPN, client certificates, and another certificate while connections are open.
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { Code, createClient, createServer, listen, openChannel, serve, type ListenOptions } from "@sluice/rpc";
import { expect, test } from "vitest";
import { EchoService } from "./gen/echo_pb.ts";
import { echoHandlers } from "./support.ts";

const read = (name: string): Buffer => readFileSync(`${import.meta.dirname}/../fixtures/tls/${name}`);
const first = { cert: read("localhost.crt"), key: read("localhost.key") };
const renewed = { cert: read("renewed.crt"), key: read("renewed.key") };
const clientPair = { cert: read("client.crt"), key: read("client.key") };
/** The beginning of a SETTINGS frame, after its length. */
const SETTINGS = "\x04\0\0\0\0\0";
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const GET = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

function start(options: ListenOptions = {}) {
  const server = createServer({ services: [serve(EchoService, echoHandlers)] });
  const web = { handlers: { "/": () => ({ status: 200, body: "plain HTTP" }) } };
  return listen(server, { tls: first, web, ...options });
}

/** Resolves with all that came back until the socket closed. */
function exchange(socket: ReturnType<typeof connect>, bytes: string): Promise<string> {
  let received = "";
  socket.setEncoding("latin1").on("data", (text: string) => (received += text));
  socket.once("data", () => socket.end());
  socket.on("error", () => {}).write(bytes, "latin1");
  return new Promise((resolve) => socket.once("close", () => resolve(received)));
}

async function secure(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ host: "127.0.0.1", port, ca: [first.cert, renewed.cert], ...options });
  await new Promise<void>((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  return socket;
}

test("with TLS: HTTP/2 and HTTP/1.1 by ALPN, and by first bytes where there is no ALPN", async () => {
  await using listener = await start();
  const over = async (ALPNProtocols: string[] | undefined, bytes: string) => {
    const socket = await secure(listener.port, ALPNProtocols === undefined ? {} : { ALPNProtocols });
    return [socket.alpnProtocol, (await exchange(socket, bytes)).slice(0, 12)];
  };
  await expect(over(["http/1.1"], GET)).resolves.toEqual(["http/1.1", "HTTP/1.1 200"]);
  await expect(over(["h2", "http/1.1"], PREFACE)).resolves.toMatchObject(["h2", expect.stringContaining(SETTINGS)]);
  await expect(over(undefined, GET)).resolves.toEqual([false, "HTTP/1.1 200"]);
  await expect(over(undefined, PREFACE)).resolves.toMatchObject([false, expect.stringContaining(SETTINGS)]);
  await expect(over(["h2"], GET)).resolves.toEqual(["h2", ""]);
  await expect(over(["http/1.1"], PREFACE)).resolves.toEqual(["http/1.1", ""]);
});

test("without TLS a port that has it says so and closes, unless it may serve both", async () => {
  await using strict = await start();
  const plain = (port: number) => connect({ host: "127.0.0.1", port });
  await expect(exchange(plain(strict.port), GET)).resolves.toMatch(
    /^HTTP\/1\.1 400 .*\nThis port speaks TLS: use https\.\n$/s,
  );
  await expect(exchange(plain(strict.port), PREFACE)).resolves.toBe("");
  await using both = await start({ allowPlaintext: true });
  await expect(exchange(plain(both.port), GET)).resolves.toMatch(/^HTTP\/1\.1 200 /);
  await using channel = openChannel(both.address);
  await expect(createClient(EchoService, channel).echo({ text: "plain" })).resolves.toMatchObject({ text: "plain" });
  await using secured = openChannel(both.address, { tls: { ca: first.cert } });
  await expect(createClient(EchoService, secured).echo({ text: "tls" })).resolves.toMatchObject({ text: "tls" });
});

test("TLS inside of TLS is refused", async () => {
  await using listener = await start();
  const socket = await secure(listener.port);
  await expect(exchange(socket, "\x16\x03\x01\x02\0\x01")).resolves.toBe("");
});

test("a handshake that stalls is ended, and one that is no handshake", async () => {
  await using listener = await start({ http2: { limits: { handshakeTimeoutMs: 50 } } });
  const socket = connect({ host: "127.0.0.1", port: listener.port, allowHalfOpen: true });
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket
    .on("error", () => {})
    .resume()
    .on("end", () => socket.end());
  socket.write(Buffer.from("16030102000100", "hex"));
  await closed;
  const junk = await exchange(connect({ host: "127.0.0.1", port: listener.port }), "\x16\x03\x01\0\x04junk");
  expect(junk).not.toContain("HTTP");
  expect(listener.connections).toBe(0);
});

test("a drain does not wait for a handshake", async () => {
  const listener = await start();
  const socket = connect({ host: "127.0.0.1", port: listener.port });
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("error", () => {}).resume();
  await new Promise<void>((resolve) => socket.write(Buffer.from("16030102000100", "hex"), () => resolve()));
  await listener.drain({ graceMs: 0 });
  await closed;
  expect(socket.destroyed).toBe(true);
});

test("client certificates: asked for, checked", async () => {
  await using listener = await start({
    tls: { ...first, ca: clientPair.cert, requestCert: true, rejectUnauthorized: true },
  });
  await using known = openChannel(listener.address, { tls: { ca: first.cert, ...clientPair } });
  await expect(createClient(EchoService, known).echo({ text: "known" })).resolves.toMatchObject({ text: "known" });
  await using stranger = openChannel(listener.address, { tls: { ca: first.cert } });
  await expect(createClient(EchoService, stranger).echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
  await using wrong = openChannel(listener.address, { tls: { ca: first.cert, ...renewed } });
  await expect(createClient(EchoService, wrong).echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
});

test("another certificate is for new connections; open ones and their streams go on", async () => {
  await using listener = await start();
  await using channel = openChannel(listener.address, { tls: { ca: first.cert } });
  const requests = Promise.withResolvers<void>();
  const chat = createClient(EchoService, channel).chat(
    (async function* () {
      yield { text: "before" };
      await requests.promise;
      yield { text: "after" };
    })(),
  );
  await expect(chat.next()).resolves.toMatchObject({ value: { text: "before" } });
  listener.setTls(renewed);
  const socket = await secure(listener.port, { ALPNProtocols: ["http/1.1"] });
  expect(socket.getPeerCertificate().subject.CN).toBe("Sluice test, renewed");
  await expect(exchange(socket, GET)).resolves.toMatch(/^HTTP\/1\.1 200 /);
  requests.resolve();
  await expect(chat.next()).resolves.toMatchObject({ value: { text: "after" } });
  await expect(chat.next()).resolves.toMatchObject({ done: true });
});

test.each([
  ["a key of another certificate", { cert: first.cert, key: renewed.key }, /key values mismatch|mismatch/i],
  ["no certificate at all", { cert: "nonsense", key: first.key }, /PEM|start line/i],
])("%s is refused, and the last good pair stays", async (_what, pair, reason) => {
  await using listener = await start();
  expect(() => listener.setTls(pair)).toThrow(reason);
  const socket = await secure(listener.port, { ALPNProtocols: ["http/1.1"] });
  expect(socket.getPeerCertificate().subject.CN).toBe("Sluice test");
  await exchange(socket, GET);
});

test("a listener without TLS takes no certificate", async () => {
  await using listener = await listen(createServer({ services: [] }));
  expect(() => listener.setTls(first)).toThrow("it was opened without TLS");
});
