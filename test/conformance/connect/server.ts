// The server that connectconformance tests: reads from stdin what to serve, says on stdout where it serves, ends on
// SIGTERM.
import { once } from "node:events";
import { createServer, listen } from "@sluice/rpc";
import {
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "../gen/connectrpc/conformance/v1/server_compat_pb.ts";
import { conformanceService } from "./service.ts";
import { readMessages, writeMessage } from "./stdio.ts";

const ended = once(process, "SIGTERM");
const { value: wanted } = await readMessages(ServerCompatRequestSchema).next();
if (wanted === undefined) throw new Error("Nothing came on stdin: a ServerCompatRequest is expected");
const { useTls, serverCreds, clientTlsCert, messageReceiveLimit } = wanted;

const server = createServer({
  services: [conformanceService],
  ...(messageReceiveLimit === 0 ? {} : { limits: { messageBytesMax: messageReceiveLimit } }),
});
const certificate = Buffer.from(serverCreds?.cert ?? []);
const clientCertificates =
  clientTlsCert.length === 0 ? {} : { ca: Buffer.from(clientTlsCert), requestCert: true, rejectUnauthorized: true };
const listener = await listen(
  server,
  useTls ? { tls: { cert: certificate, key: Buffer.from(serverCreds?.key ?? []), ...clientCertificates } } : {},
);
writeMessage(ServerCompatResponseSchema, { host: "127.0.0.1", port: listener.port, pemCert: certificate });

await ended;
await listener.drain({ graceMs: 0 });
process.exit(0);
