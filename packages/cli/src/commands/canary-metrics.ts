// The page that Prometheus reads.
import { once } from "node:events";
import { createServer } from "node:http";
import { InvalidArgumentError } from "commander";

export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

export interface MetricsPage extends AsyncDisposable {
  /** "http://127.0.0.1:9464/metrics". */
  readonly url: string;
}

/** "127.0.0.1:9464", "[::1]:9464"; port 0 picks a free one. @throws InvalidArgumentError */
export function parseMetricsAddress(text: string): MetricsAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/u.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new InvalidArgumentError(`"${text}" is no HOST:PORT, for example 127.0.0.1:9464.`);
  }
  return { host: match[1] ?? match[2] ?? "", port };
}

/** Serves what `render` gives at /metrics. @throws when the address is taken */
export async function openMetricsPage(address: MetricsAddress, render: () => string): Promise<MetricsPage> {
  const server = createServer((request, response) => {
    const isKnown = request.url?.split("?")[0] === "/metrics";
    const isRead = request.method === "GET" || request.method === "HEAD";
    if (!isKnown || !isRead) {
      response.writeHead(isKnown ? 405 : 404, { "content-type": "text/plain" }).end();
      return;
    }
    response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }).end(render());
  });
  server.listen(address.port, address.host);
  await once(server, "listening");
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : address.port;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return {
    url: `http://${host}:${port}/metrics`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
