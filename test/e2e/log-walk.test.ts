// The walk of docs/ARCHITECTURE.md, executed: one entry goes through a real server, over a real socket and real files, and
// every function that the page names is called, in the part of the walk that names it.
//
// What was called is counted by V8 (precise coverage), so nothing is replaced, wrapped or assumed.

import { Session } from "node:inspector/promises";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connect, type LogStream } from "@sluice/client";
import { createLogger, loadConfig, nodeFileSystem, openServer, type Server, systemClock } from "@sluice/server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const repository = join(import.meta.dirname, "..", "..");

interface Step {
  /** The heading of the part of the walk that it belongs to. */
  readonly part: string;
  readonly number: number;
  readonly file: string;
  readonly name: string;
}

function parseWalk(page: string): Step[] {
  const pattern = /^## (?<heading>.*)$|^(?<number>\d+)\. `(?<file>[^`]+)` → `(?<name>[^`]+)`/gm;
  const steps: Step[] = [];
  let part = "";
  for (const { groups } of page.matchAll(pattern)) {
    const { heading, number, file = "", name = "" } = groups ?? {};
    if (heading === undefined) steps.push({ part, number: Number(number), file, name });
    else part = heading;
  }
  return steps;
}

const steps = parseWalk(await readFile(join(repository, "docs/ARCHITECTURE.md"), "utf8"));

/** Counts calls of all functions of this process. */
class CallCounter {
  readonly #session = new Session();

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post("Profiler.enable");
    await this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  }

  /** What was called since the last time, as `file name`, the file relative to the repository. */
  async take(): Promise<ReadonlySet<string>> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    const called = new Set<string>();
    for (const { url, functions } of result) {
      const file = url.replace(/^file:\/\//, "").replace(/\?.*$/, "");
      if (!file.startsWith(`${repository}/packages/`)) continue;
      for (const { functionName, ranges } of functions) {
        if ((ranges[0]?.count ?? 0) > 0) called.add(`${file.slice(repository.length + 1)} ${functionName}`);
      }
    }
    return called;
  }

  stop(): void {
    this.#session.disconnect();
  }
}

const counter = new CallCounter();

beforeAll(() => counter.start());
afterAll(() => counter.stop());

async function startServer(folder: string): Promise<Server> {
  const flags = new Map([
    ["listen", "127.0.0.1:0"],
    ["data", folder],
  ]);
  const { config } = await loadConfig({ flags, environment: {}, folder });
  const logger = createLogger({ format: "text", level: "error", clock: systemClock, write: () => {} });
  return openServer(config, { clock: systemClock, fileSystem: nodeFileSystem, logger });
}

/** Opens a follow and waits until it stands at the head. */
async function follow(stream: LogStream): Promise<ReturnType<LogStream["events"]>> {
  const events = stream.events();
  for (let event = await events.next(); event.done !== true; event = await events.next()) {
    if (event.value.kind === "sync") return events;
  }
  throw new Error("The stream ended before its history did");
}

/** The steps of these parts that were not taken. */
function missing(called: ReadonlySet<string>, ...parts: readonly string[]): Step[] {
  const walked = steps.filter(({ part }) => parts.includes(part));
  expect(new Set(walked.map(({ part }) => part))).toEqual(new Set(parts));
  return walked.filter(({ file, name }) => !called.has(`${file} ${name}`));
}

test("the page's steps are numbered in their order", () => {
  expect(steps.length).toBeGreaterThan(20);
  expect(steps.map(({ number }) => number)).toEqual(steps.map((_, index) => index + 1));
});

test("one entry takes the way that the page describes", async () => {
  await using folder = await openTemporaryFolder("log-walk");
  const message = "the shop is open";
  {
    await using server = await startServer(folder.path);
    await using client = connect(server.address);
    const events = await follow(client.streamLogs({ follow: true }));
    await using writer = client.openLogWriter();
    await counter.take();

    await writer.write({ application: "shop", level: "INFO", message });
    await writer.flush();
    expect(await events.next()).toMatchObject({ value: { kind: "entry", entry: { message, sequence: 1n } } });
    expect(missing(await counter.take(), "An entry is written", "It is followed")).toEqual([]);
    await events.return?.();
  }

  await using server = await startServer(folder.path);
  expect(missing(await counter.take(), "The server is started again")).toEqual([]);

  await using client = connect(server.address);
  const entries = await Array.fromAsync(client.streamLogs({ applications: ["shop"] }));
  expect(entries.map((entry) => entry.message)).toEqual([message]);
  expect(missing(await counter.take(), "It is read from disk")).toEqual([]);
});
