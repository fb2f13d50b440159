// One reader asks a large log for little of it: by the index, by text, by values; ripgrep on the same entries as lines of
// text is the yardstick.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { LogStreamRequestSchema } from "@sluice/api";
import { runClient } from "../client-run.ts";
import type { HistoryOutcome, HistoryTask } from "../clients/history.ts";
import { grpcFrame } from "../clients/http2-wire.ts";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { fillLog, needle, type FilledLog } from "../filled-log.ts";
import { selective } from "../log-lines.ts";
import type { CaseOutcome, Measured } from "../report.ts";
import type { Scenario, ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const timeoutMs = 300_000;
const ripgrep = "ripgrep, one thread";
const run = promisify(execFile);

type Query = MessageInitShape<typeof LogStreamRequestSchema>;

interface Search {
  readonly title: string;
  readonly query: Query;
  /** What the figure is of the time that the search took. */
  readonly measure: "entries/s" | "bytes/s" | "ms";
  /** What ripgrep looks for in the same lines; undefined: it has nothing like it. */
  readonly pattern?: readonly string[];
  /** How many entries of a log with so many must come, at least and at most. */
  readonly expected: (entries: number) => readonly [number, number];
  readonly note: string;
}

const none = (): readonly [number, number] => [0, 0];
const about =
  (share: number) =>
  (entries: number): readonly [number, number] => [entries * share * 0.9, entries * share * 1.1];

const searches: readonly Search[] = [
  {
    title: "application and level, one entry in 100",
    query: { application: selective.application, logLevel: selective.logLevel },
    measure: "entries/s",
    expected: about(selective.share),
    note: "entries of the log, a second; those that match are spread over all of it, so no page can be skipped",
  },
  {
    title: "a text of 5 bytes that no entry has",
    query: { filters: ["zxqvj"] },
    measure: "bytes/s",
    pattern: ["-F", "zxqvj"],
    expected: none,
    note: "bytes that are searched, a second: of frames here, of lines there; too short for the filters of segments, so all is read",
  },
  {
    title: "a text of 15 bytes that one entry has",
    query: { filters: [needle] },
    measure: "ms",
    pattern: ["-F", needle],
    expected: () => [1, 1],
    note: "the filters of segments say which to read",
  },
  {
    title: "a value of a field that no entry has",
    query: { filters: ["trace_id=00000000000000000000000000000001"] },
    measure: "ms",
    pattern: ["-F", "trace_id=00000000000000000000000000000001"],
    expected: none,
    note: "the filters of segments say that none need be read",
  },
  {
    title: "an expression that no entry has",
    query: { filters: ["message~(refused|aborted) by [a-z]+ after \\d+"] },
    measure: "bytes/s",
    pattern: ["(refused|aborted) by [a-z]+ after \\d+"],
    expected: none,
    note: "bytes of frames, or of lines, a second",
  },
  {
    title: "a number in a field, one entry in 100",
    query: { filters: ["status>=596"] },
    measure: "entries/s",
    expected: about(4 / 400),
    note: "every entry is looked at",
  },
];

export const logsFilter: Scenario = {
  name: "logs-filter",
  summary: "one reader asks a log of 10 M entries for little of it: by index, text, value, expression; beside ripgrep",
  async run(context) {
    const version = await findRipgrep();
    const count = context.isQuick ? 1_000_000 : 10_000_000;
    const log = await fillLog(context, { count, withText: version !== undefined });
    return await withServers([sluice(log.data)], async ([server]) => {
      const cases: CaseOutcome[] = [];
      for (const search of searches) cases.push(await measure(context, search, { log, server: server!, version }));
      return {
        scenario: "logs-filter",
        runs: context.runs,
        versions: { [us]: ourVersion, ripgrep: version ?? "missing" },
        missing:
          version === undefined ? [{ who: ripgrep, reason: "rg is not on the PATH (Debian's package: ripgrep)" }] : [],
        cases,
        notes: [
          `${log.entries} entries: ${Math.round(log.bytes / 1e6)} MB of frames, ${Math.round(log.textBytes / 1e6)} MB of lines, all in the page cache`,
          "the client is our own; each search is a StreamLogs from the beginning to the end of the log",
        ],
      };
    });
  },
};

async function findRipgrep(): Promise<string | undefined> {
  try {
    const { stdout } = await run("rg", ["--version"]);
    return stdout.split("\n")[0];
  } catch {
    return undefined;
  }
}

interface Field {
  readonly log: FilledLog;
  readonly server: Server;
  /** Of ripgrep; undefined: it is not here. */
  readonly version: string | undefined;
}

async function measure(context: ScenarioContext, search: Search, field: Field): Promise<CaseOutcome> {
  const { log, server, version } = field;
  const { title, pattern, note } = search;
  const measured: Measured[] = await takeTurns([server], context.runs, async ({ process: { address } }) => {
    context.say(`${title}: ${us}`);
    const { entries, seconds } = await ask(address, search.query);
    const [least, most] = search.expected(log.entries);
    if (entries < least || entries > most) throw new Error(`${entries} entries came, not ${least} to ${most}`);
    return figure(search, seconds, { entries: log.entries, bytes: log.bytes });
  });
  if (version !== undefined && pattern !== undefined && log.textFile !== undefined) {
    const samples: number[] = [];
    for (let i = 0; i <= context.runs; i++) {
      context.say(`${title}: ${ripgrep}`);
      const seconds = await grep(pattern, log.textFile, search.expected(log.entries)[0]);
      if (i > 0) samples.push(figure(search, seconds, { entries: log.entries, bytes: log.textBytes }));
    }
    measured.push({ who: ripgrep, samples });
  }
  const isSmallerBetter = search.measure === "ms";
  return { title, unit: search.measure, isSmallerBetter, measured, notes: [note] };
}

function figure(search: Search, seconds: number, log: { entries: number; bytes: number }): number {
  switch (search.measure) {
    case "entries/s":
      return log.entries / seconds;
    case "bytes/s":
      return log.bytes / seconds;
    case "ms":
      return seconds * 1000;
    default:
      return search.measure satisfies never;
  }
}

async function ask(address: string, query: Query): Promise<HistoryOutcome> {
  const message = toBinary(LogStreamRequestSchema, create(LogStreamRequestSchema, { ...query, controlFrames: false }));
  const request = grpcFrame(message).toString("base64");
  const path = "/sluice.logs.v1.LogService/StreamLogs";
  return await runClient<HistoryTask, HistoryOutcome>("history", { address, path, request }, { timeoutMs });
}

/** @throws Error unless it finds `expected` lines */
async function grep(pattern: readonly string[], file: string, expected: number): Promise<number> {
  const start = performance.now();
  let found = 0;
  try {
    const { stdout } = await run("rg", ["-j1", "--count", "--no-config", ...pattern, file]);
    found = Number(stdout);
  } catch (error) {
    // 1: nothing was found.
    if (!(error instanceof Error && "code" in error && error.code === 1)) throw error;
  }
  const seconds = (performance.now() - start) / 1000;
  if (found !== expected) throw new Error(`ripgrep found ${found} lines, not ${expected}`);
  return seconds;
}
