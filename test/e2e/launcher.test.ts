// The launcher: on a Node that is too old it brings the pinned one, or says what to do; signals and exit codes pass.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir } from "node:fs/promises";
import { accessSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const LAUNCHER = fileURLToPath(new URL("../../packages/cli/bin/sluice.js", import.meta.url));

/** A Node below 24 on this machine. */
function findOldNode(): string | undefined {
  for (const folder of ["/usr/bin", "/usr/local/bin", ...(process.env["PATH"] ?? "").split(delimiter)]) {
    const node = join(folder, "node");
    try {
      accessSync(node);
      if (Number.parseInt(execFileSync(node, ["--version"], { encoding: "utf8" }).slice(1), 10) < 24) return node;
    } catch {
      continue;
    }
  }
  return undefined;
}

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(node: string, words: readonly string[], launcher = LAUNCHER, folder = "/") {
  const child = spawn(node, [launcher, ...words], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const text = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => void (text.stdout += chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => void (text.stderr += chunk));
  const ended = once(child, "close").then(([exitCode]): Ended => ({ exitCode: exitCode as number | null, ...text }));
  const dispose = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
  };
  return { child, text, ended, [Symbol.asyncDispose]: dispose };
}

const NO_OLD_NODE = "needs a Node below 24 beside the pinned one";

test("on an old Node, in a checkout: the pinned Node runs it, exit codes pass", async (context) => {
  const node = findOldNode() ?? context.skip(NO_OLD_NODE);
  expect(await start(node, ["--version"]).ended).toMatchObject({ exitCode: 0, stdout: "0.1.0\n", stderr: "" });
  const wrong = await start(node, ["no-such-command"]).ended;
  expect(wrong).toMatchObject({ exitCode: 2 });
  expect(wrong.stderr).toContain("unknown command 'no-such-command'");
});

test("on an old Node: one SIGINT to the launcher drains the server, once", async (context) => {
  const node = findOldNode() ?? context.skip(NO_OLD_NODE);
  await using folder = await openTemporaryFolder("launcher");
  await using launched = start(node, ["serve", "--listen", "127.0.0.1:0"], LAUNCHER, folder.path);
  await expect.poll(() => launched.text.stderr, { timeout: 15_000 }).toContain("listening on");
  launched.child.kill("SIGINT");
  expect(await launched.ended).toMatchObject({ exitCode: 0 });
});

test("on an old Node, outside of a checkout: a sentence that says what to do", async (context) => {
  const node = findOldNode() ?? context.skip(NO_OLD_NODE);
  await using folder = await openTemporaryFolder("launcher");
  // As npm installs it: the launcher beside package.json, without sources.
  const packed = join(folder.path, "node_modules/sluice");
  await mkdir(join(packed, "bin"), { recursive: true });
  await cp(LAUNCHER, join(packed, "bin/sluice.js"));
  await cp(fileURLToPath(new URL("../../packages/cli/package.json", import.meta.url)), join(packed, "package.json"));
  const launcher = join(packed, "bin/sluice.js");
  expect(await start(node, ["--version"], launcher).ended).toMatchObject({
    exitCode: 0,
    stdout: "0.1.0\n",
  });
  const { exitCode, stderr } = await start(node, ["serve"], launcher).ended;
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(
    /^sluice needs Node 24 or newer, this is v\d+\.\d+\.\d+: install a newer one from https:\/\/nodejs\.org\.\n$/u,
  );
});

test("on this Node it runs in its own process", async () => {
  const { exitCode, stdout } = await start(process.execPath, ["--help"]).ended;
  expect(exitCode).toBe(0);
  expect(stdout).toContain("Exit codes:");
});
