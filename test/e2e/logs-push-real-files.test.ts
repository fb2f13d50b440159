// Files that real programs wrote (test/fixtures/log-files), and those of this machine, imported and counted against `wc -l`.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { connect, type LogEntry, type SluiceClient } from "@sluice/client";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { callCli } from "../support/cli-in-process.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const FIXTURES = join(import.meta.dirname, "../fixtures/log-files");

let data: TemporaryFolder;
let server: ServerProcess;
let client: SluiceClient;
/** Of each test: where its places are. */
let folder: TemporaryFolder;
let pushes = 0;

beforeAll(async () => {
  data = await openTemporaryFolder("real-files-data");
  server = await startServer([], { folder: data.path });
  client = connect(server.address);
});

afterAll(async () => {
  await client.close();
  await server[Symbol.asyncDispose]();
  await data[Symbol.asyncDispose]();
});

beforeEach(async () => {
  folder = await openTemporaryFolder("real-files");
  return () => folder[Symbol.asyncDispose]();
});

interface Counts {
  readonly lines: number;
  readonly blank: number;
  readonly entries: number;
  readonly acknowledged: number;
  readonly duplicates: number;
  readonly rejected: number;
  readonly replaced: number;
  readonly formats: Record<string, number>;
}

async function push(path: string, ...more: string[]): Promise<{ counts: Counts; entries: LogEntry[] }> {
  const application = `real ${++pushes}`;
  const words = ["logs", "push", path, "--server", server.address, "--state", "places", "--output", "json"];
  const own = ["--application", application];
  const { exitCode, stdout, stderr } = await callCli([...words, ...own, ...more], { folder: folder.path }).ended;
  expect([exitCode, stderr]).toEqual([0, ""]);
  const entries: LogEntry[] = [];
  for await (const entry of client.streamLogs({ applications: [application] })) entries.push(entry);
  return { counts: JSON.parse(stdout) as Counts, entries };
}

async function wcLines(path: string): Promise<number> {
  const { output } = await runCommand(["wc", "-l", path]);
  return Number(/^\d+/u.exec(output.trim())?.[0]);
}

/** `entries`: how many the lines become, when they are not as many. */
const files: readonly { name: string; formats: Record<string, number>; blank?: number; entries?: number }[] = [
  { name: "dpkg.log", formats: { text: 120 } },
  { name: "alternatives.log", formats: { text: 115 } },
  { name: "nginx-combined.log", formats: { access: 55 } },
  { name: "nginx-common.log", formats: { access: 55 } },
  { name: "nginx-error.log", formats: { text: 26 } },
  { name: "logger-rfc5424.log", formats: { syslog: 41 } },
  { name: "logger-rfc3164.log", formats: { syslog: 40 } },
  { name: "logger-local.log", formats: { syslog: 5 } },
  { name: "containerd-cri.log", formats: { json: 1, text: 4 }, entries: 5, blank: 1 },
  { name: "docker-json-file.log", formats: { json: 1, text: 4 }, entries: 5 },
  { name: "journal.json", formats: { json: 12 } },
  { name: "trace-python.log", formats: { text: 10 }, entries: 10 },
  { name: "trace-java.log", formats: { text: 7 }, entries: 7, blank: 3 },
  { name: "apt-term.log", formats: { text: 58 }, entries: 58, blank: 2 },
  { name: "trace-go.log", formats: { text: 2 }, entries: 2 },
  { name: "trace-node.log", formats: { text: 7 }, entries: 7 },
];

test.each(files)(
  "$name: every line is there, as wc counts them",
  async ({ name, formats, entries: joined, blank = 0 }) => {
    const path = join(FIXTURES, name);
    const lines = await wcLines(path);
    const { counts, entries } = await push(path);
    expect(counts.lines + counts.blank).toBe(lines);
    expect(counts).toMatchObject({ blank, formats, rejected: 0, duplicates: 0, acknowledged: joined ?? lines });
    expect(entries).toHaveLength(joined ?? lines);
    // Joined, the messages have as many lines as the file. (What a container's runtime had cut is whole again.)
    if (joined !== undefined && !/^(?:containerd|docker)-/u.test(name)) {
      expect(entries.flatMap(({ message }) => message.split("\n"))).toHaveLength(lines - blank);
    }
  },
);

test("all formats' lines in one folder: as many as wc counts in all, and none twice", async () => {
  const application = ["--application", "all of them"];
  const { counts } = await push(FIXTURES, "--join", "none", ...application);
  const names = (await readdir(FIXTURES)).filter((name) => name !== "journal.export");
  let lines = 0;
  for (const name of names) lines += await wcLines(join(FIXTURES, name));
  // The journal's entries lie between blank lines, and are not lines.
  expect(counts.lines + counts.blank - 12).toBe(lines);
  // Runtimes had cut two lines of containers, into two pieces and into four.
  expect(counts.entries).toBe(counts.lines - 4);
  expect(counts.formats).toMatchObject({ access: 110, syslog: 86, json: 14, journal: 12 });
  expect((await push(FIXTURES, "--join", "none", ...application)).counts).toMatchObject({ lines: 0, entries: 0 });
});

test("nginx: the request, whose it was, and what became of it are fields", async () => {
  const { entries } = await push(join(FIXTURES, "nginx-combined.log"));
  const teapot = entries.find(({ fields }) => fields["path"] === "/teapot");
  expect(teapot).toMatchObject({
    message: "GET /teapot HTTP/1.1",
    fields: {
      client: "127.0.0.1",
      user: "ada",
      method: "GET",
      protocol: "HTTP/1.1",
      status: "418",
      bytes: "0",
      referer: "https://example.org/?a=b",
      user_agent: String.raw`curl/8 \x22quoted\x22`,
    },
  });
  const noRequests = entries.filter(({ fields }) => fields["method"] === undefined).map(({ message }) => message);
  expect(noRequests).toEqual([String.raw`\x16\x03\x01\x22\x5C`, "HELLO"]);
});

test("traces: each is one entry with its line's level, and the line behind it is another", async () => {
  for (const name of ["python", "java", "node"]) {
    const { entries } = await push(join(FIXTURES, `trace-${name}.log`));
    const traces = entries.filter(({ message }) => message.includes("\n"));
    expect(traces.map(({ severityNumber }) => severityNumber)).toEqual(traces.map(() => 17));
    expect(traces).toHaveLength(name === "python" ? 6 : 3);
    expect(entries.at(-1)?.message).toMatch(/closed$/u);
    expect(entries.at(-1)?.severityNumber).toBe(13);
  }
  const { entries } = await push(join(FIXTURES, "trace-go.log"));
  expect(entries[1]?.message).toMatch(/^runtime error: [^]*\n\ngoroutine 1 \[running\]:\n[^]*\nexit status 2$/u);
  expect(entries[1]?.level).toBe("panic");
});

test.each(["containerd-cri.log", "docker-json-file.log"])(
  "%s: cut lines are whole, a trace is one entry though the other stream is in between, JSON is read",
  async (name) => {
    const { entries } = await push(join(FIXTURES, name));
    const of = (message: string): LogEntry | undefined => entries.find((entry) => entry.message === message);
    expect(of("long ".repeat(name.startsWith("docker") ? 10_000 : 5000))?.fields).toMatchObject({ stream: "stdout" });
    expect(of("broken\n  at one\n  at two")).toMatchObject({ level: "ERROR", fields: { stream: "stderr" } });
    expect(of("from pino")).toMatchObject({ level: "info", fields: { stream: "stdout" } });
    expect(of("plain")?.timestamp).toBeGreaterThan(1_795_286_000_000_000_000n);
    expect(of("last")).toBeDefined();
  },
);

test("the journal: as JSON and as an export it becomes the same entries", async () => {
  const exported = await push(join(FIXTURES, "journal.export"));
  const json = await push(join(FIXTURES, "journal.json"));
  expect(exported.counts).toMatchObject({ formats: { journal: 12 }, replaced: 6 });
  const said = ({ entries }: typeof json): unknown[] =>
    entries.map(({ message, level, timestamp, sourceFile, lineNumber, fields }) => {
      return { message, level, timestamp, sourceFile, lineNumber, fields };
    });
  expect(said(exported)).toEqual(said(json));
  expect(exported.entries[1]).toMatchObject({
    message: "order 1\n  at two lines\n\nand a blank one",
    level: "alert",
    timestamp: 1_795_286_400_001_000_000n,
    fields: { program: "shop", _PID: "77", _HOSTNAME: "vm" },
  });
  expect(exported.entries[2]?.message).toBe("gr\uFFFD\uFFFDe 2");
  expect(exported.entries[3]).toMatchObject({ sourceFile: "shop.c", lineNumber: 12, fields: { TAG: "a", TAG_: "b" } });
});

test("an export that comes through a pipe, a few bytes at a time, is known by its beginning", async () => {
  const bytes = await readFile(join(FIXTURES, "journal.export"));
  const chunks = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, i) => bytes.subarray(i * 7, i * 7 + 7));
  const words = ["logs", "push", "--server", server.address, "--output", "json"];
  const { exitCode, stdout } = await callCli(words, { folder: folder.path, stdin: Readable.from(chunks) }).ended;
  expect([exitCode, JSON.parse(stdout)]).toMatchObject([0, { entries: 12, formats: { journal: 12 } }]);
});

test.each(["/var/log/dpkg.log", "/var/log/alternatives.log", "/var/log/apt/term.log", "/var/log/apt/history.log"])(
  "this machine's %s, if it has one",
  async (path) => {
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return;
    const { counts, entries } = await push(path, "--join", "none");
    expect(counts.lines + counts.blank).toBe(await wcLines(path));
    expect(entries).toHaveLength(counts.lines);
    expect(counts.rejected).toBe(0);
  },
);
