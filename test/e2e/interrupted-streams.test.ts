// Streams without an end that the server ends: it stops, or their connection is too old. They are told how to go on.
import { LogService } from "@sluice/api";
import { connect, type LogEvent, type LogQuery, type SluiceClient } from "@sluice/client";
import { Code, createServer, ErrorInfoSchema, type Listener, listen, retryDelayMs, RpcError, serve } from "@sluice/rpc";
import { entryFrameCodec, nodeFileSystem, systemClock } from "@sluice/server";
import { expect, test } from "vitest";
import { serveSocket } from "../../packages/rpc/src/socket.ts";
import { ownHttp2, type SocketTransport } from "../../packages/rpc/src/socket-transport.ts";
import { ManualClock } from "@sluice/rpc/testing";
import { createLogService, serveLog } from "../../packages/server/src/logs/service.ts";
import { allowAll } from "../../packages/server/src/security/authorize.ts";
import { statusOf } from "../../packages/server/src/status.ts";
import { openLog } from "../../packages/server/src/store/log.ts";
import { collect, openLogClient, takeEntries } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

/** What a stream of the SDK tells, as it tells it. */
function eventsOf(client: SluiceClient, query: LogQuery) {
  const events: LogEvent[] = [];
  // No heartbeat says where the stream stands: what it goes on after it has from the server's last word.
  const stream = client.streamLogs(query, { heartbeatMs: 3_600_000, retry: { initialMs: 1, maxMs: 1 } });
  const ended = (async () => {
    for await (const event of stream.events()) events.push(event);
  })().catch(() => undefined); // the client was closed
  return {
    ended,
    all: <K extends LogEvent["kind"]>(kind: K) => events.filter((event) => event.kind === kind) as KindOf<K>[],
    messages: () => events.flatMap((event) => (event.kind === "entry" ? [event.entry.message] : [])),
  };
}
type KindOf<K> = Extract<LogEvent, { kind: K }>;

async function write(address: string, ...messages: string[]): Promise<void> {
  await using client = openLogClient(address);
  await client.write(...messages.map((message) => ({ application: "wanted", message })));
}

/** Writes what the readers did not ask for; returns the cursor behind it when followers have passed it. */
async function writeOthers(address: string): Promise<string> {
  await using client = openLogClient(address);
  const watch = client.logs.streamLogs({ application: "other", follow: true, tailLines: 0n });
  // Nobody has written as "other" yet, and the stream says so first.
  expect((await watch.next()).value).toMatchObject({ control: { kind: { case: "notice" } } });
  expect((await watch.next()).value).toMatchObject({ control: { kind: { case: "sync" } } });
  const entries = Array.from({ length: 50 }, () => ({ application: "other", message: "not wanted" }));
  const { lastCursor } = await client.logs.writeLogs({ entries });
  await takeEntries(watch, entries.length); // all followers are told in one turn
  return lastCursor;
}

function interruptionIn(error: unknown) {
  if (!(error instanceof RpcError)) throw new Error(`This is no status: ${String(error)}`);
  const [info] = error.findDetails(ErrorInfoSchema);
  return { code: error.code, reason: info?.reason, cursor: info?.metadata["cursor"], retryMs: retryDelayMs(error) };
}

test("drain: a follow ends with its last cursor, and goes on there with the next server", async () => {
  await using folder = await openTemporaryFolder("interrupted");
  const words = ["--listen", `unix:${folder.path}/socket`];
  await using first = await startServer(words, { folder: folder.path });
  await write(first.address, "first");
  await using client = connect(first.address);
  await using plain = openLogClient(first.address);
  const followed = eventsOf(client, { applications: ["wanted"], follow: true });
  await expect.poll(() => followed.all("sync")).toHaveLength(1);
  const seed = plain.seed.streamLogs({ application: "wanted", follow: true });
  expect((await seed.next()).value).toMatchObject({ message: "first" });
  const seedEnd = collect(seed).catch(interruptionIn);
  await writeOthers(first.address);

  first.kill("SIGTERM");
  await first.ended();
  await expect.poll(() => followed.all("disconnected").length).toBeGreaterThan(0);
  const told = { code: Code.UNAVAILABLE, reason: "STREAM_INTERRUPTED", retryMs: 1000 };
  const lost = interruptionIn(followed.all("disconnected")[0]?.error);
  expect(lost).toMatchObject(told);
  // The seed's clients know no controls: the status is all that tells them.
  const seedTold = await seedEnd;
  expect(seedTold).toMatchObject(told);

  await using second = await startServer(words, { folder: folder.path });
  await write(second.address, "second");
  await expect.poll(() => followed.messages()).toEqual(["first", "second"]);
  expect(followed.all("resumed")[0]?.cursor).toBe(lost.cursor);
  expect(followed.all("sync")[0]?.cursor).not.toBe(lost.cursor);
  expect(followed.all("gap")).toEqual([]);
  const resumeAfter = "cursor" in seedTold ? (seedTold.cursor ?? "") : "";
  await using reader = openLogClient(second.address);
  const rest = await collect(reader.seed.streamLogs({ application: "wanted", resumeAfter }));
  expect(rest.map(({ message }) => message)).toEqual(["second"]);
  await client.close();
  await followed.ended;
});

test("max connection age: a follow ends with its last cursor, and goes on there on a new connection", async () => {
  const clock = new ManualClock();
  await using served = await serveLogs(clock, { maxMs: 60_000, graceMs: 5_000 });
  const { address } = served.listener;
  await using client = connect(address);
  const followed = eventsOf(client, { applications: ["wanted"], follow: true });
  await expect.poll(() => followed.all("sync")).toHaveLength(1);

  clock.advance(60_000);
  // Until the grace is over the stream goes on.
  await write(address, "first");
  await expect.poll(() => followed.messages()).toEqual(["first"]);
  expect(followed.all("disconnected")).toEqual([]);
  const head = await writeOthers(address);
  clock.advance(5_000);
  await expect.poll(() => followed.all("disconnected")).toHaveLength(1);
  expect(interruptionIn(followed.all("disconnected")[0]?.error)).toEqual({
    code: Code.UNAVAILABLE,
    reason: "STREAM_INTERRUPTED",
    cursor: head,
    retryMs: 100,
  });
  await expect.poll(() => followed.all("resumed")).toEqual([{ kind: "resumed", cursor: head }]);
  await write(address, "second");
  await expect.poll(() => followed.messages()).toEqual(["first", "second"]);
  await client.close();
  await followed.ended;
});

/** The log service on a real socket and real files, its connections' age in the test's hands. */
async function serveLogs(
  clock: ManualClock,
  age: { maxMs: number; graceMs: number },
): Promise<AsyncDisposable & { readonly listener: Listener }> {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await openTemporaryFolder("interrupted"));
  const options = { fileSystem: nodeFileSystem, clock: systemClock, codec: entryFrameCodec };
  const log = resources.use(await openLog({ ...options, folder: `${folder.path}/log`, name: "default" }));
  const logs = [serveLog("default", log)];
  const service = createLogService({ logs, authorize: allowAll, clock: systemClock });
  const shared = { age, clock, random: () => 0.5 };
  const transport: SocketTransport = {
    ...ownHttp2(),
    serveSocket: (socket, handler, { firstBytes } = {}) => serveSocket(socket, handler, { ...shared, firstBytes }),
  };
  const server = createServer({ services: [serve(LogService, service.handlers)], mapError: statusOf });
  const listener = resources.use(await listen(server, { transport }));
  return { listener, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
