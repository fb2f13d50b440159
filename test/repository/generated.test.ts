// The committed generated code and API pages are what `npm run gen` makes of proto/ and of the docstrings today.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiPageFile, apiPages, makeApiPage } from "../../scripts/api-pages.ts";
import { rootFolder } from "../../scripts/command.ts";
import { generate, generated } from "../../scripts/gen.ts";

let fresh: string;

beforeAll(async () => {
  fresh = await mkdtemp(join(tmpdir(), "sluice-gen-"));
  await generate(fresh);
}, 60_000);

afterAll(async () => {
  await rm(fresh, { recursive: true, force: true });
});

/** All files below `folder`: path below it → content. */
async function readFolder(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const files = await Promise.all(
    paths.map(async (path) => [path.slice(folder.length + 1), await readFile(path, "utf8")] as const),
  );
  return Object.fromEntries(files.toSorted(([a], [b]) => a.localeCompare(b)));
}

describe.each(generated)("$folder", ({ folder }) => {
  test("is what npm run gen makes of proto/", async () => {
    const expected = await readFolder(join(fresh, folder));
    expect(Object.keys(expected)).not.toEqual([]);
    expect(await readFolder(join(rootFolder, folder))).toEqual(expected);
  });
});

test.each(apiPages)("the API page of $name is what npm run gen makes of its docstrings", async (page) => {
  expect(await readFile(join(rootFolder, apiPageFile(page)), "utf8")).toBe(await makeApiPage(page));
});
