// What `sluice serve` says and refuses before it serves, each as a sentence and an exit code.
import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCli, startCli } from "../support/cli-process.ts";
import { collect, openLogClient } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

test("with --log-format json an object says where it listens; settings come from the environment as well", async () => {
  await using folder = await openTemporaryFolder("serve");
  await using server = startCli(["serve", "--log-format", "json"], {
    folder: folder.path,
    environment: { SLUICE_LISTEN: "127.0.0.1:0", SLUICE_DATA: "elsewhere" },
  });
  const [line] = await server.waitFor("stderr", /^.*"event":"listening".*$/mu);
  const record = JSON.parse(line) as Record<string, string>;
  expect(record).toMatchObject({ level: "info", event: "listening" });
  expect(record["address"]).toMatch(/^127\.0\.0\.1:\d+$/u);
  expect((await stat(join(folder.path, "elsewhere/logs/default"))).isDirectory()).toBe(true);
});

test("the server's own log is an application of its own store", async () => {
  await using folder = await openTemporaryFolder("serve");
  await using server = await startServer([], { folder: folder.path });
  await using client = openLogClient(server.address);
  await expect
    .poll(async () => (await collect(client.seed.streamLogs({ application: "sluice" }))).map((each) => each.message))
    .toEqual(["made a new log", `listening on ${server.address}`]);
  const [opened] = await collect(client.seed.streamLogs({ application: "sluice", filters: ["event=log-opened"] }));
  expect(opened).toMatchObject({ level: "INFO", fields: { log: "default", segments: "1" } });
});

test("at level debug each call is a line with its method, code and peer; at info none is", async () => {
  await using folder = await openTemporaryFolder("serve");
  for (const [level, isTold] of [
    ["debug", true],
    ["info", false],
    // It says where it listens all the same: scripts wait for that.
    ["error", false],
  ] as const) {
    await using server = await startServer(["--log-level", level], { folder: folder.path });
    await using client = openLogClient(server.address);
    await client.logs.listApplications({});
    await client.logs.listApplications({ log: "audit" }).catch(() => {});
    server.kill("SIGTERM");
    const { stderr } = await server.ended();
    const calls = stderr.match(
      /method=sluice\.logs\.v1\.LogService\/ListApplications peer=127\S+ code=(OK|NOT_FOUND)/gu,
    );
    expect(calls?.length ?? 0).toBe(isTold ? 2 : 0);
    expect(stderr.includes("stopped")).toBe(level !== "error");
  }
});

test("a port in use", async () => {
  await using folder = await openTemporaryFolder("serve");
  await using server = await startServer([], { folder: folder.path });
  const { exitCode, stderr } = await runCli(["serve", "--listen", server.address, "--data", "other"], {
    folder: folder.path,
  });
  expect(exitCode).toBe(1);
  expect(stderr).toContain(
    `sluice: Cannot listen on ${server.address}: another program listens there; stop it or choose another address\n`,
  );
});

test("a data folder in use, which goes on undisturbed", async () => {
  await using folder = await openTemporaryFolder("serve");
  await using server = await startServer([], { folder: folder.path });
  await using client = openLogClient(server.address);
  await client.write({ application: "a", message: "before" });
  const { exitCode, stderr } = await runCli(["serve", "--listen", "127.0.0.1:0"], { folder: folder.path });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(
    /^sluice: Cannot open the data folder \S+\/data: process \d+.* uses it; stop it or choose another with --data$/mu,
  );
  await client.write({ application: "a", message: "after" });
  expect((await collect(client.seed.streamLogs({ application: "a" }))).map((each) => each.message)).toEqual([
    "before",
    "after",
  ]);
});

test("an address that others reach, without --insecure-listen", async () => {
  await using folder = await openTemporaryFolder("serve");
  const { exitCode, stderr } = await runCli(["serve", "--listen", "0.0.0.0:0"], { folder: folder.path });
  expect(exitCode).toBe(1);
  expect(stderr).toContain("sluice: Cannot listen on 0.0.0.0: others can reach it and nobody has to say who they are");
  await using server = startCli(["serve", "--listen", "0.0.0.0:0", "--insecure-listen"], { folder: folder.path });
  await server.waitFor("stderr", /^listening on 0\.0\.0\.0:\d+$/mu);
});

test("a configuration that cannot be read, or is wrong: file, line, key and what is allowed", async () => {
  await using folder = await openTemporaryFolder("serve");
  const complaintOf = async (...words: string[]) => {
    const { exitCode, stderr } = await runCli(["serve", ...words], { folder: folder.path });
    expect(exitCode).toBe(2);
    return stderr;
  };
  expect(await complaintOf("--config", "missing.yaml")).toBe(
    `sluice: Cannot read the configuration ${folder.path}/missing.yaml: there is no such file\n`,
  );
  await mkdir(join(folder.path, "folder.yaml"));
  expect(await complaintOf("--config", "folder.yaml")).toMatch(/folder\.yaml: it is a folder\n$/u);
  await writeFile(join(folder.path, "sluice.yaml"), "listen: 127.0.0.1:0\nretainFor: 1d\nheartbeat: often\n");
  expect(await complaintOf()).toMatch(/sluice\.yaml:2: retainFor is no setting: did you mean retainAge\?\n$/u);
  await writeFile(join(folder.path, "sluice.yaml"), "listen: 127.0.0.1:0\nheartbeat: often\n");
  expect(await complaintOf()).toMatch(/sluice\.yaml:2: heartbeat: "often" is no duration; allowed is .*30s/u);
});

test("a data folder that cannot be", async () => {
  await using folder = await openTemporaryFolder("serve");
  await writeFile(join(folder.path, "file"), "");
  for (const [data, reason] of [
    ["file", "it is no folder"],
    ["file/data", "a part of its path is no folder"],
  ] as const) {
    const { exitCode, stderr } = await runCli(["serve", "--listen", "127.0.0.1:0", "--data", data], {
      folder: folder.path,
    });
    expect(stderr).toBe(
      `sluice: Cannot open the data folder ${folder.path}/${data}: ${reason}; choose another with --data\n`,
    );
    expect(exitCode).toBe(1);
  }
});
