// A TCP proxy that can stop carrying what the server sends, as a network or a client that hangs does.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface StallingProxy extends AsyncDisposable {
  readonly address: string;
  /** From now on nothing is read from the server: its socket fills up. */
  stall(): void;
  resume(): void;
}

/** @param target "HOST:PORT" */
export async function openStallingProxy(target: string): Promise<StallingProxy> {
  const [host = "", port = ""] = target.split(":");
  /** The two ends of each connection. */
  const pairs: { readonly client: Socket; readonly server: Socket }[] = [];
  const proxy = createServer((client) => {
    const server = connect(Number(port), host);
    pairs.push({ client, server });
    for (const socket of [client, server]) socket.on("error", () => socket.destroy());
    client.pipe(server);
    server.pipe(client);
    client.on("close", () => server.destroy());
    server.on("close", () => client.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    address: `127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    stall() {
      for (const { server } of pairs) server.unpipe().pause();
    },
    resume() {
      for (const { client, server } of pairs) server.pipe(client);
    },
    async [Symbol.asyncDispose]() {
      const closed = once(proxy, "close");
      proxy.close();
      for (const { client, server } of pairs) {
        client.destroy();
        server.destroy();
      }
      await closed;
    },
  };
}
