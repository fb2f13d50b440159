// Uploads, with clients that we did not write: Google's stubs of ByteStream for Go, Python's grpcio, grpcurl.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { findPython } from "../tools/python.ts";
import { mayFetch } from "../tools/tool.ts";

const CONTENT = randomBytes(5_000_000);
const SHA256 = createHash("sha256").update(CONTENT).digest("hex");
const resources = new AsyncDisposableStack();
let address: string;
let folder: string;
let go: Awaited<ReturnType<typeof findGoTool>>;
let grpcurl: Awaited<ReturnType<typeof findGoTool>>;
let python: Awaited<ReturnType<typeof findPython>>;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("interop-uploads")).path;
  await mkdir(join(folder, "shared"));
  await writeFile(join(folder, "content"), CONTENT);
  ({ address } = resources.use(await startServer(["--files", "shared:rw"], { folder })));
  go = await findGoTool("bytestream-client", { mayFetch });
  grpcurl = await findGoTool("grpcurl", { mayFetch });
  python = await findPython({ mayFetch });
}, 300_000);
afterAll(() => resources.disposeAsync());

describe("ByteStream in Go", () => {
  async function client({ skip }: TestContext, ...words: string[]): Promise<string> {
    if (go.kind === "missing") return skip(go.reason);
    return (await runCommand([go.path, address, ...words])).stdout.trim();
  }

  test.for([
    ["a file", "uploads/3f1c/files/sub/a.bin", "files/sub/a.bin"],
    ["a blob", `uploads/3f1c/blobs/${SHA256}/${CONTENT.length}`, `blobs/${SHA256}/${CONTENT.length}`],
  ])("%s: in two parts, whole, and read in any part", async ([, name = "", source = ""], context) => {
    const file = join(folder, "content");
    expect(await client(context, "status", name)).toBe("failed NotFound");
    expect(await client(context, "put", name, file, "1234567")).toBe("1234567");
    expect(await client(context, "status", name)).toBe("1234567 false");
    expect(await client(context, "put", name, file)).toBe(String(CONTENT.length));
    expect(await client(context, "status", name)).toBe(`${CONTENT.length} true`);
    // What is complete is answered at once, whatever the client was about to send.
    expect(await client(context, "put", name, file)).toBe(String(CONTENT.length));
    expect(await client(context, "get", source, "0", "0")).toBe(`${SHA256} ${CONTENT.length}`);
    const part = createHash("sha256").update(CONTENT.subarray(777, 777 + 300_000));
    expect(await client(context, "get", source, "777", "300000")).toBe(`${part.digest("hex")} 300000`);
    expect(await client(context, "get", source, String(CONTENT.length + 1), "0")).toBe("failed OutOfRange");
    expect(await client(context, "get", source, "0", "-1")).toBe("failed InvalidArgument");
  });

  test("the client of Google's Go library puts a file and a blob, and reads them from any offset", async (context) => {
    const file = join(folder, "of-library");
    // A blob that is there already would be answered at once, and this client takes that for a failure.
    const content = randomBytes(5_000_000);
    const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
    await writeFile(file, content);
    for (const [name, source] of [
      ["uploads/6a/files/library.bin", "files/library.bin"],
      [`uploads/6b/blobs/${digest(content)}/5000000`, `blobs/${digest(content)}/5000000`],
    ] as const) {
      expect(await client(context, "library-put", name, file)).toBe("5000000");
      expect(await client(context, "library-get", source, "0")).toBe(`${digest(content)} 5000000`);
      const rest = digest(content.subarray(4_000_001));
      expect(await client(context, "library-get", source, "4000001")).toBe(`${rest} 999999`);
    }
    expect(await client(context, "library-get", "files/not-there", "0")).toBe("failed PermissionDenied");
  });

  test("a blob that has another SHA-256 is refused", async (context) => {
    const name = `uploads/77/blobs/${"0".repeat(64)}/${CONTENT.length}`;
    expect(await client(context, "put", name, join(folder, "content"))).toBe("failed InvalidArgument");
    expect(await client(context, "get", `blobs/${"0".repeat(64)}/${CONTENT.length}`, "0", "0")).toBe("failed NotFound");
  });
});

test("Python: chunks with CRC-32, cut off, gone on with, committed", async ({ skip }) => {
  if (python.kind === "missing") return skip(python.reason);
  const script = join(import.meta.dirname, "python", "upload.py");
  const words = ["python.bin", join(folder, "content"), "2000000"];
  const { code, stdout, output } = await runCommand([python.path, script, address, ...words], {
    env: { PYTHONPATH: python.stubs },
  });
  expect([code, output]).toEqual([0, output]);
  const told = JSON.parse(stdout) as { offsets: number[]; resumedAt: number; checksum: string };
  expect(told).toMatchObject({ resumedAt: 2_000_000, checksum: SHA256 });
  expect(told.offsets).toEqual(told.offsets.toSorted((a, b) => a - b));
  expect((await readFile(join(folder, "shared", "python.bin"))).equals(CONTENT)).toBe(true);
});

test("grpcurl finds ByteStream by reflection, and speaks it as the guide says", async ({ skip }) => {
  if (grpcurl.kind === "missing") return skip(grpcurl.reason);
  const call = async (...words: string[]): Promise<string> =>
    (await runCommand([(grpcurl as { path: string }).path, "-plaintext", ...words])).output;
  expect(await call(address, "describe", "google.bytestream.ByteStream")).toContain("rpc QueryWriteStatus");
  const sum = createHash("sha256").update("hello").digest("hex");
  const request = { resource_name: `uploads/1/blobs/${sum}/5`, data: "aGVsbG8=", finish_write: true };
  const written = await call("-d", JSON.stringify(request), address, "google.bytestream.ByteStream/Write");
  expect(JSON.parse(written)).toEqual({ committedSize: "5" });
  const name = JSON.stringify({ resource_name: `blobs/${sum}/5` });
  expect(JSON.parse(await call("-d", name, address, "google.bytestream.ByteStream/Read"))).toEqual({
    data: "aGVsbG8=",
  });
});
