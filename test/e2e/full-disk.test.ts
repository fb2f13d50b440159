// A disk without room: writes are refused with a clear status, reads go on, nothing acknowledged is lost, and when there
// is room again writes go on as well.
import { execFileSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Code, ErrorInfoSchema, RpcError, retryDelayMs } from "@sluice/rpc";
import { createLogger, createOwnLog, loadConfig, openServer, systemClock } from "@sluice/server";
import { expect, test } from "vitest";
import { createFullableDisk } from "../support/failing-file-system.ts";
import { collect, type LogClient, openLogClient, takeEntries } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
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

test("a file system that is really full", async (context) => {
  await using folder = await openTemporaryFolder("full-disk");
  const mount = join(folder.path, "small");
  await mkdir(mount);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], { stdio: "ignore" });
  } catch {
    context.skip("needs root, to mount a small tmpfs");
  }
  try {
    await using server = await startServer(["--data", "small/data"], { folder: folder.path });
    await using client = openLogClient(server.address);
    const entries = Array.from({ length: 100 }, () => ({ application: "a", message: "x".repeat(1000) }));
    let acknowledged = 0;
    try {
      for (; acknowledged < 10_000; acknowledged += entries.length) await client.write(...entries);
      expect.unreachable("10 MB fitted into 4 MB");
    } catch (error) {
      expectDiskFull(error as RpcError);
    }
    expect(acknowledged).toBeGreaterThan(1000);
    expect(await messagesOf(client, "a")).toHaveLength(acknowledged);
    await client[Symbol.asyncDispose]();
    server.kill("SIGTERM");
    expect(await server.ended()).toMatchObject({ exitCode: 0 });

    await using again = await startServer(["--data", "small/data"], { folder: folder.path });
    await using reader = openLogClient(again.address);
    expect(await messagesOf(reader, "a")).toHaveLength(acknowledged);
  } finally {
    execFileSync("umount", [mount]);
  }
});
