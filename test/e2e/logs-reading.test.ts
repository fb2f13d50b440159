// What a reader may choose, against a real server: at the command line, and by a reader that is too slow.
import type { LogBatch } from "@sluice/api";
import { SlowReader } from "@sluice/api";
import { connect, type SluiceClient } from "@sluice/client";
import { Code, ErrorInfoSchema, RpcError } from "@sluice/rpc";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import type { CliResult } from "../support/cli-process.ts";
import { type LogClient, openLogClient } from "../support/log-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

/** What takes a second on a quiet machine takes many on one that is busy. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

/** 2023-11-14 22:13:20 UTC. */
const NOON_NS = 1_700_000_000_000_000_000n;
const SECOND_NS = 1_000_000_000n;

let folder: TemporaryFolder;
let server: ServerProcess;
let client: SluiceClient;

beforeAll(async () => {
  folder = await openTemporaryFolder("logs-reading");
  server = await startServer([], { folder: folder.path });
  client = connect(server.address);
  await using writer = client.openLogWriter();
  for (let i = 0; i < 30; i++) {
    await writer.write({
      application: i % 3 === 0 ? "shop" : "cart",
      level: i % 10 === 0 ? "ERROR" : "INFO",
      timestamp: NOON_NS + BigInt(i) * SECOND_NS,
      message: `m${i}`,
    });
  }
});

afterAll(async () => {
  await client.close();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const run = (...words: string[]): Promise<CliResult> =>
  callCli(["logs", ...words, "--server", server.address], { folder: folder.path }).ended;
const ours = ["-a", "shop", "-a", "cart"];
const messagesIn = (text: string): string[] => [...text.matchAll(/: (m\d+)/gu)].map(([, message = ""]) => message);

describe("sluice logs", () => {
  test("--reverse prints the newest first", async () => {
    const { stdout, exitCode } = await run("--reverse", "--limit", "4", ...ours);
    expect([messagesIn(stdout), exitCode]).toEqual([["m29", "m28", "m27", "m26"], 0]);
    const rest = await run("--reverse", "--filter", "m1", ...ours);
    expect(messagesIn(rest.stdout)).toEqual([
      "m19",
      "m18",
      "m17",
      "m16",
      "m15",
      "m14",
      "m13",
      "m12",
      "m11",
      "m10",
      "m1",
    ]);
  });

  test("--reverse does not go with --follow", async () => {
    const { exitCode, stderr } = await run("--reverse", "--follow");
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("--limit")]);
  });

  test("--cursors shows what context and --resume-after take", async () => {
    const { stdout } = await run("--cursors", "--limit", "20", ...ours);
    const cursor = /: m15 (\S{14})$/mu.exec(stdout)?.[1];
    const around = await run("context", cursor!, "-B", "2", "-A", "1");
    expect(messagesIn(around.stdout)).toEqual(["m13", "m14", "m15", "m16"]);
    expect(around.stdout.split("\n").filter((line) => line.startsWith(">"))).toEqual([expect.stringContaining("m15")]);
    const same = await run("context", cursor!, "-B", "1", "-A", "1", "--same-application", "--output", "json");
    const lines = same.stdout.split("\n").slice(0, -1);
    expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual(["m12", "m15", "m18"]);
    const until = await run("--until-cursor", cursor!, "--filter", "m1", ...ours);
    expect(messagesIn(until.stdout)).toEqual(["m1", "m10", "m11", "m12", "m13", "m14", "m15"]);
  });

  test("says on stderr what nobody will ever see", async () => {
    const none = await run("-a", "nobody");
    expect([none.stdout, none.stderr]).toEqual(["", expect.stringContaining("UNKNOWN_APPLICATION")]);
    const never = await run("--filter", "level=info", "--filter", "level=warn");
    expect([never.stdout, never.stderr]).toEqual(["", expect.stringContaining("CANNOT_MATCH")]);
  });

  test.each([["sample"], ["sample=0"], ["oldest"]])("--slow-reader %s is refused", async (choice) => {
    const { exitCode, stderr } = await run("--follow", "--slow-reader", choice);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("drop-oldest")]);
  });

  test("--slow-reader and --lag-max are asked for", async () => {
    const refused = await run("--slow-reader", "drop-oldest");
    expect(refused.stderr).toContain("slow_reader");
    expect((await run("--follow", "--lag-max", "5")).stderr).toContain("--lag-max needs");
    const sampled = await run("--follow", "--slow-reader", "sample=5", "--lag-max", "5", "--limit", "1", ...ours);
    expect([messagesIn(sampled.stdout), sampled.exitCode]).toEqual([["m0"], 0]);
  });
});

describe("sluice logs count", () => {
  test("draws a histogram", async () => {
    const { stdout, stderr } = await run("count", ...ours, "--bucket", "10s", "--utc");
    const lines = stdout.split("\n").slice(0, -1);
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^2023-11-14 22:13:20.000Z 10 █{40} INFO 9, ERROR 1$/u);
    expect(stderr).toContain("30 entries, 10 s a line");
  });

  test("shows silence too, and groups by application or not at all", async () => {
    const { stdout } = await run(
      "count",
      ...ours,
      "--bucket",
      "1s",
      "--level",
      "error",
      "--by",
      "application",
      "--utc",
    );
    const lines = stdout.split("\n").slice(0, -1);
    expect(lines).toHaveLength(21);
    expect([lines[0], lines[1], lines[20]]).toEqual([
      expect.stringMatching(/1 █+ shop 1$/u),
      "2023-11-14 22:13:21.000Z 0",
      expect.stringMatching(/1 █+ cart 1$/u),
    ]);
    expect((await run("count", ...ours, "--bucket", "1h", "--by", "time")).stdout).toMatch(/30 █{40}\n$/u);
  });

  test("gives an object a bucket and group for programs", async () => {
    const { stdout } = await run("count", ...ours, "--bucket", "1m", "--by", "level", "--output", "json");
    const rows = stdout.split("\n").slice(0, -1);
    const startTimestamp = String(NOON_NS - (NOON_NS % (60n * SECOND_NS)));
    expect(rows.map((row) => JSON.parse(row) as object)).toEqual([
      { startTimestamp, bucketNs: "60000000000", application: "", severityNumber: 9, count: "27" },
      { startTimestamp, bucketNs: "60000000000", application: "", severityNumber: 17, count: "3" },
    ]);
  });

  test("of nothing says so, and a width that is none is refused", async () => {
    expect((await run("count", "-a", "nobody")).stderr).toContain("no entry");
    expect((await run("count", "--bucket", "0s")).exitCode).toBe(2);
  });
});

describe("a reader that is too slow, over a real connection", () => {
  const BURST = 500;
  const BURSTS = 60;

  /** Writes in bursts, and reads one message after each. */
  async function readSlowly(reader: LogClient, slowReader: SlowReader) {
    await using writer = openLogClient(server.address);
    const stream = reader.logs.streamLogBatches({
      follow: true,
      tailLines: 0n,
      heartbeatMs: 0,
      slowReader,
      lagMaxEntries: 1000n,
    });
    const batches: LogBatch[] = [];
    batches.push((await stream.next()).value as LogBatch);
    const entries = Array.from({ length: BURST }, (_, i) => ({
      application: "flood",
      message: `${i} ${"x".repeat(2000)}`,
    }));
    let last = 0n;
    for (let burst = 0; burst < BURSTS; burst++) {
      ({ lastSequence: last } = await writer.logs.writeLogs({ entries }));
      batches.push((await stream.next()).value as LogBatch);
    }
    return { stream, batches, last, first: last - BigInt(BURST * BURSTS) + 1n };
  }

  test("that drops the oldest: entries and gaps add up to what was written", async () => {
    await using reader = openLogClient(server.address);
    const { stream, batches, first, last } = await readSlowly(reader, SlowReader.DROP_OLDEST);
    let accounted = first - 1n;
    let gaps = 0;
    const account = ({ entries, control }: LogBatch): void => {
      for (const { sequence } of entries) expect(sequence).toBe(++accounted);
      if (control?.kind.case !== "gap") return;
      gaps++;
      accounted += control.kind.value.count;
    };
    batches.forEach(account);
    while (accounted < last) account((await stream.next()).value as LogBatch);
    expect([accounted, gaps > 0]).toEqual([last, true]);
  });

  test("that wants to be cut off: the cursor is where to go on", async () => {
    await using reader = openLogClient(server.address);
    const outcome = await readSlowly(reader, SlowReader.DISCONNECT).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(outcome).toBeInstanceOf(RpcError);
    const error = outcome as RpcError;
    expect(error.code).toBe(Code.RESOURCE_EXHAUSTED);
    const [info] = error.findDetails(ErrorInfoSchema);
    expect(info).toMatchObject({ reason: "SLOW_READER" });
    const resumed = client.streamLogs({ resumeAfter: info!.metadata["cursor"]!, limit: 1 });
    for await (const entry of resumed) expect(entry.application).toBe("flood");
  });
});
