// `sluice logs push`: reads lines from files or stdin and writes them into a log.
import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { connect, LogWriterFailed, RpcError, systemClock } from "@sluice/client";
import { Command } from "commander";
import { EXIT, exitCodeOfStatus } from "../exit-codes.ts";
import { type PushCounts, noCounts } from "../ingest/push-counts.ts";
import { type PushContext, pushFile, type PushFileOptions } from "../ingest/push-file.ts";
import { pushStream } from "../ingest/push-stream.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { formatBytes, formatCount, openProgress, plural, type Progress } from "../terminal.ts";

interface PushOptions {
  readonly application?: string;
  readonly follow?: boolean;
  readonly fromStart?: boolean;
  readonly state?: string;
  readonly log?: string;
  readonly server: string;
  readonly output: OutputFormat;
}

/** Unacknowledged bytes of all files together. */
const BUFFER_BYTES = 16 * 1024 * 1024;
const BUFFER_BYTES_MIN = 512 * 1024;
/** Attempts in a row before a push that is not followed is given up: about three seconds. */
const ATTEMPTS_MAX = 5;
/** How long what was read may take to arrive after Ctrl-C. */
const PATIENCE_MS = 10_000;
const REJECTIONS_SHOWN = 10;
const STDIN = "-";

export function logsPushCommand(context: CommandContext): Command {
  const command = new Command("push")
    .summary("write lines of files or stdin into a log")
    .description(
      "Writes lines of files, or of stdin, into a log. Lines of JSON (pino, zap, bunyan, winston, …) and of text are understood; " +
        "a line that fits nothing is kept as text. How far a file was pushed is remembered, so that a second run goes on " +
        'there. Blank lines are left out. Lines longer than 256 KiB become several entries, numbered by the field "part".',
    )
    .argument("[files...]", 'files to read; none, or "-": stdin')
    .option("-a, --application <name>", "whose lines these are; default: what they say, else the file's name")
    .option("-f, --follow", "go on when a file grows, is rotated or truncated, or appears later")
    .option("--from-start", "forget how far a file was pushed, and push it again from its beginning")
    .option("--state <folder>", "where to remember how far files were pushed (default: ~/.local/state/sluice/push)")
    .option("--log <name>", 'name of the log (default: "default")');
  addServerOption(addOutputOption(command));
  return command.action(async (files: string[], options: PushOptions) => {
    await push(files.length === 0 ? [STDIN] : files, options, context);
  });
}

async function push(names: readonly string[], options: PushOptions, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  const files = names.map((name) => (name === STDIN ? STDIN : resolve(context.folder, name)));
  const counts = noCounts();
  const isFollowing = options.follow === true;
  const startedMs = systemClock.monotonicMs();
  await using client = connect(options.server);
  const progress = openProgress(context.stderr, {
    label: "Pushing",
    format: formatBytes,
    environment: context.environment,
  });
  const failed = new AbortController();
  let totalBytes = isFollowing ? undefined : await sizeOf(files);
  const pushContext: PushContext = {
    client,
    clock: systemClock,
    stop: AbortSignal.any([context.stop, failed.signal]),
    patienceMs: PATIENCE_MS,
    application: options.application,
    log: options.log,
    bufferBytesMax: Math.max(BUFFER_BYTES_MIN, isFollowing ? BUFFER_BYTES / files.length : BUFFER_BYTES),
    attemptsMax: isFollowing ? Number.POSITIVE_INFINITY : ATTEMPTS_MAX,
    counts,
    onProgress: () => progress.update(counts.bytes, totalBytes),
    onResumed: (bytes) => {
      if (totalBytes !== undefined) totalBytes -= bytes;
    },
    ...noteTo(output, progress, counts),
  };
  const fileOptions: PushFileOptions = {
    follow: isFollowing,
    fromStart: options.fromStart === true,
    stateFolder: options.state === undefined ? stateFolderOf(context) : resolve(context.folder, options.state),
    target: [options.server, options.log ?? "", options.application ?? ""].join("\n"),
  };
  const pushOne = (file: string): Promise<void> => pushAny(file, fileOptions, pushContext, context);
  try {
    await (isFollowing ? pushTogether(files, pushOne, failed) : pushInTurn(files, pushOne));
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

/** A file that cannot be read does not keep the others from being pushed; a server that cannot be written to does. */
async function pushInTurn(files: readonly string[], pushOne: (file: string) => Promise<void>): Promise<void> {
  const failures: CommandFailure[] = [];
  for (const file of files) {
    try {
      await pushOne(file);
    } catch (error) {
      if (!(error instanceof CommandFailure)) throw error;
      failures.push(error);
    }
  }
  const [first, ...others] = failures;
  if (first === undefined) return;
  const more = others.map(({ message }) => message);
  if (more.length === 0) throw first;
  throw new CommandFailure([first.message, ...more].join("; "), { exitCode: first.exitCode });
}

/** A file that is followed has no end to wait for. When one fails, the others are stopped: nobody would see it otherwise. */
async function pushTogether(
  files: readonly string[],
  pushOne: (file: string) => Promise<void>,
  failed: AbortController,
): Promise<void> {
  const pushes = files.map((file) =>
    pushOne(file).catch((error: unknown) => {
      failed.abort();
      throw error;
    }),
  );
  for (const result of await Promise.allSettled(pushes)) if (result.status === "rejected") throw result.reason;
}

/** Regular files have a place; what else can be read is read once. */
async function pushAny(
  file: string,
  options: PushFileOptions,
  pushContext: PushContext,
  context: CommandContext,
): Promise<void> {
  if (file === STDIN) return pushStream(context.stdin, { name: "stdin" }, pushContext);
  const found = await stat(file).catch(() => undefined); // missing: `--follow` waits for it, and else it is said there
  if (found?.isDirectory() === true) {
    throw new CommandFailure(`Cannot push ${file}: it is a folder`, {
      exitCode: EXIT.usage,
      hint: `Name its files: ${file}/*.log`,
    });
  }
  if (found !== undefined && !found.isFile()) {
    const { createReadStream } = await import("node:fs");
    return pushStream(createReadStream(file), { name: file }, pushContext);
  }
  return pushFile(file, options, pushContext);
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
    const found = file === STDIN ? undefined : await stat(file).catch(() => undefined);
    if (found?.isFile() !== true) return undefined;
    total += found.size;
  }
  return total;
}

/** As the XDG base directory specification has it. */
function stateFolderOf(context: CommandContext): string {
  const root =
    context.environment["XDG_STATE_HOME"] ?? join(context.environment["HOME"] ?? homedir(), ".local", "state");
  return join(root, "sluice", "push");
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
  const parts = [
    `${plural(fresh, "line")} written (${formatBytes(counts.bytes)} in ${seconds.toFixed(1)} s)`,
    counts.duplicates === 0 ? "" : `${formatCount(counts.duplicates)} already there`,
    counts.rejected === 0 ? "" : `${formatCount(counts.rejected)} refused`,
    counts.lines === counts.acknowledged ? "" : `${formatCount(counts.lines - counts.acknowledged)} not acknowledged`,
    counts.blank === 0 ? "" : `${plural(counts.blank, "blank line")} left out`,
    counts.replaced === 0 ? "" : `${plural(counts.replaced, "invalid UTF-8 sequence")} replaced by U+FFFD`,
    counts.pieces === 0 ? "" : `${plural(counts.pieces, "piece")} of lines longer than 256 KiB`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}
