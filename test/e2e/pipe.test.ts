// The command line in a pipe: a reader that has had enough ends it quietly, and nothing is lost or said.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openLogClient } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const LAUNCHER = fileURLToPath(new URL("../../packages/cli/bin/sluice.js", import.meta.url));

/** `sluice … | head`: reads until the first line is whole, then closes the pipe. */
async function takeFirstLine(words: readonly string[], folder: string) {
  const child = spawn(process.execPath, [LAUNCHER, ...words], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const text = { stdout: "", stderr: "" };
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => void (text.stderr += chunk));
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text.stdout += chunk;
    if (text.stdout.includes("\n")) child.stdout.destroy();
  });
  const [exitCode] = (await once(child, "close")) as [number | null];
  return { exitCode, firstLine: text.stdout.split("\n")[0] ?? "", stderr: text.stderr };
}

test.each([{ follow: [] }, { follow: ["--follow"] }])("sluice logs $follow | head", async ({ follow }) => {
  await using folder = await openTemporaryFolder("pipe");
  await using server = await startServer([], { folder: folder.path });
  await using client = openLogClient(server.address);
  // Far more than a pipe holds.
  const entries = Array.from({ length: 1000 }, (_, i) => ({ application: "a", message: `${i} ${"x".repeat(1000)}` }));
  for (let i = 0; i < 10; i += 1) await client.write(...entries);

  const words = ["logs", "--server", server.address, "--application", "a", "--output", "json", ...follow];
  const { exitCode, firstLine, stderr } = await takeFirstLine(words, folder.path);
  expect(stderr).toBe("");
  expect(exitCode).toBe(0);
  expect(JSON.parse(firstLine)).toMatchObject({ application: "a" });
});
