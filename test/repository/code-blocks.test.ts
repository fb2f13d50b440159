// The TypeScript of the pages is correct by the types of today, and so are their manifests for Kubernetes.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { type CodeBlock, findCodeBlocks } from "./code-blocks.ts";

const pages = [
  "README.md",
  ...["browser", "notifications", "queues"].map((name) => `docs/guides/${name}.md`),
  ...["rpc", "api", "client", "server", "cli"].map((name) => `packages/${name}/README.md`),
];

const manifestPages = ["docs/guides/sidecar.md"];

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
    const blocks = (await blocksOf(page)).filter(({ language }) => language === "ts");
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
  expect(await compile("typescript", files)).toEqual({ code: 0, output: "" });
});

test("the manifests for Kubernetes have the fields that it knows", async () => {
  const files: string[] = [];
  for (const page of manifestPages) {
    for (const [index, { language, code }] of (await blocksOf(page)).entries()) {
      if (language !== "yaml" || !code.startsWith("apiVersion:")) continue;
      const manifest = parse(code) as { readonly apiVersion: string; readonly kind: string };
      const file = `${page.replaceAll("/", "-")}-${index}-manifest.ts`;
      const type = `import type { ${manifest.kind} } from "kubernetes-types/${manifest.apiVersion}.js";\n`;
      await writeFile(
        join(folder, file),
        `${type}export const manifest: ${manifest.kind} = ${JSON.stringify(manifest, null, 2)};\n`,
      );
      files.push(file);
    }
  }
  expect(files.length).toBeGreaterThan(0);
  expect(await compile("kubernetes", files)).toEqual({ code: 0, output: "" });
});

async function blocksOf(page: string): Promise<CodeBlock[]> {
  return findCodeBlocks(await readFile(join(rootFolder, page), "utf8"));
}

async function compile(name: string, files: readonly string[]): Promise<{ code: number | null; output: string }> {
  const project = join(folder, `tsconfig.${name}.json`);
  const compilerOptions = { rewriteRelativeImportExtensions: false };
  await writeFile(project, JSON.stringify({ extends: join(rootFolder, "tsconfig.base.json"), compilerOptions, files }));
  const { code, output } = await runCommand(["tsc", "--project", project]);
  return { code, output };
}
