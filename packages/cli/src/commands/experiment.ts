// `sluice experiment`: what is claimed, to be run and looked at.
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { type Measures, measure } from "../experiment/measures.ts";
import { drawPicture, figuresOf } from "../experiment/picture.ts";
import { playScenario } from "../experiment/run.ts";
import { DEFAULT_SCENARIO, type Scenario, type Way, WAY_NAMES, WAYS } from "../experiment/scenario.ts";
import { addOutputOption, type CommandContext, createOutput, type Output, type OutputFormat } from "../output.ts";
import { formatTable } from "../table.ts";
import { formatSeconds } from "../terminal.ts";
import { collect } from "./repeatable.ts";

export function experimentCommand(context: CommandContext): Command {
  const command = new Command("experiment").description("Shows by an experiment what Sluice does otherwise.");
  command.addCommand(backpressureCommand(context));
  return command;
}

interface BackpressureOptions {
  readonly way: readonly string[];
  readonly jobs: number;
  readonly jobMs: number;
  readonly prefetch: number;
  readonly window: number;
  readonly moreAt: number;
  readonly urgentAt: number;
  readonly save?: string;
  readonly output: OutputFormat;
}

function backpressureCommand(context: CommandContext): Command {
  const { jobs, jobMs, prefetch, window, moreWorkersAtMs, urgentAtMs } = DEFAULT_SCENARIO;
  const command = new Command("backpressure")
    .summary("where jobs wait while a slow worker is busy")
    .description(
      "Hands out jobs in three ways, beside each other, each with processes and sockets of its own: by plain gRPC streaming, " +
        "by a fixed prefetch, and by credit with offers from a queue of Sluice. One slow worker begins; then three more come, " +
        "and then an urgent job. Shows how many jobs lie where no other worker can get them, and what that does.",
    )
    .option("--way <name>", `only this one (${WAYS.join(", ")}); may be repeated`, collectWay, [])
    .option("--jobs <count>", "jobs", parseCount, jobs)
    .option("--job-ms <ms>", "what a job takes", parseCount, jobMs)
    .option("--prefetch <count>", "jobs that a worker gets ahead, with the fixed prefetch", parseCount, prefetch)
    .option(
      "--window <count>",
      "jobs that a worker with credit may hold: one runs, the others are offers",
      parseCount,
      window,
    )
    .option("--more-at <ms>", "when three more workers come", parseCount, moreWorkersAtMs)
    .option("--urgent-at <ms>", "when the urgent job comes", parseCount, urgentAtMs)
    .option("--save <folder>", "write backpressure.svg and backpressure.json there");
  return addOutputOption(command).action(async (options: BackpressureOptions) => {
    const output = createOutput(context, options.output);
    const scenario: Scenario = {
      ...DEFAULT_SCENARIO,
      jobs: options.jobs,
      jobMs: options.jobMs,
      prefetch: options.prefetch,
      window: options.window,
      moreWorkersAtMs: options.moreAt,
      urgentAtMs: options.urgentAt,
    };
    const ways = WAYS.filter((way) => options.way.length === 0 || options.way.includes(way));
    const atMost = formatSeconds(((scenario.jobs + 1) * scenario.jobMs) / 1000 + 1);
    output.note(`${scenario.jobs} jobs of ${scenario.jobMs} ms each, in ${ways.length} ways: about ${atMost}`);
    const records = await Promise.all(ways.map((way) => playScenario(way, scenario, context.stop)));
    await report(records.map(measure), scenario, { output, context, save: options.save });
  });
}

async function report(
  runs: readonly Measures[],
  scenario: Scenario,
  { output, context, save }: { output: Output; context: CommandContext; save: string | undefined },
): Promise<void> {
  if (output.format === "json") {
    for (const run of runs) await output.result({ text: () => "", json: () => figures(run) });
  } else {
    const header = ["", "MOST JOBS BEYOND CONTROL", "NEW WORKERS BEGIN", "URGENT JOB WAITS", "ALL DONE"];
    const rows = runs.map((run) => [WAY_NAMES[run.way], ...figuresOf(run)]);
    await output.write(formatTable([header, ...rows], [1, 2, 3, 4]));
  }
  if (save === undefined) return;
  const folder = resolve(context.folder, save);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "backpressure.svg"), drawPicture(runs, scenario));
  const lines = runs.map((run) => ({ ...figures(run), beyond: run.beyond, offered: run.offered }));
  await writeFile(join(folder, "backpressure.json"), `${JSON.stringify({ scenario, runs: lines })}\n`);
  output.note(`Wrote ${join(save, "backpressure.svg")} and ${join(save, "backpressure.json")}`);
}

/** Times in ms. */
function figures(run: Measures): object {
  const { way, beyondMax, newWorkersJobs, urgentPassedBy } = run;
  const began = run.newWorkersBeganAfterMs;
  return {
    way,
    beyondControlMax: beyondMax,
    newWorkersBeganAfterMs: began === undefined ? null : Math.round(began),
    newWorkersJobs,
    urgentWaitMs: Math.round(run.urgentWaitMs),
    urgentPassedBy,
    completedMs: Math.round(run.completedMs),
  };
}

function collectWay(value: string, previous: readonly string[]): string[] {
  if (!WAYS.includes(value as Way)) throw new InvalidArgumentError(`Give one of ${WAYS.join(", ")}.`);
  return collect(value, previous);
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 1) return count;
  throw new InvalidArgumentError("Give a whole number from 1 on.");
}
