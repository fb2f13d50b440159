// `sluice logs push` of folders and patterns, containers' folders among them, and of records of several lines, killed
// while their files grow.
import { appendFile, mkdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import { gzipSync } from "node:zlib";
import { connect, type LogEntry, type SluiceClient } from "@sluice/client";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import { type CliResult, startCli } from "../support/cli-process.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let data: TemporaryFolder;
let server: ServerProcess;
let client: SluiceClient;
/** Of each test: where its files and its places are. */
let folder: TemporaryFolder;
let application = "";
let tests = 0;

beforeAll(async () => {
  data = await openTemporaryFolder("push-sets-data");
  server = await startServer([], { folder: data.path });
  client = connect(server.address);
});

afterAll(async () => {
  await client.close();
  await server[Symbol.asyncDispose]();
  await data[Symbol.asyncDispose]();
});

beforeEach(async () => {
  folder = await openTemporaryFolder("push-sets");
  application = `sets ${++tests}`;
  return () => folder[Symbol.asyncDispose]();
});

const words = (...more: string[]): string[] => [
  "logs",
  "push",
  "--server",
  server.address,
  "--state",
  "places",
  ...more,
];
const push = (...more: string[]): Promise<CliResult> =>
  callCli(words("--application", application, ...more), { folder: folder.path }).ended;

async function entries(of = application): Promise<LogEntry[]> {
  const found: LogEntry[] = [];
  for await (const entry of client.streamLogs({ applications: [of] })) found.push(entry);
  return found;
}
const messages = async (): Promise<string[]> => (await entries()).map(({ message }) => message);

async function write(name: string, text: string | Uint8Array, modifiedSeconds?: number): Promise<void> {
  const path = join(folder.path, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  if (modifiedSeconds !== undefined) await utimes(path, modifiedSeconds, modifiedSeconds);
}

function startPush(...more: string[]): () => Promise<CliResult> {
  const cli = callCli(words("--application", application, "--follow", ...more), { folder: folder.path });
  const interrupt = async (): Promise<CliResult> => {
    cli.interrupt();
    return await cli.ended;
  };
  onTestFinished(async () => void (await interrupt()));
  return interrupt;
}

test("a folder: all text in it, rotated files first and in order, once; what is left out is said", async () => {
  await write("logs/a.log.2", "1\n", 1000);
  await write("logs/a.log.1", "2\n", 2000);
  await write("logs/a.log", "3\n", 3000);
  await write("logs/deep/er/b-20260101.log", "4\n", 1000);
  await write("logs/deep/er/b.log", "5\n", 2000);
  await write("logs/a.log.3.gz", gzipSync("0\n"));
  await write("logs/wtmp", Buffer.from([7, 0, 0, 0]));
  const { exitCode, stdout, stderr } = await push("logs");
  expect([exitCode, await messages()]).toEqual([0, ["1", "2", "3", "4", "5"]]);
  expect(stdout).toContain("5 lines written");
  expect(stderr).toMatch(/a\.log\.3\.gz: left out, it is compressed/u);
  expect(stderr).toMatch(/wtmp: left out, it is no text/u);
  await write("logs/c.log", "6\n");
  expect((await push("logs")).stdout).toContain("1 line written");
  expect(await messages()).toEqual(["1", "2", "3", "4", "5", "6"]);
});

test("a file that was rotated and has no successor yet is still the same file", async () => {
  await write("logs/a.log", "1\n");
  await push("logs");
  const path = (name: string): string => join(folder.path, "logs", name);
  await appendFile(path("a.log"), "2\n");
  await rename(path("a.log"), path("a.log.1"));
  expect((await push("logs")).exitCode).toBe(0);
  expect(await messages()).toEqual(["1", "2"]);
  await write("logs/a.log", "3\n");
  await push("logs");
  expect(await messages()).toEqual(["1", "2", "3"]);
});

test("what looks rotated, and was pushed under its own name, is not pushed again when a file has the name that it may have had", async () => {
  await write("logs/worker.1", "1\n");
  await push("logs");
  await write("logs/worker", "2\n");
  await push("logs");
  expect(await messages()).toEqual(["1", "2"]);
});

test("a pattern takes what it matches, and a file that is named twice comes once", async () => {
  await write("x/1.log", "one\n");
  await write("x/2.txt", "two\n");
  await write("x/y/3.log", "three\n");
  await push("x/**/*.log", "x/1.log", "x/*.log");
  expect((await messages()).toSorted((a, b) => a.localeCompare(b))).toEqual(["one", "three"]);
});

test("following a pattern: files that come later, rotation, files that go", async () => {
  await write("pods/a/0.log", "1\n");
  const interrupt = startPush("pods/*/*.log");
  await expect.poll(messages).toEqual(["1"]);
  await write("pods/b/0.log", "2\n");
  await expect.poll(messages).toEqual(["1", "2"]);
  const at = (name: string): string => join(folder.path, "pods/a", name);
  await rename(at("0.log"), at("0.log.20261121-084301"));
  await appendFile(at("0.log.20261121-084301"), "3\n");
  await writeFile(at("0.log"), "4\n");
  await expect.poll(messages).toEqual(["1", "2", "3", "4"]);
  await rm(join(folder.path, "pods/b"), { recursive: true });
  await appendFile(at("0.log"), "5\n");
  await expect.poll(messages).toEqual(["1", "2", "3", "4", "5"]);
  expect(await interrupt()).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining("5 lines written") as string,
  });
  expect((await push("pods/*/*.log")).stdout).toContain("0 lines written");
});

test("more files than can be followed at once are refused, with the limit", async () => {
  for (let i = 0; i <= 500; i++) await write(`many/${i}.log`, "");
  const call = callCli(words("--application", application, "--follow", "many"), { folder: folder.path });
  expect(await call.ended).toMatchObject({
    exitCode: 7,
    stderr: expect.stringContaining("Cannot follow more than 500 files at once") as string,
  });
});

test("following a folder that is empty waits for its first file", async () => {
  await mkdir(join(folder.path, "later"));
  startPush("later");
  await write("later/a.log", "here\n");
  await expect.poll(messages).toEqual(["here"]);
});

test("Kubernetes' and Docker's folders say whose lines these are", async () => {
  const uid = "0fd4ef5f-5a8f-4c4b-9a52-6a8b4d1f0b4e";
  const id = "0123456789abcdef".repeat(4);
  const line = (text: string) => `2026-11-21T08:43:01.5Z stdout F ${text}\n`;
  await write(`pods/shop_web-7d9_${uid}/nginx/3.log`, line("from a pod"));
  await write(`links/web-7d9_shop_nginx-${id}.log`, line("by its link"));
  const docker = JSON.stringify({ log: "from Docker\n", stream: "stderr", time: "2026-11-21T08:43:01.5Z" });
  await write(`containers/${id}/${id}-json.log`, `${docker}\n`);
  await write(`containers/${id}/config.v2.json`, JSON.stringify({ ID: id, Name: "/teapot" }));
  const pushed = await callCli(words("pods", "links", "containers/**/*-json.log"), { folder: folder.path }).ended;
  expect(pushed.exitCode).toBe(0);
  expect(await entries("nginx")).toMatchObject([
    {
      message: "from a pod",
      fields: {
        stream: "stdout",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "web-7d9",
        "k8s.pod.uid": uid,
        "k8s.container.name": "nginx",
        "k8s.container.restart_count": "3",
      },
    },
    { message: "by its link", fields: { "k8s.namespace.name": "shop", "container.id": id } },
  ]);
  expect(await entries("teapot")).toMatchObject([
    { message: "from Docker", fields: { stream: "stderr", "container.id": id, "container.name": "teapot" } },
  ]);
});

test("killed again and again while records of several lines grow under it: every line once, in order", async () => {
  await write("a.log", "");
  const path = join(folder.path, "a.log");
  const following = words("--application", application, "--follow", "a.log");
  const written = async (): Promise<number> => {
    const found = await client.listApplications();
    return Number(found.find((each) => each.application === application)?.entries ?? 0n);
  };
  let order = 0;
  const records = (count: number): string =>
    Array.from({ length: count }, () => `order ${++order};\n  at brew ${order};\n  at main ${order};\n`).join("");
  for (let kill = 0; kill < 6; kill++) {
    const before = await written();
    await using cli = startCli(following, { folder: folder.path });
    // It ends in the middle of a record, and of a line.
    await appendFile(path, `${records(2000)}order ${++order};\n  at bre`);
    await expect.poll(written, { interval: 1, timeout: 60_000 }).toBeGreaterThan(before + kill * 100);
    cli.kill("SIGKILL");
    await cli.ended();
    await appendFile(path, `w ${order};\n`);
  }
  expect(await push("a.log")).toMatchObject({ exitCode: 0 });
  const text = (await messages()).join("\n");
  expect(text.match(/order \d+;/gu)).toEqual(Array.from({ length: order }, (_, i) => `order ${i + 1};`));
  const frames = Array.from({ length: order }, (_, i) => i + 1).filter((each) => each % 2001 !== 0);
  expect(text.match(/at main \d+;/gu)).toEqual(frames.map((each) => `at main ${each};`));
  // A line that was cut for good, because its end did not come in time, is in two entries.
  expect(text.replace(/\n/gu, "").match(/at brew \d+;/gu)).toHaveLength(order);
});

test.each([
  { what: "a rule", more: ["--join", "sometimes"], says: "traces" },
  { what: "an expression that is none", more: ["--join", "/(/"], says: "nvalid regular expression" },
  { what: "a format", more: ["--format", "xml"], says: "Allowed choices are auto, json, logfmt" },
])("$what that is not known is refused, with what is", async ({ more, says }) => {
  const { exitCode, stderr } = await push("a.log", ...more);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining(says)]);
});

test("what could go on is sent soon through a pipe that stays open", async () => {
  const stdin = new PassThrough();
  const call = callCli(words("--application", application), { folder: folder.path, stdin });
  stdin.write("ERROR broken\n  at one\n");
  await expect.poll(messages).toEqual(["broken\n  at one"]);
  stdin.end("next\n");
  expect(await call.ended).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining("2 entries of 3 lines") as string,
  });
});
