// The smallest example, by the commands of its own page.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { generated } from "../../scripts/gen.ts";
import { findCodeBlocks } from "../repository/code-blocks.ts";
import { findGoTool } from "../tools/go-tools.ts";

const page = await readFile(join(rootFolder, "examples/hello/README.md"), "utf8");
const commands = findCodeBlocks(page).map(({ code }) => code.trim());
const [serve = "", call = "", grpcurl = "", generate = ""] = commands;
const tool = await findGoTool("grpcurl", { mayFetch: false });

/** The server of the page, on a free port, in a process group of its own: `npx` starts others. */
async function startServer() {
  const child = spawn("bash", ["-c", `${serve} 0`], {
    cwd: rootFolder,
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => void (stdout += text));
  await expect.poll(() => stdout, { timeout: 15_000 }).toMatch(/^listening on 127\.0\.0\.1:\d+\n$/u);
  return {
    address: stdout.trim().replace("listening on ", ""),
    async [Symbol.asyncDispose]() {
      process.kill(-(child.pid ?? 0), "SIGINT");
      await closed; // by all that wrote to it, the server among them
    },
  };
}

test("examples/hello does what its page says", async ({ annotate }) => {
  await using server = await startServer();
  const at = (command: string): string => command.replace("127.0.0.1:50051", server.address);
  const called = await runCommand(["bash", "-c", at(call)]);
  expect(called).toMatchObject({ code: 0, stdout: "Hello, world!\nHello, Ada!\nHello, Grace!\n" });
  if (tool.kind === "missing") {
    await annotate(`grpcurl was left out: ${tool.reason}`);
    return;
  }
  const asked = await runCommand(["bash", "-c", at(grpcurl).replace("grpcurl", tool.path)]);
  expect(JSON.parse(asked.stdout)).toEqual({ text: "Hello, you!" });
});

test("server and client are thirty lines, and their page says how their code is made", async () => {
  const files = await Promise.all(
    ["server.ts", "client.ts"].map((name) => readFile(join(rootFolder, "examples/hello", name), "utf8")),
  );
  expect(files.join("").trim().split("\n").length).toBeLessThanOrEqual(30);
  expect(generated.map(({ template }) => `npx buf generate --template ${template}`)).toContain(generate);
});
