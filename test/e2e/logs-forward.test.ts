// `sluice logs forward`: a log reaches a collector, all of it, whatever happens to collector and process.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { OtlpLogsService } from "@sluice/api";
import { Code, createClient, retryAfter, RpcError } from "@sluice/rpc";
import fc from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { otlpRequest } from "../../packages/server/src/logs/testing/arbitrary-otlp.ts";
import { parseCursor } from "../../packages/server/src/stream/cursor.ts";
import { callCli, type CliCall } from "../support/cli-in-process.ts";
import { startCli } from "../support/cli-process.ts";
import { bodiesOf, type Collector, openCollector } from "../support/collector.ts";
import { collect, openLogClient } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";
import { otlpContent } from "../../packages/server/src/logs/testing/otlp-content.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

/** What takes a second on a quiet machine takes many on one that is busy. */
vi.setConfig({ testTimeout: 120_000 });

const logs = useLogServer("forward");
let folder: TemporaryFolder;
let collector: Collector;
let application = "";
let tests = 0;

beforeEach(async () => {
  folder = await openTemporaryFolder("forward");
  collector = await openCollector();
  application = `forward ${++tests}`;
  return async () => {
    await collector[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
});

const words = (...more: string[]): string[] =>
  ["logs", "forward", "--server", logs.address, "--to", collector.address, "--state", "state"].concat(more);

/** Only this test's entries. */
const forward = (...more: string[]): CliCall =>
  callCli(words("--application", application, "--output", "json", ...more), { folder: folder.path });

async function write(...messages: string[]): Promise<void> {
  await logs.client.write(...messages.map((message) => ({ application, message, level: "INFO", fields: { k: "v" } })));
}

const numbered = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `line ${from + i}`);

async function storedCursor(): Promise<unknown> {
  const names = await readdir(join(folder.path, "state"));
  const [name = ""] = names.filter((each) => each.endsWith(".json"));
  return (JSON.parse(await readFile(join(folder.path, "state", name), "utf8")) as { cursor: unknown }).cursor;
}

test("all of it arrives once and in order; a second run goes on there", async () => {
  await write(...numbered(2500));
  const first = await forward().ended;
  expect(first.exitCode).toBe(0);
  expect(JSON.parse(first.stdout)).toMatchObject({ records: 2500, refused: 0, missing: 0 });
  expect(collector.bodies).toEqual(numbered(2500));
  expect(collector.requests.length).toBeGreaterThan(1);
  expect(JSON.parse((await forward().ended).stdout)).toMatchObject({ records: 0, batches: 0 });
  await write("new");
  await forward("--gzip").ended;
  expect(collector.bodies.slice(2500)).toEqual(["new"]);
  await forward("--from-start").ended;
  expect(collector.bodies).toHaveLength(5002);
});

test("to itself is refused: it would never end", async () => {
  const words = ["logs", "forward", "--server", logs.address, "--to", logs.address];
  const { exitCode, stderr } = await callCli(words, { folder: folder.path }).ended;
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining("to itself")]);
});

test("entries of WriteLogs become records as OpenTelemetry would have them", async () => {
  const timestamp = 1_760_000_000_000_000_001n;
  const entry = { application, message: "m", level: "Warning", timestamp, sourceFile: "a.ts", lineNumber: 7 };
  await logs.client.write({ ...entry, fields: { user: "7" }, traceId: new Uint8Array(16).fill(5) });
  await forward().ended;
  const [{ resource, scopeLogs } = {}] = collector.resourceLogs;
  const text = (value: string) => ({ value: { case: "stringValue", value } });
  expect(resource?.attributes).toMatchObject([{ key: "service.name", value: text(application) }]);
  const [record] = scopeLogs?.[0]?.logRecords ?? [];
  expect(record).toMatchObject({
    timeUnixNano: timestamp,
    severityNumber: 13,
    severityText: "Warning",
    body: text("m"),
    traceId: new Uint8Array(16).fill(5),
  });
  expect(record?.observedTimeUnixNano).toBeGreaterThan(timestamp);
  expect(record?.attributes).toMatchObject([
    { key: "user", value: text("7") },
    { key: "code.line.number", value: { value: { case: "intValue", value: 7n } } },
    { key: "code.file.path", value: text("a.ts") },
  ]);
});

describe("a collector that", () => {
  test("is away, overloaded or slow gets it later, once", async () => {
    await write(...numbered(3));
    const errors = [
      new RpcError(Code.UNAVAILABLE, "restarting"),
      new RpcError(Code.RESOURCE_EXHAUSTED, "full", { details: [retryAfter(300)] }),
      new RpcError(Code.ABORTED, "elsewhere"),
    ];
    collector.answer = (attempt) => {
      const error = errors[attempt - 1];
      if (error !== undefined) throw error;
      return {};
    };
    const { exitCode, stderr } = await forward().ended;
    expect([exitCode, collector.attempts, collector.bodies]).toEqual([0, 4, numbered(3)]);
    expect(stderr).toMatch(/restarting.*trying again/u);
  });

  test("rejects records is not asked again, and the command says how many", async () => {
    await write(...numbered(5));
    collector.answer = () => ({ partialSuccess: { rejectedLogRecords: 2n, errorMessage: "too old" } });
    const { exitCode, stdout, stderr } = await forward().ended;
    expect([exitCode, collector.attempts]).toEqual([1, 1]);
    expect(JSON.parse(stdout)).toMatchObject({ records: 3, refused: 2 });
    expect(stderr).toContain("refused 2 records: too old");
  });

  test("will never take a batch ends it, with the place before that batch; or the batch is skipped and counted", async () => {
    await write(...numbered(2));
    await forward().ended;
    const before = await storedCursor();
    await write("poison");
    collector.answer = () => {
      throw new RpcError(Code.INVALID_ARGUMENT, "I do not like it");
    };
    const ended = await forward().ended;
    expect([ended.exitCode, await storedCursor()]).toEqual([2, before]);
    expect(ended.stderr).toContain("I do not like it");
    const skipped = await forward("--skip-refused").ended;
    expect([skipped.exitCode, JSON.parse(skipped.stdout)]).toMatchObject([1, { records: 0, refused: 1 }]);
    expect(await storedCursor()).not.toEqual(before);
  });

  test("does not know us is not skipped", async () => {
    await write("m");
    collector.answer = () => {
      throw new RpcError(Code.UNAUTHENTICATED, "who are you?");
    };
    expect((await forward("--skip-refused").ended).exitCode).toBe(5);
    collector.answer = (_attempt, _request, call) => {
      if (call.requestMetadata.get("x-key") !== "open sesame") throw new RpcError(Code.UNAUTHENTICATED, "who are you?");
      return {};
    };
    expect((await forward("--header", "X-Key=open sesame").ended).exitCode).toBe(0);
    expect(collector.bodies).toEqual(["m"]);
  });
});

test("following, Ctrl-C lets the batch under way arrive, keeps the place, and ends well", async () => {
  const arrived = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  await write("old");
  collector.answer = async () => {
    arrived.resolve();
    await released.promise;
    return {};
  };
  const call = forward("--follow");
  await arrived.promise;
  call.interrupt();
  await write("later");
  released.resolve();
  const { exitCode, stdout } = await call.ended;
  expect([exitCode, collector.bodies]).toEqual([0, ["old"]]);
  expect(JSON.parse(stdout)).toMatchObject({ records: 1 });
  collector.answer = () => ({});
  const next = forward("--follow");
  await expect.poll(() => collector.bodies, { timeout: 30_000 }).toEqual(["old", "later"]);
  await write("live");
  await expect.poll(() => collector.bodies, { timeout: 30_000 }).toEqual(["old", "later", "live"]);
  next.interrupt();
  expect((await next.ended).exitCode).toBe(0);
});

test("killed at any moment, it leaves nothing out, and repeats no more than the batch under way", async () => {
  const all = numbered(4000);
  await write(...all.slice(0, 2000));
  await write(...all.slice(2000));
  const run = async (killedAt: number): Promise<void> => {
    await using cli = startCli(words("--application", application, "--follow"), { folder: folder.path });
    let batches = 0;
    collector.answer = () => {
      if (++batches === killedAt) cli.kill("SIGKILL");
      return {};
    };
    if (killedAt < Number.POSITIVE_INFINITY) await cli.ended();
    else await expect.poll(() => new Set(collector.bodies).size, { timeout: 60_000 }).toBe(all.length);
  };
  for (const killedAt of [1, 2, 3, Number.POSITIVE_INFINITY]) await run(killedAt);
  const bodies = collector.bodies;
  expect([...new Set(bodies)]).toEqual(all);
  const largest = Math.max(...collector.requests.map(({ resourceLogs }) => bodiesOf(resourceLogs).length));
  expect(bodies.length - all.length).toBeLessThanOrEqual(3 * largest);
});

test("what retention removed before it was forwarded is counted: sent and missing are all there was", async () => {
  const small = ["--segment-bytes", "64KiB", "--limits-entry-bytes-max", "8KiB", "--retain-bytes", "200KiB"];
  await using data = await openTemporaryFolder("forward-retention");
  await using server = await startServer(small, { folder: data.path });
  await using client = openLogClient(server.address);
  const hop = ["logs", "forward", "--server", server.address, "--to", collector.address, "--state", "state"];
  const run = async () => {
    const { stdout, stderr } = await callCli([...hop, "--output", "json"], { folder: folder.path }).ended;
    return { stderr, ...(JSON.parse(stdout) as { records: number; missing: number }) };
  };
  await client.write({ application, message: "first" });
  const first = await run();
  const lines = numbered(1000).map((line) => ({ application, message: `${line} ${"x".repeat(1000)}` }));
  for (let i = 0; i < lines.length; i += 100) await client.write(...lines.slice(i, i + 100));
  const second = await run();
  expect([first.missing, second.missing > 100]).toEqual([0, true]);
  expect(second.stderr).toMatch(/entries are missing here/u);
  // The log's sequences have no holes: the place behind what was forwarded counts them.
  const { sequence } = parseCursor("default", (await storedCursor()) as string, "cursor");
  expect(first.records + second.records + second.missing).toBe(sequence);
});

test("what programs sent, a collector behind us receives: over two servers, generated", async () => {
  await using data = await openTemporaryFolder("forward-hops");
  await using first = await startServer(["--data", "first"], { folder: data.path });
  await using second = await startServer(["--data", "second"], { folder: data.path });
  await using client = openLogClient(first.address);
  const { export: exportLogs } = createClient(OtlpLogsService, client.channel);
  const requests = fc.sample(otlpRequest, 60);
  for (const request of requests) expect((await exportLogs(request)).partialSuccess).toBeUndefined();
  for (const [from, to] of [
    [first.address, second.address],
    [second.address, collector.address],
  ] as const) {
    const { exitCode, stderr } = await callCli(["logs", "forward", "--server", from, "--to", to], {
      folder: data.path,
    }).ended;
    expect([exitCode, stderr]).toEqual([0, ""]);
  }
  const sent = otlpContent(requests.flatMap(({ resourceLogs }) => resourceLogs));
  const own = (content: Record<string, string[]>) => Object.keys(content).filter((key) => sent[key] === undefined);
  const received = otlpContent(collector.resourceLogs);
  // The servers' own logs come along: they are all that is new.
  for (const key of own(received)) expect(Buffer.from(key.split('"')[1] ?? "", "hex").toString()).toContain("sluice");
  expect(Object.fromEntries(Object.keys(sent).map((key) => [key, received[key]]))).toEqual(sent);
  const batches = await collect(client.logs.streamOtlpLogs({}));
  expect(batches.filter(({ control }) => control === undefined).every(({ cursor }) => cursor.length === 14)).toBe(true);
});
