// Ourselves as a unary server: a typed handler behind the ordinary API of @sluice/rpc, nothing switched off.

import { createServer, listen, serve } from "@sluice/rpc";
import { EchoService } from "../gen/bench/v1/echo_pb.ts";
import { announce, parseServerOptions } from "./server-options.ts";

const { port } = parseServerOptions();
const server = createServer({
  services: [serve(EchoService, { echo: (request) => ({ payload: request.payload }) })],
});
const listener = await listen(server, { host: "127.0.0.1", port });
announce(`@sluice/rpc on Node ${process.version}`, listener.address);
