import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ListFilesResponse } from "@sluice/api";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PermissionDenied } from "../errors.ts";
import { OpenedService } from "./testing/opened-service.ts";

let files: OpenedService;
beforeEach(async () => {
  files = await OpenedService.open();
});
afterEach(() => files[Symbol.asyncDispose]());

async function put(...names: string[]): Promise<void> {
  for (const name of names) {
    const path = join(files.home, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, name);
  }
}

function pathsOf(answers: readonly ListFilesResponse[]): string[] {
  return answers.flatMap((answer) => answer.files.map((file) => file.filePath + (file.isDirectory ? "/" : "")));
}

test("a folder is listed in order; what cannot be opened is left out", async () => {
  await put("b", "a/x", "a.txt", "B", "ü", "𝒳", "\uffee", ".hidden", "a/.git/config");
  await symlink("b", join(files.home, "link"));
  await writeFile(Buffer.concat([Buffer.from(`${files.home}/`), Buffer.from([0xff, 0xfe])]), "no UTF-8");
  await writeFile(join(files.named, "n"), "");
  // By UTF-8 bytes: U+FFEE is before U+1D4B3, other than in JavaScript's own order.
  expect(pathsOf(await files.list({}))).toEqual(["B", "a/", "a.txt", "b", "named/", "ü", "\uffee", "𝒳"]);
  expect(pathsOf(await files.list({ path: "./a/" }))).toEqual(["a/x"]);
  expect(pathsOf(await files.list({ path: "named" }))).toEqual(["named/n"]);
  const [first] = (await files.list({ path: "a" }))[0]!.files;
  expect(first).toMatchObject({ filePath: "a/x", size: 3n, mimeType: "application/octet-stream", checksum: "" });
  expect(first!.etag).toBe((await files.info({ filePath: "a/x" })).etag);
});

test("recursive: a folder before what is in it; globs are of paths below the folder that is listed", async () => {
  await put("a/b/c.txt", "a/b.txt", "a/d.md", "z.txt");
  const all = ["a/", "a/b/", "a/b/c.txt", "a/b.txt", "a/d.md", "named/", "z.txt"];
  expect(pathsOf(await files.list({ recursive: true }))).toEqual(all);
  const texts = await files.list({ recursive: true, globs: ["**/*.txt"] });
  expect(pathsOf(texts)).toEqual(["a/b/c.txt", "a/b.txt", "z.txt"]);
  expect(pathsOf(await files.list({ path: "a", recursive: true, globs: ["*.txt", "b/*"] }))).toEqual([
    "a/b/c.txt",
    "a/b.txt",
  ]);
});

test("pages of any length, put together, are the listing, also while files come and go", async () => {
  await put("a/b/c", "a/b/d", "a/e", "b", "c/d", "c/e/f/g", "c/h");
  const all = pathsOf(await files.list({ recursive: true }));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 }), async (lengths) => {
      const paths: string[] = [];
      let pageToken = "";
      for (let page = 0; page === 0 || pageToken !== ""; page++) {
        const limit = lengths[page % lengths.length]!;
        const answers = await files.list({ recursive: true, limit: BigInt(limit), pageToken });
        const found = pathsOf(answers);
        pageToken = answers.at(-1)!.nextPageToken;
        if (pageToken !== "") expect(found.length).toBe(limit);
        paths.push(...found);
      }
      expect(paths).toEqual(all);
    }),
    { numRuns: 20 },
  );
  const [{ nextPageToken: pageToken }] = (await files.list({ recursive: true, limit: 3n })) as [ListFilesResponse];
  await rm(join(files.home, "a"), { recursive: true });
  await put("a/0", "a/b/z");
  expect(pathsOf(await files.list({ recursive: true, pageToken }))).toEqual([
    "a/b/z",
    "b",
    "c/",
    "c/d",
    "c/e/",
    "c/e/f/",
    "c/e/f/g",
    "c/h",
    "named/",
  ]);
});

test("a large folder comes in several messages, each of which says how to go on", async () => {
  const names = Array.from({ length: 600 }, (_, i) => `f${String(i).padStart(4, "0")}`);
  await mkdir(join(files.named, "many"));
  for (const name of names) await writeFile(join(files.named, "many", name), "");
  const answers = await files.list({ path: "named/many" });
  expect(answers.map((answer) => answer.files.length)).toEqual([256, 256, 88]);
  expect(pathsOf(answers)).toEqual(names.map((name) => `named/many/${name}`));
  const { nextPageToken: pageToken } = answers[1]!;
  expect(pathsOf(await files.list({ path: "named/many", pageToken }))).toEqual(pathsOf(answers.slice(2)));
  expect(answers.at(-1)?.nextPageToken).toBe("");
});

test.each([
  ["a folder that is not there", { path: "missing" }, new PermissionDenied().message],
  ["a link", { path: "link" }, new PermissionDenied().message],
  ["what is above", { path: "a/.." }, new PermissionDenied().message],
  ["the machine's own", { path: "/" }, new PermissionDenied().message],
  ["a file", { path: "a" }, '"a" is a file'],
  ["a negative limit", { limit: -1n }, "-1 is negative"],
  ["a token of somebody else", { pageToken: "x y" }, "page_token"],
  ["a bad glob", { globs: ["["] }, "globs[0]"],
])("%s is refused", async (_what, query, said) => {
  await put("a");
  await symlink(files.outside, join(files.home, "link"));
  await expect(files.list(query)).rejects.toThrow(said);
});
