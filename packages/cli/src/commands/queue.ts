// `sluice queue`: makes queues, enqueues jobs, works on them, and shows how they are.
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Queue, type SluiceClient } from "@sluice/client";
import { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type OutputFormat,
} from "../output.ts";
import { formatTable } from "../table.ts";
import { formatCount } from "../terminal.ts";
import { queueEnqueueCommand } from "./queue-enqueue.ts";
import {
  queueCancelCommand,
  queueDeadCommand,
  queueExplainCommand,
  queuePeekCommand,
  queuePurgeCommand,
  queueRedriveCommand,
} from "./queue-jobs.ts";
import { queueToJson } from "./queue-format.ts";
import { queueScheduleCommand } from "./queue-schedule.ts";
import { addQueueSettingOptions, type QueueSettingOptions, settingsOf } from "./queue-settings.ts";
import { queueStatsCommand } from "./queue-stats.ts";
import { queueWorkCommand } from "./queue-work.ts";

interface CommonOptions {
  readonly server: string;
  readonly output: OutputFormat;
}

export function queueCommand(context: CommandContext): Command {
  const command = new Command("queue").description(
    "Makes queues, enqueues jobs and works on them. A job goes to a worker only when that has room for it, so none waits " +
      "where no other worker can get it.",
  );
  const ofQueues = [createCommand, updateCommand, lsCommand, queueStatsCommand, pauseCommand, resumeCommand];
  const ofJobs = [queueEnqueueCommand, queueWorkCommand, queuePeekCommand, queueExplainCommand, queueCancelCommand];
  const ofMany = [queueDeadCommand, queueRedriveCommand, queuePurgeCommand];
  for (const make of [...ofQueues, drainCommand, deleteCommand, ...ofJobs, ...ofMany, queueScheduleCommand]) {
    command.addCommand(make(context));
  }
  return command;
}

function createCommand(context: CommandContext): Command {
  const command = new Command("create")
    .summary("make a queue")
    .description("Makes a queue.")
    .argument("<name>", "up to 128 of a-z, 0-9, dot, underscore and minus");
  addQueueSettingOptions(command);
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, options: CommonOptions & QueueSettingOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const queue = await client.queues.create(name, { settings: settingsOf(options), signal: context.stop });
    await output.result({ text: () => `${name} is made`, json: () => queueToJson(queue) });
  });
}

function updateCommand(context: CommandContext): Command {
  const command = new Command("update")
    .summary("change the settings of a queue")
    .description("Changes the settings of a queue; what is not given stays as it is.")
    .argument("<name>", "the queue");
  addQueueSettingOptions(command);
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, options: CommonOptions & QueueSettingOptions) => {
    const output = createOutput(context, options.output);
    const settings = settingsOf(options);
    if (Object.keys(settings).length === 0) {
      throw new CommandFailure("Nothing to change", { exitCode: EXIT.usage, hint: "sluice queue update --help" });
    }
    await using client = connect(options.server);
    const queue = await client.queues.update(name, settings, { signal: context.stop });
    await output.result({ text: () => `${name} is changed`, json: () => queueToJson(queue) });
  });
}

function lsCommand(context: CommandContext): Command {
  const command = new Command("ls").summary("list the queues").description("Lists the queues, with their counts.");
  addServerOption(addOutputOption(command));
  return command.action(async (options: CommonOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const rows: string[][] = [];
    for await (const queue of client.queues.list({ signal: context.stop })) {
      if (options.output === "json") await output.result({ text: () => "", json: () => queueToJson(queue) });
      else rows.push(rowOf(queue));
    }
    if (options.output === "json") return;
    const header = ["QUEUE", "WAITING", "OFFERED", "RUNNING", "DELAYED", "DEAD", "DONE", "WORKERS", ""];
    await output.write(formatTable([header, ...rows], [1, 2, 3, 4, 5, 6, 7]));
  });
}

function rowOf({ name, counts, paused }: Queue): string[] {
  const { waiting = 0n, offered = 0n, running = 0n, delayed = 0n, dead = 0n, done = 0n, workers = 0 } = counts ?? {};
  const numbers = [waiting, offered, running, delayed, dead, done, workers];
  return [name, ...numbers.map((each) => formatCount(each)), paused ? "paused" : ""];
}

function pauseCommand(context: CommandContext): Command {
  return plainCommand(context, {
    name: "pause",
    summary: "hand out no more jobs",
    description: "Hands out no more jobs of a queue until it is resumed, also across a restart; those that run go on.",
    run: (client, queue) => client.queues.pause(queue, { signal: context.stop }),
  });
}

function resumeCommand(context: CommandContext): Command {
  return plainCommand(context, {
    name: "resume",
    summary: "hand out jobs again",
    description: "Hands out jobs of a queue again that was paused or drained.",
    run: (client, queue) => client.queues.resume(queue, { signal: context.stop }),
  });
}

const DRAIN_LOOK_MS = 200;

function drainCommand(context: CommandContext): Command {
  return plainCommand(context, {
    name: "drain",
    summary: "pause, and wait until no job runs",
    description:
      'Pauses a queue, and waits until the jobs that run have ended. What waits, waits until "sluice queue resume". With ' +
      "Ctrl-C it stops waiting; the queue stays paused.",
    async run(client, queue) {
      await client.queues.pause(queue, { signal: context.stop });
      while (!context.stop.aborted) {
        const { counts } = await client.queues.get(queue, { signal: context.stop });
        if (counts?.running === 0n && counts.offered === 0n) return;
        await sleep(DRAIN_LOOK_MS, undefined, { signal: context.stop }).catch(() => undefined);
      }
    },
  });
}

/** A command with a queue's name and no result. */
function plainCommand(
  { stop }: CommandContext,
  command: {
    readonly name: string;
    readonly summary: string;
    readonly description: string;
    readonly run: (client: SluiceClient, queue: string) => Promise<void>;
  },
): Command {
  const made = new Command(command.name)
    .summary(command.summary)
    .description(command.description)
    .argument("<name>", "the queue");
  return addServerOption(addOutputOption(made)).action(async (name: string, options: CommonOptions) => {
    await using client = connect(options.server);
    try {
      await command.run(client, name);
    } catch (error) {
      if (!stop.aborted) throw error;
    }
  });
}

function deleteCommand(context: CommandContext): Command {
  const command = new Command("delete")
    .summary("delete a queue")
    .description("Deletes a queue, when there are no jobs in it.")
    .argument("<name>", "the queue")
    .option("--force", "with all jobs that are in it");
  addServerOption(addOutputOption(command));
  return command.action(async (name: string, options: CommonOptions & { readonly force?: boolean }) => {
    await using client = connect(options.server);
    await client.queues.delete(name, { signal: context.stop, force: options.force ?? false });
  });
}
