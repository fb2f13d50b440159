// The SDK against a real server, over connections that break at random places: every entry once, in order.
import { connect, type LogEntry, type LogStream, type SluiceClient } from "@sluice/client";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Fault, type FaultKind, openFaultProxy } from "../support/fault-proxy.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

/** What takes a second on a quiet machine takes many on one that is busy. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const ENTRIES = 400;
/** Connections that break; later ones hold. */
const FAULTS = 25;
/** No pause worth waiting for. */
const retry = { initialMs: 1, maxMs: 5 };
/** What fell silent is noticed soon. */
const impatient = { connectTimeoutMs: 100, keepalive: { intervalMs: 50, timeoutMs: 50 } };

let folder: TemporaryFolder;
let server: ServerProcess;

beforeAll(async () => {
  folder = await openTemporaryFolder("exactly-once");
  server = await startServer([], { folder: folder.path });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** Chance that is the same in every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Breaks the first connections, each at a random place; `…BytesMax` is how far the bytes of a direction may come. */
function randomFaults(
  seed: number,
  options: { kinds: readonly FaultKind[]; direction: Fault["direction"]; bytesMax: number; answerBytesMax: number },
): (number: number) => Fault | undefined {
  const chance = seeded(seed);
  return (number) => {
    if (number > FAULTS) return undefined;
    const isAnswer = chance() < 0.25;
    const opposite = options.direction === "to-client" ? "to-server" : "to-client";
    return {
      kind: options.kinds[Math.floor(chance() * options.kinds.length)] ?? "reset",
      afterBytes: Math.floor(chance() * (isAnswer ? options.answerBytesMax : options.bytesMax)),
      direction: isAnswer ? opposite : options.direction,
    };
  };
}

/** A reader gets much and says little, a writer the other way round; 90 bytes every connection comes to. */
const READER = { direction: "to-client", bytesMax: 5000, answerBytesMax: 90 } as const;
const WRITER = { direction: "to-server", bytesMax: 3000, answerBytesMax: 90 } as const;

const messages = (count: number): string[] => Array.from({ length: count }, (_, i) => `entry ${i}`);

async function write(client: SluiceClient, application: string, count: number): Promise<void> {
  await using writer = client.openLogWriter({ retry, batchEntriesMax: 7 });
  for (const message of messages(count)) await writer.write({ application, level: "INFO", message });
}

/** Reads until `count` entries came, and leaves. */
async function read(stream: LogStream, count: number): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const entry of stream) {
    entries.push(entry);
    if (entries.length === count) break;
  }
  return entries;
}

const messagesOf = (entries: readonly LogEntry[]): string[] => entries.map(({ message }) => message);

test("history over connections that break", async () => {
  await using direct = connect(server.address);
  await write(direct, "history", ENTRIES);
  await using proxy = await openFaultProxy({
    target: () => server.address,
    faultOf: randomFaults(1, { kinds: ["reset", "close"], ...READER }),
  });
  await using client = connect(proxy.address, impatient);
  const entries = await read(client.streamLogs({ applications: ["history"] }, { retry }), Number.POSITIVE_INFINITY);
  expect(messagesOf(entries)).toEqual(messages(ENTRIES));
  expect(proxy.connections).toBeGreaterThan(5);
});

test("limit and tail over connections that break", async () => {
  await using direct = connect(server.address);
  await write(direct, "tail", ENTRIES);
  await using proxy = await openFaultProxy({
    target: () => server.address,
    faultOf: randomFaults(2, { kinds: ["reset"], ...READER }),
  });
  await using client = connect(proxy.address, impatient);
  const stream = client.streamLogs({ applications: ["tail"], tailLines: 200, limit: 150 }, { retry });
  expect(messagesOf(await read(stream, Number.POSITIVE_INFINITY))).toEqual(messages(ENTRIES).slice(200, 350));
  expect(proxy.connections).toBeGreaterThan(3);
});

test.each([3, 4, 5])("writing over connections that break, seed %i", async (seed) => {
  const application = `written ${seed}`;
  await using proxy = await openFaultProxy({
    target: () => server.address,
    faultOf: randomFaults(seed, { kinds: ["reset", "close", "half-close", "stall"], ...WRITER }),
  });
  await using client = connect(proxy.address, impatient);
  {
    await using writer = client.openLogWriter({ retry, batchEntriesMax: 7, answerTimeoutMs: 100 });
    for (const message of messages(ENTRIES)) await writer.write({ application, message });
  }
  await using direct = connect(server.address);
  const entries = await read(direct.streamLogs({ applications: [application] }), Number.POSITIVE_INFINITY);
  expect(messagesOf(entries)).toEqual(messages(ENTRIES));
  expect(proxy.connections).toBeGreaterThan(5);
});

test("following while somebody writes, both over connections that break or fall silent", async () => {
  const kinds: FaultKind[] = ["reset", "close", "stall"];
  const target = (): string => server.address;
  await using readerProxy = await openFaultProxy({ target, faultOf: randomFaults(6, { kinds, ...READER }) });
  await using writerProxy = await openFaultProxy({ target, faultOf: randomFaults(7, { kinds, ...WRITER }) });
  await using reader = connect(readerProxy.address, impatient);
  await using writer = connect(writerProxy.address, impatient);
  const stream = reader.streamLogs({ applications: ["live"], follow: true }, { retry, heartbeatMs: 100 });
  const [entries] = await Promise.all([
    read(stream, ENTRIES),
    (async () => {
      await using logs = writer.openLogWriter({ retry, batchEntriesMax: 7, answerTimeoutMs: 100 });
      for (const message of messages(ENTRIES)) await logs.write({ application: "live", message });
    })(),
  ]);
  expect(messagesOf(entries)).toEqual(messages(ENTRIES));
  expect(Math.min(readerProxy.connections, writerProxy.connections)).toBeGreaterThan(3);
});

test("over a server that is killed and started again", async () => {
  await using place = await openTemporaryFolder("killed");
  let current = await startServer([], { folder: place.path });
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => current[Symbol.asyncDispose]());
  await using proxy = await openFaultProxy({ target: () => current.address });
  await using client = connect(proxy.address, impatient);
  const disconnects: unknown[] = [];
  const stream = client.streamLogs({ applications: ["killed"], follow: true, tailLines: 0 }, { retry });
  const seen: string[] = [];
  const reading = (async () => {
    for await (const event of stream.events()) {
      if (event.kind === "disconnected") disconnects.push(event.error);
      if (event.kind === "entry") seen.push(event.entry.message);
      if (seen.length === ENTRIES) break;
    }
  })();
  await expect.poll(() => stream.cursor, { timeout: 15_000 }).not.toBe(""); // live, with a place to go on from
  await using writer = client.openLogWriter({ retry, batchEntriesMax: 7 });
  for (const [i, message] of messages(ENTRIES).entries()) {
    await writer.write({ application: "killed", message });
    if (i % 100 !== 50) continue;
    await expect.poll(() => seen.length, { timeout: 15_000 }).toBeGreaterThan(i - 50);
    current.kill("SIGKILL");
    await current.ended();
    proxy.refuse(true);
    current = await startServer([], { folder: place.path });
    proxy.refuse(false);
  }
  await writer.close();
  await reading;
  expect(seen).toEqual(messages(ENTRIES));
  expect(disconnects.length).toBeGreaterThanOrEqual(4);
});
