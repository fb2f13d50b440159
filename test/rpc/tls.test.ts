// TLS with ALPN, on both sides.
import { readFileSync } from "node:fs";
import { createServer as createTlsServer } from "node:tls";
import {
  Code,
  createClient,
  createServer,
  listen,
  openChannel,
  serve,
  type ChannelOptions,
  type SocketTransport,
} from "@sluice/rpc";
import { expect, test } from "vitest";
import { EchoService } from "./gen/echo_pb.ts";
import { echoHandlers, expectOwnBytes, overBothTransports } from "./support.ts";

const folder = `${import.meta.dirname}/../fixtures/tls`;
const cert = readFileSync(`${folder}/localhost.crt`);
const key = readFileSync(`${folder}/localhost.key`);

async function startSecure(transport: SocketTransport) {
  const encrypted: boolean[] = [];
  const services = [serve(EchoService, echoHandlers)];
  const server = createServer({ services, interceptors: [({ peer }) => void encrypted.push(peer.isEncrypted)] });
  const listener = await listen(server, { transport, tls: { cert, key } });
  return {
    encrypted,
    listener,
    open(options: ChannelOptions, host = "127.0.0.1") {
      const channel = openChannel(`${host}:${listener.port}`, { transport, ...options });
      return { channel, client: createClient(EchoService, channel), [Symbol.asyncDispose]: () => channel.close() };
    },
    [Symbol.asyncDispose]: () => listener.drain({ graceMs: 0 }),
  };
}

overBothTransports((transport) => {
  test.each(["127.0.0.1", "localhost"])("calls over TLS to %s", async (host) => {
    await using secure = await startSecure(transport);
    await using caller = secure.open({ tls: { ca: cert } }, host);
    await expect(caller.client.echo({ text: "secret" })).resolves.toMatchObject({ text: "secret" });
    await expect(Array.fromAsync(caller.client.count({ count: 100, payloadBytes: 50_000 }))).resolves.toHaveLength(100);
    expect(secure.encrypted).toEqual([true, true]);
  });

  test("large answers of many calls at once each have their own bytes, whoever's memory they were made in", async () => {
    await using secure = await startSecure(transport);
    await using caller = secure.open({ tls: { ca: cert } });
    await expectOwnBytes(caller.client, 40);
  });

  test("a certificate of nobody we know is UNAVAILABLE, with the reason", async () => {
    await using secure = await startSecure(transport);
    await using caller = secure.open({ tls: {} });
    await expect(caller.client.echo({})).rejects.toMatchObject({
      code: Code.UNAVAILABLE,
      message: expect.stringMatching(/self-signed certificate/) as string,
    });
  });

  test("plaintext to a TLS port is UNAVAILABLE", async () => {
    await using secure = await startSecure(transport);
    await using caller = secure.open({});
    await expect(caller.client.echo({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
    expect(secure.listener.connections).toBe(0);
  });

  test("a TLS server without HTTP/2 is UNAVAILABLE, and is called so", async () => {
    const old = createTlsServer({ cert, key }, (socket) => socket.on("error", () => {}).resume());
    await new Promise<void>((resolve) => old.listen(0, "127.0.0.1", resolve));
    const { port } = old.address() as { port: number };
    const channel = openChannel(`127.0.0.1:${port}`, { transport, tls: { ca: cert } });
    await expect(createClient(EchoService, channel).echo({})).rejects.toMatchObject({
      code: Code.UNAVAILABLE,
      message: `Cannot connect to 127.0.0.1:${port}: the server does not offer HTTP/2 (ALPN h2)`,
    });
    await channel.close();
    await new Promise<void>((resolve) => old.close(() => resolve()));
  });

  test("an HTTP/1.1 client over TLS is answered, too", async () => {
    await using secure = await startSecure(transport);
    const { get } = await import("node:https");
    const status = await new Promise((resolve, reject) => {
      get({ host: "127.0.0.1", port: secure.listener.port, ca: cert, agent: false }, (response) => {
        response.resume().on("end", () => resolve(response.statusCode));
      }).on("error", reject);
    });
    expect(status).toBe(404);
  });
});
