// 1,000 streams that end badly leave nothing behind: no handler, no deadline, no timer, no file, no socket.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@sluice/client";
import { Code, RpcError } from "@sluice/rpc";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { collect, type LogClient, openLogClient, takeEntries } from "../support/log-client.ts";
import { openQueueClient } from "../support/queue-client.ts";
import { type Probe, type ProbedServer, startProbedServer } from "../support/probed-server.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const STREAMS = 1000;

let folder: TemporaryFolder;
let server: ProbedServer;
let before: Probe;

beforeAll(async () => {
  folder = await openTemporaryFolder("left-behind");
  // The first start writes what a folder has to have, and a second later looks how much the disk has free: the timer of that
  // is no one's but the start's.
  await (await startProbedServer(folder.path))[Symbol.asyncDispose]();
  server = await startProbedServer(folder.path);
  await using client = openLogClient(server.address);
  await client.write({ application: "a", message: "one" });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

beforeEach(async () => {
  before = await quietProbe();
});

test("to begin with there is nothing", () => {
  expect(before.counts).toEqual({
    connections: 0,
    openCalls: 0,
    runningHandlers: 0,
    armedDeadlines: 0,
    followers: 0,
    writingBytes: 0,
    downloads: 0,
    watches: 0,
    subscriptions: 0,
    workers: 0,
    workSessions: 0,
    enqueuingBytes: 0,
    devices: 0,
    publishingBytes: 0,
  });
});

/** What the server holds when its last connection has gone, and no file is being read or written. */
async function quietProbe(): Promise<Probe> {
  let probe = await server.probe();
  await expect
    .poll(async () => {
      probe = await server.probe();
      const requests = Object.keys(probe.resources).filter((kind) => kind.startsWith("FSReq"));
      return { connections: probe.counts.connections, requests };
    })
    .toEqual({ connections: 0, requests: [] });
  return probe;
}

/** Opens follows and waits until each has had its first entry and is live. */
async function openFollows(client: LogClient, options: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  const streams = Array.from({ length: STREAMS }, () =>
    client.logs.streamLogs({ application: "a", follow: true }, options),
  );
  await Promise.all(streams.map((stream) => takeEntries(stream, 1)));
  return streams;
}

async function expectNothingLeft(): Promise<void> {
  await expect.poll(async () => (await quietProbe()).counts).toEqual(before.counts);
  // A queue measures the free space of its disk a second after it was written to: that timer ends by itself.
  await expect.poll(async () => (await quietProbe()).resources).toEqual(before.resources);
  expect((await quietProbe()).openFiles).toBe(before.openFiles);
}

test("cancelled by their readers", async () => {
  {
    await using client = openLogClient(server.address);
    const cancelling = new AbortController();
    const streams = await openFollows(client, { signal: cancelling.signal });
    expect((await server.probe()).counts).toMatchObject({ openCalls: STREAMS, followers: STREAMS });
    cancelling.abort();
    for (const stream of streams) await expect(collect(stream)).rejects.toMatchObject({ code: Code.CANCELLED });
    await expect
      .poll(async () => (await server.probe()).counts)
      .toMatchObject({ openCalls: 0, followers: 0, connections: 1 });
  }
  await expectNothingLeft();
});

test("disconnected, without a word", async () => {
  {
    await using client = openLogClient(server.address);
    const streams = await openFollows(client);
    await client.channel.close();
    for (const stream of streams) await expect(collect(stream)).rejects.toBeInstanceOf(RpcError);
  }
  await expectNothingLeft();
});

test("workers at a queue, disconnected with what they run", async () => {
  {
    await using client = openQueueClient(server.address);
    await client.queues.createQueue({ name: "left", settings: { graceMs: 0 } });
    await client.enqueue("left", ...Array.from({ length: STREAMS }, () => ({ body: Buffer.from("job") })));
    await using far = openQueueClient(server.address);
    const flow = { seen: 0n, window: 1, windowBytes: 0n };
    const workers = Array.from({ length: STREAMS }, () => far.work({ queue: "left", flow }));
    await Promise.all(workers.map((worker) => worker.deliveries(1)));
    expect((await server.probe()).counts).toMatchObject({ workers: STREAMS, workSessions: STREAMS });
    await far.channel.close();
    for (const worker of workers) expect(await worker.ending()).toBeInstanceOf(RpcError);
    await expect.poll(async () => (await server.probe()).counts).toMatchObject({ workers: 0, workSessions: 0 });
    const countsOf = async () => (await client.queues.getQueue({ name: "left" })).queue?.counts;
    await expect.poll(countsOf).toMatchObject({ running: 0n, waiting: BigInt(STREAMS), workers: 0 });
    await client.queues.deleteQueue({ name: "left", force: true });
  }
  await expectNothingLeft();
});

test("past their deadline", async () => {
  {
    await using client = openLogClient(server.address);
    const streams = await openFollows(client, { timeoutMs: 5000 });
    expect((await server.probe()).counts).toMatchObject({ armedDeadlines: STREAMS, followers: STREAMS });
    for (const stream of streams) await expect(collect(stream)).rejects.toMatchObject({ code: Code.DEADLINE_EXCEEDED });
  }
  await expectNothingLeft();
});

test("stalled in the middle of history, then disconnected", async () => {
  {
    await using writer = openLogClient(server.address);
    const message = "x".repeat(1000);
    for (let i = 0; i < 20; i += 1)
      await writer.write(...Array.from({ length: 500 }, () => ({ application: "long", message })));
    // The log keeps the file that it reads history from open: one, for however many readers.
    await collect(writer.logs.streamLogs({ application: "long" }));
  }
  before = await quietProbe();
  {
    await using client = openLogClient(server.address);
    const streams = Array.from({ length: STREAMS }, () => client.logs.streamLogs({ application: "long" }));
    for (const stream of streams) await takeEntries(stream, 1);
    // Each has far more to come than a window takes, and nobody reads it.
    expect((await server.probe()).counts.openCalls).toBe(STREAMS);
    await client.channel.close();
    for (const stream of streams) await expect(collect(stream)).rejects.toBeInstanceOf(RpcError);
  }
  await expectNothingLeft();
});

test("writers that disconnect between two batches", async () => {
  {
    await using client = openLogClient(server.address);
    const first = await Promise.all(
      Array.from({ length: STREAMS }, async () => {
        const never = Promise.withResolvers<void>();
        async function* requests() {
          yield { entries: [{ application: "a", message: "then nothing more" }] };
          await never.promise;
        }
        const answers = client.logs.writeLogStream(requests());
        await answers.next();
        return { answers, release: never.resolve };
      }),
    );
    expect((await server.probe()).counts.openCalls).toBe(STREAMS);
    await client.channel.close();
    for (const { answers, release } of first) {
      await expect(collect(answers)).rejects.toBeInstanceOf(RpcError);
      release();
    }
  }
  await expectNothingLeft();
});

test("watches of a folder, however they end, leave a picture of it at rest, for a while, and nothing else", async () => {
  await using files = await openTemporaryFolder("left-behind-watches");
  await mkdir(join(files.path, "shared", "sub"), { recursive: true });
  await using watched = await startProbedServer(files.path, { files: join(files.path, "shared") });
  const held = async () => {
    const { counts, watchedFolders } = await watched.probe();
    return { counts, watchedFolders };
  };
  const quiet = await held();
  await using client = connect(watched.address);
  const watches = Array.from({ length: 100 }, () => client.watchFiles({ isRecursive: true })[Symbol.asyncIterator]());
  for (const each of watches) expect((await each.next()).value).toEqual({ kind: "sync" });
  // One look into each folder for all of them.
  expect(await held()).toMatchObject({ counts: { watches: 100 }, watchedFolders: 2 });
  for (const each of watches) await each.return?.();
  await client.close();
  await expect.poll(held).toEqual(quiet);
});
