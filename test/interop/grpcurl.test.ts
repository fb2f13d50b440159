// grpcurl, as people type it, through reflection: no proto file is given to it.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { useLogServer } from "../support/log-server.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { mutualTlsSettings, tlsFixture } from "../support/tls-fixtures.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

const logs = useLogServer("grpcurl");
let tool: Tool;

beforeAll(async () => {
  tool = await findGoTool("grpcurl", { mayFetch });
}, 300_000);

/** The tool's path, or the end of the test. */
function grpcurlFor({ skip }: TestContext): string {
  return tool.kind === "ready" ? tool.path : skip(tool.reason);
}

async function grpcurl(context: TestContext, ...words: string[]): Promise<string> {
  const { code, output } = await runCommand([grpcurlFor(context), "-plaintext", ...words]);
  if (code !== 0) throw new Error(`grpcurl ${words.join(" ")} ended with ${code}:\n${output}`);
  return output;
}

test("list", async (context) => {
  const services = (await grpcurl(context, logs.address, "list")).trim().split("\n");
  expect(services).toEqual(
    expect.arrayContaining([
      "LogService",
      "grpc.health.v1.Health",
      "opentelemetry.proto.collector.logs.v1.LogsService",
      "sluice.logs.v1.LogService",
    ]),
  );
});

test("describe: services, messages with maps, messages of other files", async (context) => {
  expect(await grpcurl(context, logs.address, "describe", "LogService")).toContain("rpc StreamLogs (");
  const entry = await grpcurl(context, logs.address, "describe", "sluice.logs.v1.LogEntry");
  expect(entry).toContain("map<string, string> fields = 7;");
  expect(entry).toContain(".sluice.stream.v1.StreamControl control = 12;");
  expect(await grpcurl(context, logs.address, "describe", "sluice.stream.v1.StreamControl")).toContain("oneof kind");
});

test("LogService/StreamLogs, following: history and what comes", async (context) => {
  await logs.client.write({ application: "myapp", message: "before", fields: { user: "ada" } });
  const request = '{"application":"myapp","follow":true}';
  const following = spawn(grpcurlFor(context), ["-plaintext", "-d", request, logs.address, "LogService/StreamLogs"]);
  const closed = once(following, "close");
  onTestFinished(async () => {
    following.kill();
    await closed;
  });
  const said = collectText(following);
  await expect.poll(said, { timeout: 30_000 }).toContain('"message": "before"');
  await logs.client.write(
    { application: "other", message: "somebody else's" },
    { application: "myapp", message: "after" },
  );
  await expect.poll(said, { timeout: 30_000 }).toContain('"message": "after"');
  expect(said()).toContain('"user": "ada"');
  expect(said()).not.toContain("somebody else");
});

test("a bad request: its code, its sentence and its typed details", async (context) => {
  const { code, output } = await runCommand([
    ...([grpcurlFor(context), "-plaintext", "-d", '{"log_level":"LOUD"}'] as const),
    ...([logs.address, "LogService/StreamLogs"] as const),
  ]);
  expect(code).not.toBe(0);
  expect(output).toContain("Code: InvalidArgument");
  expect(output).toContain("google.rpc.BadRequest");
  expect(output).toContain("log_level");
});

test("the versioned service writes and lists", async (context) => {
  const entries = '{"entries":[{"application":"typed","message":"by hand"}]}';
  const written = await grpcurl(context, "-d", entries, logs.address, "sluice.logs.v1.LogService/WriteLogs");
  expect(JSON.parse(written)).toMatchObject({ accepted: "1" });
  const listed = await grpcurl(context, logs.address, "sluice.logs.v1.LogService/ListApplications");
  expect(JSON.parse(listed)).toMatchObject({
    applications: expect.arrayContaining([expect.objectContaining({ application: "typed", entries: "1" })]) as unknown,
  });
});

test("batches, counts and pages from the newest on", async (context) => {
  await logs.client.write(...[1, 2, 3].map((i) => ({ application: "batched", message: `m${i}`, timestamp: 5n })));
  const ask = async (method: string, request: object): Promise<string> =>
    grpcurl(context, "-d", JSON.stringify(request), logs.address, `sluice.logs.v1.LogService/${method}`);
  const batch = await ask("StreamLogBatches", { application: "batched" });
  expect(JSON.parse(batch)).toMatchObject({ entries: [{ message: "m1" }, { message: "m2" }, { message: "m3" }] });
  const page = await ask("StreamLogs", {
    application: "batched",
    order: "ORDER_NEWEST_FIRST",
    limit: 2,
    controlFrames: false,
  });
  expect([...page.matchAll(/"message": "(m\d)"/gu)].map(([, message]) => message)).toEqual(["m3", "m2"]);
  const counted = await ask("CountLogs", { applications: ["batched"], bucketNs: 1000 });
  expect(JSON.parse(counted)).toEqual({
    counts: [{ application: "batched", count: "3" }],
    bucketNs: "1000",
    total: "3",
  });
});

test("health", async (context) => {
  const all = await grpcurl(context, logs.address, "grpc.health.v1.Health/Check");
  expect(JSON.parse(all)).toEqual({ status: "SERVING" });
  const one = await grpcurl(context, "-d", '{"service":"LogService"}', logs.address, "grpc.health.v1.Health/Check");
  expect(JSON.parse(one)).toEqual({ status: "SERVING" });
});

test("over TLS with a client certificate, and over a Unix socket without", async (context) => {
  const path = grpcurlFor(context);
  await using folder = await openTemporaryFolder("grpcurl");
  const socket = `unix:${join(folder.path, "s.sock")}`;
  const words = ["--listen", "127.0.0.1:0", "--listen", socket, ...mutualTlsSettings];
  await using server = await startServer(words, { folder: folder.path });
  const credentials = [
    "-cacert",
    tlsFixture("localhost.crt"),
    "-cert",
    tlsFixture("client.crt"),
    "-key",
    tlsFixture("client.key"),
  ];
  const call = "grpc.health.v1.Health/Check";
  for (const target of [
    [...credentials, server.address],
    ["-plaintext", socket],
  ]) {
    const { code, stdout } = await runCommand([path, ...target, call]);
    expect({ code, answer: JSON.parse(stdout) as unknown }).toEqual({ code: 0, answer: { status: "SERVING" } });
  }
  const stranger = await runCommand([
    path,
    "-max-time",
    "2",
    "-cacert",
    tlsFixture("localhost.crt"),
    server.address,
    call,
  ]);
  expect(stranger.code).not.toBe(0);
});

function collectText(child: ChildProcessWithoutNullStreams): () => string {
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => void (text += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => void (text += chunk.toString()));
  return () => text;
}
