import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { type FileChunk, FileChunkSchema, type FileRequest, FileRequestSchema } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DownloadFileCall, type DownloadOptions, FileDownload } from "./file-download.ts";
import { STREAM_RETRY } from "./retry.ts";

/** What a server sends for a request, chunk by chunk; what a test does to it. */
type Script = (chunks: FileChunk[], attempt: number) => Iterable<FileChunk>;

const UNAVAILABLE = new RpcError(Code.UNAVAILABLE, "gone");

function openDownload(file: Uint8Array, script: Script, options: DownloadOptions = {}) {
  const requests: FileRequest[] = [];
  const call: DownloadFileCall = async function* (init) {
    const request = create(FileRequestSchema, init);
    requests.push(request);
    yield* script(answer(file, request), requests.length);
  };
  const clock = new ManualClock();
  const random = { bytes: (count: number) => new Uint8Array(count) };
  const context = { call, clock, random, retry: STREAM_RETRY, closed: new AbortController().signal };
  const download = new FileDownload("a.bin", context, options);
  return { download, requests, clock };
}

/** As the server is specified to answer. */
function answer(file: Uint8Array, { offset, limit, chunkSize, chunkChecksums }: FileRequest): FileChunk[] {
  const start = Number(offset);
  const end = limit > 0n ? Math.min(file.length, start + Number(limit)) : file.length;
  const size = chunkSize > 0 ? chunkSize : 1000;
  const chunks: FileChunk[] = [];
  for (let at = start; at < end || chunks.length === 0; at += size) {
    const data = file.subarray(at, Math.min(at + size, end));
    const isLastChunk = at + size >= end;
    const checksum = isLastChunk ? createHash("sha256").update(file.subarray(start, end)).digest("hex") : "";
    const own = { offset: BigInt(at), data, isLastChunk, checksum, etag: "v1", totalSize: BigInt(file.length) };
    chunks.push(create(FileChunkSchema, { ...own, ...(chunkChecksums ? { chunkCrc32: crc32(data) } : {}) }));
  }
  return chunks;
}

async function readAll(download: FileDownload, clock: ManualClock): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let isOver = false;
  const reading = (async () => {
    for await (const bytes of download) parts.push(bytes);
  })().finally(() => {
    isOver = true;
  });
  reading.catch(() => {});
  for (let turn = 0; turn < 1000 && !isOver; turn++) await clock.advanceInTurns(60_000);
  await reading;
  return Buffer.concat(parts);
}

describe("a download", () => {
  test("goes on after lost connections, with the version and the place of before", async () => {
    const file = randomBytes(5000);
    const script: Script = function* (chunks, attempt) {
      if (attempt === 3) return yield* chunks;
      yield* chunks.slice(0, 2);
      throw UNAVAILABLE;
    };
    const interruptions: number[] = [];
    const progress: string[] = [];
    const { download, requests, clock } = openDownload(file, script, {
      onInterruption: ({ retryInMs }) => interruptions.push(retryInMs),
      onProgress: ({ bytesDone, bytesTotal }) => progress.push(`${bytesDone}/${bytesTotal}`),
    });
    expect((await readAll(download, clock)).equals(file)).toBe(true);
    expect(requests.map(({ offset, ifMatch, limit }) => [offset, ifMatch, limit])).toEqual([
      [0n, "", 0n],
      [2000n, "v1", 0n],
      [4000n, "v1", 0n],
    ]);
    expect(interruptions.length).toBe(2);
    expect(progress).toEqual(["1000/5000", "2000/5000", "3000/5000", "4000/5000", "5000/5000"]);
    expect([download.size, download.etag, download.nextOffset]).toEqual([5000, "v1", 5000]);
  });

  test("of any part, cut anywhere any number of times, is that part", async () => {
    const file = randomBytes(10_000);
    const part = fc.record({
      offset: fc.nat({ max: 10_000 }),
      limit: fc.option(fc.integer({ min: 1, max: 12_000 }), { nil: undefined }),
      cuts: fc.array(fc.nat({ max: 5 }), { maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(part, async ({ offset, limit, cuts }) => {
        const script: Script = function* (chunks, attempt) {
          const cut = cuts[attempt - 1];
          yield* cut === undefined ? chunks : chunks.slice(0, cut);
          // Also behind the last chunk.
          if (cut !== undefined) throw UNAVAILABLE;
        };
        const options = { offset, ...(limit === undefined ? {} : { limit }) };
        const { download, clock } = openDownload(file, script, options);
        const bytes = await readAll(download, clock);
        expect(bytes.equals(file.subarray(offset, offset + (limit ?? 10_000)))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test.each<[string, (chunk: FileChunk) => void]>([
    ["the CRC-32", (chunk) => (chunk.data = Uint8Array.from(chunk.data, (byte) => byte ^ 1))],
    ["the SHA-256", (chunk) => (chunk.checksum = chunk.checksum.replaceAll(/./gu, "0"))],
    ["the place", (chunk) => (chunk.offset += 1n)],
  ])("does not hand out a chunk when %s is wrong, but asks again", async (what, damage) => {
    const file = randomBytes(3000);
    const errors: string[] = [];
    const script: Script = (chunks, attempt) => {
      if (attempt === 1) damage(chunks.at(-1)!);
      return chunks;
    };
    const { download, clock } = openDownload(file, script, {
      onInterruption: ({ error }) => errors.push(String(error)),
    });
    expect((await readAll(download, clock)).equals(file)).toBe(true);
    expect(errors).toEqual([expect.stringContaining(`arrived damaged: ${what}`)]);
  });

  test("ends with the error that no further attempt would mend", async () => {
    const script: Script = function* (chunks, attempt) {
      if (attempt === 2) throw new RpcError(Code.ABORTED, "the file was changed");
      yield chunks[0]!;
      throw UNAVAILABLE;
    };
    const { download, clock, requests } = openDownload(randomBytes(3000), script);
    await expect(readAll(download, clock)).rejects.toThrow("the file was changed");
    expect(requests.length).toBe(2);
  });

  test("that ends without its last chunk was cut", async () => {
    const script: Script = (chunks, attempt) => (attempt === 1 ? chunks.slice(0, 1) : chunks);
    const file = randomBytes(2500);
    const { download, clock, requests } = openDownload(file, script);
    expect((await readAll(download, clock)).equals(file)).toBe(true);
    expect(requests.map(({ offset }) => offset)).toEqual([0n, 1000n]);
  });

  test("is a web stream, too; its signal ends it", async () => {
    const file = randomBytes(3000);
    const { download } = openDownload(file, (chunks) => chunks);
    const bytes = new Uint8Array(await new Response(download.readable()).arrayBuffer());
    expect(Buffer.from(bytes).equals(file)).toBe(true);

    const controller = new AbortController();
    const other = openDownload(file, (chunks) => chunks, { signal: controller.signal }).download;
    await expect(async () => {
      for await (const _ of other) controller.abort(new Error("enough"));
    }).rejects.toThrow("enough");
    expect(() => other[Symbol.asyncIterator]()).toThrow("twice");
  });
});
