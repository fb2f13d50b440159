// `sluice logs`: reads logs, and follows them over lost connections.
import {
  connect,
  GapReason,
  type LogEvent,
  type LogQuery,
  logEntryToJson,
  systemClock,
} from "@sluice/client";
import { Command, InvalidArgumentError } from "commander";
import {
  addOutputOption,
  addServerOption,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { reasonOf } from "../failure.ts";
import { formatCount } from "../terminal.ts";
import { applicationsCommand } from "./applications.ts";
import { formatLogLine } from "./log-line.ts";
import { logsBackupCommand, logsRestoreCommand } from "./logs-backup.ts";
import { logsLsCommand } from "./logs-ls.ts";
import { logsForwardCommand } from "./logs-forward.ts";
import { logsPushCommand } from "./logs-push.ts";
import { parseTimeArgument } from "./time-argument.ts";

interface LogsOptions {
  readonly application: string[];
  readonly level?: string;
  readonly since?: bigint;
  readonly until?: bigint;
  readonly tail?: number;
  readonly follow?: boolean;
  readonly filter: string[];
  readonly resumeAfter?: string;
  readonly limit?: number;
  readonly log?: string;
  readonly utc?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

/** Attempts in a row before a history that is not followed is given up: about three seconds. */
const HISTORY_ATTEMPTS_MAX = 5;

export function logsCommand(context: CommandContext): Command {
  const time = (text: string): bigint => parseTimeArgument(text, systemClock.nowNs());
  const command = new Command("logs")
    .description("Prints log entries, oldest first; with --follow also those to come.")
    .enablePositionalOptions() // what stands behind "push" is push's
    .option("-a, --application <name>", "entries of this application; may be repeated", collect, [])
    .option("-l, --level <level>", "at least this severity: TRACE, DEBUG, INFO, WARN, ERROR, FATAL")
    .option("--since <time>", 'not before this event time: "10m" ago, "2h", "1d", or 2026-11-21T08:43:01Z', time)
    .option("--until <time>", "before this event time", time)
    .option("-n, --tail <count>", "only the last entries of history; 0 with --follow: only what comes", parseCount)
    .option("-f, --follow", "go on with what comes")
    .option(
      "--filter <term>",
      'text -text "quoted text" key=value key!=value key~regex key!~regex key>number …; all must hold; may be repeated',
      collect,
      [],
    )
    .option("--resume-after <cursor>", "go on after the entry with this cursor")
    .option("--limit <count>", "end after so many entries", parseCount)
    .option("--log <name>", 'name of the log (default: "default")')
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  command.action(async (options: LogsOptions) => readLogs(options, context));
  return command
    .addCommand(logsPushCommand(context))
    .addCommand(logsForwardCommand(context))
    .addCommand(applicationsCommand(context))
    .addCommand(logsLsCommand(context))
    .addCommand(logsBackupCommand(context))
    .addCommand(logsRestoreCommand(context));
}

async function readLogs(options: LogsOptions, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  await using client = connect(options.server);
  const stream = client.streamLogs(queryOf(options), {
    signal: context.stop,
    ...(options.follow === true ? {} : { retry: { attemptsMax: HISTORY_ATTEMPTS_MAX } }),
  });
  const print = (event: LogEvent): Promise<void> | undefined =>
    event.kind === "entry" ? printEntry(event.entry, options, output) : noteControl(event, output);
  try {
    let isConnected = false;
    for await (const event of stream.events()) {
      // A server that is not there at all is an error; one that goes away is waited for.
      if (event.kind === "disconnected" && !isConnected) throw event.error;
      isConnected = true;
      await print(event);
    }
  } catch (error) {
    if (!context.stop.aborted) throw error;
    if (context.stderr.isTTY === true && stream.cursor !== "") {
      output.note(output.paint("dim", `to go on from here: --resume-after ${stream.cursor}`));
    }
  }
}

function queryOf(options: LogsOptions): LogQuery {
  return {
    applications: options.application,
    filters: options.filter,
    follow: options.follow ?? false,
    ...(options.log === undefined ? {} : { log: options.log }),
    ...(options.level === undefined ? {} : { logLevel: options.level }),
    ...(options.since === undefined ? {} : { startTimestamp: options.since }),
    ...(options.until === undefined ? {} : { endTimestamp: options.until }),
    ...(options.tail === undefined ? {} : { tailLines: options.tail }),
    ...(options.resumeAfter === undefined ? {} : { resumeAfter: options.resumeAfter }),
    ...(options.limit === undefined ? {} : { limit: options.limit }),
  };
}

function printEntry(
  entry: Extract<LogEvent, { kind: "entry" }>["entry"],
  options: LogsOptions,
  output: Output,
): Promise<void> | undefined {
  return output.result({
    text: () => formatLogLine(entry, { paint: output.paint, isUtc: options.utc === true }),
    json: () => logEntryToJson(entry),
  });
}

/** What is no entry is said on stderr, so that the results stay clean. */
function noteControl(event: Exclude<LogEvent, { kind: "entry" }>, output: Output): undefined {
  switch (event.kind) {
    case "gap": {
      const { count, reason, toCursor } = event.gap;
      const why = GAP_TEXTS[reason];
      output.note(
        `${formatCount(count)} ${count === 1n ? "entry is" : "entries are"} missing here: ${why} (up to ${toCursor})`,
      );
      return undefined;
    }
    case "disconnected":
      output.note(`${reasonOf(event.error)}; trying again in ${(event.retryInMs / 1000).toFixed(1)} s`);
      return undefined;
    case "resumed":
      output.note("connected again; going on exactly where it stopped");
      return undefined;
    case "notice":
      output.note(`${event.notice.code}: ${event.notice.text}`);
      return undefined;
    case "sync":
    case "heartbeat":
      return undefined;
    default:
      return event satisfies never;
  }
}

const GAP_TEXTS: Readonly<Record<GapReason, string>> = {
  [GapReason.UNSPECIFIED]: "the server does not say why",
  [GapReason.SLOW_READER]: "this reader was too slow",
  [GapReason.SAMPLED]: "only a sample was asked for",
  [GapReason.RETENTION]: "they were older than the server keeps",
  [GapReason.EPOCH]: "they were cut off when the server recovered",
  [GapReason.CORRUPTION]: "their stored bytes are damaged",
};

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function parseCount(text: string): number {
  if (!/^\d{1,15}$/u.test(text)) throw new InvalidArgumentError("Give a whole number, 0 or more.");
  return Number(text);
}
