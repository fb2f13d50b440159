// The unversioned service of notifications, by clients that know nothing of ours: grpcurl through reflection, and Python with
// stubs of the contract as its first clients have it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { NewNotification } from "@sluice/client";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { type StartedSluice, startSluice } from "../support/started-sluice.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { findPython } from "../tools/python.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

const SCRIPTS = join(import.meta.dirname, "python");

let sluice: StartedSluice;
let python: Tool;
let grpcurl: Tool;

beforeAll(async () => {
  [python, grpcurl] = [await findPython({ mayFetch }), await findGoTool("grpcurl", { mayFetch })];
  sluice = await startSluice("notifications");
  if (python.kind === "missing") return;
  const words = ["-m", "grpc_tools.protoc", `-I${join(SCRIPTS, "seed")}`, `--python_out=${sluice.folder}`];
  const made = await runCommand([
    python.path,
    ...words,
    `--grpc_python_out=${sluice.folder}`,
    "notification_seed.proto",
  ]);
  if (made.code !== 0) throw new Error(made.output);
}, 300_000);

afterAll(() => sluice[Symbol.asyncDispose]());

/** A program that reads; at the end of the test at the latest it is killed. */
function read(path: string, words: readonly string[]) {
  const child = spawn(path, words, { env: { ...process.env, PYTHONPATH: sluice.folder } });
  const text = { stdout: "", stderr: "" };
  child.stdout.on("data", (bytes: Buffer) => void (text.stdout += bytes.toString()));
  child.stderr.on("data", (bytes: Buffer) => void (text.stderr += bytes.toString()));
  const closed = once(child, "close") as Promise<[number | null]>;
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  return { text, ended: async () => ({ exitCode: (await closed)[0], ...text }) };
}

const publish = async (...notifications: NewNotification[]): Promise<void> => {
  for (const { error } of await sluice.client.notifications.publish(notifications)) expect(error).toBe("");
};

test("Python with the first contract: what is unread, what comes, by type and priority, and nobody else's", async ({
  skip,
}) => {
  if (python.kind === "missing") return skip(python.reason);
  const mine = { userIds: ["pia"], type: "order.paid", priority: 5 };
  await publish(
    { ...mine, title: "Before", message: "größer – 😀", metadata: { order: "17" } },
    { ...mine, title: "too low", priority: 2 },
    { ...mine, title: "other type", type: "news" },
    { ...mine, title: "not hers", userIds: ["otto"] },
  );
  const reader = read(python.path, [
    join(SCRIPTS, "read_notifications.py"),
    sluice.server.address,
    "3",
    "pia",
    "5",
    "order.*",
  ]);
  await expect.poll(() => reader.text.stdout, { timeout: 30_000 }).toContain("Before");
  // What a newer client does meanwhile is none of its business.
  await sluice.client.notifications.setState("pia", "all", { read: true });
  await publish(
    { ...mine, title: "Live", priority: 7 },
    { everyone: true, type: "order.all", title: "All", priority: 6 },
  );
  const { exitCode, stdout, stderr } = await reader.ended();
  expect([exitCode, stderr]).toEqual([0, ""]);
  const all = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(all).toMatchObject([
    { title: "Before", message: "größer – 😀", type: "order.paid", priority: 5, metadata: { order: "17" } },
    { title: "Live", priority: 7, metadata: {} },
    { title: "All", type: "order.all" },
  ]);
  for (const { id, timestamp } of all) {
    expect(id).toMatch(/^[1-9]\d*$/u);
    expect(Number(timestamp)).toBeGreaterThan(1e18);
  }
});

test("grpcurl, through reflection: the stream, and what is wrong in a request", async ({ skip }) => {
  if (grpcurl.kind === "missing") return skip(grpcurl.reason);
  const method = "notification.NotificationService/SubscribeToNotifications";
  const described = await runCommand([
    grpcurl.path,
    "-plaintext",
    sluice.server.address,
    "describe",
    "notification.NotificationService",
  ]);
  expect(described.output).toContain("rpc SubscribeToNotifications");
  await publish({ userIds: ["gus"], title: "Before" });
  const reader = read(grpcurl.path, ["-plaintext", "-d", '{"user_id":"gus"}', sluice.server.address, method]);
  await expect.poll(() => reader.text.stdout, { timeout: 30_000 }).toContain('"title": "Before"');
  await publish({ userIds: ["gus"], title: "After", priority: 7 });
  await expect.poll(() => reader.text.stdout, { timeout: 30_000 }).toContain('"title": "After"');
  expect(reader.text.stdout).not.toContain('"control"');

  const wrong = await runCommand([
    grpcurl.path,
    "-plaintext",
    "-d",
    '{"priority_level":-1}',
    sluice.server.address,
    method,
  ]);
  expect(wrong.code).not.toBe(0);
  for (const text of ["Code: InvalidArgument", "google.rpc.BadRequest", "user_id", "priority_level"]) {
    expect(wrong.output).toContain(text);
  }
});
