import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { InvalidRequest, PermissionDenied } from "../errors.ts";
import { openFilesIn } from "../store/testing/open-files.ts";
import { type FilePath, type FileRoot, parseFilePath } from "./file-path.ts";
import { Opener } from "./opener.ts";

/** More than there are threads. */
const ROOTS = 6;

let folder: string;
let roots: FileRoot[];
let opener: Opener;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-opener-"));
  roots = Array.from({ length: ROOTS }, (_, i) => ({
    name: `root${i}`,
    folder: join(folder, `root${i}`),
    isWritable: false,
  }));
  for (const root of roots) {
    await mkdir(root.folder);
    await writeFile(join(root.folder, "a"), `of ${root.name}`);
  }
  opener = new Opener(roots);
});
afterEach(async () => {
  await opener[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const pathOf = (text: string): FilePath => parseFilePath(text, roots);

test("a file of every folder is opened, all of them in one turn", async () => {
  const opened = await Promise.all(roots.map(({ name }) => opener.openFile(pathOf(`${name}/a`), { contentsMax: 100 })));
  const texts = opened.map(({ contents }) => Buffer.from(contents ?? []).toString());
  expect(texts).toEqual(roots.map(({ name }) => `of ${name}`));
});

test("what is small is read and closed, anything else stays open until it is closed", async () => {
  const bytes = Buffer.alloc(1000, "0123456789");
  await writeFile(join(folder, "root0", "b"), bytes);
  await writeFile(join(folder, "root0", "empty"), "");
  const path = pathOf("root0/b");
  const small = await opener.openFile(path, { contentsMax: 1000 });
  const empty = await opener.openFile(pathOf("root0/empty"), { contentsMax: 0 });
  expect(openFilesIn(folder)).toEqual([]);
  expect(Buffer.from(small.contents ?? []).equals(bytes)).toBe(true);
  expect(empty.contents).toHaveLength(0);
  const large = await opener.openFile(path, { contentsMax: 999 });
  expect(openFilesIn(folder)).toEqual([join(folder, "root0", "b")]);
  expect(large.contents).toBeUndefined();
  expect(await large.currentVersion()).toEqual(small.version);
  await Promise.all([small.close(), empty.close(), large.close()]);
  expect(openFilesIn(folder)).toEqual([]);
});

test("what may not be read is refused in the one way", async () => {
  await symlink("a", join(folder, "root0", "link"));
  for (const name of ["missing", "link", "a/below"]) {
    await expect(opener.openFile(pathOf(`root0/${name}`), { contentsMax: 100 })).rejects.toThrow(PermissionDenied);
  }
  await mkdir(join(folder, "root0", "folder"));
  await expect(opener.openFile(pathOf("root0/folder"), { contentsMax: 100 })).rejects.toThrow(InvalidRequest);
  expect(openFilesIn(folder)).toEqual([]);
});

test("a shared folder whose own path leads over a link is walked to", async () => {
  await rename(join(folder, "root0"), join(folder, "elsewhere"));
  await symlink("elsewhere", join(folder, "root0"));
  await using opened = await opener.openFile(pathOf("root0/a"), { contentsMax: 100 });
  expect(opened.version.size).toBe("of root0".length);
});

test("after its end nothing is opened, and what was open is closed all the same", async () => {
  const path = pathOf("root0/a");
  const opened = await opener.openFile(path, { contentsMax: 0 });
  await opener[Symbol.asyncDispose]();
  await expect(opener.openFile(path, { contentsMax: 0 })).rejects.toThrow("ended");
  await opened.close();
  expect(openFilesIn(folder)).toEqual([]);
});
