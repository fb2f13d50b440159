// `sluice canary` beside a real server that dies, beside one that is not there, and beside one that lies.
import { LogService } from "@sluice/api";
import { createServer, listen, serve } from "@sluice/rpc";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type CliCall, callCli } from "../support/cli-in-process.ts";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

/** What takes a second on a quiet machine takes many on one that is busy. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let folder: TemporaryFolder;
let server: ServerProcess;

beforeAll(async () => {
  folder = await openTemporaryFolder("canary");
  server = await startServer([], { folder: folder.path });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

interface Report {
  readonly event: string;
  readonly written: number;
  readonly seen: number;
  readonly [name: string]: unknown;
}

const reportsOf = (stdout: string): Report[] =>
  stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Report);

const latest = (canary: CliCall): Report | undefined => reportsOf(canary.stdout()).at(-1);

test("it survives lost connections and a server that is killed, and ends with nothing missing", async () => {
  await using proxy = await openFaultProxy({ target: () => server.address });
  const words = ["--rate", "200", "--every", "50ms", "--output", "json"];
  const canary = callCli(["canary", "--server", proxy.address, ...words], { folder: folder.path });
  const reach = async (atLeast: number): Promise<void> => {
    await expect.poll(() => latest(canary)?.seen ?? 0, { timeout: 30_000 }).toBeGreaterThanOrEqual(atLeast);
  };
  await reach(20);
  proxy.breakAll("reset");
  await expect.poll(() => latest(canary), { timeout: 30_000 }).toMatchObject({ readerDisconnects: 1 });
  const { seen = 0 } = latest(canary) ?? {};
  await reach(seen + 20);
  server.kill("SIGKILL");
  await server.ended();
  await expect.poll(() => latest(canary), { timeout: 30_000 }).toMatchObject({ isReaderConnected: false });
  const before = latest(canary)?.written ?? 0;
  server = await startServer([], { folder: folder.path });
  await reach(before + 20);
  canary.interrupt();
  const { exitCode, stdout } = await canary.ended;
  const summary = reportsOf(stdout).at(-1);
  expect(summary).toMatchObject({
    event: "summary",
    missing: 0,
    duplicates: 0,
    outOfOrder: 0,
    unknown: 0,
    onTheWay: 0,
  });
  expect(summary?.seen).toBe(summary?.written);
  expect(summary).toMatchObject({ delivery: { count: summary?.written } });
  expect(exitCode).toBe(0);
});

test("its figures are there for Prometheus", async () => {
  const words = ["--rate", "100", "--every", "50ms", "--metrics-listen", "127.0.0.1:0"];
  const canary = callCli(["canary", "--server", server.address, ...words], { folder: folder.path });
  await expect.poll(() => canary.stderr()).toMatch(/^metrics on http:\S+$/mu);
  const [, url = ""] = /^metrics on (\S+)$/mu.exec(canary.stderr()) ?? [];
  await expect
    .poll(async () => (await fetch(url)).text(), { timeout: 30_000 })
    .toMatch(/^sluice_canary_delivery_seconds_count [1-9]/mu);
  const page = await fetch(url);
  expect(page.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(await page.text()).toMatch(/^sluice_canary_missing 0$/mu);
  expect((await fetch(new URL("/", url))).status).toBe(404);
  expect((await fetch(url, { method: "POST" })).status).toBe(405);
  canary.interrupt();
  expect((await canary.ended).exitCode).toBe(0);
});

test("on a terminal it is one line that changes; in a pipe, a line each", async () => {
  const words = ["canary", "--server", server.address, "--rate", "100", "--every", "20ms", "--for", "300ms"];
  const onTerminal = await callCli(words, { folder: folder.path, isTerminal: true }).ended;
  const [changing = "", inAll = "", rest] = onTerminal.stdout.split("\n");
  expect(changing.split("\r\u001b[2K").length).toBeGreaterThan(2);
  expect(inAll).toMatch(/^in all: seen \d+ of \d+ · missing 0/u);
  expect(rest).toBe("");
  const inPipe = await callCli(words, { folder: folder.path }).ended;
  const lines = inPipe.stdout.split("\n");
  expect(lines.length).toBeGreaterThan(3);
  for (const line of lines.slice(0, -2)) expect(line).toMatch(/^\d\d:\d\d:\d\d seen \d+ of \d+ · missing 0 · /u);
  expect([onTerminal.exitCode, inPipe.exitCode]).toEqual([0, 0]);
});

test("without a server it accuses nobody, and says so with its exit code", async () => {
  const words = ["canary", "--server", "127.0.0.1:1", "--for", "100ms", "--grace", "100ms"];
  const { exitCode, stdout, stderr } = await callCli(words, { folder: folder.path }).ended;
  expect(exitCode).toBe(3);
  expect(stdout).toMatch(/missing 0 · .* the reader is cut off$/mu);
  expect(stderr).toMatch(/the server was away at the end: \d+ entr(y was|ies were) not acknowledged/u);
});

test("a server that acknowledges what it never gives back is found out", async () => {
  const liar = serve(LogService, {
    async *writeLogStream(requests) {
      let acknowledged = 0n;
      yield { flow: { seen: 0n, window: 1000, windowBytes: 1_000_000n } };
      for await (const { entries } of requests) {
        acknowledged += BigInt(entries.length);
        yield { acknowledged, flow: { seen: acknowledged, window: 1000, windowBytes: 1_000_000n } };
      }
    },
    async *streamLogBatches(_, { signal }) {
      yield { control: { kind: { case: "sync", value: {} } } };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  await using listener = await listen(createServer({ services: [liar] }), { port: 0 });
  const words = ["canary", "--server", listener.address, "--for", "100ms", "--grace", "200ms"];
  const { exitCode, stderr } = await callCli(words, { folder: folder.path }).ended;
  expect(stderr).toMatch(/^sluice: of \d+ acknowledged entr(y|ies): \d+ missing$/mu);
  expect(exitCode).toBe(6);
});

test.each([
  ["--rate", "0", /above 0/u],
  ["--for", "soon", /Give a time/u],
  ["--metrics-listen", "9464", /no HOST:PORT/u],
])("%s %s is refused", async (option, value, message) => {
  const { exitCode, stderr } = await callCli(["canary", option, value], { folder: folder.path }).ended;
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(message);
});
