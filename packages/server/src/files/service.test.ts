import { createHash, randomBytes } from "node:crypto";
import { appendFile, rename, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { ManualClock } from "@sluice/rpc/testing";
import { Code, RpcError } from "@sluice/rpc";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { InvalidRequest, LimitExceeded, PermissionDenied, SluiceError } from "../errors.ts";
import { openFilesIn } from "../store/testing/open-files.ts";
import { DownloadInterrupted, EtagMismatch, FileChanged, OffsetOutOfRange } from "./file-errors.ts";
import { OpenedService } from "./testing/opened-service.ts";

let files: OpenedService;
beforeEach(async () => {
  files = await OpenedService.open();
});
afterEach(() => files[Symbol.asyncDispose]());

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function put(name: string, bytes: Uint8Array | string, folder = files.home): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

/** A file that the file system's clock cannot mistake for one just written. */
async function putOld(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = await put(name, bytes);
  await utimes(path, 1_600_000_000, 1_600_000_000);
  return path;
}

describe("a download", () => {
  test("is the file in chunks, the last one with the checksum of all", async () => {
    const bytes = randomBytes(700_000);
    await put("a.bin", bytes);
    const { chunks, data } = await files.download({ filePath: "a.bin" });
    expect(chunks.map((chunk) => chunk.data.length)).toEqual([262_144, 262_144, 175_712]);
    expect(chunks.map(({ offset, nextOffset }) => [Number(offset), Number(nextOffset)])).toEqual([
      [0, 262_144],
      [262_144, 524_288],
      [524_288, 700_000],
    ]);
    expect(chunks.map(({ isLastChunk, eof, checksum }) => [isLastChunk, eof, checksum])).toEqual([
      [false, false, ""],
      [false, false, ""],
      [true, true, sha256(bytes)],
    ]);
    for (const { filePath, totalSize, etag, chunkCrc32 } of chunks) {
      expect({ filePath, totalSize, etag, chunkCrc32 }).toEqual({
        filePath: "a.bin",
        totalSize: 700_000n,
        etag: chunks[0]!.etag,
        chunkCrc32: undefined,
      });
    }
    expect(data.equals(bytes)).toBe(true);
    // Again, with the checksum that is known by now.
    const again = await files.download({ filePath: "./a.bin", ifMatch: chunks[0]!.etag });
    expect(again.chunks.at(-1)?.checksum).toBe(sha256(bytes));
    expect(again.data.equals(bytes)).toBe(true);
  });

  test("any offset, limit and chunk size give exactly those bytes", async () => {
    const bytes = randomBytes(3_000_000);
    await put("a.bin", bytes);
    const query = fc.record({
      offset: fc.oneof(fc.nat({ max: bytes.length }), fc.constantFrom(0, 262_144, bytes.length - 1, bytes.length)),
      limit: fc.oneof(fc.integer({ min: -5, max: 4_000_000 }), fc.nat({ max: 3000 })),
      chunkSize: fc.oneof(fc.integer({ min: -1, max: 2_000_000 }), fc.integer({ min: 500, max: 5000 })),
      chunkChecksums: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(query, async ({ offset, limit, chunkSize, chunkChecksums }) => {
        fc.pre(chunkSize <= 0 || Math.min(bytes.length, limit <= 0 ? bytes.length : limit) / chunkSize < 5000);
        const asked = { filePath: "a.bin", offset: BigInt(offset), limit: BigInt(limit), chunkSize, chunkChecksums };
        const { chunks, data } = await files.download(asked);
        const end = limit <= 0 ? bytes.length : Math.min(bytes.length, offset + limit);
        const wanted = bytes.subarray(offset, end);
        const chunkBytes = chunkSize <= 0 ? 262_144 : Math.min(chunkSize, 1_048_576);
        expect(data.equals(wanted)).toBe(true);
        expect(chunks.length).toBe(Math.max(1, Math.ceil(wanted.length / chunkBytes)));
        let at = offset;
        for (const [i, chunk] of chunks.entries()) {
          const isLast = i === chunks.length - 1;
          expect(Number(chunk.offset)).toBe(at);
          expect(chunk.data.length).toBe(isLast ? end - at : chunkBytes);
          at += chunk.data.length;
          expect([chunk.isLastChunk, chunk.checksum]).toEqual(isLast ? [true, sha256(wanted)] : [false, ""]);
          expect(chunk.eof).toBe(at === bytes.length);
          expect(chunk.chunkCrc32).toBe(chunkChecksums ? crc32(chunk.data) : undefined);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("of an empty file is one last, empty chunk", async () => {
    await put("empty", "");
    const { chunks } = await files.download({ filePath: "empty" });
    expect(chunks).toMatchObject([
      { offset: 0n, totalSize: 0n, isLastChunk: true, eof: true, checksum: sha256(Buffer.alloc(0)) },
    ]);
  });

  test("reads the file of one name below a folder with a name", async () => {
    await put("x", "in home");
    await put("x", "in named", files.named);
    expect((await files.download({ filePath: "named/x" })).data.toString()).toBe("in named");
    expect((await files.download({ filePath: "x" })).data.toString()).toBe("in home");
  });

  test("goes on with the file that was opened, when its name is given to another one", async () => {
    const bytes = randomBytes(2_000_000);
    await putOld("a", bytes);
    await put("b", "another");
    const { stream } = await files.start({ filePath: "a" }, { isStalled: true });
    await expect.poll(() => stream.take()).toBe(true);
    await rename(join(files.home, "b"), join(files.home, "a"));
    stream.isStalled = false;
    stream.wake();
    await stream.ended;
    expect(stream.data.equals(bytes)).toBe(true);
    expect((await files.download({ filePath: "a" })).data.toString()).toBe("another");
  });

  test.each([
    ["changed", (path: string) => appendFile(path, "more")],
    ["cut", (path: string) => truncate(path, 300_000)],
  ])("of a file that is %s under it ends with the offset up to which it is of one version", async (how, change) => {
    const bytes = randomBytes(2_000_000);
    const path = await putOld("a", bytes);
    const { stream } = await files.start({ filePath: "a" }, { isStalled: true });
    await expect.poll(() => stream.take()).toBe(true);
    await change(path);
    stream.isStalled = false;
    stream.wake();
    const error = await stream.ended.catch((each: unknown) => each);
    expect(error).toBeInstanceOf(FileChanged);
    expect(String(error)).toContain(`the file was ${how} while it was read`);
    const { offset } = (error as FileChanged).facts.metadata!;
    // The second chunk may have been read ahead, before the change.
    expect(offset).toBeOneOf(["262144", "524288"]);
    expect(stream.data.equals(bytes.subarray(0, Number(offset)))).toBe(true);
  });

  test("holds two blocks, however large the file and slow its reader", async () => {
    await put("large", "");
    await truncate(join(files.home, "large"), 4 * 1024 ** 3);
    const before = process.memoryUsage();
    const started = await Promise.all(
      Array.from({ length: 100 }, () => files.start({ filePath: "large" }, { isStalled: true })),
    );
    for (const { stream } of started) await expect.poll(() => stream.take()).toBe(true);
    const after = process.memoryUsage();
    expect(after.external + after.heapUsed - before.external - before.heapUsed).toBeLessThan(100 * 1024 * 1024);
    for (const { stream } of started) expect(stream.data.length).toBe(262_144);
    expect(files.service.downloads).toBe(100);
    for (const { call } of started) call.end();
    expect(files.service.downloads).toBe(0);
  });

  test("leaves no descriptor open, however it ends", async () => {
    await put("a", randomBytes(1_000_000));
    await files.download({ filePath: "a" });
    for (let i = 0; i < 20; i++) {
      const { stream, call } = await files.start({ filePath: "a" }, { isStalled: i % 2 === 0 });
      if (i % 3 === 0) await expect.poll(() => stream.take() || stream.chunks.length > 0).toBe(true);
      call.end();
    }
    await expect(files.start({ filePath: "a", offset: 9_000_000n })).rejects.toThrow(OffsetOutOfRange);
    await expect(files.start({ filePath: "a", ifMatch: "x" })).rejects.toThrow(EtagMismatch);
    await expect.poll(() => openFilesIn(files.home)).toEqual([]);
  });

  test("that the server ends says where to go on", async () => {
    const bytes = randomBytes(1_000_000);
    await put("a", bytes);
    const { stream, source } = await files.start({ filePath: "a" }, { isStalled: true });
    await expect.poll(() => stream.take()).toBe(true);
    const error = source.farewell?.(new RpcError(Code.UNAVAILABLE, "stopping"));
    expect(error).toBeInstanceOf(DownloadInterrupted);
    const { offset = "", etag = "" } = (error as DownloadInterrupted).facts.metadata ?? {};
    expect(offset).toBe("262144");
    const rest = await files.download({ filePath: "a", offset: BigInt(offset), ifMatch: etag });
    expect(Buffer.concat([stream.data, rest.data]).equals(bytes)).toBe(true);
  });

  test("is refused beyond the limit, and when the server drains", async () => {
    await put("a", "x");
    files.service.drain();
    await expect(files.start({ filePath: "a" })).rejects.toMatchObject({ facts: { reason: "DRAINING" } });
  });
});

describe("a bounded rate", () => {
  test("is kept, in chunks that flow", async () => {
    const clock = new ManualClock();
    await using slow = await OpenedService.open({ clock });
    await writeFile(join(slow.home, "a"), randomBytes(100_000));
    const { stream } = await slow.start({ filePath: "a", maxBytesPerSecond: 20_000n });
    const received: number[] = [];
    for (let second = 0; second < 8; second++) {
      for (let tenth = 0; tenth < 10; tenth++) {
        // Whatever may be sent now has been read and taken.
        await expect.poll(() => clock.timers > 0 || stream.chunks.at(-1)?.isLastChunk === true).toBe(true);
        await clock.advanceInTurns(100);
      }
      received.push(stream.data.length);
    }
    expect(received[0]).toBeLessThanOrEqual(27_000);
    for (const [second, count] of received.entries()) {
      expect(count).toBeGreaterThan(Math.min(100_000, 14_000 * (second + 1)) - 1);
      expect(count).toBeLessThanOrEqual(20_000 * (second + 1) + 7_000);
    }
    expect(stream.chunks[0]?.data.length).toBe(5000);
  });
});

describe("a file that is followed", () => {
  let clock: ManualClock;
  let followed: OpenedService;
  beforeEach(async () => {
    clock = new ManualClock();
    followed = await OpenedService.open({ clock });
  });
  afterEach(() => followed[Symbol.asyncDispose]());

  /** Lets the file be looked at until something is true. */
  const lookUntil = async (condition: () => boolean): Promise<void> => {
    await expect
      .poll(async () => {
        await clock.advanceInTurns(200);
        return condition();
      })
      .toBe(true);
  };

  test("brings what is appended, with its place", async () => {
    const path = join(followed.home, "a.log");
    await writeFile(path, "one\n");
    const { stream } = await followed.start({ filePath: "a.log", follow: true });
    await lookUntil(() => stream.chunks.length === 1);
    await appendFile(path, "two\n");
    await lookUntil(() => stream.chunks.length === 2);
    await appendFile(path, "three\n");
    await lookUntil(() => stream.chunks.length === 3);
    expect(
      stream.chunks.map(({ offset, data, eof, isLastChunk }) => [offset, String(Buffer.from(data)), eof, isLastChunk]),
    ).toEqual([
      [0n, "one\n", true, false],
      [4n, "two\n", true, false],
      [8n, "three\n", true, false],
    ]);
  });

  test("ends at its limit, with the checksum", async () => {
    const path = join(followed.home, "a.log");
    await writeFile(path, "one\n");
    const { stream } = await followed.start({ filePath: "a.log", follow: true, offset: 2n, limit: 5n });
    await lookUntil(() => stream.chunks.length === 1);
    await appendFile(path, "two\n");
    await lookUntil(() => !stream.isOpen);
    await stream.ended;
    expect(stream.data.toString()).toBe("e\ntwo");
    expect(stream.chunks.at(-1)).toMatchObject({
      isLastChunk: true,
      eof: false,
      checksum: sha256(Buffer.from("e\ntwo")),
    });
  });

  test.each([
    ["cut", (path: string) => truncate(path, 1)],
    [
      "replaced",
      async (path: string) => {
        await writeFile(`${path}.new`, "quite another");
        await rename(`${path}.new`, path);
      },
    ],
    ["replaced", (path: string) => rm(path)],
  ])("ends when it is %s", async (how, change) => {
    const path = join(followed.home, "a.log");
    await writeFile(path, "one\n");
    const { stream } = await followed.start({ filePath: "a.log", follow: true });
    await lookUntil(() => stream.chunks.length === 1);
    await change(path);
    await lookUntil(() => !stream.isOpen);
    await expect(stream.ended).rejects.toThrow(`at 4: the file was ${how} while it was read`);
  });
});

describe("GetFileInfo", () => {
  test("says size, time, type, checksum and version", async () => {
    await putOld("a.json", "{}");
    const info = await files.info({ filePath: "a.json" });
    expect(info).toMatchObject({
      filePath: "a.json",
      size: 2n,
      modifiedTime: 1_600_000_000_000_000_000n,
      mimeType: "application/json",
      checksum: sha256(Buffer.from("{}")),
    });
    const { chunks } = await files.download({ filePath: "a.json", ifMatch: info.etag! });
    expect(chunks[0]?.etag).toBe(info.etag);
    await put("a.json", "{ }");
    const changed = await files.info({ filePath: "a.json" });
    expect(changed.etag).not.toBe(info.etag);
    expect(changed.checksum).toBe(sha256(Buffer.from("{ }")));
    await expect(files.info({ filePath: "a.json", ifMatch: info.etag! })).rejects.toThrow(EtagMismatch);
  });

  test("answers without the checksum when that would take longer than may be waited; a later call has it", async () => {
    const bytes = randomBytes(20_000_000);
    await put("a.bin", bytes);
    expect(await files.info({ filePath: "a.bin", checksumWaitMs: 0 })).toMatchObject({
      size: 20_000_000n,
      checksum: "",
    });
    await expect
      .poll(async () => (await files.info({ filePath: "a.bin", checksumWaitMs: 0 })).checksum, { timeout: 10_000 })
      .toBe(sha256(bytes));
    expect((await files.info({ filePath: "a.bin" })).mimeType).toBe("application/octet-stream");
  });
});

test("every call asks whether it may, before it opens anything", async () => {
  const asked: string[] = [];
  await using guarded = await OpenedService.open({
    authorize(_subject, action, { type, name }) {
      asked.push(`${action} ${type} ${name}`);
      throw new PermissionDenied();
    },
  });
  await expect(guarded.start({ filePath: "./a//b" })).rejects.toThrow(PermissionDenied);
  await expect(guarded.info({ filePath: "named/c" })).rejects.toThrow(PermissionDenied);
  await expect(guarded.list({ path: "d/" })).rejects.toThrow(PermissionDenied);
  expect(asked).toEqual(["read file a/b", "describe file named/c", "describe file d"]);
});

test.each([
  ["an empty path", { filePath: "" }, InvalidRequest, "file_path"],
  ["a negative offset", { filePath: "a", offset: -1n }, InvalidRequest, "offset"],
  ["a negative rate", { filePath: "a", maxBytesPerSecond: -1n }, InvalidRequest, "max_bytes_per_second"],
  ["an offset behind the end", { filePath: "a", offset: 2n }, OffsetOutOfRange, "ends at 1"],
  ["another etag", { filePath: "a", ifMatch: "no" }, EtagMismatch, "etag"],
])("%s is refused with what is wrong", async (_what, query, kind, said) => {
  await put("a", "x");
  const error = await files.start(query).catch((each: unknown) => each);
  expect(error).toBeInstanceOf(kind);
  expect((error as SluiceError).message).toContain(said);
});

test("the number of downloads is bounded", async () => {
  await using limited = await OpenedService.open({ limits: { downloadsMax: 2 } });
  await writeFile(join(limited.home, "a"), "x");
  const first = await limited.start({ filePath: "a" }, { isStalled: true });
  await limited.start({ filePath: "a" }, { isStalled: true });
  await expect(limited.start({ filePath: "a" })).rejects.toThrow(LimitExceeded);
  first.call.end();
  await limited.start({ filePath: "a" });
});
