// Uploads, against a real server over a real socket: whole or not at all, whatever happens in between.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { type CommitUploadResponse, FileService, type UploadFileResponse } from "@sluice/api";
import {
  type Channel,
  type Client,
  Code,
  createClient,
  ErrorInfoSchema,
  openChannel,
  type RpcError,
} from "@sluice/rpc";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { collect, createRequests } from "../support/log-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const resources = new AsyncDisposableStack();
let folder: string;
let shared: string;
let server: ServerProcess;
let channel: Channel;
let files: Client<typeof FileService>;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("upload")).path;
  shared = join(folder, "shared");
  await mkdir(shared);
  await mkdir(join(folder, "fixed"));
  await start();
});
/** Uploads that a test left are forgotten when they are too old: their files are gone. */
afterEach(async () => {
  for (const name of await readdir(shared)) await rm(join(shared, name), { recursive: true });
});
afterAll(() => resources.disposeAsync());

async function start(words: readonly string[] = []): Promise<void> {
  server = resources.use(await startServer(["--files", "shared:rw,fixed=fixed", ...words], { folder }));
  channel = openChannel(server.address);
  resources.defer(() => channel.close());
  files = createClient(FileService, channel);
}

/** The server dies as it stands, and comes back on the same port. */
async function crash(words: readonly string[] = []): Promise<void> {
  const { address } = server;
  server.kill("SIGKILL");
  await server.ended();
  await channel.close();
  await start(["--listen", address, ...words]);
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

type StartInit = Parameters<typeof files.startUpload>[0];

async function begin(filePath: string, more: Omit<StartInit, "filePath"> = {}): Promise<string> {
  const { upload } = await files.startUpload({ filePath, ...more });
  return upload!.uploadId;
}

function* chunksOf(bytes: Uint8Array, { from = 0, size = 100_000 } = {}) {
  for (let offset = from; offset < bytes.length; offset += size) {
    const data = bytes.subarray(offset, offset + size);
    yield { offset: BigInt(offset), data, chunkCrc32: crc32(data) };
  }
}

/** Sends all of it from an offset on. Returns the offsets that were acknowledged. */
async function send(
  uploadId: string,
  bytes: Uint8Array,
  options?: { from?: number; size?: number },
): Promise<number[]> {
  async function* requests() {
    yield { uploadId };
    yield* chunksOf(bytes, options);
  }
  const answers: UploadFileResponse[] = await collect(files.uploadFile(requests()));
  return answers.map(({ durableOffset }) => Number(durableOffset));
}

async function commit(uploadId: string, checksum = ""): Promise<CommitUploadResponse> {
  return (await collect(files.commitUpload({ uploadId, checksum }))).at(-1)!;
}

async function offsetOf(uploadId: string): Promise<number> {
  return Number((await files.getUpload({ uploadId })).upload?.durableOffset);
}

async function failureOf(
  work: Promise<unknown>,
): Promise<{ code: Code; reason: string; metadata: Record<string, string> }> {
  const error = (await work.then(
    () => new Error("it went well"),
    (each: unknown) => each,
  )) as RpcError;
  const [{ reason, metadata } = { reason: error.message, metadata: {} }] = error.findDetails?.(ErrorInfoSchema) ?? [];
  return { code: error.code, reason, metadata };
}

/** What is in the shared folder, uploads included. */
const left = async (): Promise<string[]> => {
  const staging = await readdir(join(shared, ".sluice-uploads")).catch(() => []);
  return [
    ...(await readdir(shared)).filter((name) => name !== ".sluice-uploads"),
    ...staging.map((name) => name.slice(22)),
  ].toSorted();
};

describe("an upload", () => {
  test("is in its place when it is committed, not before", async () => {
    const bytes = randomBytes(10_000_000);
    await writeFile(join(shared, "a.bin"), "old");
    const id = await begin("a.bin", { size: BigInt(bytes.length), checksum: sha256(bytes) });
    const acknowledged = await send(id, bytes);
    expect(acknowledged[0]).toBe(0);
    expect(acknowledged.at(-1)).toBe(bytes.length);
    expect(acknowledged).toEqual(acknowledged.toSorted((a, b) => a - b));
    expect(await readFile(join(shared, "a.bin"), "utf8")).toBe("old");
    const { file, verifiedBytes } = await commit(id);
    expect(file).toMatchObject({ filePath: "a.bin", size: 10_000_000n, checksum: sha256(bytes) });
    expect(verifiedBytes).toBe(10_000_000n);
    expect((await readFile(join(shared, "a.bin"))).equals(bytes)).toBe(true);
    // Again, as after a lost answer.
    expect((await commit(id)).file).toMatchObject({ checksum: sha256(bytes), etag: file!.etag });
    await crash();
    expect((await commit(id)).file).toMatchObject({ checksum: sha256(bytes) });
    expect((await files.getUpload({ uploadId: id })).upload?.isCommitted).toBe(true);
    expect((await failureOf(send(id, bytes))).reason).toBe("UPLOAD_COMMITTED");
  });

  test("of nothing is an empty file; folders above it are made when asked for", async () => {
    const id = await begin("new/deep/empty", { makeDirectories: true, checksum: sha256(Buffer.alloc(0)) });
    expect((await commit(id)).file).toMatchObject({ size: 0n });
    expect((await readFile(join(shared, "new/deep/empty"))).length).toBe(0);
    const other = await begin("not/there");
    expect((await failureOf(commit(other))).code).toBe(Code.PERMISSION_DENIED);
  });

  test("goes on after the server was killed, from what is on disk", async () => {
    const bytes = randomBytes(30_000_000);
    const id = await begin("a.bin", { checksum: sha256(bytes) });
    for (let crashes = 0; crashes < 3; crashes++) {
      const requests = createRequests<{ uploadId?: string; offset?: bigint; data?: Uint8Array }>();
      const answers = files.uploadFile(requests)[Symbol.asyncIterator]();
      requests.send({ uploadId: id });
      const before = await offsetOf(id);
      for (const chunk of [...chunksOf(bytes, { from: before })].slice(0, 80)) requests.send(chunk);
      let acknowledged = before;
      while (acknowledged === before) acknowledged = Number((await answers.next()).value?.durableOffset);
      answers.next().catch(() => {});
      await crash();
      expect(await offsetOf(id)).toBeGreaterThanOrEqual(acknowledged);
    }
    await send(id, bytes, { from: await offsetOf(id) });
    expect((await commit(id)).file?.checksum).toBe(sha256(bytes));
    expect((await readFile(join(shared, "a.bin"))).equals(bytes)).toBe(true);
    expect(await left()).toEqual([".json", "a.bin"]);
  });

  test("takes chunks again, and refuses those that leave a hole", async () => {
    const bytes = randomBytes(500_000);
    const id = await begin("a");
    await send(id, bytes.subarray(0, 300_000));
    await send(id, bytes, { from: 250_000 });
    await send(id, bytes, { from: 0, size: 70_000 });
    const hole = await failureOf(send(id, randomBytes(600_000), { from: 500_001 }));
    expect(hole).toMatchObject({ code: Code.OUT_OF_RANGE, metadata: { offset: "500000" } });
    expect((await commit(id, sha256(bytes))).file?.size).toBe(500_000n);
  });

  test("with a wrong checksum is kept, and can be committed with the right one", async () => {
    const bytes = randomBytes(200_000);
    const id = await begin("a");
    await send(id, bytes);
    const wrong = sha256(Buffer.from("other"));
    expect(await failureOf(commit(id, wrong))).toMatchObject({
      code: Code.INVALID_ARGUMENT,
      reason: "CHECKSUM_MISMATCH",
      metadata: { expected: wrong, actual: sha256(bytes) },
    });
    expect(await left()).toEqual([".data", ".json", ".marks"]);
    expect((await commit(id, sha256(bytes))).file?.checksum).toBe(sha256(bytes));
  });

  test("a chunk that arrived damaged is not taken", async () => {
    const id = await begin("a");
    async function* requests() {
      yield { uploadId: id, data: Buffer.from("good") };
      yield { offset: 4n, data: Buffer.from("bad"), chunkCrc32: 1 };
    }
    expect(await failureOf(collect(files.uploadFile(requests())))).toMatchObject({ reason: "CHECKSUM_MISMATCH" });
    expect(await offsetOf(id)).toBe(4);
  });

  test("has one writer at a time", async () => {
    const id = await begin("a");
    const requests = createRequests<{ uploadId: string; data: Uint8Array }>();
    const answers = files.uploadFile(requests)[Symbol.asyncIterator]();
    requests.send({ uploadId: id, data: Buffer.from("first") });
    await answers.next();
    const inUse = { code: Code.ABORTED, reason: "UPLOAD_IN_USE" };
    expect(await failureOf(send(id, Buffer.from("second")))).toMatchObject(inUse);
    expect(await failureOf(commit(id))).toMatchObject(inUse);
    expect(await failureOf(files.abortUpload({ uploadId: id }))).toMatchObject(inUse);
    await answers.return?.();
    await expect.poll(() => failureOf(send(id, Buffer.from("first!")))).toMatchObject({ reason: "it went well" });
    expect((await commit(id)).file?.size).toBe(6n);
  });

  test("holds to what was promised: size, the file in its place, or none", async () => {
    await writeFile(join(shared, "there"), "old");
    const { etag } = await files.getFileInfo({ filePath: "there" });
    const short = await begin("a", { size: 10n });
    await send(short, Buffer.from("12345"));
    expect(await failureOf(commit(short))).toMatchObject({ reason: "UPLOAD_INCOMPLETE", metadata: { offset: "5" } });
    expect(await failureOf(send(short, Buffer.from("12345678901")))).toMatchObject({ reason: "UPLOAD_TOO_LONG" });
    const isNew = await begin("there", { ifNoneMatch: true });
    expect(await failureOf(commit(isNew))).toMatchObject({ code: Code.ABORTED, reason: "FILE_EXISTS" });
    const replacing = await begin("there", { ifMatch: etag });
    await writeFile(join(shared, "there"), "changed");
    expect(await failureOf(commit(replacing))).toMatchObject({ code: Code.ABORTED, reason: "ETAG_MISMATCH" });
    expect(await readFile(join(shared, "there"), "utf8")).toBe("changed");
  });

  test("that is aborted leaves nothing", async () => {
    const id = await begin("a");
    await send(id, randomBytes(1000));
    await files.abortUpload({ uploadId: id });
    await files.abortUpload({ uploadId: id });
    expect(await left()).toEqual([]);
    expect(await failureOf(files.getUpload({ uploadId: id }))).toMatchObject({ code: Code.NOT_FOUND });
  });
});

describe("what lies outside, or is read-only,", () => {
  test("is not written to", async () => {
    await symlink(folder, join(shared, "link"));
    await mkdir(join(shared, "sub"));
    for (const path of ["../a", "/tmp/a", ".hidden", ".sluice-uploads/a", "fixed/a", "a/../../b", ""]) {
      const { code } = await failureOf(files.startUpload({ filePath: path }));
      expect([path, code]).toEqual([path, path === "" ? Code.INVALID_ARGUMENT : Code.PERMISSION_DENIED]);
    }
    for (const path of ["link/a", "link"]) {
      const id = await begin(path);
      expect([path, (await failureOf(commit(id))).code]).toEqual([path, Code.PERMISSION_DENIED]);
    }
    expect(await failureOf(commit(await begin("sub")))).toMatchObject({ reason: "IS_DIRECTORY" });
    expect(await readdir(folder)).not.toContain("a");
  });

  test("is not moved, deleted or made", async () => {
    await writeFile(join(folder, "fixed", "x"), "x");
    await symlink("../fixed/x", join(shared, "link"));
    const denied = { code: Code.PERMISSION_DENIED };
    expect(await failureOf(files.deleteFile({ filePath: "fixed/x" }))).toMatchObject(denied);
    expect(await failureOf(files.deleteFile({ filePath: "link" }))).toMatchObject(denied);
    expect(await failureOf(files.moveFile({ filePath: "fixed/x", newPath: "y" }))).toMatchObject(denied);
    expect(await failureOf(files.makeDirectory({ path: "fixed/d" }))).toMatchObject(denied);
    expect(await failureOf(files.deleteFile({ filePath: "fixed" }))).toMatchObject(denied);
  });
});

test("files are moved and deleted, folders made; what is in the way stays", async () => {
  await files.makeDirectory({ path: "a/b/c" });
  await files.makeDirectory({ path: "a/b/c" });
  await writeFile(join(shared, "a/x"), "x");
  await writeFile(join(shared, "y"), "y");
  expect(await failureOf(files.moveFile({ filePath: "a/x", newPath: "y" }))).toMatchObject({ reason: "FILE_EXISTS" });
  const { etag } = await files.getFileInfo({ filePath: "a/x" });
  expect(await failureOf(files.moveFile({ filePath: "a/x", newPath: "z", ifMatch: "other" }))).toMatchObject({
    reason: "ETAG_MISMATCH",
  });
  const moved = await files.moveFile({ filePath: "a/x", newPath: "y", overwrite: true, ifMatch: etag });
  expect(moved.file).toMatchObject({ filePath: "y", size: 1n });
  expect(await readFile(join(shared, "y"), "utf8")).toBe("x");
  expect(await failureOf(files.deleteFile({ filePath: "a" }))).toMatchObject({ reason: "FOLDER_NOT_EMPTY" });
  expect(await failureOf(files.moveFile({ filePath: "a", newPath: "a/b/d" }))).toMatchObject({ reason: "INTO_ITSELF" });
  expect(await failureOf(files.makeDirectory({ path: "y" }))).toMatchObject({ reason: "FILE_EXISTS" });
  await files.deleteFile({ filePath: "a/b/c" });
  await files.deleteFile({ filePath: "y" });
  expect(await left()).toEqual(["a"]);
});

test.each([
  ["a checksum that is none", { filePath: "a", checksum: "abc" }, "checksum"],
  ["a negative size", { filePath: "a", size: -1n }, "size"],
  ["a time to live that is too long", { filePath: "a", ttlMs: 10n ** 12n }, "ttl_ms"],
  ["both preconditions", { filePath: "a", ifMatch: "x", ifNoneMatch: true }, "if_none_match"],
])("%s is refused", async (_what, request, field) => {
  const error = (await files.startUpload(request).catch((each: unknown) => each)) as RpcError;
  expect([error.code, error.message]).toEqual([Code.INVALID_ARGUMENT, expect.stringContaining(`${field}: `)]);
});

test("the number of uploads is bounded", async () => {
  await crash(["--limits-uploads-max", "2"]);
  const id = await begin("a");
  await begin("b");
  expect(await failureOf(begin("c"))).toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  await files.abortUpload({ uploadId: id });
  await begin("c");
});
