// `sluice logs push`: reads lines from files or stdin and writes them into a log.
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { connect, LogWriterFailed, RpcError, systemClock } from "@sluice/client";
import { Command, InvalidArgumentError, Option } from "commander";
import { EXIT, exitCodeOfStatus } from "../exit-codes.ts";
import type { JoinRule } from "../ingest/join-rule.ts";
import { type PushCounts, noCounts } from "../ingest/push-counts.ts";
import type { PushContext } from "../ingest/push-file.ts";
import { findNamed, pushInTurn, type PushNamesOptions, pushTogether } from "../ingest/push-names.ts";
import { LINE_FORMATS, type LineFormat } from "../ingest/read-line.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { stateFolder } from "../state-folder.ts";
import { formatBytes, formatCount, openProgress, plural, type Progress } from "../terminal.ts";

interface PushOptions {
  readonly application?: string;
  readonly follow?: boolean;
  readonly fromStart?: boolean;
  readonly state?: string;
  readonly log?: string;
  readonly format: LineFormat;
  readonly join: JoinRule;
  readonly server: string;
  readonly output: OutputFormat;
}

/** Unacknowledged bytes: of files that are pushed in turn, and of each that is followed. */
const BUFFER_BYTES = 16 * 1024 * 1024;
const FOLLOWED_BUFFER_BYTES = 512 * 1024;
/** Attempts in a row before a push that is not followed is given up: about three seconds. */
const ATTEMPTS_MAX = 5;
/** How long what was read may take to arrive after Ctrl-C. */
const PATIENCE_MS = 10_000;
const REJECTIONS_SHOWN = 10;

export function logsPushCommand(context: CommandContext): Command {
  const command = new Command("push")
    .summary("write lines of files or stdin into a log")
    .description(
      "Writes lines of files, or of stdin, into a log. Lines of JSON (pino, zap, bunyan, winston, …), logfmt, syslog, web " +
        "servers' access logs, Docker's and Kubernetes' files, systemd's journal and text are understood, each by itself; " +
        "a line that fits nothing is kept as text. How far a file was pushed is remembered, so that a second run goes on " +
        'there. Blank lines are left out. Lines longer than 256 KiB become several entries, numbered by the field "part".',
    )
    .argument("[files...]", 'files, folders, or patterns in quotes such as "logs/**/*.log"; none, or "-": stdin')
    .option("-a, --application <name>", "whose lines these are; default: what they say, else the file's name")
    .addOption(
      new Option("--format <name>", "what the lines are")
        .choices(LINE_FORMATS)
        .default("auto", '"auto": each says it itself'),
    )
    .addOption(
      new Option(
        "--join <rule>",
        'which lines go on with the one before: "traces" (indented ones, stack traces), "time" (those without a time), ' +
          '"none", or "/REGEX/" (those that it does not match)',
      )
        .argParser(parseJoinRule)
        .default({ kind: "traces" }, '"traces"'),
    )
    .option("-f, --follow", "go on when a file grows, is rotated or truncated, or appears later")
    .option("--from-start", "forget how far a file was pushed, and push it again from its beginning")
    .option("--state <folder>", "where to remember how far files were pushed (default: ~/.local/state/sluice/push)")
    .option("--log <name>", 'name of the log (default: "default")');
  addServerOption(addOutputOption(command));
  return command.action(async (files: string[], options: PushOptions) => {
    await push(files, options, context);
  });
}

function parseJoinRule(text: string): JoinRule {
  if (text === "none" || text === "traces" || text === "time") return { kind: text };
  const source = /^\/(.+)\/$/u.exec(text)?.[1];
  if (source === undefined) throw new InvalidArgumentError('Give "traces", "time", "none" or "/REGEX/".');
  try {
    return { kind: "start", pattern: new RegExp(source, "u") };
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? `${error.message}.` : "It is no regular expression.");
  }
}

async function push(names: readonly string[], options: PushOptions, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  const counts = noCounts();
  const isFollowing = options.follow === true;
  const startedMs = systemClock.monotonicMs();
  await using client = connect(options.server);
  const progress = openProgress(context.stderr, {
    label: "Pushing",
    format: formatBytes,
    environment: context.environment,
  });
  let totalBytes: number | undefined;
  const pushContext: PushContext = {
    client,
    clock: systemClock,
    stop: context.stop,
    patienceMs: PATIENCE_MS,
    application: options.application,
    log: options.log,
    format: options.format,
    rule: options.join,
    bufferBytesMax: isFollowing ? FOLLOWED_BUFFER_BYTES : BUFFER_BYTES,
    attemptsMax: isFollowing ? Number.POSITIVE_INFINITY : ATTEMPTS_MAX,
    counts,
    onProgress: () => progress.update(counts.bytes, totalBytes),
    onResumed: (bytes) => {
      if (totalBytes !== undefined) totalBytes -= bytes;
    },
    ...noteTo(output, progress, counts),
  };
  const pushOptions: PushNamesOptions = {
    follow: isFollowing,
    fromStart: options.fromStart === true,
    stateFolder:
      options.state === undefined ? stateFolder(context.environment, "push") : resolve(context.folder, options.state),
    target: [options.server, options.log ?? "", options.application ?? ""].join("\n"),
    folder: context.folder,
    stdin: context.stdin,
  };
  try {
    const named = await findNamed(names, pushOptions, pushContext);
    totalBytes = isFollowing ? undefined : await sizeOf(named.files.map(({ path }) => path));
    await (isFollowing ? pushTogether : pushInTurn)(named, pushOptions, pushContext);
  } catch (error) {
    throw failureOf(error);
  } finally {
    progress.end();
    const seconds = (systemClock.monotonicMs() - startedMs) / 1000;
    await output.result({ text: () => summaryOf(counts, seconds), json: () => ({ ...counts, seconds }) });
  }
  if (counts.rejected > 0) {
    throw new CommandFailure(`The server refused ${plural(counts.rejected, "line")}`, { exitCode: EXIT.failure });
  }
}

/** What is said beside the summary. The bar makes room for it. */
function noteTo(
  output: Output,
  progress: Progress,
  counts: PushCounts,
): Pick<PushContext, "note" | "onRejected" | "onDisconnected"> {
  const note = (text: string): void => {
    progress.end();
    output.note(text);
  };
  return {
    note,
    onRejected(source, { entry, reason, text }) {
      if (counts.rejected > REJECTIONS_SHOWN) return;
      note(`${source}: refused (${reason}): ${text}: ${JSON.stringify(entry.message.slice(0, 120))}`);
      if (counts.rejected === REJECTIONS_SHOWN) note("further refusals are counted only");
    },
    onDisconnected(error, retryInMs) {
      const why = error instanceof Error ? error.message : String(error);
      note(`${why}; trying again in ${(retryInMs / 1000).toFixed(1)} s`);
    },
  };
}

async function sizeOf(files: readonly string[]): Promise<number | undefined> {
  let total = 0;
  for (const file of files) {
    const found = await stat(file).catch(() => undefined);
    if (found?.isFile() !== true) return undefined;
    total += found.size;
  }
  return total;
}

/** A writer that failed says why; the server's word in it decides the exit code. */
function failureOf(error: unknown): unknown {
  if (!(error instanceof LogWriterFailed)) return error;
  const { cause, unacknowledged } = error;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CommandFailure(`Cannot push on, ${plural(unacknowledged, "line")} may be missing in the log: ${why}`, {
    exitCode: cause instanceof RpcError ? exitCodeOfStatus(cause.code) : EXIT.failure,
    hint: "What was acknowledged is remembered: push the same files again to go on.",
    cause: error,
  });
}

function summaryOf(counts: PushCounts, seconds: number): string {
  const fresh = counts.acknowledged - counts.duplicates - counts.rejected;
  const isJoined = counts.entries < counts.lines;
  const what = isJoined
    ? `${plural(fresh, "entry", "entries")} of ${plural(counts.lines, "line")}`
    : plural(fresh, "line");
  const open = counts.entries - counts.acknowledged;
  const formats = Object.entries(counts.formats).filter(([format]) => format !== "text");
  const parts = [
    `${what} written (${formatBytes(counts.bytes)} in ${seconds.toFixed(1)} s)`,
    ...formats.map(([format, count]) => `${formatCount(count)} ${format}`),
    counts.duplicates === 0 ? "" : `${formatCount(counts.duplicates)} already there`,
    counts.rejected === 0 ? "" : `${formatCount(counts.rejected)} refused`,
    open === 0 ? "" : `${formatCount(open)} not acknowledged`,
    counts.blank === 0 ? "" : `${plural(counts.blank, "blank line")} left out`,
    counts.replaced === 0 ? "" : `${plural(counts.replaced, "invalid UTF-8 sequence")} replaced by U+FFFD`,
    counts.pieces === 0 ? "" : `${plural(counts.pieces, "piece")} of lines longer than 256 KiB`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}
