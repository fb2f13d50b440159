// `sluice demo`: what a newcomer sees first. All of it is real, and the lines it suggests work as they stand.
import { appendFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { runCli, startCli } from "../support/cli-process.ts";
import { collect, openLogClient, takeEntries } from "../support/log-client.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

/** A log folder like /var/log, and a temporary folder of its own, so that what the demo leaves there can be seen. */
async function prepare(folder: string) {
  const [logs, temporary] = [join(folder, "log"), join(folder, "tmp")];
  await mkdir(join(logs, "web"), { recursive: true });
  await mkdir(temporary);
  await writeFile(
    join(logs, "install.log"),
    "2025-11-20 10:00:00 status installed a\n2025-11-20 10:00:01 ERROR could not install b\n",
  );
  await writeFile(join(logs, "web/server.log"), '{"level":40,"time":1763632800000,"msg":"slow request","ms":812}\n');
  await writeFile(join(logs, "binary.log"), Buffer.from([0, 1, 2]));
  const words = ["demo", "--logs", logs, "--output", "json"];
  return { logs, temporary, words, options: { folder, environment: { TMPDIR: temporary } } };
}

/** What demos left in the temporary folder. Node keeps its compile cache there. */
const leftIn = async (temporary: string) => (await readdir(temporary)).filter((name) => name.startsWith("sluice"));

interface Told {
  readonly event: string;
  readonly address?: string;
  readonly data?: string;
  readonly lines?: string[];
  readonly files?: { path: string; lines: number; refused: number }[];
  readonly notRead?: { path: string; reason: string }[];
}

const toldBy = (stdout: string): Told[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Told);

test("it reads the machine's logs, follows them, says what it did, and leaves nothing behind", async () => {
  await using folder = await openTemporaryFolder("demo");
  const { logs, temporary, words, options } = await prepare(folder.path);
  await using demo = startCli([...words, "--listen", "127.0.0.1:0"], options);
  await demo.waitFor("stdout", /"event":"try".*\n/u);
  const [serving, read, suggested] = toldBy(demo.stdout());
  expect(serving).toMatchObject({ event: "serving" });
  expect(serving?.data?.startsWith(temporary)).toBe(true);
  expect(
    read?.files?.map(({ path, lines, refused }) => ({ path, lines, refused })).toSorted((a, b) => a.lines - b.lines),
  ).toEqual([
    { path: join(logs, "web/server.log"), lines: 1, refused: 0 },
    { path: join(logs, "install.log"), lines: 2, refused: 0 },
  ]);
  expect(read?.notRead).toEqual([{ path: join(logs, "binary.log"), reason: "binary" }]);
  expect(suggested?.lines).toHaveLength(9);

  await using client = openLogClient(serving?.address ?? "");
  const stream = client.seed.streamLogs({ application: "install", follow: true });
  expect(await takeEntries(stream, 2)).toMatchObject([
    { message: "status installed a", timestamp: BigInt(Date.parse("2025-11-20T10:00:00")) * 1_000_000n },
    { level: "ERROR" },
  ]);
  await appendFile(join(logs, "install.log"), "2025-11-20 10:00:02 status installed c\n");
  expect(await takeEntries(stream, 1)).toMatchObject([{ message: "status installed c" }]);
  const [slow] = await collect(client.seed.streamLogs({ application: "server" }));
  expect(slow).toMatchObject({ message: "slow request", fields: { ms: "812" }, timestamp: 1_763_632_800_000_000_000n });
  expect((await collect(client.seed.streamLogs({ application: "sluice" }))).length).toBeGreaterThan(0);
  await stream.return?.();
  await client[Symbol.asyncDispose]();

  demo.kill("SIGINT");
  expect(await demo.ended()).toMatchObject({ exitCode: 0 });
  expect(await leftIn(temporary)).toEqual([]);
});

test("what is piped in is there, with the lines that fit nothing kept as they are", async () => {
  await using folder = await openTemporaryFolder("demo");
  const { words, options } = await prepare(folder.path);
  const input = '{"level":"warn","msg":"json"}\nplain text\nno newline at the end';
  await using demo = startCli([...words, "--listen", "127.0.0.1:0"], { ...options, input });
  await demo.waitFor("stderr", /Read 3 lines from stdin, which has ended/u);
  await demo.waitFor("stdout", /"event":"serving".*\n/u);
  const { address = "" } = toldBy(demo.stdout())[0] ?? {};
  await using client = openLogClient(address);
  expect(await collect(client.seed.streamLogs({ application: "stdin" }))).toMatchObject([
    { message: "json", level: "warn" },
    { message: "plain text" },
    { message: "no newline at the end" },
  ]);
});

test("the lines that it suggests work as they stand: reading, and pushing a program's output", async () => {
  await using folder = await openTemporaryFolder("demo");
  const { words, options } = await prepare(folder.path);
  await using demo = startCli([...words, "--listen", "127.0.0.1:0"], options);
  await demo.waitFor("stdout", /"event":"try".*\n/u);
  const [
    grpcurl = "",
    read = "",
    push = "",
    download = "",
    get = "",
    metrics = "",
    watch = "",
    queue = "",
    inbox = "",
  ] = toldBy(demo.stdout()).at(-1)?.lines ?? [];
  expect(grpcurl).toMatch(
    /^grpcurl -plaintext -d '\{"application":"\w+","follow":true\}' localhost:\d+ LogService\/StreamLogs$/u,
  );

  expect(download).toMatch(
    /^grpcurl -plaintext -d '\{"file_path":"test\.txt","chunk_size":1024\}' localhost:\d+ FileService\/DownloadFile$/u,
  );
  expect(metrics).toMatch(
    /^grpcurl -plaintext -d '\{"metric_names":\["cpu","memory"\],"interval_seconds":5\}' localhost:\d+ MetricsService\/StreamMetrics$/u,
  );

  const wordsOf = (line: string) => line.slice(line.indexOf("npx sluice ") + "npx sluice ".length).split(" ");
  await using reader = startCli(wordsOf(read), options);
  const pushed = await runCli(wordsOf(push), { ...options, input: "hello from a program\n" });
  expect(pushed.exitCode).toBe(0);
  await reader.waitFor("stdout", /hello from a program/u);
  reader.kill("SIGINT");
  expect((await reader.ended()).exitCode).toBe(0);

  const [create = "", enqueue = "", work = ""] = queue.split(" && ");
  expect((await runCli(wordsOf(create), options)).exitCode).toBe(0);
  expect((await runCli(wordsOf(enqueue), { ...options, input: "first\nsecond\n" })).exitCode).toBe(0);
  await using worker = startCli(wordsOf(work), options);
  await worker.waitFor("stdout", /second/u);
  worker.kill("SIGINT");
  expect((await worker.ended()).exitCode).toBe(0);

  const [send = "", watchInbox = ""] = inbox.split(" && ");
  expect((await runCli(wordsOf(send), options)).exitCode).toBe(0);
  await using watching = startCli(wordsOf(watchInbox), options);
  await watching.waitFor("stdout", /Hello/u);
  watching.kill("SIGINT");
  expect((await watching.ended()).exitCode).toBe(0);

  const now = await runCli([...wordsOf(watch), "--mode", "once"], options);
  expect(now.stdout).toMatch(/ memory [\d.]+ %$/mu);

  // The node that runs the demo: a large file, and one that can be compared with itself.
  const got = await runCli(wordsOf(get.replace("--to /tmp/", `--to ${folder.path}`)), options);
  expect(got).toMatchObject({ exitCode: 0 });
  const [here, there] = [
    await readFile(join(folder.path, basename(process.execPath))),
    await readFile(process.execPath),
  ];
  expect(here.equals(there)).toBe(true);
});

/** Another program on a port, until it is disposed; on a port that is taken already it is that program. */
async function takePort(wanted: number) {
  const server = createServer().listen(wanted, "127.0.0.1");
  await Promise.race([once(server, "listening"), once(server, "error").catch(() => {})]);
  const bound = server.address();
  return {
    port: bound !== null && typeof bound === "object" ? bound.port : wanted,
    [Symbol.dispose]: () => void server.close(),
  };
}

test("an address that was asked for must be free", async () => {
  await using folder = await openTemporaryFolder("demo");
  const { words, options, temporary } = await prepare(folder.path);
  using other = await takePort(0);
  const { exitCode, stderr } = await runCli([...words, "--listen", `127.0.0.1:${other.port}`], options);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("another program listens there");
  expect(await leftIn(temporary)).toEqual([]);
});

test("the default port gives way when it is taken, and that is said", async () => {
  await using folder = await openTemporaryFolder("demo");
  const { words, options } = await prepare(folder.path);
  using _other = await takePort(8080);
  await using demo = startCli(words, options);
  await demo.waitFor("stdout", /"event":"serving".*\n/u);
  await demo.waitFor("stderr", /Port 8080 is taken; using another one\./u);
  expect(toldBy(demo.stdout())[0]?.address).toMatch(/^127\.0\.0\.1:(?!8080$)\d+$/u);
});
