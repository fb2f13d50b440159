// `sluice applications`, also `sluice logs applications`: who has written, and how much.
import { type Application, connect } from "@sluice/client";
import { Command } from "commander";
import { addOutputOption, addServerOption, type CommandContext, createOutput, type OutputFormat } from "../output.ts";
import { formatTable } from "../table.ts";
import { formatBytes, formatCount } from "../terminal.ts";
import { formatTime } from "./log-line.ts";

interface ApplicationsOptions {
  readonly log?: string;
  readonly utc?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

export function applicationsCommand(context: CommandContext): Command {
  const command = new Command("applications")
    .summary("list who has written")
    .description("Lists the applications that have entries in a log, with their number, size and event times.")
    .option("--log <name>", 'name of the log (default: "default")')
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  return command.action(async (options: ApplicationsOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const applications = await client.listApplications(options.log === undefined ? {} : { log: options.log }, {
      signal: context.stop,
    });
    if (options.output === "json") {
      for (const each of applications) await output.write(`${JSON.stringify(toJson(each))}\n`);
      return;
    }
    if (applications.length === 0) output.note("no application has written yet");
    else await output.write(tableOf(applications, options.utc === true));
  });
}

/** As protobuf's JSON has it, every field said. */
function toJson(application: Application): object {
  return {
    application: application.application,
    entries: String(application.entries),
    firstTimestamp: String(application.firstTimestamp),
    lastTimestamp: String(application.lastTimestamp),
    bytes: String(application.bytes),
  };
}

function tableOf(applications: readonly Application[], isUtc: boolean): string {
  const header = ["APPLICATION", "ENTRIES", "SIZE", "FIRST", "LAST"];
  const rows = applications.map((each) => [
    each.application === "" ? "-" : each.application,
    formatCount(each.entries),
    formatBytes(Number(each.bytes)),
    formatTime(each.firstTimestamp, isUtc),
    formatTime(each.lastTimestamp, isUtc),
  ]);
  return formatTable([header, ...rows], [1, 2]);
}
