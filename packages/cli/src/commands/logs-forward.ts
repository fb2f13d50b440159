// `sluice logs forward`: sends a log to an OpenTelemetry collector, and goes on where it stopped.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { connect, connectOtlp, type LogQuery, type OtlpExporterOptions, systemClock } from "@sluice/client";
import { Command, InvalidArgumentError } from "commander";
import { EXIT, exitCodeOfStatus } from "../exit-codes.ts";
import { reasonOf } from "../failure.ts";
import { CursorFile } from "../forward/cursor-file.ts";
import { CollectorFailed, forward, type ForwardContext, type ForwardCounts, noForwards } from "../forward/forward.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
  parseServer,
} from "../output.ts";
import { stateFolder } from "../state-folder.ts";
import { formatCount, openProgress, plural, type Progress } from "../terminal.ts";
import { collect } from "./repeatable.ts";

interface ForwardOptions {
  readonly to: string;
  readonly follow?: boolean;
  readonly log?: string;
  readonly application: string[];
  readonly level?: string;
  readonly filter: string[];
  readonly tail?: number;
  readonly fromStart?: boolean;
  readonly state?: string;
  readonly header: Readonly<Record<string, string>>;
  readonly tls?: boolean;
  readonly ca?: string;
  readonly gzip?: boolean;
  readonly skipRefused?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

/** Attempts of one batch before a forwarding that does not follow is given up: about three seconds. */
const ATTEMPTS_MAX = 5;
/** What comes one by one is sent together. */
const BATCH_DELAY_MS = 200;
const REFUSALS_SHOWN = 10;

export function logsForwardCommand(context: CommandContext): Command {
  const command = new Command("forward")
    .summary("send a log to an OpenTelemetry collector")
    .description(
      "Sends the entries of a log as OpenTelemetry log records to a collector (OTLP/gRPC). How far it came is " +
        "remembered, so that a second run goes on there; a crash repeats at most one batch.",
    )
    .requiredOption("--to <host:port>", "the collector", parseServer)
    .option("-f, --follow", "go on with what comes, and wait for a collector that is away")
    .option("-a, --application <name>", "entries of this application; may be repeated", collect, [])
    .option("-l, --level <level>", "at least this severity: TRACE, DEBUG, INFO, WARN, ERROR, FATAL")
    .option("--filter <term>", "as of sluice logs; may be repeated", collect, [])
    .option("-n, --tail <count>", "the first time only the last entries of history; 0: only what comes", parseCount)
    .option("--from-start", "forget how far it came, and begin anew")
    .option("--state <folder>", "where to remember how far it came (default: ~/.local/state/sluice/forward)")
    .option("--log <name>", 'name of the log (default: "default")')
    .option("--header <name=value>", "sent to the collector with each request; may be repeated", collectHeader, {})
    .option("--tls", "talk TLS to the collector")
    .option("--ca <file>", "certificates (PEM) by which to know it, instead of the system's; means --tls")
    .option("--gzip", "compress what is sent")
    .option("--skip-refused", "count what the collector will never take and go on, instead of ending");
  addServerOption(addOutputOption(command));
  return command.action(async (options: ForwardOptions) => run(options, context));
}

async function run(options: ForwardOptions, context: CommandContext): Promise<void> {
  if (options.to === options.server) {
    throw new CommandFailure(`Cannot forward ${options.server} to itself: it would never end`, {
      exitCode: EXIT.usage,
    });
  }
  const output = createOutput(context, options.output);
  const folder =
    options.state === undefined ? stateFolder(context.environment, "forward") : resolve(context.folder, options.state);
  const place = new CursorFile(folder, wayOf(options));
  if (options.fromStart === true) await place.remove();
  const resumeAfter = await place.read();
  const counts = noForwards();
  const startedMs = systemClock.monotonicMs();
  const progress = openProgress(context.stderr, {
    label: "Forwarding",
    format: formatCount,
    environment: context.environment,
  });
  const isFollowing = options.follow === true;
  await using client = connect(options.server);
  await using exporter = connectOtlp(options.to, await exporterOptionsOf(options, context));
  const streamOptions = {
    signal: context.stop,
    maxDelayMs: isFollowing ? BATCH_DELAY_MS : 0,
    ...(isFollowing ? {} : { retry: { attemptsMax: ATTEMPTS_MAX } }),
  };
  const stream = client.streamOtlpLogs(queryOf(options, resumeAfter), streamOptions);
  try {
    await forward({
      stream,
      exporter,
      keep: (cursor) => place.write(cursor),
      stop: context.stop,
      counts,
      attemptsMax: isFollowing ? Number.POSITIVE_INFINITY : ATTEMPTS_MAX,
      skipRefused: options.skipRefused === true,
      onProgress: () => progress.update(counts.records),
      ...notesTo(output, progress, options.to),
    });
  } catch (error) {
    throw failureOf(error, options.to);
  } finally {
    progress.end();
    const seconds = (systemClock.monotonicMs() - startedMs) / 1000;
    await output.result({ text: () => summaryOf(counts, seconds), json: () => ({ ...counts, seconds }) });
  }
  if (counts.refused > 0) {
    throw new CommandFailure(`The collector refused ${plural(counts.refused, "record")}`, { exitCode: EXIT.failure });
  }
}

/** Everything that decides what is sent where. */
function wayOf({ server, log = "", application, level = "", filter, to }: ForwardOptions): string {
  return JSON.stringify({ server, log, application, level, filter, to });
}

function queryOf(options: ForwardOptions, resumeAfter: string): LogQuery {
  return {
    applications: options.application,
    filters: options.filter,
    follow: options.follow ?? false,
    ...(options.log === undefined ? {} : { log: options.log }),
    ...(options.level === undefined ? {} : { logLevel: options.level }),
    ...(resumeAfter === "" && options.tail !== undefined ? { tailLines: options.tail } : {}),
    ...(resumeAfter === "" ? {} : { resumeAfter }),
  };
}

async function exporterOptionsOf(options: ForwardOptions, context: CommandContext): Promise<OtlpExporterOptions> {
  const { header: headers, ca } = options;
  const tls = ca === undefined ? {} : { ca: await readFile(resolve(context.folder, ca)) };
  return {
    headers,
    ...(options.tls === true || ca !== undefined ? { tls } : {}),
    ...(options.gzip === true ? { compress: "gzip" } : {}),
  };
}

function notesTo(
  output: Output,
  progress: Progress,
  to: string,
): Pick<ForwardContext, "onRetry" | "onRefused" | "onGap" | "onDisconnected"> {
  let refusals = 0;
  const note = (text: string): void => {
    progress.end();
    output.note(text);
  };
  return {
    onRetry: ({ error, retryInMs }) =>
      note(`the collector ${to}: ${reasonOf(error)}; trying again in ${(retryInMs / 1000).toFixed(1)} s`),
    onRefused(count, why) {
      if (++refusals > REFUSALS_SHOWN) return;
      note(count === 0 ? `the collector says: ${why}` : `the collector refused ${plural(count, "record")}: ${why}`);
    },
    onGap: ({ count, toCursor }) =>
      note(`${formatCount(count)} ${count === 1n ? "entry is" : "entries are"} missing here (up to ${toCursor})`),
    onDisconnected: (error, retryInMs) =>
      note(`${reasonOf(error)}; trying again in ${(retryInMs / 1000).toFixed(1)} s`),
  };
}

/** What the collector answered is told as its word. */
function failureOf(error: unknown, to: string): unknown {
  if (!(error instanceof CollectorFailed)) return error;
  return new CommandFailure(`Cannot forward to ${to}: ${reasonOf(error.cause)}`, {
    exitCode: exitCodeOfStatus(error.cause.code),
    hint: "What was forwarded is remembered: the same command goes on there.",
    cause: error.cause,
  });
}

function summaryOf({ records, batches, refused, missing }: ForwardCounts, seconds: number): string {
  const rate = formatCount(Math.round(records / Math.max(seconds, 0.001)));
  const more = [
    ...(refused === 0 ? [] : [`${formatCount(refused)} refused`]),
    ...(missing === 0 ? [] : [`${formatCount(missing)} missing`]),
  ];
  const said = `Forwarded ${plural(records, "record")} in ${plural(batches, "batch", "batches")}, ${rate}/s`;
  return [said, ...more].join("; ");
}

function collectHeader(text: string, before: Record<string, string>): Record<string, string> {
  const [, name, value] = /^([\w.-]+)=([\x20-\x7e]*)$/u.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError("Write it as name=value.");
  return { ...before, [name.toLowerCase()]: value };
}

function parseCount(text: string): number {
  if (!/^\d{1,15}$/u.test(text)) throw new InvalidArgumentError("Give a whole number, 0 or more.");
  return Number(text);
}
