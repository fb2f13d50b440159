// `sluice logs` and `sluice applications` against a real server.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { connect, type SluiceClient } from "@sluice/client";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import { type CliResult, startCli } from "../support/cli-process.ts";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

/** What takes a second on a quiet machine takes many on one that is busy. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const NOON_NS = 1_700_000_000_000_000_000n;
const LAUNCHER = fileURLToPath(new URL("../../packages/cli/bin/sluice.js", import.meta.url));

let folder: TemporaryFolder;
let server: ServerProcess;
let client: SluiceClient;

beforeAll(async () => {
  folder = await openTemporaryFolder("logs-command");
  server = await startServer([], { folder: folder.path });
  client = connect(server.address);
  await using writer = client.openLogWriter();
  await writer.write({
    application: "shop",
    level: "INFO",
    timestamp: NOON_NS,
    message: "paid",
    fields: { order: "17", note: "two words" },
  });
  await writer.write({
    application: "shop",
    level: "ERROR",
    timestamp: NOON_NS + 5n,
    message: "a\nb\u001b[31m",
    sourceFile: "a.ts",
    lineNumber: 3,
  });
  await writer.write({ application: "door", level: "debug", timestamp: NOON_NS + 1_000_000n, message: "open" });
});

afterAll(async () => {
  await client.close();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const run = (...words: string[]): Promise<CliResult> =>
  callCli([...words, "--server", server.address], { folder: folder.path }).ended;
/** What `sluice logs --utc` prints of the two applications of these tests. */
const logs = async (...words: string[]): Promise<string[]> => {
  const { stdout } = await run("logs", "--utc", "-a", "shop", "-a", "door", ...words);
  return stdout.split("\n").slice(0, -1);
};

const PAID = '2023-11-14 22:13:20.000Z INFO  shop: paid order=17 note="two words"';
const BROKEN = ["2023-11-14 22:13:20.000Z ERROR shop: a", "    b\\x1b[31m (a.ts:3)"];
const OPEN = "2023-11-14 22:13:20.001Z DEBUG door: open";

test("entries read as lines, and steer no terminal", async () => {
  const printed = await logs();
  expect(printed.map((line) => line.replace(/(paid) (note="two words") (order=17)/u, "$1 $3 $2"))).toEqual([
    PAID,
    ...BROKEN,
    OPEN,
  ]);
});

test.each([
  { words: ["--level", "error"], expected: BROKEN },
  { words: ["--tail", "1"], expected: [OPEN] },
  { words: ["--limit", "1", "--filter", "order=17"], expected: [PAID] },
  { words: ["--filter", "order>17"], expected: [] },
  { words: ["--since", "2023-11-14T22:13:20.001Z"], expected: [OPEN] },
  { words: ["--until", "2023-11-14T22:13:20.000000005Z"], expected: [PAID] },
  { words: ["--since", "1h"], expected: [] },
])("$words", async ({ words, expected }) => {
  const printed = await logs(...words);
  expect(printed.map((line) => line.replace(/(paid) (note="two words") (order=17)/u, "$1 $3 $2"))).toEqual(expected);
});

test("JSON: one object a line, 64-bit integers as strings, and a cursor to go on from", async () => {
  const { stdout } = await run("logs", "--application", "shop", "--output", "json");
  const [first, second] = stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(first).toMatchObject({
    timestamp: "1700000000000000000",
    level: "INFO",
    application: "shop",
    message: "paid",
    fields: { order: "17", note: "two words" },
    severityNumber: 9,
    sequence: expect.stringMatching(/^\d+$/u) as string,
  });
  const rest = await run("logs", "-a", "shop", "--output", "json", "--resume-after", String(first?.["cursor"]));
  expect(
    rest.stdout
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([second]);
});

test("applications, as a table and as JSON, under both names", async () => {
  const { stdout } = await run("applications", "--utc");
  expect(stdout).toMatch(/^APPLICATION +ENTRIES +SIZE +FIRST +LAST\n/u);
  expect(stdout).toMatch(/^shop +2 +\d+ B +2023-11-14 22:13:20\.000Z +2023-11-14 22:13:20\.000Z$/mu);
  const json = await run("logs", "applications", "--output", "json");
  const rows = json.stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, string>);
  expect(rows.find((row) => row["application"] === "door")).toMatchObject({
    entries: "1",
    firstTimestamp: "1700000000001000000",
  });
});

test("following over a lost connection: every entry once, a note on stderr, and Ctrl-C is a good end", async () => {
  await using proxy = await openFaultProxy({ target: () => server.address });
  await using writer = client.openLogWriter();
  await using cli = startCli(
    ["logs", "--follow", "--application", "live", "--output", "json", "--server", proxy.address],
    { folder: folder.path },
  );
  for (const n of [1, 2, 3]) {
    await writer.write({ application: "live", message: `m${n}` });
    await cli.waitFor("stdout", new RegExp(`"m${n}"`, "u"));
    proxy.breakAll(n === 1 ? "reset" : "close");
    await cli.waitFor("stderr", /trying again/u);
  }
  await writer.write({ application: "live", message: "m4" });
  await cli.waitFor("stdout", /"m4"/u);
  cli.kill("SIGINT");
  const { exitCode, stdout, stderr } = await cli.ended();
  expect(exitCode).toBe(0);
  expect(
    stdout
      .split("\n")
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { message: string }).message),
  ).toEqual(["m1", "m2", "m3", "m4"]);
  expect(stderr).toContain("connected again; going on exactly where it stopped");
});

test("on a terminal: colours, and at Ctrl-C the cursor to go on from", async () => {
  await using writer = client.openLogWriter();
  await writer.write({ application: "terminal", level: "ERROR", message: "one" });
  await writer.flush();
  const words = ["logs", "--application", "terminal", "--server", server.address];
  const call = callCli([...words, "--follow"], { folder: folder.path, isTerminal: true });
  await expect.poll(() => call.stdout(), { timeout: 15_000 }).toContain("one");
  call.interrupt();
  const { exitCode, stdout, stderr } = await call.ended;
  expect(exitCode).toBe(0);
  expect(stdout).toContain("\u001b[31mERROR\u001b[39m");
  const [, cursor = ""] = /--resume-after ([\w-]+)/u.exec(stderr) ?? [];
  await writer.write({ application: "terminal", message: "two" });
  await writer.flush();
  expect((await callCli([...words, "--resume-after", cursor], { folder: folder.path }).ended).stdout).toMatch(
    /: two\n$/u,
  );
});

test("entries that retention removed are said on stderr, with their number", async () => {
  await using place = await openTemporaryFolder("retention");
  await using small = await startServer(
    ["--segment-bytes", "64KiB", "--retain-bytes", "128KiB", "--limits-entry-bytes-max", "16KiB"],
    { folder: place.path },
  );
  await using writing = connect(small.address);
  await using writer = writing.openLogWriter();
  const words = ["logs", "--output", "json", "--server", small.address];
  await writer.write({ application: "a", message: "first" });
  await writer.flush();
  const first = await callCli([...words, "--limit", "1"], { folder: folder.path }).ended;
  const { cursor, sequence } = JSON.parse(first.stdout) as { cursor: string; sequence: string };
  let isGone = false;
  while (!isGone) {
    for (let i = 0; i < 200; i++) await writer.write({ application: "a", message: "x".repeat(1000) });
    await writer.flush();
    const { stdout } = await callCli([...words, "--limit", "1"], { folder: folder.path }).ended;
    isGone = stdout === "" || (JSON.parse(stdout) as { sequence: string }).sequence !== sequence;
  }
  const { stdout, stderr, exitCode } = await callCli([...words, "--resume-after", cursor, "--limit", "1"], {
    folder: folder.path,
  }).ended;
  expect(exitCode).toBe(0);
  const next = JSON.parse(stdout) as { sequence: string };
  const missing = BigInt(next.sequence) - BigInt(sequence) - 1n;
  expect(stderr.replaceAll(",", "")).toContain(
    `${missing} entries are missing here: they were older than the server keeps`,
  );
});

test("a reader that has gone ends it quietly", async () => {
  await using writer = client.openLogWriter();
  for (let i = 0; i < 20_000; i++) await writer.write({ application: "many", message: `m${i}` });
  await writer.flush();
  const child = spawn(process.execPath, [LAUNCHER, "logs", "-a", "many", "--server", server.address], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => void (stderr += chunk.toString()));
  child.stdout.once("data", () => child.stdout.destroy());
  const [exitCode] = (await once(child, "close")) as [number];
  expect([exitCode, stderr]).toEqual([0, ""]);
});

test.each([
  { words: ["--level", "LOUD"], exitCode: 2, says: /TRACE.*DEBUG.*INFO.*WARN.*ERROR.*FATAL/su },
  { words: ["--filter", "a~("], exitCode: 2, says: /filters\[0\]/u },
  { words: ["--resume-after", "nonsense"], exitCode: 2, says: /resume_after/u },
  { words: ["--since", "yesterday"], exitCode: 2, says: /how long ago/u },
  { words: ["--tail", "-1"], exitCode: 2, says: /whole number/u },
])("$words is refused with a sentence", async ({ words, exitCode, says }) => {
  const result = await run("logs", ...words);
  expect(result.exitCode).toBe(exitCode);
  expect(result.stderr).toMatch(says);
});

test("a server that is not there is said at once", async () => {
  const result = await callCli(["logs", "-f", "--server", "127.0.0.1:1"], { folder: folder.path }).ended;
  expect(result.exitCode).toBe(3);
  expect(result.stderr).toContain("Cannot connect to 127.0.0.1:1");
});
