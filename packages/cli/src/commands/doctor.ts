// `sluice doctor`: verifies every checksum of a data folder that no server has open, and repairs what can be repaired.
import { resolve } from "node:path";
import {
  type DoctorReport,
  entryFrameCodec,
  examineDataFolder,
  metricsFrameCodec,
  nodeFileSystem,
  queueFrameCodec,
  systemClock,
} from "@sluice/server";
import { Command, Option } from "commander";
import { EXIT } from "../exit-codes.ts";
import { addOutputOption, CommandFailure, type CommandContext, createOutput, type OutputFormat } from "../output.ts";
import { formatBytes, openProgress } from "../terminal.ts";
import { tellLog } from "./doctor-report.ts";
import { toServerFailure } from "./server-failure.ts";

interface DoctorOptions {
  readonly data?: string;
  readonly repair: boolean;
  readonly output: OutputFormat;
}

export function doctorCommand(context: CommandContext): Command {
  return addOutputOption(new Command("doctor"))
    .description(
      "Verifies every checksum of a data folder or a backup, queues and the history of metrics included, and every index against its entries. It refuses a folder that " +
        "a server has open. Without --repair nothing is changed. " +
        `The exit code is ${EXIT.damaged} when stored data is damaged or missing.`,
    )
    .argument("[folder]", "the data folder")
    .addOption(new Option("--data <folder>", "the data folder, as for serve").env("SLUICE_DATA"))
    .option(
      "--repair",
      "write indexes and tables anew, mark what is damaged as a gap, cut a torn end, remove what an interrupted write left",
      false,
    )
    .action(async (argument: string | undefined, options: DoctorOptions) => {
      const folder = argument ?? options.data;
      if (folder === undefined) {
        throw new CommandFailure("Which data folder?", { exitCode: EXIT.usage, hint: "sluice doctor ./data" });
      }
      const report = await examine(resolve(context.folder, folder), options, context);
      const output = createOutput(context, options.output);
      for (const log of report.logs) await tellLog(output, log, { isRepair: options.repair });
      for (const queue of report.queues) await tellLog(output, queue, { isRepair: options.repair, kind: "queue" });
      for (const log of report.metrics) await tellLog(output, log, { isRepair: options.repair, kind: "metrics" });
      if (report.isHealthy) return;
      throw new CommandFailure("Stored data is damaged or missing", {
        exitCode: EXIT.damaged,
        hint:
          "Readers of a log are told of each gap; a queue that is damaged is not opened; metrics lack the points. " +
          "Restore the folder from a copy if you have one.",
      });
    });
}

async function examine(folder: string, { repair }: DoctorOptions, context: CommandContext): Promise<DoctorReport> {
  const { stderr, environment, stop } = context;
  const progress = openProgress(stderr, { label: "Verifying", format: formatBytes, environment });
  try {
    return await examineDataFolder({
      folder,
      fileSystem: nodeFileSystem,
      codec: entryFrameCodec,
      queueCodec: queueFrameCodec,
      metricsCodec: metricsFrameCodec,
      clock: systemClock,
      repair,
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
