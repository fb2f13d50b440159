// ghz, the load generator that people point at a gRPC server: it finds the methods by reflection, and nothing fails.
import { beforeAll, expect, test, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { collect } from "../support/log-client.ts";
import { useLogServer } from "../support/log-server.ts";
import { mutualTlsSettings, tlsFixture } from "../support/tls-fixtures.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

const plaintext = ["--insecure"];
const logs = useLogServer("ghz");
const secured = useLogServer("ghz-tls", mutualTlsSettings);
let tool: Tool;

beforeAll(async () => {
  tool = await findGoTool("ghz", { mayFetch });
}, 300_000);

/** What ghz reports, as far as it is looked at. */
interface Report {
  readonly count: number;
  readonly endReason: string;
  readonly errorDistribution: Readonly<Record<string, number>>;
  readonly statusCodeDistribution: Readonly<Record<string, number>>;
}

async function ghz({ skip }: TestContext, address: string, call: string, words: readonly string[]): Promise<Report> {
  if (tool.kind === "missing") return skip(tool.reason);
  const command = [tool.path, "--call", call, "--format", "json", ...words, address] as const;
  const { code, stdout, output } = await runCommand([...command], { timeoutMs: 60_000 });
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}:\n${output}`);
  return JSON.parse(stdout) as Report;
}

const allOk = (count: number): Report => ({
  count,
  endReason: "normal",
  errorDistribution: {},
  statusCodeDistribution: { OK: count },
});

const load = (total: number): string[] => ["--total", String(total), "--concurrency", "20", "--connections", "4"];
const entries = (application: string): string => JSON.stringify({ entries: [{ application, message: "a load" }] });

test("unary writes, and every one of them is there", async (context) => {
  const words = [...plaintext, ...load(2000), "--data", entries("ghz")];
  expect(await ghz(context, logs.address, "sluice.logs.v1.LogService.WriteLogs", words)).toMatchObject(allOk(2000));
  const read = await collect(logs.client.seed.streamLogs({ application: "ghz" }));
  expect(read).toHaveLength(2000);
});

test("streams that answer", async (context) => {
  await logs.client.write(...Array.from({ length: 500 }, (_, at) => ({ application: "many", message: `${at}` })));
  const words = [...plaintext, ...load(200), "--data", '{"application":"many"}'];
  expect(await ghz(context, logs.address, "LogService.StreamLogs", words)).toMatchObject(allOk(200));
});

test("streams both ways", async (context) => {
  const requests = `[${entries("both").repeat(3).replaceAll("}{", "},{")}]`;
  const words = [...plaintext, ...load(200), "--data", requests];
  const report = await ghz(context, logs.address, "sluice.logs.v1.LogService.WriteLogStream", words);
  expect(report).toMatchObject(allOk(200));
  expect(await collect(logs.client.seed.streamLogs({ application: "both" }))).toHaveLength(600);
});

test("with gzip", async (context) => {
  const words = [...plaintext, ...load(500), "--enable-compression", "--data", entries("gzip")];
  expect(await ghz(context, logs.address, "sluice.logs.v1.LogService.WriteLogs", words)).toMatchObject(allOk(500));
});

test("over TLS with a client certificate", async (context) => {
  const credentials = ["--cacert", tlsFixture("localhost.crt"), "--cert", tlsFixture("client.crt")];
  const words = [...credentials, "--key", tlsFixture("client.key"), ...load(500), "--data", "{}"];
  const report = await ghz(context, secured.address, "sluice.logs.v1.LogService.ListApplications", words);
  expect(report).toMatchObject(allOk(500));
});

test("an error is counted by its code", async (context) => {
  const words = [...plaintext, "--total", "10", "--concurrency", "2", "--data", '{"log_level":"LOUD"}'];
  const report = await ghz(context, logs.address, "LogService.StreamLogs", words);
  expect(report.statusCodeDistribution).toEqual({ InvalidArgument: 10 });
});
