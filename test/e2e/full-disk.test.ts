// A disk without room: writes are refused with a clear status, reads go on, nothing acknowledged is lost, and when there
// is room again writes go on as well.
import { rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Code, ErrorInfoSchema, RpcError, retryDelayMs } from "@sluice/rpc";
import { createLogger, createOwnLog, loadConfig, openServer, systemClock } from "@sluice/server";
import { expect, test } from "vitest";
import { createFullableDisk } from "../support/failing-file-system.ts";
import { collect, type LogClient, openLogClient, takeEntries } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { mountSmallDisk } from "../support/small-disk.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const messagesOf = async (client: LogClient, application: string) =>
  (await collect(client.seed.streamLogs({ application }))).map((each) => each.message);

async function errorOf(answer: Promise<unknown>): Promise<RpcError> {
  const error: unknown = await answer.catch((each: unknown) => each);
  if (!(error instanceof RpcError)) throw new Error("The call succeeded");
  return error;
}

function expectDiskFull(error: RpcError): void {
  expect(error.code).toBe(Code.UNAVAILABLE);
  expect(error.message).toBe('Cannot append to log "default": the disk is full; free space or lower the retention');
  expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "DISK_FULL", domain: "sluice" }]);
  expect(retryDelayMs(error)).toBe(5000);
}

test("an injected ENOSPC: refused, read on, gone on; the server's own log does not feed on it", async () => {
  await using folder = await openTemporaryFolder("full-disk");
  const disk = createFullableDisk();
  const { fileSystem } = disk;
  const ownLog = createOwnLog(systemClock);
  const lines: string[] = [];
  const logger = createLogger({
    format: "json",
    level: "info",
    clock: systemClock,
    write: (line) => lines.push(line),
    copy: (line) => ownLog.write(line),
  });
  const flags = new Map([
    ["listen", "127.0.0.1:0"],
    ["data", folder.path],
  ]);
  const { config } = await loadConfig({ flags, environment: {}, folder: folder.path });
  await using server = await openServer(config, { clock: systemClock, fileSystem, logger, ownLog });
  await using client = openLogClient(server.address);

  await client.write({ application: "a", message: "before" });
  const follow = client.logs.streamLogs({ application: "a", follow: true });
  await takeEntries(follow, 1);

  disk.isFull = true;
  for (let i = 0; i < 20; i += 1) expectDiskFull(await errorOf(client.write({ application: "a", message: "refused" })));
  expect(await messagesOf(client, "a")).toEqual(["before"]);
  expect(lines.filter((line) => line.includes('"event":"disk-full"'))).toHaveLength(1);

  disk.isFull = false;
  await client.write({ application: "a", message: "after" });
  expect((await takeEntries(follow, 1)).map((each) => each.message)).toEqual(["after"]);
  expect(await messagesOf(client, "a")).toEqual(["before", "after"]);
  await follow.return?.();
});

const PATIENT = { timeout: 30_000 };
const BATCH = Array.from({ length: 100 }, () => ({ application: "a", message: "x".repeat(1000) }));

/** Writes until the disk is full. Returns how many entries were acknowledged. */
async function fill(client: LogClient): Promise<number> {
  let acknowledged = 0;
  try {
    for (; acknowledged < 10_000; acknowledged += BATCH.length) await client.write(...BATCH);
  } catch (error) {
    expectDiskFull(error as RpcError);
    return acknowledged;
  }
  return expect.unreachable("10 MB fitted into 4 MB");
}

test("a file system that is really full: again with room, writes go on without a restart", async (context) => {
  await using disk = await mountSmallDisk(context);
  await writeFile(join(disk.mount, "other"), Buffer.alloc(2 * 1024 * 1024));
  await using server = await startServer(["--data", "small/data"], { folder: disk.folder });
  await using client = openLogClient(server.address);
  const before = await fill(client);
  expect(before).toBeGreaterThan(1000);
  expect(await messagesOf(client, "a")).toHaveLength(before);

  await rm(join(disk.mount, "other"));
  const after = await fill(client);
  expect(after).toBeGreaterThan(1000);
  expect(await messagesOf(client, "a")).toHaveLength(before + after);
  await client[Symbol.asyncDispose]();
  server.kill("SIGTERM");
  expect(await server.ended()).toMatchObject({ exitCode: 0 });

  await using again = await startServer(["--data", "small/data"], { folder: disk.folder });
  await using reader = openLogClient(again.address);
  expect(await messagesOf(reader, "a")).toHaveLength(before + after);
}, 120_000);

test("minFreeBytes keeps so much free for others: the oldest segments go, and writing never stops", async (context) => {
  await using disk = await mountSmallDisk(context);
  const words = ["--data", "small/data", "--segment-bytes", "256KiB", "--limits-entry-bytes-max", "64KiB"];
  await using server = await startServer([...words, "--min-free-bytes", "1MiB"], { folder: disk.folder });
  await using client = openLogClient(server.address);
  const freeBytes = async () => {
    const { bavail, bsize } = await statfs(disk.mount);
    return bavail * bsize;
  };
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 100; i += 1) {
    await client.write(...BATCH);
    least = Math.min(least, await freeBytes());
  }
  // A segment, with what goes with it, is written between two looks.
  expect(least).toBeGreaterThan(512 * 1024);
  const kept = await messagesOf(client, "a");
  expect(kept.length).toBeGreaterThan(1000);
  expect(kept.length).toBeLessThan(4000);
  expect(server.stderr()).toMatch(/removed a segment.* first=1 .*reason=space/u);

  // What others take is given to them, to the last sealed segment; then writes are refused, and reads go on.
  const refusal = async () => (await client.logs.listLogs({})).logs[0]?.refusal ?? "";
  const others: string[] = [];
  for (let isRefused = false; !isRefused;) {
    others.push(join(disk.mount, `other-${others.length}`));
    await writeFile(others.at(-1)!, Buffer.alloc(512 * 1024));
    await expect.poll(async () => (await freeBytes()) >= 1024 * 1024 || (await refusal()) !== "", PATIENT).toBe(true);
    isRefused = (await refusal()) !== "";
  }
  expect(others.length).toBeGreaterThan(3);
  expect(await refusal()).toMatch(/the disk has \d+ bytes free, less than 1048576/u);
  const refused = await errorOf(client.write(...BATCH));
  expect(refused.code).toBe(Code.UNAVAILABLE);
  expect(refused.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "DISK_FULL" }]);
  expect((await messagesOf(client, "a")).length).toBeGreaterThan(0);
  for (const other of others) await rm(other);
  await expect.poll(refusal, PATIENT).toBe("");
  await client.write(...BATCH);
}, 120_000);
