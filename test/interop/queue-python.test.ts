// The example worker in Python, as its page says to run it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test, type TestContext } from "vitest";
import { rootFolder } from "../../scripts/command.ts";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { type StartedSluice, startSluice } from "../support/started-sluice.ts";
import { findPython } from "../tools/python.ts";
import { mayFetch } from "../tools/tool.ts";

const SCRIPT = join(rootFolder, "examples", "python-worker", "worker.py");

let tool: Awaited<ReturnType<typeof findPython>>;
let sluice: StartedSluice;

beforeAll(async () => {
  tool = await findPython({ mayFetch });
  sluice = await startSluice("python-worker");
}, 300_000);

afterAll(() => sluice[Symbol.asyncDispose]());

function startWorker({ skip }: TestContext, ...words: string[]) {
  if (tool.kind === "missing") return skip(tool.reason);
  const env = { ...process.env, PYTHONPATH: tool.stubs, PYTHONIOENCODING: "utf-8" };
  const child = spawn(tool.path, [SCRIPT, ...words], { env });
  const text = { stdout: "", stderr: "" };
  child.stdout.on("data", (bytes: Buffer) => void (text.stdout += bytes.toString()));
  child.stderr.on("data", (bytes: Buffer) => void (text.stderr += bytes.toString()));
  const closed = once(child, "close") as Promise<[number | null]>;
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  return { text, interrupt: () => child.kill("SIGINT"), ended: async () => ({ exitCode: (await closed)[0], ...text }) };
}

test("it does jobs, has failed ones tried again and bad ones dead, and ends on Ctrl-C", async (context) => {
  await sluice.client.queues.create("python", { settings: { maxAttempts: 2, backoffMs: 1 } });
  await sluice.client.queues.enqueue(
    "python",
    ["é1", "bad", "fail", "2"].map((body) => ({ body })),
  );
  const worker = startWorker(context, sluice.server.address, "python", "--slots", "2");
  await expect.poll(() => sluice.countsOf("python")).toMatchObject({ done: 2n, dead: 2n, waiting: 0n, failures: 3n });
  worker.interrupt();
  expect(await worker.ended()).toMatchObject({ exitCode: 0, stderr: "" });
  expect(worker.text.stdout.split("\n").toSorted()).toEqual(["", "1 3 é1", "4 3 2"]);
  const reasons: string[] = [];
  for await (const { history } of sluice.client.queues.listDead("python")) reasons.push(history.at(-1)?.reason ?? "");
  expect(reasons.toSorted()).toEqual(["bad is no job", "not today"]);
  expect(await sluice.countsOf("python")).toMatchObject({ workers: 0 });
});

test("it goes on after a lost connection", async (context) => {
  await sluice.client.queues.create("python-cut");
  await using proxy = await openFaultProxy({ target: () => sluice.server.address });
  const worker = startWorker(context, proxy.address, "python-cut", "--slots", "1");
  await sluice.client.queues.enqueue("python-cut", { body: "a" });
  await expect.poll(() => sluice.countsOf("python-cut")).toMatchObject({ done: 1n });
  proxy.breakAll("reset");
  await sluice.client.queues.enqueue("python-cut", { body: "b" });
  await expect.poll(() => sluice.countsOf("python-cut")).toMatchObject({ done: 2n, failures: 0n });
  worker.interrupt();
  expect((await worker.ended()).exitCode).toBe(0);
});
