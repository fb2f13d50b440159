// `sluice logs count`: how much was written when, as a histogram.
import { connect, type CountLogsResponse, type LogCount } from "@sluice/client";
import { Command, InvalidArgumentError, Option } from "commander";
import {
  addOutputOption,
  addServerOption,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { formatCount } from "../terminal.ts";
import { formatTime } from "./log-line.ts";
import { addSelectionOptions, type SelectionOptions, selectionOf } from "./log-options.ts";
import { parseDuration } from "./time-argument.ts";

interface LogsCountOptions extends SelectionOptions {
  readonly by: "level" | "application" | "time";
  readonly bucket?: bigint;
  readonly utc?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

const LEVELS = ["-", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
/** Buckets without an entry are shown too, unless there are very many. */
const LINES_MAX = 1000;
const BAR_WIDTH = 40;
/** Applications that are named in a line; the others are summed up. */
const NAMES_MAX = 6;

export function logsCountCommand(context: CommandContext): Command {
  const command = new Command("count")
    .summary("count entries over time")
    .description("Counts entries over event time, from the index: a histogram, or one JSON object a bucket and group.")
    .addOption(
      new Option("--by <group>", "what is counted apart").choices(["level", "application", "time"]).default("level"),
    )
    .option("--bucket <duration>", 'width of a bucket: "10s", "5m", "1h" (default: at most 100 buckets)', parseBucket)
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(addSelectionOptions(command)));
  return command.action(async (options: LogsCountOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const { filters: _, ...selection } = selectionOf(options);
    const groupBy = options.by === "time" ? [] : [options.by];
    const bucket = options.bucket === undefined ? {} : { bucketNs: options.bucket };
    const counted = await client.countLogs({ ...selection, ...bucket, groupBy }, { signal: context.stop });
    if (options.output === "json") await printJson(counted, output);
    else await printHistogram(counted, options, output);
  });
}

/** As protobuf's JSON has it, every field said. */
async function printJson({ counts, bucketNs }: CountLogsResponse, output: Output): Promise<void> {
  for (const { startTimestamp, application, severityNumber, count } of counts) {
    const row = { startTimestamp, bucketNs, application, severityNumber, count };
    await output.result({ text: () => "", json: () => row });
  }
}

interface Bucket {
  readonly start: bigint;
  total: bigint;
  readonly groups: Map<string, bigint>;
}

async function printHistogram(counted: CountLogsResponse, options: LogsCountOptions, output: Output): Promise<void> {
  if (counted.counts.length === 0) {
    output.note("no entry is there");
    return;
  }
  const buckets = fill(bucketsOf(counted.counts, options.by), counted.bucketNs);
  const most = buckets.reduce((max, { total }) => (total > max ? total : max), 0n);
  const width = formatCount(most).length;
  for (const { start, total, groups } of buckets) {
    const bar = "█".repeat(Math.ceil((Number(total) / Number(most)) * BAR_WIDTH)).padEnd(BAR_WIDTH);
    const time = output.paint("dim", formatTime(start, options.utc === true));
    const line = `${time} ${formatCount(total).padStart(width)} ${output.paint("cyan", bar)} ${textOf(groups)}`;
    await output.write(`${line.trimEnd()}\n`);
  }
  output.note(`${formatCount(counted.total)} entries, ${formatWidth(counted.bucketNs)} a line`);
}

function bucketsOf(counts: readonly LogCount[], by: LogsCountOptions["by"]): Bucket[] {
  const buckets: Bucket[] = [];
  for (const { startTimestamp: start, application, severityNumber, count } of counts) {
    let bucket = buckets.at(-1);
    if (bucket?.start !== start) {
      bucket = { start, total: 0n, groups: new Map() };
      buckets.push(bucket);
    }
    bucket.total += count;
    const group = by === "level" ? (LEVELS[Math.ceil(severityNumber / 4)] ?? "-") : application || "-";
    if (by !== "time") bucket.groups.set(group, (bucket.groups.get(group) ?? 0n) + count);
  }
  return buckets;
}

/** With the buckets that are empty, so that a silence shows. */
function fill(buckets: readonly Bucket[], bucketNs: bigint): Bucket[] {
  const first = buckets[0]!.start;
  const lines = (buckets.at(-1)!.start - first) / bucketNs + 1n;
  if (lines > BigInt(LINES_MAX)) return [...buckets];
  const known = new Map(buckets.map((bucket) => [bucket.start, bucket]));
  return Array.from({ length: Number(lines) }, (_, i) => {
    const start = first + BigInt(i) * bucketNs;
    return known.get(start) ?? { start, total: 0n, groups: new Map() };
  });
}

/** "ERROR 3, INFO 1,200": the largest first. */
function textOf(groups: ReadonlyMap<string, bigint>): string {
  const sorted = [...groups].toSorted(([, a], [, b]) => (a < b ? 1 : -1));
  const named = sorted.slice(0, NAMES_MAX).map(([name, count]) => `${name} ${formatCount(count)}`);
  const rest = sorted.slice(NAMES_MAX).reduce((sum, [, count]) => sum + count, 0n);
  return [...named, ...(rest > 0n ? [`others ${formatCount(rest)}`] : [])].join(", ");
}

const WIDTHS: readonly (readonly [bigint, string])[] = [
  [86_400_000_000_000n, "d"],
  [3_600_000_000_000n, "h"],
  [60_000_000_000n, "min"],
  [1_000_000_000n, "s"],
  [1_000_000n, "ms"],
  [1000n, "µs"],
  [1n, "ns"],
];

function formatWidth(ns: bigint): string {
  const [size, unit] = WIDTHS.find(([each]) => ns % each === 0n)!;
  return `${ns / size} ${unit}`;
}

function parseBucket(text: string): bigint {
  const duration = parseDuration(text);
  if (duration === undefined || duration === 0n) {
    throw new InvalidArgumentError('Give a duration: "500ms", "10s", "5m", "1h", "1d".');
  }
  return duration;
}
