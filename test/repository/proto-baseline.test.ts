// What `buf breaking` compares with, in the kinds of clones that there are, and that it finds a broken contract.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { findProtoBaseline } from "../../scripts/proto-baseline.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-baseline-"));
  await cp(join(rootFolder, "proto"), join(folder, "proto"), { recursive: true });
  await cp(join(rootFolder, "buf.yaml"), join(folder, "buf.yaml"));
  await git("init", "--initial-branch=main");
  await commit("first");
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function git(...args: string[]): Promise<string> {
  const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"];
  const { code, output, stdout } = await runCommand(["git", ...identity, ...args], { cwd: folder });
  if (code !== 0) throw new Error(`git ${args.join(" ")}: ${output}`);
  return stdout.trim();
}

async function commit(message: string): Promise<string> {
  await git("add", "--all");
  await git("commit", "--allow-empty", "--message", message);
  return git("rev-parse", "HEAD");
}

test("the first commit has nothing to be compared with", async () => {
  const reason = "this clone holds no earlier commit with interface definitions";
  expect(await findProtoBaseline(folder)).toEqual({ kind: "none", reason });
});

test("on main it is the commit before", async () => {
  const first = await git("rev-parse", "HEAD");
  await commit("second");
  expect(await findProtoBaseline(folder)).toMatchObject({ kind: "commit", commit: first });
});

test("on a branch it is where main was left", async () => {
  const fork = await commit("second");
  await git("switch", "--create", "work");
  await commit("third");
  await commit("fourth");
  expect(await findProtoBaseline(folder)).toMatchObject({ kind: "commit", commit: fork });
});

test("a release comes before all", async () => {
  const release = await git("rev-parse", "HEAD");
  await git("tag", "v0.1.0");
  await commit("second");
  await commit("third");
  expect(await findProtoBaseline(folder)).toMatchObject({ kind: "commit", commit: release, name: "v0.1.0" });
});

test("a shallow clone says that history is missing", async () => {
  await commit("second");
  const clone = await mkdtemp(join(tmpdir(), "sluice-shallow-"));
  try {
    await git("clone", "--quiet", "--depth=1", `file://${folder}`, clone);
    expect(await findProtoBaseline(clone)).toMatchObject({ kind: "none" });
  } finally {
    await rm(clone, { recursive: true, force: true });
  }
});

test("a field that changes its number is found", async () => {
  const file = join(folder, "proto/sluice/logs/v1/logs.proto");
  const text = await readFile(file, "utf8");
  expect(text).toContain("string application = 1;");
  await writeFile(file, text.replace("string application = 1;", "string application = 99;"));
  await commit("break the contract");

  const baseline = await findProtoBaseline(folder);
  if (baseline.kind !== "commit") throw new Error(baseline.reason);
  const against = `${baseline.gitFolder}#ref=${baseline.commit}`;
  const { code, output } = await runCommand(["buf", "breaking", "--against", against], { cwd: folder });
  expect(code).not.toBe(0);
  expect(output).toContain("logs.proto");
});
