// Serves the test's page, from an origin of its own, as plain files of this repository: native modules, found by an import
// map, with the types of TypeScript blanked out. Nothing is bundled.
import { readFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import { stripTypeScriptTypes } from "node:module";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { rootFolder } from "../../../scripts/command.ts";

export interface PageServer extends AsyncDisposable {
  readonly port: number;
}

const PAGE = "/test/interop/browser/page/index.html";
/** Nothing else of the repository is anybody's business. */
const SERVED = ["/test/interop/browser/page/", "/packages/api/src/gen/", "/packages/rpc/src/gen/", "/node_modules/"];
const PACKAGES = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web"];
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".ts": "text/javascript",
};

/** Resolves when it serves, on 127.0.0.1; `/` is the page. */
export async function startPageServer(): Promise<PageServer> {
  const map = await importMap();
  const server = createServer((request, response) => {
    void answer(request.url === "/" ? PAGE : (request.url ?? ""), response, map);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(path: string, response: ServerResponse, map: string): Promise<void> {
  const type = TYPES[extname(path)];
  const isServed = normalize(path) === path && SERVED.some((folder) => path.startsWith(folder));
  const text = isServed && type !== undefined ? await readFile(join(rootFolder, path), "utf8").catch(() => "") : "";
  if (text === "") {
    response.writeHead(404).end();
    return;
  }
  response.setHeader("content-type", type ?? "");
  if (path.endsWith(".ts")) response.end(stripTypeScriptTypes(text));
  else response.end(text.replace("<!-- import map -->", `<script type="importmap">${map}</script>`));
}

/** Where a browser finds what a package exports: what Node reads in the package's own description. */
async function importMap(): Promise<string> {
  const imports: Record<string, string> = {};
  for (const name of PACKAGES) {
    const description = await readFile(join(rootFolder, "node_modules", name, "package.json"), "utf8");
    const { exports } = JSON.parse(description) as { exports: Record<string, { import: string }> };
    for (const [entry, { import: file }] of Object.entries(exports)) {
      imports[join(name, entry)] = join("/node_modules", name, file);
    }
  }
  return JSON.stringify({ imports });
}
