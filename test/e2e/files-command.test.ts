// `sluice files` against a real server: what it says, what it saves, and what it does when it is interrupted.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import type { CliResult } from "../support/cli-process.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const resources = new AsyncDisposableStack();
let folder: string;
let server: ServerProcess;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("files")).path;
  await mkdir(join(folder, "shared"));
  server = resources.use(await startServer(["--files", "shared"], { folder }));
});
beforeEach(async () => {
  await mkdir(join(folder, "shared", "sub"));
  await mkdir(join(folder, "here"));
});
afterEach(async () => {
  await rm(join(folder, "here"), { recursive: true });
  for (const name of await readdir(join(folder, "shared"))) await rm(join(folder, "shared", name), { recursive: true });
});
afterAll(() => resources.disposeAsync());

async function share(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(folder, "shared", name);
  await writeFile(path, bytes);
  await utimes(path, 1_600_000_000, 1_600_000_000.5);
  return createHash("sha256").update(bytes).digest("hex");
}

const start = (...words: string[]) =>
  callCli(["files", ...words, "--server", server.address], { folder: join(folder, "here") });
const run = (...words: string[]): Promise<CliResult> => start(...words).ended;
const objects = ({ stdout }: CliResult): Record<string, unknown>[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

function expectSaid({ exitCode, stderr }: CliResult, code: number, text: string): void {
  expect({ exitCode, stderr }).toEqual({ exitCode: code, stderr });
  expect(stderr).toContain(text);
}

test("ls and stat show what is there", async () => {
  const checksum = await share("a.txt", "hello\n");
  await share("sub/b.bin", randomBytes(2000));
  expect((await run("ls", "-r", "--utc")).stdout).toMatch(
    /^ +6 B +2020-09-13 12:26:40\.5\S* +a\.txt\n.* sub\/\n +2\.0 KiB .* sub\/b\.bin\n$/u,
  );
  expect(objects(await run("ls", "--glob", "*.txt", "--output", "json"))).toMatchObject([
    { filePath: "a.txt", size: "6", modifiedTime: "1600000000500000000", isDirectory: false },
  ]);
  expect(objects(await run("stat", "a.txt", "--output", "json"))).toMatchObject([
    { filePath: "a.txt", mimeType: "text/plain", checksum },
  ]);
  expect((await run("stat", "a.txt")).stdout).toContain(`SHA-256   ${checksum}`);
  expect(await run("stat", "missing")).toMatchObject({ exitCode: 5 });
});

test("cat writes a file, or a part of it", async () => {
  await share("a.txt", "hello, world\n");
  expect(await run("cat", "a.txt")).toMatchObject({ exitCode: 0, stdout: "hello, world\n" });
  expect(await run("cat", "a.txt", "--offset", "7", "--limit", "5")).toMatchObject({ stdout: "world" });
  expect(await run("cat", "a.txt", "--offset", "99")).toMatchObject({ exitCode: 2 });
});

test("get saves a file with its time, leaves it alone when it is there, and replaces it when it changed", async () => {
  const bytes = randomBytes(3_000_000);
  const checksum = await share("a.bin", bytes);
  const target = join(folder, "here", "a.bin");
  expect(objects(await run("get", "a.bin", "--output", "json"))).toMatchObject([
    { filePath: "a.bin", target, outcome: "saved", size: "3000000", checksum },
  ]);
  expect((await readFile(target)).equals(bytes)).toBe(true);
  expect((await stat(target)).mtimeMs).toBe(1_600_000_000_500);
  expect((await run("get", "a.bin")).stdout).toBe(`${target}: unchanged\n`);
  await share("a.bin", "changed");
  expect((await run("get", "a.bin")).exitCode).toBe(0);
  expect(await readFile(target, "utf8")).toBe("changed");
  expect(await readdir(join(folder, "here"))).toEqual(["a.bin"]);
});

test("get takes several streams, a folder with all that is in it, and several files at once", async () => {
  const large = randomBytes(10_000_000);
  await share("large", large);
  await share("sub/b", "b");
  await share("sub/c.txt", "c");
  await share("empty", "");
  expect(await run("get", "large", "--parallel", "4", "--to", "copy")).toMatchObject({ exitCode: 0 });
  expect((await readFile(join(folder, "here", "copy"))).equals(large)).toBe(true);
  expect(await run("get", "-r", "sub", "large", "empty", "--parallel", "3", "--to", "all")).toMatchObject({
    exitCode: 0,
  });
  expect((await readFile(join(folder, "here", "all", "large"))).equals(large)).toBe(true);
  expect(await readFile(join(folder, "here", "all", "sub", "c.txt"), "utf8")).toBe("c");
  expect((await stat(join(folder, "here", "all", "empty"))).size).toBe(0);
  expectSaid(await run("get", "sub"), 2, "Get all of it with -r");
  expect(objects(await run("get", "-r", "sub", "--glob", "*.txt", "--to", "some", "--output", "json"))).toHaveLength(1);
});

test.each([1, 3])("Ctrl-C keeps what is there, and --resume goes on with it (%d streams)", async (parallel) => {
  const bytes = randomBytes(6_000_000);
  await share("a.bin", bytes);
  const words = ["get", "a.bin", "--parallel", String(parallel)];
  const first = start(...words, "--limit-rate", "2M");
  const part = join(folder, "here", "a.bin.part");
  const noteOf = async (): Promise<{ spans: { next: number; end: number }[] }> =>
    JSON.parse(await readFile(`${part}.json`, "utf8")) as { spans: { next: number; end: number }[] };
  const missing = async (): Promise<number> =>
    (await noteOf().catch(() => ({ spans: [{ next: 0, end: bytes.length }] }))).spans.reduce(
      (sum, { next, end }) => sum + end - next,
      0,
    );
  await expect.poll(missing, { timeout: 10_000 }).toBeLessThan(bytes.length - 1_000_000);
  first.interrupt();
  expectSaid(await first.ended, 1, "--resume goes on");
  const left = await missing();
  expect(left).toBeGreaterThan(0);
  expect((await readdir(join(folder, "here"))).toSorted()).toEqual(["a.bin.part", "a.bin.part.json"]);

  // What is there is used: were it read again, this would be mended.
  const { spans } = await noteOf();
  const received = Buffer.from(await readFile(part));
  expect(spans[0]!.next).toBeGreaterThan(0);
  received[0]! ^= 1;
  await writeFile(part, received);
  expectSaid(await run(...words, "--resume"), 6, "thrown away");
  expect(await readdir(join(folder, "here"))).toEqual([]);

  const second = start(...words, "--limit-rate", "2M");
  await expect.poll(missing, { timeout: 10_000 }).toBeLessThan(bytes.length - 1_000_000);
  second.interrupt();
  await second.ended;
  expect(await run(...words, "--resume")).toMatchObject({ exitCode: 0 });
  expect((await readFile(join(folder, "here", "a.bin"))).equals(bytes)).toBe(true);
  expect(await readdir(join(folder, "here"))).toEqual(["a.bin"]);
});

test("get goes on when the server is killed and comes back", async () => {
  const bytes = randomBytes(8_000_000);
  await share("a.bin", bytes);
  const { address } = server;
  const getting = start("get", "a.bin", "--limit-rate", "4M");
  await expect
    .poll(async () => (await stat(join(folder, "here", "a.bin.part")).catch(() => ({ size: 0 }))).size)
    .toBeGreaterThan(0);
  server.kill("SIGKILL");
  await server.ended();
  server = resources.use(await startServer(["--files", "shared", "--listen", address], { folder }));
  expectSaid(await getting.ended, 0, "connection lost");
  expect((await readFile(join(folder, "here", "a.bin"))).equals(bytes)).toBe(true);
});

test("verify compares without getting", async () => {
  await share("a.txt", "hello\n");
  await writeFile(join(folder, "here", "same"), "hello\n");
  await writeFile(join(folder, "here", "other"), "hallo\n");
  expect(await run("verify", "a.txt", "same")).toMatchObject({ exitCode: 0 });
  expectSaid(await run("verify", "a.txt", "other"), 6, "differ");
});

test("a folder that is not there cannot be shared", async () => {
  await expect(startServer(["--files", "nowhere", "--data", "other"], { folder })).rejects.toThrow(
    /Cannot share the folder .*nowhere: there is no such folder/u,
  );
});
