// Queues by clients that we did not write: Python's grpcio drives the whole protocol, grpcurl a bidirectional stream from its
// stdin, as people type it.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { useLogServer } from "../support/log-server.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { findPython } from "../tools/python.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

const SCRIPT = join(import.meta.dirname, "python", "work_queue.py");
const SERVICE = "sluice.queues.v1.QueueService";

const server = useLogServer("queues-interop");
let grpcurl: Tool;
let python: Awaited<ReturnType<typeof findPython>>;

beforeAll(async () => {
  [grpcurl, python] = await Promise.all([findGoTool("grpcurl", { mayFetch }), findPython({ mayFetch })]);
}, 300_000);

test("Python drives the whole protocol", async ({ skip }) => {
  if (python.kind === "missing") return skip(python.reason);
  const { code, stdout, output } = await runCommand([python.path, SCRIPT, server.address], {
    env: { PYTHONPATH: python.stubs, PYTHONIOENCODING: "utf-8" },
  });
  if (code !== 0) throw new Error(`Python ended with ${code}:\n${output}`);
  const OK = "RESULT_CODE_OK";
  expect(JSON.parse(stdout)).toEqual({
    protocol: {
      ids: ["1", "2", "3", "4", "5", "6"],
      offers: [
        [1, "job 0", { n: "0" }, 0],
        [2, "job 1", { n: "1" }, 0],
      ],
      start: [OK, OK],
      ack: [OK, "RESULT_CODE_NOT_FOUND"],
      again: ["RESULT_CODE_DUPLICATE"],
      nack: [OK],
      extend: [OK],
      explain: "python",
      recall: ["RECALL_REASON_REBALANCE", true],
      "late start": ["RESULT_CODE_STALE"],
      end: [],
      back: ["python", true, true],
      drained: 0,
      after: [],
    },
    streams: { batches: [2, 2, 2], peek: ["b", "b"], leased: true, acks: [OK], done: [6, 0] },
    errors: {
      unknown: ["NOT_FOUND", 'Cannot find the queue "gone": it was not created, or deleted since'],
      reused: ["ALREADY_EXISTS", expect.stringContaining('"mine"')],
      first: ["INVALID_ARGUMENT", "kind: the first request is `subscribe`"],
      window: ["RESOURCE_EXHAUSTED", 'Cannot set a window of 10001 at queue "stream": the limit is 10000'],
    },
  });
});

/** A call whose requests are typed one by one, and the messages that it has printed so far. */
function type(
  path: string,
  method: string,
): { child: ChildProcessWithoutNullStreams; said: () => Record<string, unknown>[] } {
  const child = spawn(path, ["-plaintext", "-d", "@", server.address, `${SERVICE}/${method}`]);
  const closed = once(child, "close");
  onTestFinished(async () => {
    child.kill();
    await closed;
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => void (text += chunk.toString()));
  return {
    child,
    said: () =>
      text
        .split(/^(?=\{$)/mu)
        .flatMap((each) => (each.endsWith("}\n") ? [JSON.parse(each) as Record<string, unknown>] : [])),
  };
}

test("grpcurl: a worker from stdin, offer by offer", async ({ skip }) => {
  if (grpcurl.kind === "missing") return skip(grpcurl.reason);
  const { path } = grpcurl;
  const call = async (method: string, request: object): Promise<unknown> => {
    const words = ["-plaintext", "-d", JSON.stringify(request), server.address, `${SERVICE}/${method}`];
    const { code, stdout, output } = await runCommand([path, ...words]);
    if (code !== 0) throw new Error(output);
    return JSON.parse(stdout);
  };
  await call("CreateQueue", { name: "typed" });
  await call("Enqueue", { queue: "typed", jobs: [{ body: "aGVsbG8=" }] });
  const { child, said } = type(path, "Work");
  const say = (request: object) => child.stdin.write(JSON.stringify(request));
  say({ subscribe: { queue: "typed", workerId: "me", explicitStart: true, flow: { window: 1 } } });
  await expect.poll(said, { timeout: 30_000 }).toHaveLength(2);
  const [session, delivery] = said();
  expect(session).toMatchObject({ session: { workerId: "me", graceMs: 30_000 } });
  expect(delivery).toMatchObject({ delivery: { number: "1", lease: { jobId: "1" }, job: { body: "aGVsbG8=" } } });
  const { lease } = delivery!["delivery"] as { readonly lease: object };
  say({ start: { request: "1", leases: [lease] } });
  await expect.poll(said, { timeout: 30_000 }).toHaveLength(3);
  expect(said()[2]).toMatchObject({ results: { request: "1", results: [{ lease, code: "RESULT_CODE_OK" }] } });
  say({ ack: { request: "2", leases: [lease] } });
  say({ drain: {} });
  child.stdin.end();
  const [exitCode] = (await once(child, "close")) as [number];
  expect(exitCode).toBe(0);
  expect(said().slice(3)).toMatchObject([
    { results: { request: "2", results: [{ code: "RESULT_CODE_OK" }] } },
    { drained: { lastNumber: "1" } },
  ]);
  expect(await call("GetQueue", { name: "typed" })).toMatchObject({ queue: { counts: { done: "1" } } });
});

test("grpcurl: a bad request, with its code and its typed detail", async ({ skip }) => {
  if (grpcurl.kind === "missing") return skip(grpcurl.reason);
  const words = ["-plaintext", "-d", '{"queue":"gone","jobs":[{}]}', server.address, `${SERVICE}/Enqueue`];
  const { code, output } = await runCommand([grpcurl.path, ...words]);
  expect(code).not.toBe(0);
  expect(output).toContain("Code: NotFound");
  expect(output).toContain("google.rpc.ResourceInfo");
});
