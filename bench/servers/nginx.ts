// nginx as a peer: files over plain HTTP/2 (h2c), or over HTTP/1.1, as its own documentation has it, with one worker.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { announce } from "./server-options.ts";

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "" },
    version: { type: "string", default: "" },
    http1: { type: "boolean", default: false },
  },
});

/** A port that was free a moment ago: nginx cannot pick one. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function untilListening(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    const isThere = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (isThere) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const folder = await mkdtemp(join(tmpdir(), "bench-nginx-"));
const port = await freePort();
const configuration = `
worker_processes 1;
daemon off;
pid ${folder}/pid;
error_log stderr;
events {}
http {
  access_log off;
  sendfile on;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server { listen 127.0.0.1:${port}${values.http1 ? "" : " http2"}; root ${values.files}; }
}
user root;
`;
await writeFile(join(folder, "nginx.conf"), configuration);
const nginx = spawn("nginx", ["-c", join(folder, "nginx.conf"), "-p", folder], { stdio: "inherit" });
nginx.once("exit", () => void rm(folder, { recursive: true, force: true }));
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => nginx.kill(signal));
await untilListening(port);
announce(values.version, `127.0.0.1:${port}`);
