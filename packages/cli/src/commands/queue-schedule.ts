// `sluice queue schedule`: jobs that are enqueued again and again.
import { connect } from "@sluice/client";
import { Command } from "commander";
import { addOutputOption, addServerOption, type CommandContext, createOutput, type OutputFormat } from "../output.ts";
import { formatTable } from "../table.ts";
import { formatUntil, scheduleToJson } from "./queue-format.ts";
import { addJobOptions, type JobOptions, jobOf } from "./queue-job-options.ts";

interface CommonOptions {
  readonly server: string;
  readonly output: OutputFormat;
}

export function queueScheduleCommand(context: CommandContext): Command {
  const command = new Command("schedule")
    .summary("enqueue jobs again and again")
    .description("Enqueues jobs again and again, at the times of a cron expression.");
  for (const make of [putCommand, lsCommand, rmCommand]) command.addCommand(make(context));
  return command;
}

function putCommand(context: CommandContext): Command {
  const command = new Command("put")
    .summary("make or replace a schedule")
    .description(
      'Makes a schedule, or replaces the one of this name. "0 3 * * 1-5": at 3 o\'clock from Monday to Friday.',
    )
    .argument("<name>", "the queue")
    .argument("<schedule>", "the schedule's name")
    .argument("<cron>", "minute, hour, day of the month, month, day of the week; or six fields with seconds first")
    .argument("[body]", "the body of each job", "")
    .option("--time-zone <zone>", 'whose clock, as "Europe/Berlin" (default: UTC)')
    .option("--utc", "times in UTC instead of local time");
  addJobOptions(command);
  addServerOption(addOutputOption(command));
  interface PutOptions extends CommonOptions, JobOptions {
    readonly timeZone?: string;
    readonly utc?: boolean;
  }
  return command.action(async (queue: string, name: string, cron: string, body: string, options: PutOptions) => {
    const output = createOutput(context, options.output);
    const { timeZone } = options;
    const wanted = { name, cron, ...(timeZone === undefined ? {} : { timeZone }), job: { ...jobOf(options), body } };
    await using client = connect(options.server);
    const schedule = await client.queues.putSchedule(queue, wanted, { signal: context.stop });
    await output.result({
      text: () => `${name}: next at ${formatUntil(schedule.nextAt, options.utc === true)}`,
      json: () => scheduleToJson(schedule),
    });
  });
}

function lsCommand(context: CommandContext): Command {
  const command = new Command("ls")
    .summary("list the schedules of a queue")
    .description("Lists the schedules of a queue.")
    .argument("<name>", "the queue")
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  return command.action(async (queue: string, options: CommonOptions & { readonly utc?: boolean }) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const schedules = await client.queues.listSchedules(queue, { signal: context.stop });
    if (options.output === "json") {
      for (const each of schedules) await output.result({ text: () => "", json: () => scheduleToJson(each) });
      return;
    }
    const isUtc = options.utc === true;
    const rows = schedules.map(({ name, cron, timeZone, nextAt, lastAt }) => {
      const zone = timeZone === "" ? "UTC" : timeZone;
      return [name, cron, zone, formatUntil(nextAt, isUtc), formatUntil(lastAt, isUtc)];
    });
    await output.write(formatTable([["SCHEDULE", "CRON", "ZONE", "NEXT", "LAST"], ...rows], []));
  });
}

function rmCommand(context: CommandContext): Command {
  const command = new Command("rm")
    .summary("delete a schedule")
    .description("Deletes a schedule. Jobs that it has enqueued stay.")
    .argument("<name>", "the queue")
    .argument("<schedule>", "the schedule's name");
  addServerOption(addOutputOption(command));
  return command.action(async (queue: string, name: string, options: CommonOptions) => {
    await using client = connect(options.server);
    await client.queues.deleteSchedule(queue, name, { signal: context.stop });
  });
}
