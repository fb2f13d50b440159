// `sluice metrics`: what is happening now, as it happens.
import { connect, type MetricPoint, type MetricQuery, systemClock } from "@sluice/client";
import { Command, InvalidArgumentError, Option } from "commander";
import { EXIT } from "../exit-codes.ts";
import { reasonOf } from "../failure.ts";
import {
  addOutputOption,
  addServerOption,
  type CommandContext,
  CommandFailure,
  createOutput,
  type Output,
} from "../output.ts";
import { formatTable } from "../table.ts";
import { formatCount } from "../terminal.ts";
import { formatTime } from "./log-line.ts";
import { metricsPushCommand } from "./metrics-push.ts";
import { metricsQueryCommand } from "./metrics-query.ts";
import { addSelection, type SelectionOptions, selectionOf } from "./metrics-selection.ts";
import { formatValue, MetricsScreen, openMetricsScreen, quantileName, seriesName } from "./metrics-screen.ts";
import { parseDurationMs, parseTimeArgument } from "./time-argument.ts";

interface StreamOptions extends SelectionOptions {
  readonly interval: number;
  readonly mode: "sample" | "on-change" | "once";
  readonly rate?: boolean;
  readonly delta?: boolean;
  readonly quantile: readonly number[];
  readonly since?: string;
  readonly raw?: boolean;
  readonly changed?: boolean;
  readonly updatesOnly?: boolean;
  readonly utc?: boolean;
}

export function metricsCommand(context: CommandContext): Command {
  const command = new Command("metrics")
    .description(
      "Shows metrics as they are now, and again at each interval, until Ctrl-C: on a terminal as a table, in a pipe a line for each point.",
    )
    .argument("[names...]", 'which ones: "cpu", "system.*"; none: all')
    .option("--interval <time>", "between two points of a series: 500ms, 5s, 5", parseIntervalMs, 1000)
    .addOption(
      new Option("--mode <mode>", "at fixed times, when a point comes, or once")
        .choices(["sample", "on-change", "once"])
        .default("sample"),
    )
    .option("--rate", "counters as what is added per second")
    .option("--delta", "counters as what was added since the last point")
    .option(
      "--quantile <share>",
      "of histograms and summaries: 0.99; with --rate or --delta of what came in the interval; may be repeated, or a list",
      (text: string, all: readonly number[]) => [...all, ...parseQuantiles(text)],
      [],
    )
    .option("--changed", "leave out points with the value of the one before")
    .option("--since <time>", "first what the history has since then, ten minutes ago (10m) or a time")
    .option("--raw", "of the history every point, not the newest of each interval")
    .option("--updates-only", "nothing of what is there at the beginning")
    .option("--utc", "times in UTC instead of local time");
  addSelection(command);
  command.action((names: string[], options: StreamOptions) => stream(names, options, context));
  command.addCommand(listCommand(context));
  command.addCommand(seriesCommand(context));
  command.addCommand(metricsQueryCommand(context));
  command.addCommand(metricsPushCommand(context));
  return command;
}

async function stream(names: readonly string[], options: StreamOptions, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  const { interval, mode, changed = false, updatesOnly = false, rate, delta } = options;
  if (rate === true && delta === true) {
    throw new CommandFailure("--rate and --delta are two things: choose one.", { exitCode: EXIT.usage });
  }
  const query: MetricQuery = {
    ...selectionOf(names, options),
    intervalMs: interval,
    mode,
    suppressRedundant: changed,
    updatesOnly,
    counters: rate === true ? "rate" : delta === true ? "delta" : "cumulative",
    quantiles: options.quantile,
    raw: options.raw === true,
    ...(options.since === undefined ? {} : { startTimestamp: parseTimeArgument(options.since, systemClock.nowNs()) }),
  };
  const screen = mode === "once" || options.output === "json" ? undefined : openMetricsScreen(context);
  await using client = connect(options.server);
  try {
    await show(client.streamMetrics(query, { signal: context.stop }), { output, screen, isUtc: options.utc === true });
  } catch (error) {
    if (!context.stop.aborted) throw error;
  } finally {
    screen?.end();
  }
}

async function show(
  events: ReturnType<ReturnType<typeof connect>["streamMetrics"]>,
  {
    output,
    screen,
    isUtc,
  }: { readonly output: Output; readonly screen: MetricsScreen | undefined; readonly isUtc: boolean },
): Promise<void> {
  let isConnected = false;
  for await (const event of events) {
    // A server that is not there at all is an error; one that goes away is waited for.
    if (event.kind === "disconnected" && !isConnected) throw event.error;
    isConnected = true;
    switch (event.kind) {
      case "point":
        if (screen !== undefined) screen.take(event.point);
        else {
          const { point } = event;
          await output.result({ text: () => lineOf(point, isUtc, output), json: () => pointToJson(point) });
        }
        break;
      case "notice":
        output.note(event.text);
        break;
      case "disconnected":
        output.note(`${reasonOf(event.error)}; trying again in ${(event.retryInMs / 1000).toFixed(1)} s`);
        break;
      case "resumed":
        output.note("connected again");
        break;
      case "sync":
        break;
      case "gap":
        output.note("The history does not reach back so far: older points are missing.");
        break;
      default:
        event satisfies never;
    }
  }
}

function lineOf(point: MetricPoint, isUtc: boolean, output: Output): string {
  const time = output.paint("dim", formatTime(point.timestamp, isUtc));
  const value = point.stale ? output.paint("red", "stale") : valueText(point);
  return `${time} ${seriesName(point)} ${value}`;
}

/** A histogram's value is its count; what its unit belongs to are its quantiles. */
function valueText({ value, unit, metricType, quantiles }: MetricPoint): string {
  const isCount = metricType === "histogram" || metricType === "summary";
  const told = quantiles.map((each) => `${quantileName(each.quantile)}=${formatValue(each.value, unit)}`);
  return [formatValue(value, isCount ? "" : unit), ...told].join(" ");
}

/** As protobuf's JSON has it. */
function pointToJson(point: MetricPoint): object {
  const { name, value, timestamp, labels, metricType, unit, coalesced, stale, intValue, histogram, summary } = point;
  const { exponentialHistogram, quantiles, exemplars } = point;
  return {
    name,
    labels,
    value,
    ...(intValue === undefined ? {} : { intValue }),
    timestamp,
    metricType,
    ...(unit === "" ? {} : { unit }),
    coalesced,
    ...(stale ? { stale } : {}),
    ...(histogram === undefined ? {} : { histogram: bare(histogram) }),
    ...(exponentialHistogram === undefined ? {} : { exponentialHistogram: bare(exponentialHistogram) }),
    ...(summary === undefined ? {} : { summary: bare(summary) }),
    ...(quantiles.length === 0 ? {} : { quantiles: quantiles.map(bare) }),
    ...(exemplars.length === 0 ? {} : { exemplars: exemplars.map(bare) }),
  };
}

function bare({ $typeName: _, ...fields }: { readonly $typeName: string }): object {
  return fields;
}

function listCommand(context: CommandContext): Command {
  const command = new Command("list")
    .summary("list the names of metrics")
    .description("Lists the names of metrics with type, unit and how many series there are.")
    .argument("[names...]", 'which ones: "system.*"; none: all');
  addServerOption(addOutputOption(command));
  return command.action(async (names: string[], options: SelectionOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const metrics = await client.listMetrics(names, { signal: context.stop });
    if (options.output === "json") {
      for (const metric of metrics) await output.result({ text: () => "", json: () => bare(metric) });
      return;
    }
    const rows = metrics.map(({ name, metricType, unit, series, description }) => [
      name,
      metricType,
      unit,
      formatCount(series),
      description,
    ]);
    await output.write(formatTable([["NAME", "TYPE", "UNIT", "SERIES", "DESCRIPTION"], ...rows], [3]));
  });
}

function seriesCommand(context: CommandContext): Command {
  const command = new Command("series")
    .summary("list series with their last values")
    .description("Lists series with their labels and last values.")
    .argument("[names...]", 'which ones: "system.*"; none: all');
  addSelection(command);
  return command.action(async (names: string[], options: SelectionOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const series = await client.listSeries(selectionOf(names, options), { signal: context.stop });
    for (const point of series) {
      await output.result({
        text: () => `${seriesName(point)} ${formatValue(point.value, point.unit)}`,
        json: () => pointToJson(point),
      });
    }
  });
}

function parseQuantiles(text: string): number[] {
  return text.split(",").map((part) => {
    const quantile = Number(part);
    if (part.trim() !== "" && quantile >= 0 && quantile <= 1) return quantile;
    throw new InvalidArgumentError(`"${part}" is no share from 0 to 1, for example 0.99.`);
  });
}

/** A number alone is seconds, as in the request of the service. */
function parseIntervalMs(text: string): number {
  return parseDurationMs(/^\d+(?:\.\d+)?$/u.test(text) ? `${text}s` : text);
}
