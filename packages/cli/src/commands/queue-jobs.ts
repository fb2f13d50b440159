// `sluice queue peek`, `explain`, `cancel`, `dead`, `redrive`, `purge`: the jobs of a queue, one by one and all of a state.
import { connect, JobState } from "@sluice/client";
import { Command, Option } from "commander";
import { addOutputOption, addServerOption, type CommandContext, createOutput, type OutputFormat } from "../output.ts";
import { formatTable } from "../table.ts";
import { plural } from "../terminal.ts";
import { parseCount } from "./log-options.ts";
import {
  beginningOf,
  explanationToJson,
  formatExplanation,
  formatUntil,
  JOB_HEADER,
  JOB_NUMBERS,
  jobRow,
  jobToJson,
  shown,
} from "./queue-format.ts";

interface CommonOptions {
  readonly server: string;
  readonly output: OutputFormat;
}
interface ShownOptions extends CommonOptions {
  readonly bodyBytes: number;
  readonly utc?: boolean;
}

const STATES = ["waiting", "offered", "running", "delayed", "dead"] as const;
const REMOVABLE = ["waiting", "delayed", "dead"] as const;
/** As much of a body as fits into a line of a table. */
const BODY_BYTES = 40;
const PEEK_MAX = 20;

const stateOf = (name: (typeof STATES)[number]): JobState =>
  JobState[name.toUpperCase() as Uppercase<(typeof STATES)[number]>];

function addBodyOptions(command: Command): Command {
  command
    .option("--body-bytes <count>", "how much of each body to show", parseCount, BODY_BYTES)
    .option("--utc", "times in UTC instead of local time");
  return addServerOption(addOutputOption(command));
}

export function queuePeekCommand(context: CommandContext): Command {
  const command = new Command("peek")
    .summary("show the next jobs without taking them")
    .description("Shows jobs in the order in which they would be handed out, without taking them.")
    .argument("<name>", "the queue")
    .addOption(new Option("--state <state>", "jobs of this state").choices(STATES).default("waiting"))
    .option("-n, --limit <count>", "how many, at most 1,000", parseCount, PEEK_MAX);
  addBodyOptions(command);
  interface PeekOptions extends ShownOptions {
    readonly state: (typeof STATES)[number];
    readonly limit: number;
  }
  return command.action(async (name: string, options: PeekOptions) => {
    const { state, limit, bodyBytes } = options;
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const query = { state: stateOf(state), limit, bodyBytes, signal: context.stop };
    const jobs = await client.queues.peek(name, query);
    if (options.output === "json") {
      for (const job of jobs) await output.result({ text: () => "", json: () => jobToJson(job, { body: true }) });
      return;
    }
    const rows = jobs.map((job) => jobRow(job, options.utc === true));
    await output.write(formatTable([JOB_HEADER, ...rows], JOB_NUMBERS));
  });
}

export function queueExplainCommand(context: CommandContext): Command {
  const command = new Command("explain")
    .summary("say why a job is not running")
    .description("Says why a job is not running, or who runs it and until when.")
    .argument("<name>", "the queue")
    .argument("<job>", "the job's id")
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, id: string, options: CommonOptions & { readonly utc?: boolean }) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const explanation = await client.queues.explain(name, id, { signal: context.stop });
    await output.result({
      json: () => explanationToJson(explanation),
      text: () => formatExplanation(id, explanation, options.utc === true),
    });
  });
}

export function queueCancelCommand(context: CommandContext): Command {
  const command = new Command("cancel")
    .summary("remove jobs, also running ones")
    .description("Removes jobs. One that runs is taken from its worker, whose handler hears of it.")
    .argument("<name>", "the queue")
    .argument("<jobs...>", "ids");
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, ids: string[], options: CommonOptions) => {
    await using client = connect(options.server);
    for (const id of ids) await client.queues.cancel(name, id, { signal: context.stop });
  });
}

export function queueDeadCommand(context: CommandContext): Command {
  const command = new Command("dead")
    .summary("list jobs that failed for good")
    .description("Lists jobs that failed for good, oldest first, each with its last reason.")
    .argument("<name>", "the queue");
  addBodyOptions(command);
  return command.action(async (name: string, options: ShownOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const query = { bodyBytes: options.bodyBytes, signal: context.stop };
    for await (const view of client.queues.listDead(name, query)) {
      await output.result({
        json: () => jobToJson(view, { body: true }),
        text: () => {
          const last = view.history.at(-1);
          const when = last === undefined ? "" : formatUntil(last.at, options.utc === true);
          const why = shown(last?.reason ?? "");
          return `${view.job?.jobId ?? ""}  ${when}  ${plural(view.failures, "failure")}: ${why}  ${beginningOf(view.job?.body)}`;
        },
      });
    }
  });
}

export function queueRedriveCommand(context: CommandContext): Command {
  const command = new Command("redrive")
    .summary("let dead jobs wait again")
    .description("Lets dead jobs wait again, as if they had never failed; without ids all of them.")
    .argument("<name>", "the queue")
    .argument("[jobs...]", "ids");
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, ids: string[], options: CommonOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const redriven = await client.queues.redrive(name, ids, { signal: context.stop });
    await output.result({ text: () => `${plural(Number(redriven), "job")} redriven`, json: () => ({ redriven }) });
  });
}

export function queuePurgeCommand(context: CommandContext): Command {
  const command = new Command("purge")
    .summary("remove all jobs that do not run")
    .description("Removes all jobs that wait, are delayed or are dead; those that run go on.")
    .argument("<name>", "the queue")
    .addOption(new Option("--state <state>", "only those of this state").choices(REMOVABLE));
  addServerOption(addOutputOption(command));
  return command.action(
    async (name: string, options: CommonOptions & { readonly state?: (typeof REMOVABLE)[number] }) => {
      const output = createOutput(context, options.output);
      await using client = connect(options.server);
      const state = options.state === undefined ? {} : { state: stateOf(options.state) };
      const removed = await client.queues.purge(name, { ...state, signal: context.stop });
      await output.result({ text: () => `${plural(Number(removed), "job")} removed`, json: () => ({ removed }) });
    },
  );
}
