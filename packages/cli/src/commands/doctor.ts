// `sluice doctor`: verifies every checksum of a data folder that no server has open.
import { resolve } from "node:path";
import {
  type DoctorReport,
  entryFrameCodec,
  examineDataFolder,
  type LogHealth,
  nodeFileSystem,
  type SegmentHealth,
  systemClock,
} from "@sluice/server";
import { Command, Option } from "commander";
import { EXIT } from "../exit-codes.ts";
import {
  addOutputOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { formatBytes, formatCount, openProgress, plural } from "../terminal.ts";
import { toServerFailure } from "./server-failure.ts";

interface DoctorOptions {
  readonly data?: string;
  readonly rebuild: boolean;
  readonly output: OutputFormat;
}

export function doctorCommand(context: CommandContext): Command {
  return addOutputOption(new Command("doctor"))
    .description(
      "Verifies every checksum of a data folder, and every index against its entries. It refuses a folder that a server has " +
        "open. Indexes that are missing or wrong are written anew; nothing else is changed. " +
        `The exit code is ${EXIT.damaged} when stored data is damaged or missing.`,
    )
    .argument("[folder]", "the data folder")
    .addOption(new Option("--data <folder>", "the data folder, as for serve").env("SLUICE_DATA"))
    .option("--no-rebuild", "change nothing: only say which indexes are missing or wrong")
    .action(async (argument: string | undefined, options: DoctorOptions) => {
      const folder = argument ?? options.data;
      if (folder === undefined) {
        throw new CommandFailure("Which data folder?", { exitCode: EXIT.usage, hint: "sluice doctor ./data" });
      }
      const report = await examine(resolve(context.folder, folder), options, context);
      const output = createOutput(context, options.output);
      for (const log of report.logs) await tellLog(output, log);
      if (report.isHealthy) return;
      throw new CommandFailure("Stored data is damaged or missing", {
        exitCode: EXIT.damaged,
        hint: "Readers are told of each gap. Restore the folder from a copy if you have one.",
      });
    });
}

async function examine(folder: string, { rebuild }: DoctorOptions, context: CommandContext): Promise<DoctorReport> {
  const { stderr, environment, stop } = context;
  const progress = openProgress(stderr, { label: "Verifying", format: formatBytes, environment });
  try {
    return await examineDataFolder({
      folder,
      fileSystem: nodeFileSystem,
      codec: entryFrameCodec,
      clock: systemClock,
      rebuildIndexes: rebuild,
      onProgress: ({ bytesDone, bytesTotal }) => progress.update(bytesDone, bytesTotal),
      signal: stop,
    });
  } catch (error) {
    if (stop.aborted) throw new CommandFailure("Stopped before all was verified", { cause: error });
    throw toServerFailure(error);
  } finally {
    progress.end();
  }
}

async function tellLog(output: Output, log: LogHealth): Promise<void> {
  const segments = log.segments.filter(isWorthTelling);
  await output.result({
    text: () =>
      [
        `log ${log.name}: ${plural(log.entries, "entry", "entries")}, ${formatBytes(log.bytes)} in ${plural(log.segments.length, "segment")}`,
        ...log.missing.map(({ first, last }) => output.paint("red", `  entries ${range(first, last)} are missing`)),
        ...(log.epochs === "damaged" ? [output.paint("red", "  the table of epochs is damaged")] : []),
        ...segments.flatMap((segment) => textOf(segment, output)),
      ].join("\n"),
    json: () => log,
  });
}

function isWorthTelling({ damaged, tailBytes, index }: SegmentHealth): boolean {
  return damaged.length > 0 || tailBytes > 0 || (index !== "good" && index !== "none");
}

function textOf({ first, damaged, tailBytes, index }: SegmentHealth, { paint }: Output): string[] {
  const name = `  segment ${formatCount(first)}:`;
  return [
    ...damaged.map((each) =>
      paint("red", `${name} entries ${range(each.first, each.last)} do not match their checksum`),
    ),
    ...(tailBytes > 0
      ? [paint("yellow", `${name} ${formatBytes(tailBytes)} at its end prove nothing and are cut at the next start`)]
      : []),
    ...(index === "rebuilt" ? [paint("green", `${name} its index was written anew`)] : []),
    ...(index === "missing" || index === "wrong" ? [paint("yellow", `${name} its index is ${index}`)] : []),
  ];
}

function range(first: number, last: number): string {
  return first === last ? formatCount(first) : `${formatCount(first)} to ${formatCount(last)}`;
}
