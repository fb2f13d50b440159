// A whole server, killed again and again while programs write to it and one follows it.
//
// More lives: SLUICE_CRASH_ROUNDS=100 npm run crash.
import { connect, type LogEntry, type SluiceClient } from "@sluice/client";
import { expect, test } from "vitest";
import { runCli } from "../support/cli-process.ts";
import { collect, openLogClient } from "../support/log-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openStallingProxy } from "../support/stalling-proxy.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const LIVES = Number(process.env["SLUICE_CRASH_ROUNDS"] ?? 6);
const WRITERS = 3;
/** Acknowledged entries between two kills, at least. */
const LIFE_ENTRIES = 3000;
/** No pause worth waiting for. */
const retry = { initialMs: 5, maxMs: 50 };
/** Small segments, so that kills also hit the change from one to the next. */
const SERVER_WORDS = ["--segment-bytes", "1MiB"];

/** Writes without a pause until told to stop; returns how many entries it wrote, all of them acknowledged. */
async function writeUntil(
  client: SluiceClient,
  name: string,
  state: { isOver: boolean; acknowledge(writer: string, through: number): void },
): Promise<number> {
  await using writer = client.openLogWriter({
    retry,
    batchEntriesMax: 97,
    onAcknowledged: (through) => {
      state.acknowledge(name, through);
    },
  });
  let count = 0;
  while (!state.isOver) {
    await writer.write({ application: name, level: "INFO", message: `${name} ${count}` });
    count++;
    // Lets answers come between two full batches.
    if (count % 500 === 0) await writer.flush();
  }
  return count;
}

/** Counts what is acknowledged, and lets somebody wait for a number of it. */
function createProgress() {
  const acknowledged = new Map<string, number>();
  let waiter: { total: number; resolve: () => void } | undefined;
  const total = (): number => [...acknowledged.values()].reduce((sum, each) => sum + each, 0);
  return {
    isOver: false,
    acknowledged,
    total,
    acknowledge(writer: string, through: number) {
      acknowledged.set(writer, through);
      if (waiter !== undefined && total() >= waiter.total) waiter.resolve();
    },
    async reach(atLeast: number): Promise<void> {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiter = { total: atLeast, resolve };
      if (total() >= atLeast) resolve();
      await promise;
    },
  };
}

test("SIGKILL in a loop under write load: every acknowledged entry is there once, in order", async () => {
  await using place = await openTemporaryFolder("sigkill");
  await using stack = new AsyncDisposableStack();
  let server = await startServer(SERVER_WORDS, { folder: place.path });
  stack.defer(async () => server[Symbol.asyncDispose]());
  await using client = connect(server.address);
  const progress = createProgress();
  const names = Array.from({ length: WRITERS }, (_, i) => `writer-${i}`);
  const followed: LogEntry[] = [];
  const leave = new AbortController();
  const following = (async () => {
    const stream = client.streamLogs({ applications: names, follow: true }, { retry, signal: leave.signal });
    for await (const entry of stream) followed.push(entry);
  })().catch((error: unknown) => {
    if (!leave.signal.aborted) throw error;
  });
  const writing = Promise.all(names.map((name) => writeUntil(client, name, progress)));

  for (let life = 1; life < LIVES; life++) {
    await progress.reach(progress.total() + LIFE_ENTRIES);
    server.kill("SIGKILL");
    await server.ended();
    server = await startServer([...SERVER_WORDS, "--listen", server.address], { folder: place.path });
  }
  await progress.reach(progress.total() + LIFE_ENTRIES);
  progress.isOver = true;
  const counts = await writing;
  const written = counts.reduce((sum, each) => sum + each, 0);
  expect(progress.total()).toBe(written);
  await expect.poll(() => followed.length, { timeout: 30_000 }).toBe(written);
  leave.abort();
  await following;

  await using direct = openLogClient(server.address);
  const stored = await collect(direct.logs.streamLogs({ controlFrames: true }));
  const gaps = stored.filter(({ control }) => control?.kind.case === "gap");
  const entries = stored.filter(({ control }) => control === undefined);
  expect(gaps).toEqual([]);
  expect(entries.every(({ sequence }, i) => sequence === BigInt(i + 1))).toBe(true);
  for (const [i, name] of names.entries()) {
    const expected = Array.from({ length: counts[i] ?? 0 }, (_, number) => `${name} ${number}`);
    const messagesOf = (from: readonly LogEntry[]): string[] =>
      from.filter(({ application }) => application === name).map(({ message }) => message);
    expect(messagesOf(entries)).toEqual(expected);
    expect(messagesOf(followed)).toEqual(expected);
  }

  server.kill("SIGTERM");
  expect((await server.ended()).exitCode).toBe(0);
  const doctor = await runCli(["doctor", `${place.path}/data`], { folder: place.path });
  expect(doctor).toMatchObject({ exitCode: 0 });
});

interface ProducerBatch {
  readonly producer: string;
  readonly firstProducerSequence: bigint;
  readonly entries: { application: string; message: string }[];
}

/** Writes one batch whose answer never arrives, and kills the server when the batch is in the log. */
async function dieBeforeAnswering(server: ServerProcess, batch: ProducerBatch): Promise<void> {
  const proxy = await openStallingProxy(server.address);
  await using writer = openLogClient(proxy.address);
  await writer.logs.listApplications({});
  proxy.stall();
  const answer = writer.logs.writeLogs(batch).then(
    () => "answered",
    () => "unanswered",
  );
  await using reader = openLogClient(server.address);
  const stream = reader.logs.streamLogs({ applications: ["twins"], follow: true, limit: BigInt(batch.entries.length) });
  await collect(stream);
  server.kill("SIGKILL");
  await server.ended();
  // What the server sent may still wait in the proxy: it goes with it.
  await proxy[Symbol.asyncDispose]();
  expect(await answer).toBe("unanswered");
}

test("a retry across SIGKILL between append and answer gives no twin", async () => {
  await using place = await openTemporaryFolder("no-twin");
  const entries = Array.from({ length: 50 }, (_, i) => ({ application: "twins", message: `entry ${i}` }));
  const batch = { producer: "p-1", firstProducerSequence: 1n, entries };
  await using first = await startServer([], { folder: place.path });
  await dieBeforeAnswering(first, batch);

  await using second = await startServer([], { folder: place.path });
  await using client = openLogClient(second.address);
  const again = await client.logs.writeLogs(batch);
  expect(again).toMatchObject({ accepted: 50n, duplicates: 50n, rejected: [] });
  // A longer retry: what the log has, and what it has not.
  const longer = { ...batch, entries: [...entries, { application: "twins", message: "entry 50" }] };
  expect(await client.logs.writeLogs(longer)).toMatchObject({ accepted: 51n, duplicates: 50n });
  const stored = await collect(client.logs.streamLogs({ application: "twins", controlFrames: false }));
  expect(stored.map(({ message }) => message)).toEqual(longer.entries.map(({ message }) => message));
});
