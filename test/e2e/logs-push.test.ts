// `sluice logs push` against a real server: every line once, in order, whatever happens to files and process.
import {
  appendFile,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { gzipSync } from "node:zlib";
import { connect, type LogEntry, type SluiceClient } from "@sluice/client";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import { type CliResult, startCli } from "../support/cli-process.ts";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

/** What takes a second on a quiet machine takes many on one that is busy. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let data: TemporaryFolder;
let server: ServerProcess;
let client: SluiceClient;
/** Of each test: where its files and its places are. */
let folder: TemporaryFolder;
let application = "";
let tests = 0;

beforeAll(async () => {
  data = await openTemporaryFolder("push-data");
  server = await startServer([], { folder: data.path });
  client = connect(server.address);
});

afterAll(async () => {
  await client.close();
  await server[Symbol.asyncDispose]();
  await data[Symbol.asyncDispose]();
});

beforeEach(async () => {
  folder = await openTemporaryFolder("push");
  application = `push ${++tests}`;
  return () => folder[Symbol.asyncDispose]();
});

const words = (...more: string[]): string[] =>
  ["logs", "push", "--server", server.address, "--application", application, "--state", "places"].concat(more);
const push = (...more: string[]): Promise<CliResult> => callCli(words(...more), { folder: folder.path }).ended;
const path = (name: string): string => join(folder.path, name);

async function entries(of = application): Promise<LogEntry[]> {
  const found: LogEntry[] = [];
  for await (const entry of client.streamLogs({ applications: [of] })) found.push(entry);
  return found;
}
const lines = async (): Promise<string[]> => (await entries()).map(({ message }) => message);
const numbered = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `line ${from + i}`);
const textOf = (all: readonly string[]): string => all.map((line) => `${line}\n`).join("");

/** What is remembered of the one file that was pushed. */
async function storedPlaces(): Promise<unknown> {
  const [name = ""] = await readdir(path("places"));
  return (JSON.parse(await readFile(path(`places/${name}`), "utf8")) as { places: unknown }).places;
}

/** What another run over files that were pushed reads again, and what of it the server has: both nothing, if all is remembered. */
async function repeated(...files: string[]): Promise<unknown> {
  const { lines: read, duplicates } = JSON.parse((await push(...files, "--output", "json")).stdout) as Record<
    string,
    number
  >;
  return { read, duplicates };
}

/** Follows until it is interrupted; at the end of the test at the latest. */
function startPush(...more: string[]): () => Promise<CliResult> {
  const cli = callCli(words("--follow", ...more), { folder: folder.path });
  const interrupt = async (): Promise<CliResult> => {
    cli.interrupt();
    return await cli.ended;
  };
  onTestFinished(async () => void (await interrupt()));
  return interrupt;
}

test("a second run writes only what is new; --from-start writes all again", async () => {
  await writeFile(path("a.log"), textOf(numbered(5)));
  expect(await push("a.log")).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining("5 lines written") as string,
  });
  expect(await repeated("a.log")).toEqual({ read: 0, duplicates: 0 });
  await appendFile(path("a.log"), textOf(numbered(2, 5)));
  expect(await repeated("a.log")).toEqual({ read: 2, duplicates: 0 });
  expect(await lines()).toEqual(numbered(7));
  await push("a.log", "--from-start");
  expect(await lines()).toEqual([...numbered(7), ...numbered(7)]);
});

test("killed again and again, it leaves no line out and writes none twice", async () => {
  const all = numbered(20_000);
  await writeFile(path("a.log"), textOf(all));
  const written = async (): Promise<number> => {
    const found = await client.listApplications();
    return Number(found.find((each) => each.application === application)?.entries ?? 0n);
  };
  // Each comes a little further than the one before, which may not have remembered anything, and is killed there.
  let bytesMax = Number.POSITIVE_INFINITY;
  await using proxy = await openFaultProxy({
    target: () => server.address,
    faultOf: () => ({ kind: "stall", afterBytes: bytesMax, direction: "to-server" }),
  });
  const throughProxy = words("a.log", "--output", "json", "--server", proxy.address);
  for (bytesMax = 100_000; bytesMax <= 400_000; bytesMax += 100_000) {
    const before = await written();
    await using cli = startCli(throughProxy, { folder: folder.path });
    await expect.poll(written, { interval: 1, timeout: 60_000 }).toBeGreaterThan(before);
    cli.kill("SIGKILL");
    await cli.ended();
  }
  bytesMax = Number.POSITIVE_INFINITY;
  const last = await callCli(throughProxy, { folder: folder.path }).ended;
  expect(last.exitCode).toBe(0);
  expect(await lines()).toEqual(all);
  // What was acknowledged before the last kill, and not remembered: sent again, and dropped.
  expect(JSON.parse(last.stdout)).toMatchObject({
    rejected: 0,
    duplicates: expect.toSatisfy((count: number) => count > 0) as number,
  });
});

test("places that are lost repeat, but a kill before the first place is stored does not lose any", async () => {
  await writeFile(path("a.log"), textOf(numbered(3)));
  await push("a.log");
  expect(await readdir(path("places"))).toHaveLength(1);
  await rm(path("places"), { recursive: true });
  await push("a.log");
  expect(await lines()).toEqual([...numbered(3), ...numbered(3)]);
});

test("following: growth, rotation by rename, by copy and truncate, and a file that appears later", async () => {
  await writeFile(path("a.log"), textOf(["1"]));
  const interrupt = startPush("a.log", "later.log");
  await expect.poll(lines).toEqual(["1"]);
  await appendFile(path("a.log"), textOf(["2"]));
  await expect.poll(lines).toEqual(["1", "2"]);
  await rename(path("a.log"), path("a.log.1"));
  await appendFile(path("a.log.1"), textOf(["3"])); // its writer does not know yet
  await writeFile(path("a.log"), textOf(["4"]));
  await expect.poll(lines).toEqual(["1", "2", "3", "4"]);
  await appendFile(path("a.log"), textOf(["5"])); // nobody may have looked before it is cut off
  await copyFile(path("a.log"), path("a.log.2"));
  await truncate(path("a.log"));
  await appendFile(path("a.log"), textOf(["6"]));
  await expect.poll(lines).toEqual(["1", "2", "3", "4", "5", "6"]);
  await writeFile(path("later.log"), textOf(["7"]));
  await expect.poll(lines).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  expect(await interrupt()).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining("7 lines written") as string,
  });
  expect(await repeated("a.log", "later.log")).toEqual({ read: 0, duplicates: 0 });
});

test("a line that truncation leaves unfinished is kept: what was read of it, or what its copy has", async () => {
  await writeFile(path("a.log"), "1\n2, cut");
  startPush("a.log");
  await expect.poll(lines).toEqual(["1"]);
  await truncate(path("a.log"));
  await appendFile(path("a.log"), textOf(["3"]));
  await expect.poll(lines).toEqual(["1", "2, cut", "3"]);
  await appendFile(path("a.log"), "4, cut");
  await copyFile(path("a.log"), path("a.log.1"));
  await truncate(path("a.log"));
  await appendFile(path("a.log"), textOf(["5"]));
  await expect.poll(lines).toEqual(["1", "2, cut", "3", "4, cut", "5"]);
});

test("Ctrl-C leaves a half line to the next run, which finds it whole", async () => {
  await writeFile(path("a.log"), "one\nhal");
  const interrupt = startPush("a.log");
  await expect.poll(lines).toEqual(["one"]);
  expect((await interrupt()).exitCode).toBe(0);
  await appendFile(path("a.log"), "f\n");
  expect(await repeated("a.log")).toEqual({ read: 1, duplicates: 0 });
  expect(await lines()).toEqual(["one", "half"]);
});

test("rotated twice while nobody looked: the rest of the old file, the one between, the new one", async () => {
  await writeFile(path("a.log"), textOf(["1", "2"]));
  await push("a.log");
  await appendFile(path("a.log"), textOf(["3"]));
  await rename(path("a.log"), path("a.log.2"));
  await utimes(path("a.log.2"), 1000, 1000);
  await writeFile(path("a.log.1"), textOf(["4"]));
  await utimes(path("a.log.1"), 2000, 2000);
  await writeFile(path("a.log"), textOf(["5"]));
  await writeFile(path("a.log.3"), "older than all\n");
  await utimes(path("a.log.3"), 500, 500);
  await push("a.log");
  expect(await lines()).toEqual(["1", "2", "3", "4", "5"]);
  expect(await repeated("a.log")).toEqual({ read: 0, duplicates: 0 });
});

test("copied and truncated while nobody looked: the rest of the copy, then the file from its beginning", async () => {
  await writeFile(path("a.log"), textOf(["1", "2"]));
  await push("a.log");
  await appendFile(path("a.log"), textOf(["3"]));
  await copyFile(path("a.log"), path("a.log.1"));
  await truncate(path("a.log"));
  await appendFile(path("a.log"), textOf(["a longer first line than before", "5"]));
  await push("a.log");
  expect(await lines()).toEqual(["1", "2", "3", "a longer first line than before", "5"]);
  expect(await repeated("a.log")).toEqual({ read: 0, duplicates: 0 });
});

test("rotated and compressed while nobody looked: what is lost is said", async () => {
  await writeFile(path("a.log"), textOf(["1"]));
  await push("a.log");
  await rm(path("a.log"));
  await writeFile(path("a.log"), textOf(["a new file"]));
  const { exitCode, stderr } = await push("a.log");
  expect([exitCode, await lines()]).toEqual([0, ["1", "a new file"]]);
  expect(stderr).toContain("an earlier file was removed or compressed");
});

test("a file that was rotated and read to its end may go: nothing of it is lost", async () => {
  await writeFile(path("a.log"), textOf(["1"]));
  const interrupt = startPush("a.log");
  await expect.poll(lines).toEqual(["1"]);
  await rename(path("a.log"), path("a.log.1"));
  await writeFile(path("a.log"), textOf(["2"]));
  await expect.poll(lines).toEqual(["1", "2"]);
  // It is read on for a while: its writer may not know yet. Then its place says that it is done.
  await expect.poll(storedPlaces).toMatchObject([{ isDone: true }, { isDone: false }]);
  await interrupt();
  await rm(path("a.log.1"));
  const { stdout, stderr } = await push("a.log");
  expect(stdout).toContain("0 lines written");
  expect(stderr).not.toContain("an earlier file was removed");
});

test("stdin: JSON, text, blank lines, invalid UTF-8 and a line that is too long for one entry", async () => {
  const long = "x".repeat(300 * 1024);
  const input = [
    '{"level":40,"time":1700000000000,"msg":"from pino","user":{"id":9007199254740993}}',
    "2026-11-21T08:43:01Z ERROR something broke",
    "",
    "plain",
    long,
  ];
  const { exitCode, stdout } = await callCli(words("--output", "json"), { folder: folder.path, input: textOf(input) })
    .ended;
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    lines: 5,
    acknowledged: 5,
    blank: 1,
    pieces: 2,
    rejected: 0,
    formats: { json: 1, text: 4 },
  });
  const found = await entries();
  expect(found.slice(0, 3)).toMatchObject([
    {
      message: "from pino",
      level: "warn",
      severityNumber: 13,
      timestamp: 1_700_000_000_000_000_000n,
      fields: { "user.id": "9007199254740993" },
    },
    { message: "something broke", level: "ERROR", timestamp: 1_795_250_581_000_000_000n },
    { message: "plain" },
  ]);
  expect(found.slice(3).map(({ fields }) => fields)).toEqual([{ part: "1" }, { part: "2", part_last: "true" }]);
  expect(
    found
      .slice(3)
      .map(({ message }) => message)
      .join(""),
  ).toBe(long);
});

test("stdin that does not end: Ctrl-C sends what came, and is a good end", async () => {
  const stdin = new PassThrough();
  stdin.write("one\ntw");
  const call = callCli(words(), { folder: folder.path, stdin });
  await expect.poll(lines).toEqual(["one"]);
  call.interrupt();
  stdin.write("o\nlast words"); // the program before the pipe hears Ctrl-C too
  expect(await call.ended).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("3 lines written") as string });
  expect(await lines()).toEqual(["one", "two", "last words"]);
});

test("on a terminal a bar shows how far it is, and is gone at the end", async () => {
  await writeFile(path("a.log"), textOf(numbered(5000)));
  const { stderr } = await callCli(words("a.log"), { folder: folder.path, isTerminal: true }).ended;
  expect(stderr).toMatch(/Pushing .*━+.* 100 % .*KiB of .*KiB .*\/s/u);
  expect(stderr.endsWith("\r\u001b[2K")).toBe(true);
});

test("invalid UTF-8 is replaced and counted, and the entry is kept", async () => {
  await writeFile(path("latin1.log"), Buffer.from("gr\xfc\xdfe\n", "latin1"));
  const { stdout } = await push("latin1.log");
  expect(stdout).toContain("2 invalid UTF-8 sequences replaced");
  expect(await lines()).toEqual(["gr\uFFFD\uFFFDe"]);
});

test.each([
  { what: "a missing file", name: "missing.log", exitCode: 4, says: "there is no such file" },
  { what: "a folder without text", name: "empty", exitCode: 4, says: "there is no file of text in it" },
  { what: "a pattern that nothing matches", name: "*.txt", exitCode: 4, says: "there is no file of text in it" },
  { what: "a compressed file", name: "a.log.gz", exitCode: 1, says: "zcat" },
])("$what is refused with a sentence", async ({ name, exitCode, says }) => {
  await writeFile(path("a.log.gz"), gzipSync("line\n"));
  await mkdir(path("empty"));
  const result = await push(name);
  expect(result.exitCode).toBe(exitCode);
  expect(result.stderr).toContain(says);
});

test("a file that cannot be read does not keep the others from being pushed", async () => {
  await writeFile(path("b.log"), textOf(["b"]));
  await writeFile(path("c.log.gz"), gzipSync("c"));
  const { exitCode, stderr } = await push("missing.log", "b.log", "c.log.gz");
  expect([exitCode, await lines()]).toEqual([4, ["b"]]);
  expect(stderr).toMatch(/missing\.log: there is no such file; Cannot push .*c\.log\.gz: it is compressed/u);
});

test("when one of several followed files fails, all end, with what was read acknowledged", async () => {
  await writeFile(path("a.log"), textOf(["a"]));
  await writeFile(path("b.log.gz"), gzipSync("b"));
  const call = callCli(words("--follow", "a.log", "b.log.gz"), { folder: folder.path });
  expect(await call.ended).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("it is compressed") as string,
  });
});

test("a server that is not there is said, and nothing is lost", async () => {
  await writeFile(path("a.log"), textOf(["1"]));
  const nowhere = [
    "logs",
    "push",
    "--server",
    "127.0.0.1:1",
    "--application",
    application,
    "--state",
    "places",
    "a.log",
  ];
  const { exitCode, stderr } = await callCli(nowhere, { folder: folder.path }).ended;
  expect(exitCode).toBe(3);
  expect(stderr).toContain("Cannot connect to 127.0.0.1:1");
  expect(stderr).toContain("1 line may be missing in the log");
  await push("a.log");
  expect(await lines()).toEqual(["1"]);
});
