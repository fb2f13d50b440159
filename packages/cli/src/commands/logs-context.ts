// `sluice logs context`: the entries around one.
import { connect, logEntryToJson } from "@sluice/client";
import { Command } from "commander";
import { addOutputOption, addServerOption, type CommandContext, createOutput, type OutputFormat } from "../output.ts";
import { formatLogLine } from "./log-line.ts";
import { noteGap } from "./log-notes.ts";
import { parseCount } from "./log-options.ts";

interface LogsContextOptions {
  readonly before?: number;
  readonly after?: number;
  readonly sameApplication?: boolean;
  readonly log?: string;
  readonly utc?: boolean;
  readonly server: string;
  readonly output: OutputFormat;
}

export function logsContextCommand(context: CommandContext): Command {
  const command = new Command("context")
    .summary("print the entries around one")
    .description("Prints the entries around the one of a cursor (see logs --cursors), which is marked.")
    .argument("<cursor>", "of the entry in the middle")
    .option("-B, --before <count>", "entries before it, up to 1,000 (default: 10)", parseCount)
    .option("-A, --after <count>", "entries after it, up to 1,000 (default: 10)", parseCount)
    .option("--same-application", "only entries of its application")
    .option("--log <name>", 'name of the log (default: "default")')
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  return command.action(async (cursor: string, options: LogsContextOptions) => {
    const { server, output: format, utc, ...query } = options;
    const output = createOutput(context, format);
    await using client = connect(server);
    const found = await client.getLogContext(cursor, query, { signal: context.stop });
    for (const gap of found.gaps) noteGap(gap, output);
    if (found.index < 0) output.note("this entry is no longer there");
    for (const [i, entry] of found.entries.entries()) {
      const mark = i === found.index ? output.paint("bold", ">") : " ";
      await output.result({
        text: () => `${mark} ${formatLogLine(entry, { paint: output.paint, isUtc: utc === true })}`,
        json: () => logEntryToJson(entry),
      });
    }
  });
}
