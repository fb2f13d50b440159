// The packages as their users get them: packed by npm, installed into an empty folder, run without the checkout.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rootFolder, runCommand } from "../../scripts/command.ts";

interface Packed {
  readonly name: string;
  readonly version: string;
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

const names = ["@sluice/rpc", "@sluice/api", "@sluice/client", "@sluice/server", "sluice"] as const;

let folder: string;
let packed: readonly Packed[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-pack-"));
  const said = await npm(rootFolder, "pack", "--workspaces", "--json", "--pack-destination", folder);
  // What the packages' scripts say may stand before the list.
  packed = JSON.parse(/^\[$[^]*/m.exec(said)?.[0] ?? said) as Packed[];
  await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
  const tarballs = packed.map(({ filename }) => `./${filename}`);
  await npm(folder, "install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", ...tarballs);
}, 240_000);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function npm(cwd: string, ...args: string[]): Promise<string> {
  const { code, output, stdout } = await runCommand(["npm", ...args], { cwd });
  if (code !== 0) throw new Error(`npm ${args.join(" ")}: exit code ${code}\n${output}`);
  return stdout;
}

/** The PATH of this machine's own shell, without the Node that the workspace brings. */
function ownPath(): string {
  const parts = (process.env["PATH"] ?? "").split(delimiter);
  return parts.filter((part) => !part.includes("node_modules")).join(delimiter);
}

test.each(names)("%s holds what was compiled, its license, and nothing that only the checkout needs", (name) => {
  const paths = packed.find((each) => each.name === name)?.files.map(({ path }) => path) ?? [];
  expect(paths).toEqual(
    expect.arrayContaining(["LICENSE", "README.md", "package.json", "dist/index.js", "dist/index.d.ts"]),
  );
  expect(
    paths.filter((path) => /^src\/|\.test\.|\.suite\.|testing\/|tsbuildinfo|\.ts$(?<!\.d\.ts)/.test(path)),
  ).toEqual([]);
});

test.each([
  ["this machine's own Node", ownPath],
  ["the pinned Node", () => [join(rootFolder, "node_modules", ".bin"), ownPath()].join(delimiter)],
])("npx sluice --version runs on %s", async (_, path) => {
  const { code, stdout } = await runCommand(["npx", "--no-install", "sluice", "--version"], {
    cwd: folder,
    env: { PATH: path() },
  });
  const { version } = JSON.parse(await readFile(join(rootFolder, "packages/cli/package.json"), "utf8")) as {
    version: string;
  };
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${version}\n` });
});

test.each(names)("%s can be imported", async (name) => {
  const program = `const names = Object.keys(await import(${JSON.stringify(name)})); console.log(names.length > 0);`;
  const { code, output } = await runCommand(["node", "--input-type=module", "--eval", program], { cwd: folder });
  expect({ code, output }).toEqual({ code: 0, output: "true\n" });
});

test("their types are found, and are types", async () => {
  const imports = names.map(
    (name, index) => `import type * as package${index} from ${JSON.stringify(name)};\nexport type { package${index} };`,
  );
  const use = `import { LogService } from "@sluice/api";\nexport const kind: "server_streaming" = LogService.method.streamLogs.methodKind;`;
  await writeFile(join(folder, "consumer.ts"), [...imports, use, ""].join("\n"));
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: "esnext",
    module: "nodenext",
    types: ["node"],
    typeRoots: [join(rootFolder, "node_modules/@types")],
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
  const { code, output } = await runCommand(["tsc", "--project", folder], { cwd: folder });
  expect({ code, output }).toEqual({ code: 0, output: "" });
});

test("@sluice/rpc installs without the rest, and the smallest example runs on it", async () => {
  const alone = join(folder, "alone");
  await cp(join(rootFolder, "examples", "hello"), alone, { recursive: true });
  await writeFile(join(alone, "package.json"), '{ "private": true, "type": "module" }\n');
  const tarball = packed.find(({ name }) => name === "@sluice/rpc")?.filename ?? "";
  await npm(alone, "install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", `../${tarball}`);
  const modules = (await readdir(join(alone, "node_modules"))).filter((name) => !name.startsWith("."));
  const scoped = await Promise.all(modules.map((name) => readdir(join(alone, "node_modules", name))));
  expect([modules, scoped]).toEqual([
    ["@bufbuild", "@sluice"],
    [["protobuf"], ["rpc"]],
  ]);

  const node = join(rootFolder, "node_modules", ".bin", "node");
  const server = spawn(node, ["server.ts", "0"], { cwd: alone, stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(server, "exit");
  try {
    const { value: line = "" } = await createInterface(server.stdout)[Symbol.asyncIterator]().next();
    const address = /^listening on (\S+)$/.exec(String(line))?.[1] ?? "";
    const { code, output } = await runCommand([node, "client.ts", address, "Ada"], { cwd: alone });
    expect({ code, output }).toEqual({ code: 0, output: "Hello, world!\nHello, Ada!\n" });
  } finally {
    server.kill("SIGINT");
  }
  expect(await ended).toEqual([0, null]);
});

test("the installed server serves, stores what is pushed and ends by SIGTERM", async () => {
  const node = join(rootFolder, "node_modules", ".bin", "node");
  const bin = join(folder, "node_modules", "sluice", "bin", "sluice.js");
  const server = spawn(node, [bin, "serve", "--listen", "127.0.0.1:0", "--data", join(folder, "data")], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(server, "exit");
  try {
    let address: string | undefined;
    const said: string[] = [];
    for await (const line of createInterface(server.stderr)) {
      said.push(line);
      address = /listening on (\S+)/.exec(line)?.[1];
      if (address !== undefined) break;
    }
    expect(address, said.join("\n")).toBeDefined();

    const sluice = (line: string): string => `"${node}" "${bin}" ${line} --server ${address}`;
    const session = `echo "a line" | ${sluice("logs push --application pipe")} && ${sluice("logs --application pipe --output json")}`;
    const { code, output, stdout } = await runCommand(["bash", "-c", session], { cwd: folder, env: { HOME: folder } });
    expect({ code, output }).toMatchObject({ code: 0 });
    expect(stdout).toContain('"message":"a line"');
  } finally {
    server.kill("SIGTERM");
  }
  expect(await ended).toEqual([0, null]);
});
