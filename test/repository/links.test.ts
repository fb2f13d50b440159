// Every relative link and picture of the Markdown pages leads to a file.

import { access, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { rootFolder, runCommand } from "../../scripts/command.ts";

const { stdout } = await runCommand(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]);
const pages = stdout.split("\n").filter((path) => path !== "");

test.each(pages)("%s", async (page) => {
  const text = await readFile(join(rootFolder, page), "utf8");
  const targets = [...text.matchAll(/\]\((?<target>[^)\s]+)\)/g)].map(({ groups }) => groups?.["target"] ?? "");
  const paths = targets.filter((target) => !/^(?:[a-z]+:|#)/.test(target)).map((target) => target.replace(/#.*$/, ""));
  const missing: string[] = [];
  for (const path of paths) {
    await access(join(rootFolder, dirname(page), path)).catch(() => missing.push(path));
  }
  expect(missing).toEqual([]);
});
