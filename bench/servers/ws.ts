// Broadcast over WebSockets as the documentation of `ws` has it: what a publisher sends goes to every device; then the
// publisher hears that it is out. Nothing is kept.

import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";
import { announce, versionOf } from "./server-options.ts";

const server = createServer();
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket, request) => {
  if (request.url !== "/publisher") return;
  socket.on("message", (data) => {
    for (const client of sockets.clients) {
      if (client !== socket && client.readyState === WebSocket.OPEN) client.send(data);
    }
    socket.send("sent");
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => announce(`ws ${versionOf("ws")}`, server.address()));
