// Our side of gRPC's interop tests, as a listener. As a program (`npm run interop-server`) it serves on the port PORT of the
// address HOST (default 10000 on 127.0.0.1) until it is stopped, with USE_TLS=true by the certificate in test/fixtures/tls:
// any language's interop client can be pointed at it.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createServer, listen, type Listener } from "@sluice/rpc";
import { rootFolder } from "../../../scripts/command.ts";
import { interopService } from "./service.ts";

const tlsFolder = join(rootFolder, "test", "fixtures", "tls");
/** Signed by itself, for `localhost` and 127.0.0.1. */
export const CERTIFICATE = join(tlsFolder, "localhost.crt");

export async function startInteropServer(options: {
  useTls: boolean;
  host?: string;
  port?: number;
}): Promise<Listener> {
  const { useTls, ...address } = options;
  const server = createServer({ services: [interopService] });
  if (!useTls) return listen(server, address);
  const key = await readFile(join(tlsFolder, "localhost.key"));
  return listen(server, { ...address, tls: { cert: await readFile(CERTIFICATE), key } });
}

async function main(): Promise<void> {
  const { PORT = "10000", HOST = "127.0.0.1", USE_TLS = "false" } = process.env;
  await using listener = await startInteropServer({ useTls: USE_TLS === "true", host: HOST, port: Number(PORT) });
  process.stderr.write(`listening on ${listener.address}\n`);
  await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
}

if (import.meta.main) await main();
