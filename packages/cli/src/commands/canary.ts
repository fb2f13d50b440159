// `sluice canary`: writes entries at a steady rate, reads them back, and says what is missing, came twice or out of order,
// and how long it took. For a minute after an upgrade, or for ever beside a server, scraped by Prometheus.
import { connect, pause, systemClock, systemRandom } from "@sluice/client";
import { Command, InvalidArgumentError } from "commander";
import { EXIT } from "../exit-codes.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { formatCount, openLine, plural } from "../terminal.ts";
import { type MetricsAddress, openMetricsPage, parseMetricsAddress } from "./canary-metrics.ts";
import { type CanaryReport, formatReport, isBroken, reportToJson, reportToPrometheus } from "./canary-report.ts";
import { Canary } from "./canary-run.ts";
import { parseSeconds } from "./canary-seconds.ts";

interface CanaryCommandOptions {
  readonly rate: number;
  readonly for?: number;
  readonly every?: number;
  readonly grace: number;
  readonly application: string;
  readonly log?: string;
  readonly metricsListen?: MetricsAddress;
  readonly server: string;
  readonly output: OutputFormat;
}

const RATE_MAX = 100_000;
const DEFAULT_GRACE_S = 30;
/** Between two reports, s. */
const EVERY_ON_TERMINAL = 1;
const EVERY_IN_PIPE = 10;

export function canaryCommand(context: CommandContext): Command {
  const command = new Command("canary")
    .summary("write stamped entries, read them back, and report what is missing and how long it took")
    .description(
      "Writes stamped entries at a steady rate, follows the log, and reports how many are missing, came twice or out of " +
        "order, and how long they took from writing to delivery. It survives lost connections and restarts of the server. " +
        `Ends with Ctrl-C or after --for; the exit code is ${EXIT.damaged} when anything was missing, twice or out of order, ` +
        `${EXIT.unavailable} when an outage left something open.`,
    )
    .option("--rate <n>", "entries a second", parseRate, 10)
    .option("--for <time>", 'end after so long: "90s", "10m", "24h" (default: only Ctrl-C ends it)', parseSeconds)
    .option("--every <time>", "report so often (default: 1s on a terminal, else 10s)", parseSeconds)
    .option(
      "--grace <time>",
      "an entry that a connected reader did not get for so long is missing",
      parseSeconds,
      DEFAULT_GRACE_S,
    )
    .option("-a, --application <name>", "whose entries they are", "sluice-canary")
    .option("--log <name>", 'name of the log (default: "default")')
    .option("--metrics-listen <host:port>", "serve the figures to Prometheus, at /metrics", parseMetricsAddress);
  addServerOption(addOutputOption(command));
  return command.action((options: CanaryCommandOptions) => runCanary(options, context));
}

async function runCanary(options: CanaryCommandOptions, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  const run = Buffer.from(systemRandom.bytes(8)).toString("hex");
  const isTerminal = context.stdout.isTTY === true && options.output === "text";
  const everyMs = 1000 * (options.every ?? (isTerminal ? EVERY_ON_TERMINAL : EVERY_IN_PIPE));
  const ended = new AbortController();
  const stop = AbortSignal.any([context.stop, ended.signal]);
  const clock = systemClock;
  const timer = options.for === undefined ? undefined : clock.setTimer(() => ended.abort(), 1000 * options.for);
  await using client = connect(options.server);
  const canary = new Canary(client, {
    run,
    application: options.application,
    log: options.log,
    rate: options.rate,
    graceMs: 1000 * options.grace,
    clock,
    stop,
  });
  const reporter = createReporter(canary, { output, context, isTerminal });
  await using _page = await openPage(options.metricsListen, { output, reporter });
  const finished = new AbortController();
  const reporting = reportEvery(reporter, everyMs, finished.signal);
  try {
    await canary.work();
  } finally {
    timer?.cancel();
    finished.abort();
    await reporting;
  }
  await reporter.end();
  judge(canary.report());
}

interface Reporter {
  /** Says what has happened since the last time. */
  report(): Promise<void>;
  end(): Promise<void>;
  /** For Prometheus. */
  metrics(): string;
}

function createReporter(
  canary: Canary,
  { output, context, isTerminal }: { output: Output; context: CommandContext; isTerminal: boolean },
): Reporter {
  const line = isTerminal ? openLine(context.stdout, context.environment) : undefined;
  let recent = canary.report().latencies;
  return {
    async report() {
      const report = canary.takeReport();
      recent = report.latencies;
      const text = (): string => formatReport(report, output.paint);
      if (line !== undefined) line.show(text());
      else await output.result({ text: () => `${timeOfDay()} ${text()}`, json: () => reportToJson(report, "report") });
    },
    async end() {
      line?.end();
      const report = canary.report();
      await output.result({
        text: () => `in all: ${formatReport(report, output.paint)}`,
        json: () => reportToJson(report, "summary"),
      });
    },
    metrics: () => reportToPrometheus(canary.report(), recent),
  };
}

async function reportEvery(reporter: Reporter, everyMs: number, finished: AbortSignal): Promise<void> {
  for (;;) {
    await pause(systemClock, everyMs, finished);
    if (finished.aborted) return;
    await reporter.report();
  }
}

async function openPage(
  address: MetricsAddress | undefined,
  { output, reporter }: { output: Output; reporter: Reporter },
): Promise<AsyncDisposable | undefined> {
  if (address === undefined) return undefined;
  const page = await openMetricsPage(address, () => reporter.metrics());
  output.note(`metrics on ${page.url}`);
  return page;
}

/** Ends the command with the exit code of what was found. */
function judge(report: CanaryReport): void {
  const { missing, duplicates, outOfOrder, unknown } = report;
  if (isBroken(report)) {
    const found = [
      [missing, "missing"],
      [duplicates, "delivered twice"],
      [outOfOrder, "out of order"],
      [unknown, "that nobody wrote"],
    ] as const;
    const list = found.flatMap(([count, what]) => (count === 0 ? [] : [`${formatCount(count)} ${what}`]));
    throw new CommandFailure(
      `of ${plural(report.acknowledged, "acknowledged entry", "acknowledged entries")}: ${list.join(", ")}`,
      {
        exitCode: EXIT.damaged,
      },
    );
  }
  const unacknowledged = report.written - report.acknowledged;
  if (unacknowledged === 0 && report.onTheWay === 0 && report.written > 0) return;
  const open =
    unacknowledged > 0
      ? `${plural(unacknowledged, "entry was", "entries were")} not acknowledged`
      : `${plural(report.onTheWay, "entry was", "entries were")} not delivered`;
  throw new CommandFailure(report.written === 0 ? "nothing was written" : `the server was away at the end: ${open}`, {
    exitCode: EXIT.unavailable,
  });
}

function timeOfDay(): string {
  return new Date().toTimeString().slice(0, 8);
}

function parseRate(text: string): number {
  const rate = Number(text);
  if (!(rate > 0 && rate <= RATE_MAX)) throw new InvalidArgumentError(`Give a number above 0, up to ${RATE_MAX}.`);
  return rate;
}
