// The handler that h2spec talks to: HTTP/2 alone, without gRPC. Answers every request, once it has ended, with 2 kB.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { rootFolder } from "../../../scripts/command.ts";
import { createConnectionResources, serveSocket } from "../../../packages/rpc/src/socket.ts";
import {
  HeaderBlock,
  type HeaderList,
  type ServerTransportHandler,
  type StreamHandler,
  type TransportStream,
} from "../../../packages/rpc/src/transport.ts";

const PAGE = Buffer.from("Sluice speaks HTTP/2.\n".repeat(100));
const RESPONSE = new HeaderBlock([
  ":status",
  "200",
  "content-type",
  "text/plain",
  "content-length",
  String(PAGE.length),
]);

const handler: ServerTransportHandler = {
  onStream(stream: TransportStream, _headers: HeaderList, endStream: boolean): StreamHandler {
    const answer = (): void => {
      stream.sendHeaders(RESPONSE, { endStream: false });
      stream.write(PAGE);
      stream.end();
    };
    if (endStream) answer();
    return {
      onHeaders() {},
      onData(_buffer, start, end, isLast) {
        stream.consume(end - start);
        if (isLast) answer();
      },
      onTrailers: answer,
      onWritable() {},
      onClose() {},
    };
  },
  onConnectionClose() {},
};

export interface PlainServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves HTTP/2, with prior knowledge or by ALPN, on a free port of the loopback. */
export async function startPlainServer(options: { useTls: boolean }): Promise<PlainServer> {
  const resources = createConnectionResources();
  const sockets = new Set<Socket>();
  const accept = (socket: Socket): void => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    serveSocket(socket, handler, { resources });
  };
  const server = options.useTls
    ? createTlsServer({ ...(await certificate()), ALPNProtocols: ["h2"] }, accept)
    : createServer(accept);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

async function certificate(): Promise<{ cert: Buffer; key: Buffer }> {
  const folder = join(rootFolder, "test", "fixtures", "tls");
  return { cert: await readFile(join(folder, "localhost.crt")), key: await readFile(join(folder, "localhost.key")) };
}
