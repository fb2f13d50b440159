// `sluice doctor` finds what is wrong with stored data, and says so with an exit code.
import { open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, afterEach, expect, test } from "vitest";
import { runCli } from "../support/cli-process.ts";
import { collect, openLogClient } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;

/** A data folder with a log of several segments. */
beforeEach(async () => {
  folder = await openTemporaryFolder("doctor");
  const small = ["--segment-bytes", "64KiB", "--limits-entry-bytes-max", "8KiB", "--metrics-history", "off"];
  await using server = await startServer(small, { folder: folder.path });
  await using client = openLogClient(server.address);
  const entries = Array.from({ length: 100 }, (_, i) => ({ application: "a", message: `${i} ${"x".repeat(1000)}` }));
  for (let i = 0; i < 5; i += 1) await client.write(...entries);
  await client[Symbol.asyncDispose]();
  server.kill("SIGTERM");
  await server.ended();
});

afterEach(() => folder[Symbol.asyncDispose]());

const logFolder = () => join(folder.path, "data/logs/default");
const segments = async () => (await readdir(logFolder())).filter((name) => name.endsWith(".frames")).toSorted();
const runDoctor = (...words: string[]) => runCli(["doctor", ...words], { folder: folder.path });

async function overwrite(file: string, at: number, bytes: Uint8Array): Promise<void> {
  await using handle = await open(join(logFolder(), file), "r+");
  await handle.write(bytes, 0, bytes.length, at);
}

test("a healthy folder: a row for each log, exit code 0; the folder by argument, flag or environment", async () => {
  const [byArgument, byFlag, byVariable] = [
    await runDoctor("data"),
    await runDoctor("--data", "data"),
    await runCli(["doctor"], { folder: folder.path, environment: { SLUICE_DATA: "data" } }),
  ];
  expect(byArgument).toMatchObject({ exitCode: 0, stderr: "" });
  expect(byArgument.stdout).toMatch(/^log default: 50\d entries, \S+ KiB in \d+ segments\n$/u);
  expect([byFlag.stdout, byVariable.stdout]).toEqual([byArgument.stdout, byArgument.stdout]);
});

test("a flipped bit is found by its checksum: the entry is named, exit code 6, and readers hear of the gap", async () => {
  const [, second = ""] = await segments();
  const bytes = await readFile(join(logFolder(), second));
  const at = bytes.indexOf("50 xxx");
  expect(at).toBeGreaterThan(0);
  await overwrite(second, at + 100, Buffer.from("y"));

  const { exitCode, stdout, stderr } = await runDoctor("data", "--output", "json");
  expect(exitCode).toBe(6);
  const log = JSON.parse(stdout) as { segments: { damaged: { first: number; last: number }[] }[] };
  const damaged = log.segments.flatMap((segment) => segment.damaged);
  expect(damaged).toHaveLength(1);
  expect(JSON.parse(stderr)).toMatchObject({ error: { message: "Stored data is damaged or missing" } });
  expect((await runDoctor("data")).stdout).toMatch(/segment \d+: entries \d+ do not match their checksum/u);

  await using server = await startServer([], { folder: folder.path });
  await using client = openLogClient(server.address);
  const received = await collect(client.logs.streamLogs({ application: "a" }));
  const gaps = received.flatMap(({ control }) => (control?.kind.case === "gap" ? [control.kind.value] : []));
  expect(gaps).toMatchObject([{ count: 1n }]);
  expect(received.filter((each) => each.control === undefined)).toHaveLength(499);
});

test("a lost segment is missed", async () => {
  const [, second = ""] = await segments();
  await rm(join(logFolder(), second));
  const { exitCode, stdout } = await runDoctor("data");
  expect(exitCode).toBe(6);
  expect(stdout).toMatch(/entries [\d,]+ to [\d,]+ are missing/u);
});

test("a lost or wrong index is written anew from the entries with --repair", async () => {
  const [first = "", second = ""] = (await readdir(logFolder())).filter((name) => name.endsWith(".index")).toSorted();
  const before = await readFile(join(logFolder(), first));
  await rm(join(logFolder(), first));
  await overwrite(second, 200, Buffer.from("noise"));

  const looked = await runDoctor("data");
  expect(looked.exitCode).toBe(0);
  expect(looked.stdout).toMatch(/its index is missing; --repair writes it anew/u);
  await expect(readFile(join(logFolder(), first))).rejects.toThrow("ENOENT");
  const mended = await runDoctor("data", "--repair");
  expect(mended.exitCode).toBe(0);
  expect(mended.stdout.match(/its index was written anew/gu)).toHaveLength(2);
  const after = await readFile(join(logFolder(), first));
  expect(after.length).toBe(before.length);
  expect((await runDoctor("data")).stdout).toMatch(/^[^\n]*\n$/u);
});

test("a folder that a server has open, and one that is none", async () => {
  await using server = await startServer([], { folder: folder.path });
  const inUse = await runDoctor("data");
  expect(inUse.exitCode).toBe(1);
  expect(inUse.stderr).toMatch(/^sluice: Cannot open the data folder \S+: process \d+/u);
  expect(server.child.exitCode).toBeNull();
  const none = await runDoctor(".");
  expect(none.exitCode).toBe(4);
  expect(none.stderr).toContain("it has no file FORMAT; check the path");
});

test("the history of metrics is verified, too", async () => {
  {
    await using server = await startServer([], { folder: folder.path });
    const push = ["metrics", "push", "--server", server.address];
    expect(await runCli(push, { folder: folder.path, input: "orders 7\n" })).toMatchObject({ exitCode: 0 });
    server.kill("SIGTERM");
    await server.ended();
  }
  const good = await runDoctor("data");
  expect(good).toMatchObject({ exitCode: 0 });
  expect(good.stdout).toMatch(/^metrics points: \d+ records?, .*\n/mu);

  const points = join(folder.path, "data/metrics/points");
  const [first = ""] = (await readdir(points)).filter((name) => name.endsWith(".frames"));
  const bytes = await readFile(join(points, first));
  const at = bytes.indexOf("orders");
  expect(at).toBeGreaterThan(0);
  await using handle = await open(join(points, first), "r+");
  await handle.write(Buffer.from("ardens"), 0, 6, at);
  const bad = await runDoctor("data", "--output", "json");
  expect(bad.exitCode).toBe(6);
  const rows = bad.stdout
    .trim()
    .split("\n")
    .map((row) => JSON.parse(row) as { metrics?: string; missing: unknown[]; segments: { damaged: unknown[] }[] });
  const lost = rows
    .filter(({ metrics }) => metrics === "points")
    .flatMap(({ missing, segments: all }) => [...missing, ...all.flatMap(({ damaged }) => damaged)]);
  // At the end of the log it is missing, for the log knows how far it was durable; before that it is damaged.
  expect(lost).toHaveLength(1);
});
