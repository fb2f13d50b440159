// nginx as a peer: files over plain HTTP/2 (h2c), or over HTTP/1.1, as its own documentation has it, with one worker.

import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runForeignServer } from "./foreign-server.ts";

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "" },
    version: { type: "string", default: "" },
    http1: { type: "boolean", default: false },
  },
});

await runForeignServer({
  name: "nginx",
  version: values.version,
  parentFolder: tmpdir(),
  prepare: async ({ folder, port }) => {
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
    return { command: "nginx", arguments: ["-c", join(folder, "nginx.conf"), "-p", folder] };
  },
});
