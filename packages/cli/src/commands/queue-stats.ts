// `sluice queue stats`: how many jobs of a queue are in which state.
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Queue } from "@sluice/client";
import { Command } from "commander";
import {
  addOutputOption,
  addServerOption,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { formatBytes, formatCount, openLine } from "../terminal.ts";
import { formatTime } from "./log-line.ts";
import { countsToJson } from "./queue-format.ts";
import { parseDurationMs } from "./time-argument.ts";

interface StatsOptions {
  readonly watch?: boolean;
  readonly interval: number;
  readonly utc?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

const INTERVAL_MS = 1000;

export function queueStatsCommand(context: CommandContext): Command {
  const command = new Command("stats")
    .summary("show how many jobs are in which state")
    .description("Shows how many jobs of a queue wait, are offered to workers, run, are delayed, dead and done.")
    .argument("<name>", "the queue")
    .option("-w, --watch", "again and again, until Ctrl-C")
    .option("--interval <time>", "between two looks, with --watch (default: 1s)", parseDurationMs, INTERVAL_MS)
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, options: StatsOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const look = (): Promise<Queue> => client.queues.get(name, { signal: context.stop });
    if (options.watch === true) return await watch(look, options.interval, { output, context });
    const queue = await look();
    await output.result({ text: () => tableOf(queue, options.utc === true), json: () => statsToJson(queue) });
  });
}

function statsToJson(queue: Queue): object {
  return { name: queue.name, paused: queue.paused, ...countsToJson(queue) };
}

async function watch(
  look: () => Promise<Queue>,
  intervalMs: number,
  { output, context }: { readonly output: Output; readonly context: CommandContext },
): Promise<void> {
  const line = openLine(context.stdout, context.environment);
  let before: { readonly done: bigint; readonly atMs: number } | undefined;
  try {
    while (!context.stop.aborted) {
      const queue = await look();
      const now = { done: queue.counts?.done ?? 0n, atMs: performance.now() };
      const rate =
        before === undefined ? undefined : (Number(now.done - before.done) * 1000) / (now.atMs - before.atMs);
      before = now;
      if (output.format === "json") await output.result({ text: () => "", json: () => statsToJson(queue) });
      else line.show(lineOf(queue, rate));
      await sleep(intervalMs, undefined, { signal: context.stop });
    }
  } catch (error) {
    if (!context.stop.aborted) throw error;
  } finally {
    line.end();
  }
}

function lineOf({ counts, paused }: Queue, rate: number | undefined): string {
  const { waiting = 0n, offered = 0n, running = 0n, delayed = 0n, dead = 0n, done = 0n } = counts ?? {};
  const states = Object.entries({ waiting, offered, running, delayed, dead, done });
  const text = states.map(([state, count]) => `${state} ${formatCount(count)}`).join("  ");
  const pace = rate === undefined ? "" : ` (${formatCount(Math.round(rate))}/s)`;
  return `${paused ? "paused  " : ""}${text}${pace}`;
}

function tableOf({ counts, paused }: Queue, isUtc: boolean): string {
  const { waiting = 0n, offered = 0n, running = 0n, delayed = 0n, dead = 0n, done = 0n } = counts ?? {};
  const rows = Object.entries({ waiting, offered, running, delayed, dead, done }).map(
    ([state, count]): [string, string] => [state, formatCount(count)],
  );
  const oldest = counts?.oldestEnqueuedAt ?? 0n;
  const more: [string, string][] = [
    ["workers", `${formatCount(counts?.workers ?? 0)}, room for ${formatCount(counts?.credit ?? 0n)} more jobs`],
    ["failures", formatCount(counts?.failures ?? 0n)],
    ["expired", formatCount(counts?.expired ?? 0n)],
    ["removed", formatCount(counts?.removed ?? 0n)],
    ["disk", formatBytes(Number(counts?.diskBytes ?? 0n))],
    ...(oldest === 0n ? [] : [["oldest", formatTime(oldest, isUtc)] as [string, string]]),
    ...(paused ? [["paused", "yes"] as [string, string]] : []),
  ];
  return [...rows, ...more].map(([name, value]) => `${name.padEnd(9)} ${value}`).join("\n");
}
