// Files, with clients that we did not write: grpcurl in its own words, Python's grpcio, grpc-js.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { credentials, Client } from "@grpc/grpc-js";
import { type FileChunk, FileChunkSchema, FileRequestSchema } from "@sluice/api";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { findPython } from "../tools/python.ts";
import { mayFetch } from "../tools/tool.ts";

const LARGE = randomBytes(5_000_000);
const resources = new AsyncDisposableStack();
let address: string;
let grpcurl: Awaited<ReturnType<typeof findGoTool>>;
let python: Awaited<ReturnType<typeof findPython>>;

beforeAll(async () => {
  const folder = resources.use(await openTemporaryFolder("interop-files"));
  await mkdir(join(folder.path, "shared"));
  await writeFile(join(folder.path, "shared", "test.txt"), "hello, world\n");
  await writeFile(join(folder.path, "shared", "large.bin"), LARGE);
  ({ address } = resources.use(await startServer(["--files", "shared"], { folder: folder.path })));
  grpcurl = await findGoTool("grpcurl", { mayFetch });
  python = await findPython({ mayFetch });
}, 300_000);
afterAll(() => resources.disposeAsync());

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

test("grpcurl, by the unversioned name", async (context) => {
  if (grpcurl.kind === "missing") return context.skip(grpcurl.reason);
  const request = '{"file_path":"test.txt","chunk_size":1024}';
  const { code, stdout } = await runCommand([
    grpcurl.path,
    "-plaintext",
    "-d",
    request,
    address,
    "FileService/DownloadFile",
  ]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    filePath: "test.txt",
    data: Buffer.from("hello, world\n").toString("base64"),
    totalSize: "13",
    isLastChunk: true,
    checksum: sha256(Buffer.from("hello, world\n")),
  });
  const refused = await runCommand([
    grpcurl.path,
    "-plaintext",
    "-d",
    '{"file_path":"../etc/passwd"}',
    address,
    "FileService/GetFileInfo",
  ]);
  expect(refused.output).toContain("Code: PermissionDenied");
});

test.for([
  [0, 0, 0],
  [1_234_567, 2_000_000, 100_000],
])("Python: offset %d, limit %d, chunks of %d", async ([offset = 0, limit = 0, chunkSize = 0], { skip }) => {
  if (python.kind === "missing") return skip(python.reason);
  const script = join(import.meta.dirname, "python", "download.py");
  const words = ["large.bin", offset, limit, chunkSize].map(String);
  const { code, stdout, output } = await runCommand([python.path, script, address, ...words], {
    env: { PYTHONPATH: python.stubs },
  });
  expect([code, output]).toEqual([0, output]);
  const wanted = LARGE.subarray(offset, limit === 0 ? LARGE.length : offset + limit);
  const told = JSON.parse(stdout) as { chunks: { offset: number; length: number; isRight: boolean }[]; sha256: string };
  expect(told).toMatchObject({ sha256: sha256(wanted), checksum: sha256(wanted) });
  expect(told.chunks.every(({ isRight }) => isRight)).toBe(true);
  expect(told.chunks.reduce((sum, { length }) => sum + length, 0)).toBe(wanted.length);
});

test("grpc-js, slowly: nothing is lost, and the end says so", async () => {
  const client = new Client(address, credentials.createInsecure());
  try {
    const call = client.makeServerStreamRequest(
      "/FileService/DownloadFile",
      (request: Uint8Array) => Buffer.from(request),
      (bytes: Buffer) => fromBinary(FileChunkSchema, bytes),
      toBinary(FileRequestSchema, create(FileRequestSchema, { filePath: "large.bin", chunkSize: 64 * 1024 })),
    );
    const chunks: FileChunk[] = [];
    for await (const chunk of call) {
      chunks.push(chunk as FileChunk);
      // Lets the windows fill up.
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(Buffer.concat(chunks.map(({ data }) => data)).equals(LARGE)).toBe(true);
    expect(chunks.at(-1)).toMatchObject({ isLastChunk: true, eof: true, checksum: sha256(LARGE) });
  } finally {
    client.close();
  }
});
