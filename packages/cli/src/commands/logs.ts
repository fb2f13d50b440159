// `sluice logs`: reads logs, and follows them over lost connections.
import {
  connect,
  type LogEvent,
  type LogQuery,
  logEntryToJson,
  type SluiceClient,
  type SlowReaderChoice,
} from "@sluice/client";
import { Command, InvalidArgumentError } from "commander";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { EXIT } from "../exit-codes.ts";
import { applicationsCommand } from "./applications.ts";
import { formatLogLine } from "./log-line.ts";
import { noteEvent, noteGap } from "./log-notes.ts";
import { addSelectionOptions, parseCount, type SelectionOptions, selectionOf } from "./log-options.ts";
import { collect } from "./repeatable.ts";
import { logsBackupCommand, logsRestoreCommand } from "./logs-backup.ts";
import { logsContextCommand } from "./logs-context.ts";
import { logsCountCommand } from "./logs-count.ts";
import { logsForwardCommand } from "./logs-forward.ts";
import { logsLsCommand } from "./logs-ls.ts";
import { logsPushCommand } from "./logs-push.ts";

interface LogsOptions extends SelectionOptions {
  readonly tail?: number;
  readonly follow?: boolean;
  readonly reverse?: boolean;
  readonly filter: string[];
  readonly resumeAfter?: string;
  readonly untilCursor?: string;
  readonly limit?: number;
  readonly slowReader?: SlowReaderChoice;
  readonly lagMax?: number;
  readonly cursors?: boolean;
  readonly utc?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

/** Attempts in a row before a history that is not followed is given up: about three seconds. */
const HISTORY_ATTEMPTS_MAX = 5;

/** Entries of a page, when the newest come first. */
const PAGE_ENTRIES = 1000;

export function logsCommand(context: CommandContext): Command {
  const command = new Command("logs")
    .description("Prints log entries, oldest first; with --follow also those to come.")
    .enablePositionalOptions(); // what stands behind "push" is push's
  addSelectionOptions(command)
    .option("-n, --tail <count>", "only the last entries of history; 0 with --follow: only what comes", parseCount)
    .option("-f, --follow", "go on with what comes")
    .option("-r, --reverse", "the newest first")
    .option(
      "--filter <term>",
      'text -text "quoted text" key=value key!=value key~regex key!~regex key>number …; all must hold; may be repeated',
      collect,
      [],
    )
    .option("--resume-after <cursor>", "go on after the entry with this cursor")
    .option("--until-cursor <cursor>", "end with the entry of this cursor")
    .option("--limit <count>", "end after so many entries", parseCount)
    .option(
      "--slow-reader <choice>",
      "with --follow, when this reader is slower than the log: catch-up, drop-oldest, sample=N a second, disconnect",
      parseSlowReader,
    )
    .option(
      "--lag-max <count>",
      "entries of the log between a reader and the head before it is slow (10,000)",
      parseCount,
    )
    .option("--cursors", "show the cursor of each entry")
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  command.action(async (options: LogsOptions) =>
    options.reverse === true ? readBackwards(options, context) : readLogs(options, context),
  );
  return command
    .addCommand(logsCountCommand(context))
    .addCommand(logsContextCommand(context))
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
    event.kind === "entry" ? printEntry(event.entry, options, output) : noteEvent(event, output);
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

/** Page after page, from the newest entry on. */
async function readBackwards(options: LogsOptions, context: CommandContext): Promise<void> {
  const isOdd = options.follow === true || options.tail !== undefined || options.untilCursor !== undefined;
  if (isOdd) {
    throw new CommandFailure("--reverse goes with none of --follow, --tail, --until-cursor; use --limit", {
      exitCode: EXIT.usage,
    });
  }
  const output = createOutput(context, options.output);
  await using client = connect(options.server);
  try {
    await printPages(client, options, output, context.stop);
  } catch (error) {
    if (!context.stop.aborted) throw error;
  }
}

async function printPages(
  client: SluiceClient,
  options: LogsOptions,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  let olderThan = options.resumeAfter;
  let isFirst = true;
  while (left > 0 && !signal.aborted) {
    const limit = Math.min(left, PAGE_ENTRIES);
    const query = { ...selectionOf(options), filters: options.filter, limit };
    const page = await client.readLogPage({ ...query, ...(olderThan === undefined ? {} : { olderThan }) }, { signal });
    // Every page says it again.
    if (isFirst) for (const notice of page.notices) noteEvent({ kind: "notice", notice }, output);
    isFirst = false;
    for (const entry of page.entries) await printEntry(entry, options, output);
    for (const gap of page.gaps) noteGap(gap, output);
    left -= page.entries.length;
    if (page.olderToken === undefined) return;
    olderThan = page.olderToken;
  }
}

function queryOf(options: LogsOptions): LogQuery {
  return {
    ...selectionOf(options),
    filters: options.filter,
    follow: options.follow ?? false,
    ...slowReaderOf(options),
    ...(options.tail === undefined ? {} : { tailLines: options.tail }),
    ...(options.resumeAfter === undefined ? {} : { resumeAfter: options.resumeAfter }),
    ...(options.untilCursor === undefined ? {} : { untilCursor: options.untilCursor }),
    ...(options.limit === undefined ? {} : { limit: options.limit }),
  };
}

function slowReaderOf({ slowReader, lagMax }: LogsOptions): Pick<LogQuery, "slowReader"> {
  if (slowReader !== undefined) {
    return { slowReader: lagMax === undefined ? slowReader : { ...slowReader, lagMaxEntries: lagMax } };
  }
  if (lagMax === undefined) return {};
  throw new CommandFailure("--lag-max needs --slow-reader drop-oldest, sample=N or disconnect", {
    exitCode: EXIT.usage,
  });
}

/** undefined: it catches up. */
function parseSlowReader(text: string): SlowReaderChoice | undefined {
  const [, perSecond] = /^sample=([1-9]\d{0,6})$/u.exec(text) ?? [];
  if (perSecond !== undefined) return { kind: "sample", perSecond: Number(perSecond) };
  if (text === "drop-oldest" || text === "disconnect") return { kind: text };
  if (text === "catch-up") return undefined;
  throw new InvalidArgumentError("Choose catch-up, drop-oldest, sample=N (entries a second) or disconnect.");
}

function printEntry(
  entry: Extract<LogEvent, { kind: "entry" }>["entry"],
  options: LogsOptions,
  output: Output,
): Promise<void> | undefined {
  return output.result({
    text: () => {
      const line = formatLogLine(entry, { paint: output.paint, isUtc: options.utc === true });
      return options.cursors === true ? `${line} ${output.paint("dim", entry.cursor)}` : line;
    },
    json: () => logEntryToJson(entry),
  });
}
