// The sidecar and programs that we did not write: the Python worker beside it, killed and started anew; grpcurl as a worker from
// stdin; curl's way to ask for its health is tested with it (test/e2e/sidecar.test.ts).
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { connect, type SluiceClient } from "@sluice/client";
import { afterAll, beforeAll, expect, onTestFinished, test, type TestContext } from "vitest";
import { rootFolder } from "../../scripts/command.ts";
import { type ServerProcess, startServer, startSidecar } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { findPython } from "../tools/python.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

const WORKER = join(rootFolder, "examples", "python-worker", "worker.py");

let python: Awaited<ReturnType<typeof findPython>>;
let grpcurl: Tool;
let folder: TemporaryFolder;
let server: ServerProcess;
let client: SluiceClient;

beforeAll(async () => {
  [python, grpcurl] = await Promise.all([findPython({ mayFetch }), findGoTool("grpcurl", { mayFetch })]);
  folder = await openTemporaryFolder("sidecar-interop");
  server = await startServer([], { folder: folder.path });
  client = connect(server.address);
}, 300_000);

afterAll(async () => {
  await client.close();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const countsOf = async (name: string) => (await client.queues.get(name)).counts!;
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({ body: String(from + i).padStart(3, "0") }));

async function openSidecar(queue: string): Promise<ServerProcess> {
  const sidecar = await startSidecar(["--upstream", server.address, "--queue", queue], { folder: folder.path });
  onTestFinished(() => sidecar[Symbol.asyncDispose]());
  return sidecar;
}

function startPython({ skip }: TestContext, address: string, queue: string) {
  if (python.kind === "missing") return skip(python.reason);
  const env = { ...process.env, PYTHONPATH: python.stubs, PYTHONIOENCODING: "utf-8" };
  const child = spawn(python.path, [WORKER, address, queue, "--slots", "4"], { env });
  let text = "";
  child.stdout.on("data", (bytes: Buffer) => void (text += bytes.toString()));
  const closed = once(child, "close");
  const kill = async (signal: NodeJS.Signals): Promise<unknown> => {
    child.kill(signal);
    const [exitCode] = (await closed) as [number | null];
    return exitCode;
  };
  onTestFinished(async () => void (await kill("SIGKILL")));
  // Lines of its threads may run into each other.
  return { kill, bodies: () => Array.from(text.matchAll(/ 3 (\d{3})/gu), ([, body]) => body!) };
}

test("the Python worker through a sidecar: killed, and the server killed, no job is lost and none fails", async (context) => {
  await client.queues.create("python-sidecar", { settings: { graceMs: 600_000, leaseMs: 600_000 } });
  const sidecar = await openSidecar("python-sidecar");
  const first = startPython(context, sidecar.address, "python-sidecar");
  await client.queues.enqueue("python-sidecar", numbers(0, 50));
  await expect.poll(async () => (await countsOf("python-sidecar")).done).toBeGreaterThan(0n);
  await first.kill("SIGKILL");
  const { address } = server;
  const second = startPython(context, sidecar.address, "python-sidecar");
  await expect.poll(() => countsOf("python-sidecar")).toMatchObject({ done: 50n, failures: 0n, running: 0n });
  server.kill("SIGKILL");
  await server.ended();
  await sidecar.waitFor("stderr", /what runs goes on/u);
  server = await startServer(["--listen", address], { folder: folder.path });
  await client.queues.enqueue("python-sidecar", numbers(50, 100));
  await expect.poll(() => countsOf("python-sidecar")).toMatchObject({ done: 100n, failures: 0n, running: 0n });
  expect(await second.kill("SIGINT")).toBe(0);
  const done = new Set([...first.bodies(), ...second.bodies()]);
  expect([...done].toSorted()).toEqual(numbers(0, 100).map(({ body }) => body));
  await expect.poll(() => countsOf("python-sidecar")).toMatchObject({ workers: 0 });
});

test("grpcurl is a worker of the sidecar, by its reflection, and need not name the queue", async ({ skip }) => {
  if (grpcurl.kind === "missing") return skip(grpcurl.reason);
  await client.queues.create("typed-sidecar");
  await client.queues.enqueue("typed-sidecar", { body: "hello" });
  const sidecar = await openSidecar("typed-sidecar");
  const method = "sluice.queues.v1.QueueService/Work";
  const child = spawn(grpcurl.path, ["-plaintext", "-d", "@", sidecar.address, method]);
  onTestFinished(() => void child.kill());
  let text = "";
  child.stdout.on("data", (bytes: Buffer) => void (text += bytes.toString()));
  const say = (request: object) => child.stdin.write(JSON.stringify(request));
  say({ subscribe: { workerId: "me", flow: { window: 1 } } });
  await expect.poll(() => text, { timeout: 30_000 }).toContain('"delivery"');
  const attempt = /"attempt": "(\d+)"/u.exec(text)?.[1];
  say({ ack: { request: "2", leases: [{ jobId: "1", attempt }] } });
  say({ drain: {} });
  child.stdin.end();
  const [exitCode] = (await once(child, "close")) as [number];
  expect([exitCode, text]).toEqual([0, expect.stringMatching(/RESULT_CODE_OK[^]*"drained": \{\s*"lastNumber": "1"/u)]);
  expect(await countsOf("typed-sidecar")).toMatchObject({ done: 1n, workers: 0 });
});
