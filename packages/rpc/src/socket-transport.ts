// HTTP/2 over a connected socket, as listener and channel use it: the package's own, or a test's.
import type { Socket } from "node:net";
import type { ConnectionLife } from "./connection-watch.ts";
import type { Http2Limits } from "./limits.ts";
import { connectSocket, createConnectionResources, serveSocket } from "./socket.ts";
import type {
  ClientTransportConnection,
  ClientTransportHandler,
  ServerTransportHandler,
  TransportConnection,
} from "./transport.ts";

/** HTTP/2 on sockets. The package's own is the default; its tests put node:http2 in its place. */
export interface SocketTransport {
  /** @param options.firstBytes what was read from the socket already. */
  serveSocket(
    socket: Socket,
    handler: ServerTransportHandler,
    options?: { readonly firstBytes?: Buffer },
  ): TransportConnection;
  connectSocket(socket: Socket, handler: ClientTransportHandler): ClientTransportConnection;
}

/** Settings of the package's own HTTP/2. */
export interface Http2Options extends ConnectionLife {
  /** Overrides of the defaults. */
  readonly limits?: Partial<Http2Limits> | undefined;
}

/** @param resources what the connections share with others */
export function ownHttp2(
  options: Http2Options = {},
  resources = createConnectionResources(options.limits),
): SocketTransport {
  const shared = { ...options, resources };
  return {
    serveSocket: (socket, handler, { firstBytes } = {}) => serveSocket(socket, handler, { ...shared, firstBytes }),
    connectSocket: (socket, handler) => connectSocket(socket, handler, shared),
  };
}
