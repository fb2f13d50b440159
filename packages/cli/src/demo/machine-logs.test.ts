import { chmod, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findMachineLogs } from "./machine-logs.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-machine-logs-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("text files are found, the most recently written first; others are left out with a reason", async () => {
  const at = (name: string) => join(folder, name);
  await mkdir(at("web"));
  await writeFile(at("dpkg.log"), "2025-11-21 install\n");
  await writeFile(at("web/access.log"), "GET /\n");
  await writeFile(at("empty.log"), "");
  await utimes(at("dpkg.log"), 1000, 3000);
  await utimes(at("web/access.log"), 1000, 2000);
  await utimes(at("empty.log"), 1000, 1000);
  await writeFile(at("data.log"), Buffer.from([1, 0, 2]));
  await writeFile(at("dpkg.log.1"), "older\n");
  await writeFile(at("dpkg.log.2.gz"), "older still\n");
  await writeFile(at("wtmp"), "");
  await symlink("/etc/passwd", at("link.log"));

  const { files, leftOut } = await findMachineLogs(folder);
  expect(files.map(({ path, application, sizeBytes }) => ({ path, application, sizeBytes }))).toEqual([
    { path: at("dpkg.log"), application: "dpkg", sizeBytes: 19 },
    { path: at("web/access.log"), application: "access", sizeBytes: 6 },
    { path: at("empty.log"), application: "empty", sizeBytes: 0 },
  ]);
  expect(leftOut).toEqual([
    { path: at("data.log"), reason: "binary" },
    { path: at("dpkg.log.1"), reason: "an older part that was put aside by rotation" },
    { path: at("dpkg.log.2.gz"), reason: "compressed" },
    { path: at("wtmp"), reason: "a binary record of logins" },
  ]);
});

test("what may not be read is left out", async (context) => {
  if (process.getuid?.() === 0) context.skip("root may read everything");
  const secret = join(folder, "secret.log");
  await writeFile(secret, "x\n");
  await chmod(secret, 0);
  expect(await findMachineLogs(folder)).toEqual({
    files: [],
    leftOut: [{ path: secret, reason: "this user may not read it" }],
  });
});

test("a machine without a log folder", async () => {
  expect(await findMachineLogs("/nowhere/log")).toEqual({
    files: [],
    leftOut: [{ path: "/nowhere/log", reason: "there is none" }],
  });
});

test("no more than 32 files, those written longest ago left out", async () => {
  for (let i = 0; i < 34; i += 1) {
    const path = join(folder, `${i}.log`);
    await writeFile(path, "x\n");
    await utimes(path, 1000, 10_000 - i);
  }
  const { files, leftOut } = await findMachineLogs(folder);
  expect(files).toHaveLength(32);
  expect(leftOut.map((each) => each.path)).toEqual([join(folder, "32.log"), join(folder, "33.log")]);
});
