// The TypeScript in every README is correct by the types of today.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { findCodeBlocks } from "./code-blocks.ts";

const pages = [
  "README.md",
  "docs/guides/browser.md",
  ...["rpc", "api", "client", "server", "cli"].map((name) => `packages/${name}/README.md`),
];

let folder: string;

beforeAll(async () => {
  // Inside of the repository, where the packages are found.
  folder = await mkdtemp(join(rootFolder, "node_modules", ".sluice-blocks-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test("code blocks are found with their language, heading and remark", () => {
  const page = "## One\n\n```sh\nnpm ci\n```\n\n### Two\n\n<!-- stays -->\n```ts\nlet a = 1;\n```\n";
  expect(findCodeBlocks(page)).toEqual([
    { language: "sh", code: "npm ci\n", remark: undefined, heading: "One" },
    { language: "ts", code: "let a = 1;\n", remark: "stays", heading: "Two" },
  ]);
});

test("the TypeScript of all pages compiles", async () => {
  const files: string[] = [];
  for (const page of pages) {
    const blocks = findCodeBlocks(await readFile(join(rootFolder, page), "utf8")).filter(
      ({ language }) => language === "ts",
    );
    for (const [index, { code }] of blocks.entries()) {
      const file = `${page.replaceAll("/", "-")}-${index}.ts`;
      await writeFile(
        join(folder, file),
        code.replace('"./gen/echo_pb.ts"', JSON.stringify(join(rootFolder, "test/rpc/gen/echo_pb.ts"))),
      );
      files.push(file);
    }
  }
  expect(files.length).toBeGreaterThan(2);
  const tsconfig = {
    extends: join(rootFolder, "tsconfig.base.json"),
    compilerOptions: { rewriteRelativeImportExtensions: false },
    files,
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
  const { code, output } = await runCommand(["tsc", "--project", folder]);
  expect({ code, output }).toEqual({ code: 0, output: "" });
});
