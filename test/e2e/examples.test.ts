// The examples do what they say, run as they say.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { rootFolder } from "../../scripts/command.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

/** What takes a second on a quiet machine takes many on one that is busy. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let folder: TemporaryFolder;
let server: ServerProcess;

beforeAll(async () => {
  folder = await openTemporaryFolder("examples");
  server = await startServer([], { folder: folder.path });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** Runs an example; at the end of the test at the latest it is killed. */
function startExample(name: string, ...words: string[]) {
  const file = join(rootFolder, "examples", name, `${name}.ts`);
  const child = spawn(process.execPath, ["--conditions=sluice-source", file, server.address, ...words], {
    cwd: folder.path,
  });
  const text = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => void (text.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => void (text.stderr += chunk.toString()));
  const closed = once(child, "close") as Promise<[number | null]>;
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  const ended = async () => ({ exitCode: (await closed)[0], ...text });
  return { text, ended, interrupt: () => void child.kill("SIGINT") };
}

const orders = (stdout: string): string[] => Array.from(stdout.matchAll(/order: '(\d+)'/gu), ([, order = ""]) => order);
const everyHundredth = Array.from({ length: 10 }, (_, i) => String((i + 1) * 100));

test("write-logs writes, follow-logs prints the errors, and after a restart those that came since", async () => {
  const first = startExample("follow-logs", "shop");
  const written = await startExample("write-logs", "shop").ended();
  expect(written).toEqual({ exitCode: 0, stdout: "1000 entries written\n", stderr: "" });
  await expect.poll(() => orders(first.text.stdout), { timeout: 15_000 }).toEqual(everyHundredth);
  first.interrupt();
  expect(await first.ended()).toMatchObject({ exitCode: 0, stderr: "" });

  await startExample("write-logs", "shop").ended();
  const second = startExample("follow-logs", "shop");
  await expect.poll(() => orders(second.text.stdout), { timeout: 15_000 }).toEqual(everyHundredth);
  second.interrupt();
  expect((await second.ended()).exitCode).toBe(0);
});
