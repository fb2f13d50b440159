// google.bytestream.ByteStream, against a real server over a real socket: what its specification says, sentence by sentence.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ByteStream, FileService } from "@sluice/api";
import {
  type Channel,
  type Client,
  Code,
  createClient,
  ErrorInfoSchema,
  openChannel,
  type RpcError,
} from "@sluice/rpc";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { collect, createRequests } from "../support/log-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const resources = new AsyncDisposableStack();
let folder: string;
let shared: string;
let server: ServerProcess;
let channel: Channel;
let bytes: Client<typeof ByteStream>;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("bytestream")).path;
  shared = join(folder, "shared");
  for (const name of ["shared", "fixed", "other"]) await mkdir(join(folder, name));
  await start();
});
afterEach(async () => {
  for (const name of await readdir(shared)) await rm(join(shared, name), { recursive: true });
});
afterAll(() => resources.disposeAsync());

async function start(words: readonly string[] = []): Promise<void> {
  const roots = "shared:rw,fixed=fixed,other=other:rw";
  server = resources.use(await startServer(["--files", roots, ...words], { folder }));
  channel = openChannel(server.address);
  resources.defer(() => channel.close());
  bytes = createClient(ByteStream, channel);
}

async function crash(words: readonly string[] = []): Promise<void> {
  const { address } = server;
  server.kill("SIGKILL");
  await server.ended();
  await channel.close();
  await start(["--listen", address, ...words]);
}

const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
const blobName = (data: Uint8Array): string => `blobs/${sha256(data)}/${data.length}`;
const blobPlace = (data: Uint8Array): string => join(".sluice-blobs", sha256(data).slice(0, 2), sha256(data));
let names = 0;
/** Nobody has used it. */
const newName = (target: string): string => `uploads/0f3ad1c8-${++names}/${target}`;

async function read(resourceName: string, range: { offset?: number; limit?: number } = {}): Promise<Buffer> {
  const { offset = 0, limit = 0 } = range;
  const request = { resourceName, readOffset: BigInt(offset), readLimit: BigInt(limit) };
  return Buffer.concat((await collect(bytes.read(request))).map(({ data }) => data));
}

interface WriteOptions {
  readonly from?: number;
  readonly size?: number;
  readonly finishes?: boolean;
}

async function write(resourceName: string, data: Uint8Array, options: WriteOptions = {}): Promise<number> {
  const { from = 0, size = 100_000, finishes = true } = options;
  async function* requests() {
    let at = from;
    do {
      const next = Math.min(data.length, at + size);
      const name = at === from ? { resourceName } : {};
      const finishWrite = finishes && next === data.length;
      yield { ...name, writeOffset: BigInt(at), data: data.subarray(at, next), finishWrite };
      at = next;
    } while (at < data.length);
  }
  return Number((await bytes.write(requests())).committedSize);
}

async function status(resourceName: string): Promise<{ size: number; complete: boolean }> {
  const { committedSize, complete } = await bytes.queryWriteStatus({ resourceName });
  return { size: Number(committedSize), complete };
}

async function failureOf(work: Promise<unknown>) {
  const error = (await work.then(
    () => new Error("it went well"),
    (each: unknown) => each,
  )) as RpcError;
  const [{ reason, metadata } = { reason: error.message, metadata: {} }] = error.findDetails?.(ErrorInfoSchema) ?? [];
  return { code: error.code, reason, metadata };
}

describe("Read", () => {
  test("gives exactly the bytes of any offset and limit", async () => {
    const data = randomBytes(700_000);
    await writeFile(join(shared, "a.bin"), data);
    expect((await read("files/a.bin")).equals(data)).toBe(true);
    const range = fc.record({ offset: fc.nat({ max: data.length }), limit: fc.nat({ max: data.length + 10 }) });
    await fc.assert(
      fc.asyncProperty(range, async ({ offset, limit }) => {
        const wanted = data.subarray(offset, limit === 0 ? undefined : offset + limit);
        expect((await read("files/a.bin", { offset, limit })).equals(wanted)).toBe(true);
      }),
      { numRuns: 40 },
    );
    expect(await read("files/a.bin", { offset: data.length })).toHaveLength(0);
    await writeFile(join(folder, "fixed", "b"), "named");
    expect((await read("files/fixed/b")).toString()).toBe("named");
  });

  test.each([
    ["an offset behind the end", "files/a", { offset: 6 }, Code.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE"],
    ["a negative offset", "files/a", { offset: -1 }, Code.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE"],
    ["a negative limit", "files/a", { limit: -1 }, Code.INVALID_ARGUMENT, "BAD_FIELD"],
    ["a folder", "files/sub", {}, Code.INVALID_ARGUMENT, "IS_DIRECTORY"],
    ["nothing there", "files/none", {}, Code.PERMISSION_DENIED, "PERMISSION_DENIED"],
    ["a way out", "files/../a", {}, Code.PERMISSION_DENIED, "PERMISSION_DENIED"],
    ["no path", "files/", {}, Code.INVALID_ARGUMENT, "EMPTY_PATH"],
    ["no resource", "a", {}, Code.INVALID_ARGUMENT, "BAD_RESOURCE_NAME"],
    ["an empty name", "", {}, Code.INVALID_ARGUMENT, "BAD_RESOURCE_NAME"],
    ["a name to write", "uploads/1/files/a", {}, Code.INVALID_ARGUMENT, "BAD_RESOURCE_NAME"],
    ["no SHA-256", "blobs/abc/1", {}, Code.INVALID_ARGUMENT, "BAD_RESOURCE_NAME"],
    ["one in upper case", `blobs/${"A".repeat(64)}/1`, {}, Code.INVALID_ARGUMENT, "BAD_RESOURCE_NAME"],
    ["no size", `blobs/${"a".repeat(64)}/-1`, {}, Code.INVALID_ARGUMENT, "BAD_RESOURCE_NAME"],
    ["a blob that is not there", `blobs/${"a".repeat(64)}/1`, {}, Code.NOT_FOUND, "NOT_FOUND"],
    ["a blob in no root", `none/blobs/${"a".repeat(64)}/1`, {}, Code.PERMISSION_DENIED, "PERMISSION_DENIED"],
  ])("refuses %s", async (_what, name, range, code, reason) => {
    await mkdir(join(shared, "sub"));
    await writeFile(join(shared, "a"), "hello");
    expect(await failureOf(read(name, range))).toMatchObject({ code, reason });
  });
});

describe("Write", () => {
  test("puts a file into its place when it is finished, with the folders above it", async () => {
    const data = randomBytes(1_000_000);
    const name = newName("files/new/deep/a.bin");
    expect(await failureOf(status(name))).toMatchObject({ code: Code.NOT_FOUND, reason: "NOT_FOUND" });
    expect(await write(name, data)).toBe(data.length);
    expect((await readFile(join(shared, "new/deep/a.bin"))).equals(data)).toBe(true);
    expect(await status(name)).toEqual({ size: data.length, complete: true });
    await write(newName("files/other/empty"), Buffer.alloc(0));
    expect(await readFile(join(folder, "other", "empty"))).toHaveLength(0);
  });

  test("that is not finished is kept, and goes on where the status says, also after a crash", async () => {
    const data = randomBytes(900_000);
    const name = newName("files/a.bin");
    await writeFile(join(shared, "a.bin"), "old");
    expect(await write(name, data.subarray(0, 300_000), { finishes: false })).toBe(300_000);
    expect(await status(name)).toEqual({ size: 300_000, complete: false });
    await crash();
    expect(await status(name)).toEqual({ size: 300_000, complete: false });
    expect(await readFile(join(shared, "a.bin"), "utf8")).toBe("old");
    expect(await write(name, data, { from: 300_000 })).toBe(data.length);
    expect((await readFile(join(shared, "a.bin"))).equals(data)).toBe(true);
    await crash();
    expect(await status(name)).toEqual({ size: data.length, complete: true });
  });

  test("that breaks off keeps what arrived", async () => {
    const data = randomBytes(5_000_000);
    const name = newName("files/a.bin");
    const other = openChannel(server.address);
    const requests = createRequests<{ resourceName: string; writeOffset: bigint; data: Uint8Array }>();
    const writing = createClient(ByteStream, other).write(requests);
    writing.catch(() => {});
    for (let at = 0; at < 3_000_000; at += 500_000) {
      requests.send({ resourceName: name, writeOffset: BigInt(at), data: data.subarray(at, at + 500_000) });
    }
    await expect.poll(() => failureOf(status(name))).toMatchObject({ reason: "it went well" });
    await expect.poll(async () => (await status(name)).size).toBeGreaterThan(0);
    // Another call cannot write to it meanwhile.
    const inUse = { code: Code.ABORTED, reason: "UPLOAD_IN_USE" };
    expect(await failureOf(write(name, data, { from: (await status(name)).size }))).toMatchObject(inUse);
    await other.close();
    let from = 0;
    await expect
      .poll(async () => {
        from = (await status(name)).size;
        return failureOf(write(name, data, { from }));
      })
      .toMatchObject({ reason: "it went well" });
    expect((await readFile(join(shared, "a.bin"))).equals(data)).toBe(true);
  });

  test("of what is complete is answered at once, and changes nothing", async () => {
    const data = randomBytes(100_000);
    const name = newName("files/a.bin");
    await write(name, data);
    const requests = createRequests<{ resourceName: string; writeOffset: bigint; data: Uint8Array }>();
    // Never ended, and with other bytes: the answer comes nevertheless.
    requests.send({ resourceName: name, writeOffset: 0n, data: Buffer.from("other") });
    expect((await bytes.write(requests)).committedSize).toBe(100_000n);
    expect((await readFile(join(shared, "a.bin"))).equals(data)).toBe(true);
  });

  test("is answered when it is finished, though the client keeps its side open", async () => {
    const requests = createRequests<{ resourceName: string; data: Uint8Array; finishWrite: boolean }>();
    requests.send({ resourceName: newName("files/a"), data: Buffer.from("all"), finishWrite: true });
    expect((await bytes.write(requests)).committedSize).toBe(3n);
    expect(await readFile(join(shared, "a"), "utf8")).toBe("all");
  });

  test("takes bytes only where those before end", async () => {
    const data = randomBytes(300_000);
    const name = newName("files/a");
    const outOfRange = { code: Code.OUT_OF_RANGE, reason: "OFFSET_OUT_OF_RANGE" };
    expect(await failureOf(write(name, data, { from: 1 }))).toMatchObject({ ...outOfRange, metadata: { offset: "0" } });
    expect(await failureOf(status(name))).toMatchObject({ code: Code.NOT_FOUND });
    await write(name, data.subarray(0, 200_000), { finishes: false });
    for (const from of [0, 100_000, 200_001]) {
      const failure = await failureOf(write(name, data, { from }));
      expect(failure).toMatchObject({ ...outOfRange, metadata: { offset: "200000" } });
    }
    async function* gap() {
      yield { resourceName: name, writeOffset: 200_000n, data: data.subarray(200_000, 200_010) };
      yield { writeOffset: 200_011n, data: data.subarray(200_011), finishWrite: true };
    }
    expect(await failureOf(bytes.write(gap()))).toMatchObject({ ...outOfRange, metadata: { offset: "200010" } });
    expect(await write(name, data, { from: 200_010 })).toBe(data.length);
    expect((await readFile(join(shared, "a"))).equals(data)).toBe(true);
  });

  test.each([
    ["no request at all", () => [], "EMPTY_STREAM"],
    ["no name", () => [{ data: Buffer.from("x") }], "BAD_RESOURCE_NAME"],
    ["a name to read", () => [{ resourceName: "files/a" }], "BAD_RESOURCE_NAME"],
    ["a name without a path", () => [{ resourceName: "uploads/1/files" }], "BAD_RESOURCE_NAME"],
    ["no UUID", () => [{ resourceName: "uploads//files/a" }], "BAD_RESOURCE_NAME"],
    [
      "another name later",
      (name: string) => [
        { resourceName: name, data: Buffer.from("x") },
        { resourceName: `${name}b`, writeOffset: 1n },
      ],
      "BAD_FIELD",
    ],
    [
      "a request behind the last",
      (name: string) => [
        { resourceName: name, data: Buffer.from("x"), finishWrite: true },
        { writeOffset: 1n, data: Buffer.from("y") },
      ],
      "REQUEST_AFTER_END",
    ],
  ])("refuses %s", async (_what, requestsOf, reason) => {
    const requests = requestsOf(newName("files/a")) as { resourceName?: string }[];
    async function* stream() {
      yield* requests;
    }
    expect(await failureOf(bytes.write(stream()))).toMatchObject({ code: Code.INVALID_ARGUMENT, reason });
    expect((await readdir(shared)).filter((name) => name === "a")).toEqual([]);
  });

  test.each(["files/fixed/a", "files/.hidden", "files/.sluice-uploads/a", "files/.sluice-blobs/a", "files/../a"])(
    "refuses %s as what is not there",
    async (target) => {
      const failure = await failureOf(write(newName(target), Buffer.from("x")));
      expect(failure).toMatchObject({ code: Code.PERMISSION_DENIED, reason: "PERMISSION_DENIED" });
    },
  );
});

describe("a blob", () => {
  test("is kept when it has the SHA-256 and the size of its name", async () => {
    const data = randomBytes(500_000);
    const name = newName(blobName(data));
    expect(await failureOf(read(blobName(data)))).toMatchObject({ code: Code.NOT_FOUND });
    expect(await failureOf(status(name))).toMatchObject({ code: Code.NOT_FOUND });
    expect(await write(name, data.subarray(0, 100_000), { finishes: false })).toBe(100_000);
    const incomplete = { code: Code.FAILED_PRECONDITION, reason: "UPLOAD_INCOMPLETE", metadata: { offset: "200000" } };
    expect(await failureOf(write(name, data.subarray(0, 200_000), { from: 100_000 }))).toMatchObject(incomplete);
    expect(await write(name, data, { from: 200_000 })).toBe(data.length);
    expect((await read(blobName(data))).equals(data)).toBe(true);
    expect((await read(blobName(data), { offset: 10, limit: 20 })).equals(data.subarray(10, 30))).toBe(true);
    expect(await status(name)).toEqual({ size: data.length, complete: true });
    // Whoever else would write it need not.
    expect(await status(newName(blobName(data)))).toEqual({ size: data.length, complete: true });
    expect(
      await write(newName(`${blobName(data)}/said/by/the/client`), data.subarray(0, 10), { finishes: false }),
    ).toBe(data.length);
    expect(await failureOf(read(`blobs/${sha256(data)}/${data.length + 1}`))).toMatchObject({ code: Code.NOT_FOUND });
    await crash();
    expect((await read(blobName(data))).equals(data)).toBe(true);
  });

  test("that has another SHA-256 is not, and can be written anew by the same name", async () => {
    const data = randomBytes(1000);
    const wrong = Buffer.from(data);
    wrong[500]! ^= 1;
    const name = newName(blobName(data));
    const mismatch = { code: Code.INVALID_ARGUMENT, reason: "CHECKSUM_MISMATCH" };
    expect(await failureOf(write(name, wrong))).toMatchObject({
      ...mismatch,
      metadata: { expected: sha256(data), actual: sha256(wrong) },
    });
    expect(await failureOf(read(blobName(data)))).toMatchObject({ code: Code.NOT_FOUND });
    expect(await failureOf(status(name))).toMatchObject({ code: Code.NOT_FOUND });
    const long = await failureOf(write(name, Buffer.concat([data, data])));
    expect(long).toMatchObject({ code: Code.INVALID_ARGUMENT, reason: "UPLOAD_TOO_LONG" });
    expect(await write(name, data)).toBe(1000);
  });

  test("that is damaged on disk is not handed out, and is mended by writing it again", async () => {
    const data = randomBytes(1000);
    await write(newName(blobName(data)), data);
    await writeFile(join(shared, blobPlace(data)), randomBytes(1000));
    expect(await failureOf(read(blobName(data)))).toMatchObject({ code: Code.DATA_LOSS, reason: "CHECKSUM_MISMATCH" });
    expect(await write(newName(blobName(data)), data)).toBe(1000);
    expect((await read(blobName(data))).equals(data)).toBe(true);
    await rm(join(shared, blobPlace(data)));
    expect(await failureOf(read(blobName(data)))).toMatchObject({ code: Code.NOT_FOUND });
  });

  test("of a named root is written and read by its name, and by no path", async () => {
    const data = Buffer.alloc(0);
    expect(await write(newName(blobName(data)).replace("uploads", "other/uploads"), data)).toBe(0);
    expect(await read(`other/${blobName(data)}`)).toHaveLength(0);
    expect(await failureOf(read(blobName(data)))).toMatchObject({ code: Code.NOT_FOUND });
    expect(await failureOf(read(`files/other/${blobPlace(data)}`))).toMatchObject({ code: Code.PERMISSION_DENIED });
    const readOnly = await failureOf(write(newName(blobName(data)).replace("uploads", "fixed/uploads"), data));
    expect(readOnly).toMatchObject({ code: Code.PERMISSION_DENIED });
    const listed = await collect(createClient(FileService, channel).listFiles({ recursive: true }));
    expect(listed.flatMap(({ files }) => files.map(({ filePath }) => filePath)).join()).not.toContain("sluice");
  });
});

test("completed resources do not count as uploads; open ones are bounded", async () => {
  await crash(["--limits-uploads-max", "2"]);
  for (const path of ["a", "b", "c", "d"]) await write(newName(`files/${path}`), Buffer.from(path));
  const open = [newName("files/e"), newName("files/f")];
  for (const name of open) await write(name, Buffer.from("x"), { finishes: false });
  const exhausted = { code: Code.RESOURCE_EXHAUSTED, reason: "LIMIT_EXCEEDED" };
  expect(await failureOf(write(newName("files/g"), Buffer.from("x")))).toMatchObject(exhausted);
  await write(open[0]!, Buffer.from("xx"), { from: 1 });
  await write(newName("files/g"), Buffer.from("x"));
});
