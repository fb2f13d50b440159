// TLS for sockets that were accepted by somebody else: Node's own TLS server, which never listens.
import { createServer, type Server, type TLSSocket, type TlsOptions } from "node:tls";

/** Give it a socket by `emit("connection", socket)`. `onSecure` hears of those whose handshake went well. */
export function acceptTls(options: TlsOptions, onSecure: (socket: TLSSocket) => void): Server {
  const server = createServer({ ...options, ALPNProtocols: ["h2", "http/1.1"] }, onSecure);
  // A handshake that failed: its socket is closed, and there is nobody to tell.
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return server;
}
