// `sluice logs ls`: the logs of a server.
import { connect, type Log } from "@sluice/client";
import { Command } from "commander";
import { addOutputOption, addServerOption, type CommandContext, createOutput, type OutputFormat } from "../output.ts";
import { formatTable } from "../table.ts";
import { formatBytes, formatCount } from "../terminal.ts";

interface LogsLsOptions {
  readonly server: string;
  readonly output: OutputFormat;
}

export function logsLsCommand(context: CommandContext): Command {
  const command = new Command("ls")
    .summary("list the logs of the server")
    .description(
      "Lists the logs of the server: how much is in them, their quota, and why one takes no entries now, if so.",
    );
  addServerOption(addOutputOption(command));
  return command.action(async (options: LogsLsOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const logs = await client.listLogs({ signal: context.stop });
    if (options.output === "json") {
      for (const log of logs) await output.write(`${JSON.stringify(toJson(log))}\n`);
      return;
    }
    const header = ["LOG", "ENTRIES", "SIZE", "QUOTA", "WRITES"];
    await output.write(formatTable([header, ...logs.map(toRow)], [1, 2, 3]));
  });
}

/** As protobuf's JSON has it, every field said. */
function toJson({ name, entries, bytes, quotaBytes, headCursor, refusal }: Log): object {
  const numbers = { entries: String(entries), bytes: String(bytes), quotaBytes: String(quotaBytes) };
  return { name, ...numbers, headCursor, refusal };
}

function toRow({ name, entries, bytes, quotaBytes, refusal }: Log): string[] {
  const quota = quotaBytes === 0n ? "-" : formatBytes(Number(quotaBytes));
  return [name, formatCount(entries), formatBytes(Number(bytes)), quota, refusal === "" ? "yes" : `no: ${refusal}`];
}
