// Many writers and a disk that cannot keep up: the flood slows its writers, the server holds no more than its bounds say, and
// nothing is lost or written twice.
import { connect, type SluiceClient } from "@sluice/client";
import { Code, retryDelayMs, RpcError } from "@sluice/rpc";
import { createLogger, loadConfig, openServer, type Server, systemClock } from "@sluice/server";
import { expect, test } from "vitest";
import { createSlowDisk, type SlowDisk } from "../support/failing-file-system.ts";
import { collect, openLogClient } from "../support/log-client.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const MIB = 1024 * 1024;
const WRITERS = 60;
const ENTRIES = 400;
const PAYLOAD = "x".repeat(1000);
/** With what the server adds to an entry, and what HTTP/2 adds to a message. */
const OVERHEAD = 1.2;

async function openSlowServer(folder: string, disk: SlowDisk): Promise<Server> {
  const flags = new Map([
    ["listen", "127.0.0.1:0"],
    ["data", folder],
    ["limits.pendingBytesMax", "1MiB"],
    ["limits.writesBytesMax", "8MiB"],
  ]);
  const { config } = await loadConfig({ flags, environment: {}, folder });
  const logger = createLogger({ format: "text", level: "error", clock: systemClock, write: () => undefined });
  return await openServer(config, { clock: systemClock, fileSystem: disk.fileSystem, logger });
}

async function writeAll(client: SluiceClient, writer: number): Promise<void> {
  // Who sends no more than it has credit for is never refused.
  const onDisconnected = (error: unknown): void => expect.unreachable(`writer ${writer} was cut off: ${String(error)}`);
  await using log = client.openLogWriter({ producer: `writer-${writer}`, onDisconnected });
  for (let i = 0; i < ENTRIES; i++) {
    await log.write({ application: `app-${writer}`, message: `${i} ${PAYLOAD}` });
  }
}

test("60 writers of 24 MB into a log that may have 1 MiB waiting", async () => {
  await using folder = await openTemporaryFolder("write-flood");
  const disk = createSlowDisk();
  await using server = await openSlowServer(folder.path, disk);
  await using client = connect(server.address);
  await using plain = openLogClient(server.address);

  let isDone = false;
  const writing = Promise.all(Array.from({ length: WRITERS }, (_, i) => writeAll(client, i))).finally(() => {
    isDone = true;
    disk.stop();
  });
  const most = { held: 0, group: 0 };
  let refusals = 0;
  while (!isDone) {
    await disk.wanted();
    most.held = Math.max(most.held, server.counts().writingBytes);
    if (refusals === 0 && server.counts().writingBytes > MIB) {
      refusals += await countRefusals(
        plain.logs.writeLogs({ entries: Array.from({ length: 900 }, () => ({ message: PAYLOAD })) }),
      );
    }
    most.group = Math.max(most.group, disk.release());
    await turn();
  }
  await writing;

  expect(refusals).toBe(1);
  // They came up to the bounds, and not beyond.
  expect(most.held).toBeGreaterThan(MIB);
  expect(most.held).toBeLessThanOrEqual(8 * MIB);
  expect(most.group).toBeGreaterThan(MIB / 2);
  expect(most.group).toBeLessThanOrEqual(OVERHEAD * MIB);
  expect(server.counts().writingBytes).toBe(0);

  const entries = await collect(plain.logs.streamLogs({ controlFrames: false }));
  const numbers = new Map<string, number[]>();
  for (const { application, message } of entries) {
    const own = numbers.get(application) ?? [];
    numbers.set(application, own);
    own.push(Number.parseInt(message, 10));
  }
  const expected = Array.from({ length: ENTRIES }, (_, i) => i);
  for (let i = 0; i < WRITERS; i++) expect(numbers.get(`app-${i}`), `app-${i}`).toEqual(expected);
  expect(entries).toHaveLength(WRITERS * ENTRIES);
}, 120_000);

/** 1 when the call was told to come again because of the bound. */
async function countRefusals(call: Promise<unknown>): Promise<number> {
  const error: unknown = await call.catch((each: unknown) => each);
  if (!(error instanceof RpcError)) throw new Error("A batch was taken although the log had no room");
  expect(error.code).toBe(Code.RESOURCE_EXHAUSTED);
  expect(retryDelayMs(error)).toBeGreaterThan(0);
  return 1;
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
