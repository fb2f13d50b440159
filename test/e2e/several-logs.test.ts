// Several logs on one server: routes, quotas, what is listed, and what happens to a log that nobody configures any more.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@sluice/client";
import { Code, QuotaFailureSchema, retryDelayMs, RpcError } from "@sluice/rpc";
import { describe, expect, test } from "vitest";
import { runCli } from "../support/cli-process.ts";
import { collect, type LogClient, openLogClient } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const CONFIG = `
retainAge: 30d
logs:
  audit:
    retainAge: off
    quotaBytes: 256KiB
routes:
  pay-*: audit
  web: bulk
`;

const messagesOf = async (client: LogClient, log: string): Promise<string[]> =>
  (await collect(client.logs.streamLogs({ log, controlFrames: false })))
    .filter(({ application }) => application !== "sluice")
    .map(({ message }) => message);

test("entries go where the routes lead; each log is read by its name, and listed", async () => {
  await using folder = await openTemporaryFolder("several-logs");
  await writeFile(join(folder.path, "sluice.yaml"), CONFIG);
  await using server = await startServer([], { folder: folder.path });
  await using client = openLogClient(server.address);
  const entries = ["pay-1", "web", "shop", "pay-2", "web"].map((application, i) => ({
    application,
    message: String(i),
  }));
  const answer = await client.logs.writeLogs({ producer: "p", firstProducerSequence: 1n, entries });
  expect(answer).toMatchObject({ accepted: 5n, duplicates: 0n, rejected: [] });
  expect(await messagesOf(client, "audit")).toEqual(["0", "3"]);
  expect(await messagesOf(client, "bulk")).toEqual(["1", "4"]);
  expect(await messagesOf(client, "")).toEqual(["2"]);

  // The last entry is in "bulk": its cursor goes on there, and nowhere else.
  await client.logs.writeLogs({ log: "bulk", entries: [{ message: "next" }] });
  const resumed = client.logs.streamLogs({ log: "bulk", resumeAfter: answer.lastCursor, controlFrames: false });
  expect((await collect(resumed)).map(({ message }) => message)).toEqual(["next"]);

  const again = await client.logs.writeLogs({ producer: "p", firstProducerSequence: 1n, entries });
  expect(again).toMatchObject({ accepted: 5n, duplicates: 5n, lastCursor: answer.lastCursor });

  const { stdout } = await runCli(["logs", "ls", "--server", server.address, "--output", "json"], {
    folder: folder.path,
  });
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { name: string; entries: string; quotaBytes: string; refusal: string });
  expect(rows.map(({ name }) => name)).toEqual(["audit", "bulk", "default"]);
  expect(rows[0]).toMatchObject({ entries: "2", quotaBytes: String(256 * 1024), refusal: "" });
  await expect(client.logs.writeLogs({ log: "other", entries: [{}] })).rejects.toMatchObject({ code: Code.NOT_FOUND });
});

describe("a log at its quota", () => {
  test("refuses its own writes with what is exceeded, is read on, and the others take theirs", async () => {
    await using folder = await openTemporaryFolder("several-logs");
    await writeFile(join(folder.path, "sluice.yaml"), CONFIG);
    await using server = await startServer([], { folder: folder.path });
    await using client = openLogClient(server.address);
    const write = (application: string) => client.write({ application, message: "x".repeat(10_000) });
    let written = 0;
    const full = await (async () => {
      for (; written < 100; written++) await write("pay-1");
    })().catch((error: unknown) => error);
    expect(written).toBeGreaterThan(20);
    if (!(full instanceof RpcError)) throw new Error("The quota was not enforced");
    expect(full.code).toBe(Code.RESOURCE_EXHAUSTED);
    expect(full.findDetails(QuotaFailureSchema)).toMatchObject([{ violations: [{ subject: "log:audit" }] }]);
    expect(retryDelayMs(full)).toBeUndefined();
    expect(await messagesOf(client, "audit")).toHaveLength(written);
    await write("shop");
    // A request for both is not split.
    const both = ["shop", "pay-1"].map((application) => ({ application, message: "x".repeat(10_000) }));
    await expect(client.logs.writeLogs({ entries: both })).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
    expect(await messagesOf(client, "")).toHaveLength(1);
    const { stdout } = await runCli(["logs", "ls", "--server", server.address], { folder: folder.path });
    expect(stdout).toMatch(/^audit +\d+ +\d+\.\d KiB +256\.0 KiB +yes$/mu);
  });
});

test("the SDK's writer is routed too, and waits at nothing", async () => {
  await using folder = await openTemporaryFolder("several-logs");
  await using server = await startServer(["--routes", "even=audit", "--routes", "odd=bulk"], { folder: folder.path });
  await using sdk = connect(server.address);
  const writer = sdk.openLogWriter();
  for (let i = 0; i < 5000; i++) {
    await writer.write({ application: i % 2 === 0 ? "even" : "odd", message: String(i) });
  }
  await writer.close();
  await using client = openLogClient(server.address);
  const numbers = async (log: string) => (await messagesOf(client, log)).map(Number);
  expect(await numbers("audit")).toEqual(Array.from({ length: 2500 }, (_, i) => 2 * i));
  expect(await numbers("bulk")).toEqual(Array.from({ length: 2500 }, (_, i) => 2 * i + 1));
});

test("a log that is no longer configured is served, and said so; what is no log is left alone", async () => {
  await using folder = await openTemporaryFolder("several-logs");
  const first = await startServer(["--routes", "pay-*=audit"], { folder: folder.path });
  await using firstClient = openLogClient(first.address);
  await firstClient.write({ application: "pay-1", message: "kept" });
  await firstClient[Symbol.asyncDispose]();
  first.kill("SIGTERM");
  await first.ended();
  await mkdir(join(folder.path, "data/logs/Lost And Found"));

  await using server = await startServer(["--retain-age", "1s"], { folder: folder.path });
  await using client = openLogClient(server.address);
  expect(await messagesOf(client, "audit")).toEqual(["kept"]);
  expect(server.stderr()).toMatch(/the configuration does not name this log; .*log=audit/u);
  expect(server.stderr()).toMatch(/has not the name of a log; .*Lost And Found/u);
  await client.write({ application: "pay-1", message: "to default" });
  expect(await messagesOf(client, "")).toEqual(["to default"]);
});
