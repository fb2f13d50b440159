// `sluice metrics push`: reads Prometheus' text format or OpenMetrics from stdin and writes its points.
import { createInterface } from "node:readline";
import { connect, type MetricWriter, MetricWriterFailed, RpcError, systemClock } from "@sluice/client";
import { BadExposition, ExpositionPoints } from "@sluice/server";
import { Command, InvalidArgumentError, Option } from "commander";
import { EXIT, exitCodeOfStatus } from "../exit-codes.ts";
import {
  addOutputOption,
  addServerOption,
  type CommandContext,
  CommandFailure,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { formatCount, openProgress, plural } from "../terminal.ts";

interface PushOptions {
  readonly format: "text" | "openmetrics";
  readonly label: readonly (readonly [string, string])[];
  readonly server: string;
  readonly output: OutputFormat;
}

/** Attempts in a row before the push is given up: about three seconds. */
const ATTEMPTS_MAX = 5;
/** How long what was read may take to arrive after Ctrl-C. */
const PATIENCE_MS = 10_000;
const PROBLEMS_SHOWN = 10;

export function metricsPushCommand(context: CommandContext): Command {
  const command = new Command("push")
    .summary("write metrics in Prometheus' text format from stdin")
    .description(
      "Reads metrics from stdin, as programs say them to Prometheus, and writes them: `curl -s host:9100/metrics | sluice " +
        "metrics push -l job=node`. Histograms and summaries are put together from their samples. A sample without a time " +
        "has the time at which it was read. Lines that are wrong are told and left out.",
    )
    .addOption(
      new Option(
        "--format <name>",
        "the text format, with times in ms, or OpenMetrics, with times in seconds and # EOF",
      )
        .choices(["text", "openmetrics"])
        .default("text"),
    )
    .option(
      "-l, --label <name=value>",
      "given to all series that have none of this name; may be repeated",
      addLabel,
      [],
    );
  addServerOption(addOutputOption(command));
  return command.action((options: PushOptions) => push(options, context));
}

function addLabel(text: string, all: readonly (readonly [string, string])[]): readonly (readonly [string, string])[] {
  const at = text.indexOf("=");
  if (at <= 0) throw new InvalidArgumentError(`"${text}" is no label, for example job=node.`);
  return [...all, [text.slice(0, at), text.slice(at + 1)]];
}

interface PushCounts {
  points: number;
  acknowledged: number;
  rejected: number;
  badLines: number;
}

async function push(options: PushOptions, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  const counts: PushCounts = { points: 0, acknowledged: 0, rejected: 0, badLines: 0 };
  const startedMs = systemClock.monotonicMs();
  const format = (points: number): string => plural(points, "point");
  const progress = openProgress(context.stderr, { label: "Pushing", format, environment: context.environment });
  const problems = new Problems(output, () => progress.end());
  await using client = connect(options.server, { closeTimeoutMs: 0 });
  const writer = client.openMetricWriter({
    retry: { attemptsMax: ATTEMPTS_MAX },
    onAcknowledged(points) {
      counts.acknowledged += points;
      progress.update(counts.acknowledged, undefined);
    },
    onRejected({ reason, text }) {
      counts.rejected++;
      problems.tell(`refused (${reason}): ${text}`);
    },
    onDisconnected(error, { retryInMs }) {
      const why = error instanceof Error ? error.message : String(error);
      progress.end();
      output.note(`${why}; trying again in ${(retryInMs / 1000).toFixed(1)} s`);
    },
  });
  try {
    await readAll(options, context, { writer, counts, problems });
    const signal = context.stop.aborted ? AbortSignal.timeout(PATIENCE_MS) : undefined;
    await writer.close(signal === undefined ? {} : { signal });
  } catch (error) {
    throw failureOf(error);
  } finally {
    progress.end();
    const seconds = (systemClock.monotonicMs() - startedMs) / 1000;
    await output.result({ text: () => summaryOf(counts, seconds), json: () => ({ ...counts, seconds }) });
  }
  if (counts.rejected + counts.badLines === 0) return;
  const what = [
    ...(counts.badLines > 0 ? [`${plural(counts.badLines, "line")} could not be read`] : []),
    ...(counts.rejected > 0 ? [`the server refused ${plural(counts.rejected, "point")}`] : []),
  ];
  throw new CommandFailure(`Not all was written: ${what.join(", ")}`, { exitCode: EXIT.failure });
}

async function readAll(
  { format, label }: PushOptions,
  { stdin, stop }: CommandContext,
  { writer, counts, problems }: { writer: MetricWriter; counts: PushCounts; problems: Problems },
): Promise<void> {
  const reader = new ExpositionPoints({ format, labels: label, nowNs: () => systemClock.nowNs() });
  const take = async (read: () => ReturnType<ExpositionPoints["line"]>): Promise<void> => {
    try {
      for (const point of read()) {
        counts.points++;
        await writer.write(point);
      }
    } catch (error) {
      if (!(error instanceof BadExposition)) throw error;
      counts.badLines++;
      problems.tell(error.message);
    }
  };
  const lines = createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY });
  const end = (): void => lines.close();
  stop.addEventListener("abort", end, { once: true });
  // Who waits for more input hears of a writer that has failed.
  void writer.ended.then(end);
  try {
    for await (const line of lines) await take(() => reader.line(line));
    await take(() => reader.end());
  } finally {
    stop.removeEventListener("abort", end);
    lines.close();
  }
}

/** Tells the first ones. */
class Problems {
  readonly #output: Output;
  readonly #makeRoom: () => void;
  #count = 0;

  constructor(output: Output, makeRoom: () => void) {
    this.#output = output;
    this.#makeRoom = makeRoom;
  }

  tell(text: string): void {
    if (++this.#count > PROBLEMS_SHOWN) return;
    this.#makeRoom();
    this.#output.note(text);
    if (this.#count === PROBLEMS_SHOWN) this.#output.note("further ones are counted only");
  }
}

function failureOf(error: unknown): unknown {
  if (!(error instanceof MetricWriterFailed)) return error;
  const { cause, unacknowledged } = error;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CommandFailure(`Cannot push on, ${plural(unacknowledged, "point")} may be missing: ${why}`, {
    exitCode: cause instanceof RpcError ? exitCodeOfStatus(cause.code) : EXIT.failure,
    cause: error,
  });
}

function summaryOf({ points, acknowledged, rejected, badLines }: PushCounts, seconds: number): string {
  const open = points - acknowledged;
  const parts = [
    `${plural(acknowledged - rejected, "point")} written in ${seconds.toFixed(1)} s`,
    rejected === 0 ? "" : `${formatCount(rejected)} refused`,
    badLines === 0 ? "" : `${plural(badLines, "line")} left out`,
    open === 0 ? "" : `${formatCount(open)} not acknowledged`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}
