// `sluice metrics query`: values of series over time, from the server's history.
import { connect, type MetricRangeQuery, type QueriedSeries, systemClock } from "@sluice/client";
import { Command, InvalidArgumentError, Option } from "commander";
import { type CommandContext, createOutput } from "../output.ts";
import { formatTable } from "../table.ts";
import { formatTime } from "./log-line.ts";
import { addSelection, type SelectionOptions, selectionOf } from "./metrics-selection.ts";
import { formatValue, seriesName } from "./metrics-screen.ts";
import { parseDurationMs, parseTimeArgument } from "./time-argument.ts";

interface QueryOptions extends SelectionOptions {
  readonly since: string;
  readonly until?: string;
  readonly step?: number;
  readonly function: "last" | "avg" | "min" | "max" | "rate";
  readonly quantile?: number;
  readonly utc?: boolean;
}

export function metricsQueryCommand(context: CommandContext): Command {
  const command = new Command("query")
    .summary("values of series over time")
    .description(
      "Shows values of series over time, from the history that the server keeps: a line for each step that has one.",
    )
    .argument("<names...>", 'which ones: "cpu", "system.*"')
    .option("--since <time>", "from then on: how long ago (10m, 2h) or a time", "10m")
    .option("--until <time>", "up to then; without it now")
    .option("--step <time>", "width of a step: 15s, 1m; without it a round one", parseDurationMs)
    .addOption(
      new Option("-f, --function <name>", "what becomes of the points of a step; rate: what is added a second")
        .choices(["last", "avg", "min", "max", "rate"])
        .default("avg"),
    )
    .option(
      "--quantile <share>",
      "instead of it a quantile: 0.99; of a histogram, of what was counted in the step",
      parseShare,
    )
    .option("--utc", "times in UTC instead of local time");
  addSelection(command);
  return command.action((names: string[], options: QueryOptions) => query(names, options, context));
}

async function query(names: readonly string[], options: QueryOptions, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  const now = systemClock.nowNs();
  const { since, until, step, quantile } = options;
  const range: MetricRangeQuery = {
    ...selectionOf(names, options),
    startTimestamp: parseTimeArgument(since, now),
    ...(until === undefined ? {} : { endTimestamp: parseTimeArgument(until, now) }),
    ...(step === undefined ? {} : { stepMs: step }),
    function: quantile ?? options.function,
  };
  await using client = connect(options.server);
  const { timestamps, series, stepMs } = await client.queryMetrics(range, { signal: context.stop });
  for (const each of series) {
    const { name, labels, metricType, unit, values } = each;
    const steps = values.flatMap((value, i) => (Number.isNaN(value) ? [] : [{ timestamp: timestamps[i]!, value }]));
    await output.result({
      text: () => textOf(each, steps, { isUtc: options.utc === true, isRate: options.function === "rate" }),
      json: () => ({ name, labels, metricType, ...(unit === "" ? {} : { unit }), stepMs, steps }),
    });
  }
}

function textOf(
  { name, labels, unit }: QueriedSeries,
  steps: readonly { readonly timestamp: bigint; readonly value: number }[],
  { isUtc, isRate }: { readonly isUtc: boolean; readonly isRate: boolean },
): string {
  const rows = steps.map(({ timestamp, value }) => [
    formatTime(timestamp, isUtc),
    `${formatValue(value, unit)}${isRate ? "/s" : ""}`,
  ]);
  return `${seriesName({ name, labels })}\n${formatTable([["TIME", "VALUE"], ...rows], [1])}`.trimEnd();
}

function parseShare(text: string): number {
  const share = Number(text);
  if (text.trim() !== "" && share >= 0 && share <= 1) return share;
  throw new InvalidArgumentError(`"${text}" is no share: give 0 to 1, for example 0.99.`);
}
