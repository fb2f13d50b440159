// Watches of folders, with clients that we did not write: Python's grpcio, and grpcurl by reflection.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { findPython } from "../tools/python.ts";
import { mayFetch } from "../tools/tool.ts";

const resources = new AsyncDisposableStack();
let address: string;
let shared: string;
let grpcurl: Awaited<ReturnType<typeof findGoTool>>;
let python: Awaited<ReturnType<typeof findPython>>;

beforeAll(async () => {
  const folder = resources.use(await openTemporaryFolder("interop-watch"));
  shared = join(folder.path, "shared");
  await mkdir(shared);
  await writeFile(join(shared, "there"), "");
  ({ address } = resources.use(await startServer(["--files", "shared"], { folder: folder.path })));
  grpcurl = await findGoTool("grpcurl", { mayFetch });
  python = await findPython({ mayFetch });
}, 300_000);
afterAll(() => resources.disposeAsync());

test("Python hears of what is there, of what happens, and, when it comes back, of what happened meanwhile", async ({
  skip,
}) => {
  if (python.kind === "missing") return skip(python.reason);
  const script = join(import.meta.dirname, "python", "watch.py");
  const { code, stdout, output } = await runCommand([python.path, script, address, shared], {
    env: { PYTHONPATH: python.stubs },
  });
  expect([code, output]).toEqual([0, output]);
  expect(JSON.parse(stdout)).toEqual({
    first: ["FILE_CHANGE_KIND_EXISTS there", "sync", "FILE_CHANGE_KIND_CREATED made"],
    second: ["FILE_CHANGE_KIND_CREATED moved", "FILE_CHANGE_KIND_REMOVED made", "sync"],
    refused: "INVALID_ARGUMENT",
  });
}, 60_000);

test("grpcurl is refused what lies outside", async ({ skip }) => {
  if (grpcurl.kind === "missing") return skip(grpcurl.reason);
  const method = "sluice.files.v1.FileService/WatchFiles";
  const refused = await runCommand([grpcurl.path, "-plaintext", "-d", '{"path":"../"}', address, method]);
  expect(refused.output).toContain("Code: PermissionDenied");
  const described = await runCommand([grpcurl.path, "-plaintext", address, "describe", method.replace("/", ".")]);
  expect(described.output).toContain("returns ( stream .sluice.files.v1.WatchFilesResponse )");
});
