import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import { FileRequestSchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { describe, expect, test } from "vitest";
import { BlockPool } from "./block-pool.ts";
import { Checksums } from "./checksums.ts";
import { Download } from "./download.ts";
import { parseDownload } from "./downloads.ts";
import { parseFilePath } from "./file-path.ts";
import { Hasher, hashHere } from "./hasher.ts";
import { openFileInside } from "./open-inside.ts";
import { OpenedService } from "./testing/opened-service.ts";
import { PulledChunks } from "./testing/pulled-chunks.ts";
import { Turns } from "./turns.ts";

const MIB = 2 ** 20;

/** Chunks of the next block, as soon as it is there. */
async function nextBlock({ stream }: Awaited<ReturnType<OpenedService["start"]>>): Promise<number> {
  const before = stream.chunks.length;
  await expect.poll(() => stream.take(), { interval: 1 }).toBe(true);
  return stream.chunks.length - before;
}

describe("the size of reads", () => {
  test("grows for who takes fast, and shrinks again", async () => {
    const clock = new ManualClock();
    await using files = await OpenedService.open({ clock });
    const bytes = randomBytes(16 * MIB);
    await writeFile(join(files.home, "a.bin"), bytes);
    const download = await files.start({ filePath: "a.bin" }, { isStalled: true });
    const sizes: number[] = [];
    for (let i = 0; i < 8; i++) sizes.push(await nextBlock(download));
    // One block is always read ahead of the one that decides.
    expect(sizes).toEqual([1, 1, 1, 1, 1, 4, 4, 4]);
    clock.skip(101);
    expect([await nextBlock(download), await nextBlock(download)]).toEqual([4, 1]);
    download.stream.isStalled = false;
    download.stream.wake();
    await download.stream.ended;
    expect(download.stream.data.equals(bytes)).toBe(true);
  });

  test("is large for eight downloads at once, and for the next when one of them ends", async () => {
    await using files = await OpenedService.open({ clock: new ManualClock() });
    await writeFile(join(files.home, "a.bin"), randomBytes(16 * MIB));
    const downloads = await Promise.all(
      Array.from({ length: 9 }, () => files.start({ filePath: "a.bin" }, { isStalled: true })),
    );
    const sizes: number[] = [];
    for (const each of downloads) {
      for (let i = 0; i < 5; i++) await nextBlock(each);
      sizes.push(await nextBlock(each));
    }
    expect(sizes).toEqual([4, 4, 4, 4, 4, 4, 4, 4, 1]);
    downloads[3]!.call.end();
    const last = downloads[8]!;
    expect([await nextBlock(last), await nextBlock(last)]).toEqual([1, 4]);
  });
});

test("a download whose hash is behind reads three blocks, and goes on when one of them is hashed", async () => {
  await using files = await OpenedService.open();
  await writeFile(join(files.home, "a.bin"), randomBytes(4 * MIB));
  const path = parseFilePath("a.bin", [{ name: "", folder: files.home, isWritable: false }]);
  const clock = new ManualClock();
  const hashed: (() => void)[] = [];
  const hash = { update: (_memory: unknown, _spans: unknown, done: () => void) => void hashed.push(done) };
  const openStream = () => ({ ...hash, digest: () => Promise.resolve(""), forget() {} });
  await using hasher = new Hasher();
  const turns = new Turns(clock);
  const checksums = new Checksums(hasher);
  const resources = { clock, pool: new BlockPool(), turns, hasher: { openStream }, checksums };
  const options = parseDownload(create(FileRequestSchema, { filePath: "a.bin" }), path, "chunk");
  const download = new Download(await openFileInside(path), options, resources, turns.join("10.0.0.1:1"));
  const stream = new PulledChunks(download);
  await expect.poll(() => stream.chunks.length, { interval: 1 }).toBe(3);
  // Another one is read to its end meanwhile: time enough for a fourth block.
  await files.download({ filePath: "a.bin" });
  expect(stream.chunks).toHaveLength(3);
  expect(hashed).toHaveLength(3);
  hashed.shift()!();
  await expect.poll(() => stream.chunks.length, { interval: 1 }).toBe(4);
  expect(hashed).toHaveLength(3);
  download.close();
});

describe("while all downloads together", () => {
  test.each([
    { what: "hold much, a download reads on when what it handed on was sent", heldBytes: 1024 * MIB, ahead: false },
    { what: "hold little, it reads ahead", heldBytes: 0, ahead: true },
  ])("$what", async ({ heldBytes, ahead }) => {
    await using files = await OpenedService.open();
    await writeFile(join(files.home, "a.bin"), randomBytes(4 * MIB));
    const path = parseFilePath("a.bin", [{ name: "", folder: files.home, isWritable: false }]);
    const clock = new ManualClock();
    const turns = new Turns(clock);
    await using hasher = new Hasher();
    const pool = new BlockPool();
    pool.heldBytes = heldBytes;
    const resources = { clock, pool, turns, hasher: { openStream: hashHere }, checksums: new Checksums(hasher) };
    const options = parseDownload(create(FileRequestSchema, { filePath: "a.bin" }), path, "chunk");
    const download = new Download(await openFileInside(path), options, resources, turns.join("10.0.0.1:1"));
    download.attach({ wake() {}, end() {}, fail() {} });
    async function next(): Promise<void> {
      await expect.poll(() => download.pull(MIB)?.length ?? 0, { interval: 1 }).toBeGreaterThan(0);
    }
    await next();
    download.sent();
    await next();
    // Another one is read to its end meanwhile: time enough for a third block.
    await files.download({ filePath: "a.bin" });
    expect(download.pull(MIB) !== undefined).toBe(ahead);
    download.sent();
    await next();
    expect(pool.heldBytes).toBeGreaterThan(heldBytes);
    download.close();
    expect(pool.heldBytes).toBe(heldBytes);
  });
});

describe("rates", () => {
  test("of the server are shared by peers, not by downloads, over gRPC", async () => {
    const clock = new ManualClock();
    await using files = await OpenedService.open({ clock, rates: { bytesPerSecond: 8 * MIB } });
    await writeFile(join(files.home, "a.bin"), Buffer.alloc(32 * MIB));
    // With its checksum known nothing but turns decides who is next.
    await files.info({ filePath: "a.bin" });
    const start = (address: string) => files.start({ filePath: "a.bin" }, { address });
    const greedy = await Promise.all(Array.from({ length: 20 }, (_, i) => start(`10.0.0.1:${1000 + i}`)));
    const modest = await start("10.0.0.2:1000");
    const received = (
      downloads: readonly { readonly stream: { readonly chunks: readonly { data: Uint8Array }[] } }[],
    ) => downloads.flatMap(({ stream }) => stream.chunks).reduce((sum, { data }) => sum + data.length, 0);
    // A block at a time, so that who got one can ask for the next one, as in life.
    // A tenth of a second's worth may go at once, at the beginning.
    const due = (ms: number): number => ((100 + ms) * 8 * MIB) / 1000;
    const endMs = 120 * 32;
    for (let ms = 32; ms <= endMs; ms += 32) {
      clock.advance(32);
      await expect.poll(() => received([...greedy, modest]), { interval: 1 }).toBeGreaterThanOrEqual(due(ms));
    }
    expect(received([...greedy, modest])).toBeLessThanOrEqual(due(endMs) + 256 * 1024);
    // In order of arrival it would be 0.05.
    expect(received([modest]) / received(greedy)).toBeGreaterThan(0.6);
    expect(received([modest]) / received(greedy)).toBeLessThan(1.25);
  });

  test("make chunks smaller, so that they flow", async () => {
    const rates = { bytesPerSecondPerPeer: 400_000 };
    await using files = await OpenedService.open({ clock: new ManualClock(), rates });
    await writeFile(join(files.home, "a.bin"), Buffer.alloc(250_000));
    const download = await files.start({ filePath: "a.bin" }, { isStalled: true });
    expect(await nextBlock(download)).toBe(1);
    expect(download.stream.chunks[0]!.data.length).toBe(100_000);
  });

  test("hold over plain HTTP, and a wait for one ends with the request", async () => {
    const clock = new ManualClock();
    await using files = await OpenedService.open({ clock, rates: { bytesPerSecondPerPeer: MIB } });
    await writeFile(join(files.home, "a.bin"), Buffer.alloc(MIB));
    const abort = new AbortController();
    const peer = { address: "10.0.0.1:1000", isEncrypted: false };
    const { signal } = abort;
    const request = {
      method: "GET",
      isHead: false,
      path: "/files/a.bin",
      query: new URLSearchParams(),
      headers: new Map(),
    };
    const { body } = await files.service.httpHandler({ ...request, peer, body: Readable.from([]), signal });
    const blocks = (body as AsyncGenerator<Uint8Array>)[Symbol.asyncIterator]();
    // A tenth of a second's worth may go at once, and this overdraws it.
    expect((await blocks.next()).value).toHaveLength(256 * 1024);
    await expect.poll(() => clock.timers, { interval: 1 }).toBe(1);
    clock.advance(200);
    expect((await blocks.next()).value).toHaveLength(256 * 1024);
    const third = blocks.next();
    await expect.poll(() => clock.timers, { interval: 1 }).toBe(1);
    abort.abort();
    await expect(third).rejects.toMatchObject({ name: "AbortError" });
    expect(clock.timers).toBe(0);
  });
});
