// The data folder that stands in test/fixtures/log-format-1: made again from nothing, always with the same bytes.
//
// `node --conditions=sluice-source test/support/golden-log.ts FOLDER` writes it. That is for a new version of the format, into
// a new folder: the old one stays, every later version must read it.
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  backUp,
  createLogger,
  entryFrameCodec,
  loadConfig,
  nodeFileSystem,
  openServer,
  restoreBackup,
} from "@sluice/server";
import { ManualClock } from "@sluice/rpc/testing";
import { type LogClient, openLogClient } from "./log-client.ts";

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "", "notice"];
const MESSAGES = ["only two teapots left", "Grüße aus Łódź", "🫖 sold", "", "line one\nline two"];
/** 2026-01-01T00:00:00Z. */
const START_NS = 1_767_225_600_000_000_000n;
const FIRST_ENTRIES = 120;
const LATER_ENTRIES = 60;

/** Entry number `number` as its producer says it. */
function entryAt(number: number) {
  return {
    // Some say no time, some a late one.
    timestamp: number % 11 === 0 ? 0n : START_NS + BigInt(number % 17 === 0 ? number - 10 : number) * 1_000_000_000n,
    level: LEVELS[number % LEVELS.length]!,
    application: ["shop", "shop", "warehouse", "", "żółw"][number % 5]!,
    message: `${MESSAGES[number % MESSAGES.length]} ${number}`,
    sourceFile: number % 4 === 0 ? "shop.ts" : "",
    lineNumber: number % 4 === 0 ? number : 0,
    fields: number % 3 === 0 ? { order: String(number * 7919), "customer.id": `c-${number % 9}` } : {},
    ...(number % 7 === 0 ? { traceId: new Uint8Array(16).fill(number), spanId: new Uint8Array(8).fill(7) } : {}),
  };
}

/** In batches of four, some of them numbered by their producer. */
async function writeEntries(client: LogClient, from: number, to: number): Promise<void> {
  for (let first = from; first <= to; first += 4) {
    const entries = Array.from({ length: Math.min(4, to - first + 1) }, (_, i) => entryAt(first + i));
    const isNumbered = first % 3 === 0;
    const { rejected } = await client.logs.writeLogs({
      entries,
      ...(isNumbered
        ? { producer: "till-1", firstProducerSequence: BigInt(first), settledProducerSequence: BigInt(first - 1) }
        : {}),
    });
    if (rejected.length > 0) throw new Error(`Entries were rejected: ${rejected[0]!.text}`);
  }
}

/** A server on a folder, with small segments and a clock that stands still. */
async function serveOn(data: string, clock: ManualClock, compressAfterMs: number | undefined) {
  const { config } = await loadConfig({
    flags: new Map([
      ["data", data],
      ["listen", "127.0.0.1:0"],
    ]),
    environment: {},
    folder: data,
  });
  const settings = { ...config.logDefaults, segmentBytes: 4096, compressAfterMs };
  const logger = createLogger({ format: "json", level: "fatal", clock, write: () => undefined });
  return openServer(
    { ...config, logs: new Map([["default", settings]]) },
    { clock, fileSystem: nodeFileSystem, logger },
  );
}

/** Makes the data folder `folder`, which is empty or missing; `scratch` is a folder for what lies on the way. */
export async function makeGoldenLog(folder: string, scratch: string): Promise<void> {
  const clock = new ManualClock();
  const before = join(scratch, "before");
  {
    await using server = await serveOn(before, clock, 60_000);
    {
      await using client = openLogClient(server.address);
      await writeEntries(client, 1, FIRST_ENTRIES);
    }
    await compressAll(join(before, "logs/default"), clock);
  }
  // The second era: a log that was restored, and goes on.
  const copies = { fileSystem: nodeFileSystem, codec: entryFrameCodec, clock };
  await backUp({ ...copies, folder: before, backup: join(scratch, "copy"), prune: false });
  await restoreBackup({ ...copies, backup: join(scratch, "copy"), folder, random: () => 0 });
  {
    const later = new ManualClock();
    later.skip(24 * 60 * 60 * 1000);
    await using server = await serveOn(folder, later, undefined);
    await using client = openLogClient(server.address);
    await writeEntries(client, FIRST_ENTRIES + 1, FIRST_ENTRIES + LATER_ENTRIES);
  }
}

/** Lets time pass until only the last segment is plain. */
async function compressAll(folder: string, clock: ManualClock): Promise<void> {
  for (;;) {
    const names = await readdir(folder);
    if (names.filter((name) => name.endsWith(".frames")).length === 1) return;
    clock.advance(60_000);
    await clock.advanceInTurns(10);
  }
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new Error("Which folder?");
  await makeGoldenLog(folder, `${folder}.scratch`);
  await rm(`${folder}.scratch`, { recursive: true });
}
