// `sluice files put`, mv, rm and mkdir against a real server; and the SDK's uploads through faults.
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@sluice/client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import type { CliResult } from "../support/cli-process.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const SHARED = ["--files", "shared:rw"];
let resources: AsyncDisposableStack;
let folder: string;
let server: ServerProcess;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  folder = resources.use(await openTemporaryFolder("put")).path;
  await mkdir(join(folder, "shared"));
  await mkdir(join(folder, "here", "sub"), { recursive: true });
  server = resources.use(await startServer(SHARED, { folder }));
});
afterEach(() => resources.disposeAsync());

const start = (...words: string[]) =>
  callCli(["files", ...words, "--server", server.address], { folder: join(folder, "here") });
const run = (...words: string[]): Promise<CliResult> => start(...words).ended;
const here = (name: string, bytes: Uint8Array | string) => writeFile(join(folder, "here", name), bytes);
const there = (name: string): Promise<Buffer> => readFile(join(folder, "shared", name));

test("put writes files and folders, leaves alone what is there, and replaces what changed", async () => {
  const large = randomBytes(5_000_000);
  await here("a.bin", large);
  await here("sub/b", "b");
  await here("sub/empty", "");
  expect(await run("put", "a.bin", "x.bin")).toMatchObject({ exitCode: 0 });
  expect((await there("x.bin")).equals(large)).toBe(true);
  expect(await run("put", "-r", "a.bin", "sub", "to/", "--parallel", "3")).toMatchObject({ exitCode: 0 });
  expect((await there("to/a.bin")).equals(large)).toBe(true);
  expect([(await there("to/sub/b")).toString(), (await there("to/sub/empty")).length]).toEqual(["b", 0]);
  expect((await run("put", "a.bin", "x.bin")).stdout).toBe("x.bin: unchanged\n");
  await here("a.bin", "changed");
  expect(JSON.parse((await run("put", "a.bin", "x.bin", "--output", "json")).stdout)).toMatchObject({
    outcome: "saved",
    filePath: "x.bin",
    size: "7",
  });
  const refused = await run("put", "a.bin", "x.bin", "--new");
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain("there is one already");
  expect((await run("put", "sub", "x")).exitCode).toBe(2);
});

test("Ctrl-C keeps what arrived, and --resume goes on with it, also after the server was killed", async () => {
  const bytes = randomBytes(120_000_000);
  await here("a.bin", bytes);
  const staging = join(folder, "shared", ".sluice-uploads");
  const sizeThere = async (): Promise<number> => {
    const name = (await readdir(staging).catch(() => [])).find((each) => each.endsWith(".data"));
    return name === undefined ? 0 : (await stat(join(staging, name))).size;
  };
  const first = start("put", "a.bin", "a.bin", "--limit-rate", "40M");
  await expect.poll(sizeThere, { interval: 5, timeout: 20_000 }).toBeGreaterThan(4_000_000);
  first.interrupt();
  const stopped = await first.ended;
  expect([stopped.exitCode, stopped.stderr]).toEqual([1, expect.stringContaining("--resume goes on")]);
  const { address } = server;
  server.kill("SIGKILL");
  await server.ended();
  server = resources.use(await startServer([...SHARED, "--listen", address], { folder }));
  await using client = connect(address);
  const before = (await readdir(staging)).filter((name) => name.endsWith(".data"));
  expect(await run("put", "a.bin", "a.bin", "--resume")).toMatchObject({ exitCode: 0 });
  expect((await there("a.bin")).equals(bytes)).toBe(true);
  // It was the same upload: no other one was begun.
  expect(before.length).toBe(1);
  expect((await readdir(staging)).map((name) => name.slice(0, 22))).toEqual([before[0]!.slice(0, 22)]);
  expect((await client.getFileInfo("a.bin")).size).toBe(BigInt(bytes.length));
}, 60_000);

test("the SDK goes on when the server is killed under it", async () => {
  const bytes = randomBytes(60_000_000);
  const { address } = server;
  await using client = connect(address);
  let restarts = 0;
  const { promise: restarted, resolve } = Promise.withResolvers<void>();
  const info = await client.uploadFile("a.bin", bytes, {
    onProgress({ durable }) {
      if (restarts > 0 || durable < 4_000_000) return;
      restarts++;
      server.kill("SIGKILL");
      void server.ended().then(async () => {
        server = resources.use(await startServer([...SHARED, "--listen", address], { folder }));
        resolve();
      });
    },
  });
  await restarted;
  expect([info.size, restarts]).toEqual([60_000_000n, 1]);
  expect((await there("a.bin")).equals(bytes)).toBe(true);
}, 60_000);

test("mkdir, mv and rm", async () => {
  await here("a", "a");
  expect(await run("mkdir", "x/y", "z")).toMatchObject({ exitCode: 0 });
  expect(await run("put", "a", "x/y/")).toMatchObject({ exitCode: 0 });
  expect(await run("mv", "x/y/a", "z/b")).toMatchObject({ exitCode: 0 });
  expect((await there("z/b")).toString()).toBe("a");
  expect((await run("rm", "x")).stderr).toContain("the folder is not empty");
  expect(await run("rm", "x/y", "x", "z/b")).toMatchObject({ exitCode: 0 });
  expect((await readdir(join(folder, "shared"))).toSorted()).toEqual([".sluice-uploads", "z"]);
});
