// Serves the page as it lies here: native modules, found by an import map, with TypeScript's types blanked out. A bundler does
// the same for a page that is shipped.
import { readFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import { stripTypeScriptTypes } from "node:module";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
/** Nothing else of the repository is anybody's business. */
const SERVED = [
  "/examples/inbox/",
  "/packages/api/src/",
  "/packages/rpc/src/",
  "/packages/client/src/",
  "/node_modules/@bufbuild/",
];
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".ts": "text/javascript",
};

const imports: Record<string, string> = {
  "@sluice/api": "/packages/api/src/index.ts",
  "@sluice/rpc": "/packages/rpc/src/browser.ts",
  "@sluice/client/browser": "/packages/client/src/browser.ts",
};
const protobuf = await readFile(join(ROOT, "node_modules/@bufbuild/protobuf/package.json"), "utf8");
const { exports } = JSON.parse(protobuf) as { exports: Record<string, { import: string }> };
for (const [entry, { import: file }] of Object.entries(exports)) {
  imports[join("@bufbuild/protobuf", entry)] = join("/node_modules/@bufbuild/protobuf", file);
}

async function answer(path: string, response: ServerResponse): Promise<void> {
  const type = TYPES[extname(path)];
  const isServed = type !== undefined && normalize(path) === path && SERVED.some((folder) => path.startsWith(folder));
  const text = isServed ? await readFile(join(ROOT, path), "utf8").catch(() => undefined) : undefined;
  if (text === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.setHeader("content-type", type ?? "");
  const map = `<script type="importmap">${JSON.stringify({ imports })}</script>`;
  response.end(path.endsWith(".ts") ? stripTypeScriptTypes(text) : text.replace("<!-- import map -->", map));
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://page");
  void answer(pathname === "/" ? "/examples/inbox/index.html" : pathname, response);
});
server.listen(Number(process.argv[2] ?? 5173), "127.0.0.1");
await once(server, "listening");
console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
