import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeFileSystem } from "../../store/file-system-node.ts";
import { openVapidKeys } from "./vapid-keys.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-vapid-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("are made once, and are the same after a restart", async () => {
  const keys = await openVapidKeys(nodeFileSystem, folder);
  expect(Buffer.from(keys.publicKey, "base64url")).toHaveLength(65);
  expect(await openVapidKeys(nodeFileSystem, folder)).toEqual(keys);
});

test("are not made anew over a file that holds none: every browser would have to subscribe again", async () => {
  const path = join(folder, "web-push-keys.json");
  for (const text of ["", "{", '{"publicKey":"AA","privateKey":"AA"}']) {
    await writeFile(path, text);
    await expect(openVapidKeys(nodeFileSystem, folder)).rejects.toThrow("restore it, or remove it");
    expect(await readFile(path, "utf8")).toBe(text);
  }
});
