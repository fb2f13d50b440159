import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { Changes } from "./change.ts";
import type { FilePath, FileRoot } from "./file-path.ts";

let folder: string;
let root: FileRoot;
/** Which folders were synced, with what was in them then. */
let synced: string[];
let changes: Changes;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-change-"));
  root = { name: "", folder, isWritable: true };
  synced = [];
  changes = new Changes({
    async syncFolder(path) {
      synced.push(`/${relative(folder, await realpath(path))}: ${(await readdir(path)).join(" ")}`);
      await nodeFileSystem.syncFolder(path);
    },
  });
});
afterEach(() => rm(folder, { recursive: true }));

function pathOf(text: string): FilePath {
  return { root, parts: text.split("/"), text };
}

const anyFile = { ifMatch: "", mustBeNew: false, makesFolders: true };

test("folders are synced as they are made, and the last one when the file is in it", async () => {
  await writeFile(join(folder, "upload"), "new");
  await changes.replace(pathOf("a/b/c"), anyFile, async (target, syncPlace) => {
    synced.push("placed");
    await nodeFileSystem.rename(join(folder, "upload"), target);
    await syncPlace();
  });
  expect(synced).toEqual(["/: a upload", "/a: b", "placed", "/a/b: c"]);
  expect(await readFile(join(folder, "a/b/c"), "utf8")).toBe("new");
});

test("folders that are there are synced, too: who made them may have ended before that", async () => {
  await mkdir(join(folder, "a/b"), { recursive: true });
  await changes.replace(pathOf("a/b/c"), anyFile, async (target) => writeFile(target, ""));
  expect(synced).toEqual(["/: a", "/a: b"]);
  synced = [];
  await changes.makeFolder(pathOf("a/b"));
  expect(synced).toEqual(["/: a", "/a: b"]);
  synced = [];
  await changes.makeFolder(pathOf("d"));
  expect(synced).toEqual(["/: a d"]);
});

test("what is moved is synced where it comes to before where it went from", async () => {
  for (const name of ["a", "b"]) await mkdir(join(folder, name));
  await writeFile(join(folder, "a/x"), "x");
  await changes.move(pathOf("a/x"), pathOf("b/y"), { ifMatch: "", overwrite: false });
  expect(synced).toEqual(["/b: y", "/a: "]);
});

test("what is deleted is synced", async () => {
  await writeFile(join(folder, "x"), "x");
  await changes.remove(pathOf("x"), { ifMatch: "" });
  expect(synced).toEqual(["/: "]);
});

test("what is confirmed is synced where it stands; a folder that is gone needs no sync", async () => {
  await mkdir(join(folder, "a"));
  await changes.confirm(pathOf("a/x"));
  await changes.confirm(pathOf("b/x"));
  expect(synced).toEqual(["/a: "]);
});
