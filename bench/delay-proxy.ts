// A line with a delay: what comes in at one end goes out at the other so much later, at whatever rate.

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** What is on the line in one direction at most: 5 GB/s at 10 ms. */
const LINE_BYTES_MAX = 64 * 2 ** 20;

export interface DelayProxy extends AsyncDisposable {
  /** "127.0.0.1:PORT" */
  readonly address: string;
}

/** @param options `target`: "127.0.0.1:PORT"; `oneWayMs`: half of the round trip */
export async function openDelayProxy(options: {
  readonly target: string;
  readonly oneWayMs: number;
}): Promise<DelayProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(options.target.split(":").at(-1)), "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    carry(near, far, options.oneWayMs);
    carry(far, near, options.oneWayMs);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function carry(from: Socket, to: Socket, delayMs: number): void {
  const line: { readonly dueMs: number; readonly bytes: Buffer }[] = [];
  let lineBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  const deliver = (): void => {
    timer = undefined;
    const nowMs = performance.now();
    to.cork();
    for (let next = line[0]; next !== undefined && next.dueMs <= nowMs; next = line[0]) {
      line.shift();
      lineBytes -= next.bytes.length;
      to.write(next.bytes);
    }
    to.uncork();
    if (lineBytes < LINE_BYTES_MAX) from.resume();
    const [next] = line;
    if (next !== undefined) timer = setTimeout(deliver, next.dueMs - nowMs);
  };
  from.on("data", (bytes: Buffer) => {
    line.push({ dueMs: performance.now() + delayMs, bytes });
    lineBytes += bytes.length;
    if (lineBytes >= LINE_BYTES_MAX) from.pause();
    timer ??= setTimeout(deliver, delayMs);
  });
  from.on("close", () => clearTimeout(timer));
}
