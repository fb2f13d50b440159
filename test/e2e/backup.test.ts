// `sluice logs backup` beside a running server, `sluice logs restore`, and what readers of the old log hear of the new one.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GapReason } from "@sluice/api";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runCli } from "../support/cli-process.ts";
import { collect, openLogClient } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
beforeEach(async () => void (folder = await openTemporaryFolder("backup")));
afterEach(() => folder[Symbol.asyncDispose]());

const SMALL = ["--segment-bytes", "64KiB", "--limits-entry-bytes-max", "8KiB"];
const run = (...words: string[]) => runCli(["logs", ...words], { folder: folder.path });
const entries = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ application: "a", message: `${from + i} ${"x".repeat(500)}` }));

test("a backup beside a running server, brought up to date, restored and served; late cursors are told of their loss", async () => {
  await using server = await startServer(SMALL, { folder: folder.path });
  await using client = openLogClient(server.address);
  await client.write(...entries(1, 300));
  const first = await run("backup", "copy");
  expect(first).toMatchObject({ exitCode: 0, stderr: "" });
  expect(first.stdout).toMatch(/^log default: entries 1 to 30\d in \d+ segments; copied \d+ \([^)]+\)\n$/u);
  await client.write(...entries(301, 100));
  const second = await run("backup", "copy", "--output", "json");
  expect(JSON.parse(second.stdout)).toMatchObject({ name: "default", first: 1, damaged: [] });
  // Acknowledged after the backup: it will be gone.
  await client.write(...entries(401, 1));
  const seen = (await collect(client.logs.streamLogs({ application: "a" }))).filter(
    (each) => each.control === undefined,
  );
  expect(seen).toHaveLength(401);

  const restored = await run("restore", "copy", "--data", "again");
  expect(restored).toMatchObject({ exitCode: 0, stderr: "" });
  expect(restored.stdout).toMatch(/^log default: 40\d entries, [^\n]+\n/u);
  await using other = await startServer(["--data", "again"], { folder: folder.path });
  await using reader = openLogClient(other.address);
  const found = (await collect(reader.logs.streamLogs({ application: "a" }))).filter(
    (each) => each.control === undefined,
  );
  expect(found.map(({ message }) => message)).toEqual(seen.slice(0, 400).map(({ message }) => message));
  const late = await collect(reader.logs.streamLogs({ application: "a", resumeAfter: seen.at(-1)!.cursor }));
  const gaps = late.flatMap(({ control }) => (control?.kind.case === "gap" ? [control.kind.value] : []));
  expect(gaps).toMatchObject([{ reason: GapReason.EPOCH }]);
});

test("what cannot be done says why", async () => {
  expect(await run("backup", "copy")).toMatchObject({ exitCode: 4 });
  expect(await run("restore", "copy")).toMatchObject({ exitCode: 4 });
  await using server = await startServer(SMALL, { folder: folder.path });
  expect((await run("backup", "data")).stderr).toMatch(/is not empty, it is a data folder; choose another/u);
  expect(server.child.exitCode).toBeNull();
  await run("backup", "copy");
  const served = await runCli(["serve", "--data", "copy"], { folder: folder.path });
  expect(served).toMatchObject({ exitCode: 1 });
  expect(served.stderr).toContain("sluice logs restore");
});

test("damage is told by exit code, and the restored log says which entries are gone", async () => {
  await using server = await startServer(SMALL, { folder: folder.path });
  await using client = openLogClient(server.address);
  await client.write(...entries(1, 300));
  const logs = join(folder.path, "data/logs/default");
  const [name = ""] = (await readdir(logs)).filter((each) => each.endsWith(".frames")).toSorted();
  const bytes = await readFile(join(logs, name));
  bytes[bytes.indexOf("20 xxx") + 50]! ^= 0xff;
  await writeFile(join(logs, name), bytes);
  const backup = await run("backup", "copy");
  expect(backup.exitCode).toBe(6);
  expect(backup.stdout).toMatch(/entries (\d+) to \1 do not match their checksum/u);
  const restore = await run("restore", "copy", "--data", "again");
  expect(restore.exitCode).toBe(6);
  expect(restore.stdout).toMatch(/entries \d+ do not match their checksum \(marked as a gap\)/u);
});

test("a server compresses what it has sealed, and serves it as before", async () => {
  await using server = await startServer([...SMALL, "--compress-after", "1s"], { folder: folder.path });
  await using client = openLogClient(server.address);
  await client.write(...entries(1, 300));
  const logs = join(folder.path, "data/logs/default");
  await expect
    .poll(async () => (await readdir(logs)).filter((each) => each.endsWith(".frames")).length, { timeout: 60_000 })
    .toBe(1);
  const found = (await collect(client.logs.streamLogs({ application: "a" }))).filter(
    (each) => each.control === undefined,
  );
  expect(found.map(({ message }) => message)).toEqual(entries(1, 300).map(({ message }) => message));
});
