// The three promises that the file service began with: against a real server, over a real socket, through the
// unversioned service and its first request fields.
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type FileChunk, type FileRequest, SeedFileService } from "@sluice/api";
import { type Channel, type Client, createClient, openChannel } from "@sluice/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { collect } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const CONTENT = Buffer.from(Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join(""));
const resources = new AsyncDisposableStack();
let channel: Channel;
let files: Client<typeof SeedFileService>;

beforeAll(async () => {
  const folder = resources.use(await openTemporaryFolder("files-seed"));
  await mkdir(join(folder.path, "shared"));
  await writeFile(join(folder.path, "shared", "test.txt"), CONTENT);
  const { address } = resources.use(await startServer(["--files", "shared"], { folder: folder.path }));
  channel = openChannel(address);
  resources.defer(() => channel.close());
  files = createClient(SeedFileService, channel);
});
afterAll(() => resources.disposeAsync());

function download(request: Partial<Omit<FileRequest, "$typeName">>): Promise<FileChunk[]> {
  return collect(files.downloadFile({ filePath: "test.txt", ...request }));
}

const dataOf = (chunks: readonly FileChunk[]): Buffer => Buffer.concat(chunks.map((chunk) => chunk.data));
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

test("Complete download", async () => {
  const chunks = await download({ chunkSize: 1024 });
  expect(chunks.length).toBe(Math.ceil(CONTENT.length / 1024));
  expect(dataOf(chunks).equals(CONTENT)).toBe(true);
  expect(
    chunks.every(({ filePath, totalSize }) => filePath === "test.txt" && Number(totalSize) === CONTENT.length),
  ).toBe(true);
  expect(chunks.map(({ offset }) => Number(offset))).toEqual(chunks.map((_, i) => i * 1024));
  expect(chunks.map(({ isLastChunk }) => isLastChunk)).toEqual(chunks.map((_, i) => i === chunks.length - 1));
});

test("Partial download", async () => {
  const chunks = await download({ chunkSize: 100, offset: 777n, limit: 250n });
  expect(chunks.map(({ data }) => data.length)).toEqual([100, 100, 50]);
  expect(dataOf(chunks).equals(CONTENT.subarray(777, 1027))).toBe(true);
  const rest = await download({ offset: BigInt(CONTENT.length - 3) });
  expect(dataOf(rest).equals(CONTENT.subarray(-3))).toBe(true);
});

test("Checksum verification", async () => {
  const whole = await download({});
  expect(whole.at(-1)?.checksum).toBe(sha256(CONTENT));
  const part = await download({ offset: 10n, limit: 20n });
  expect(part.at(-1)?.checksum).toBe(sha256(CONTENT.subarray(10, 30)));
  const info = await files.getFileInfo({ filePath: "test.txt" });
  expect(info).toMatchObject({ size: BigInt(CONTENT.length), mimeType: "text/plain", checksum: sha256(CONTENT) });
});
