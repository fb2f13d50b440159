// `sluice logs backup` and `sluice logs restore`: copies of a data folder, and data folders of copies.
import { resolve } from "node:path";
import type { DoctorReport, LogBackup } from "@sluice/server";
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
import { tellLog } from "./doctor-report.ts";

interface BackupOptions {
  readonly data: string;
  readonly prune: boolean;
  readonly output: OutputFormat;
}

const dataOption = (description: string) =>
  new Option("--data <folder>", description).env("SLUICE_DATA").default("data");

export function logsBackupCommand(context: CommandContext): Command {
  return addOutputOption(new Command("backup"))
    .summary("copy all logs of a data folder, also while a server runs on it")
    .description(
      "Copies all logs of a data folder, also while a server runs on it. A backup that is there already is brought up to " +
        "date: only what is new is copied. It has everything that was acknowledged before it began.",
    )
    .argument("<folder>", "the backup: a new folder, or an earlier backup of the same logs")
    .addOption(dataOption("the data folder, as for serve"))
    .option("--prune", "remove from the backup what retention has removed from the logs", false)
    .action(async (argument: string, options: BackupOptions) => {
      const backup = resolve(context.folder, argument);
      const folder = resolve(context.folder, options.data);
      const output = createOutput(context, options.output);
      const logs = await withProgress(context, "Copying", async ({ server, surroundings, onBytes }) =>
        server.backUp({ ...surroundings, folder, backup, prune: options.prune, onBytes }),
      );
      for (const log of logs) await output.result({ text: () => textOf(log, output), json: () => log });
      if (logs.every(({ damaged }) => damaged.length === 0)) return;
      throw new CommandFailure("Stored data is damaged: the backup has it as it is", { exitCode: EXIT.damaged });
    });
}

export function logsRestoreCommand(context: CommandContext): Command {
  return addOutputOption(new Command("restore"))
    .summary("make a data folder of a backup, and verify all of it")
    .description(
      "Makes a data folder of a backup and verifies every checksum. Its logs go on in a new epoch: a reader that saw " +
        "entries later than the backup is told that they are gone. " +
        `The exit code is ${EXIT.damaged} when data is damaged or missing; readers are told of the gaps.`,
    )
    .argument("<backup>", "the backup")
    .addOption(dataOption("the new data folder: missing or empty"))
    .action(async (argument: string, options: Omit<BackupOptions, "prune">) => {
      const backup = resolve(context.folder, argument);
      const folder = resolve(context.folder, options.data);
      const output = createOutput(context, options.output);
      const report = await withProgress(context, "Copying", async ({ server, surroundings, onBytes, onProgress }) =>
        server.restoreBackup({ ...surroundings, backup, folder, random: Math.random, onBytes, onProgress }),
      );
      for (const log of report.logs) await tellLog(output, log, { isRepair: true });
      if (report.isHealthy) return;
      throw new CommandFailure("Restored, but stored data is damaged or missing", { exitCode: EXIT.damaged });
    });
}

interface Work {
  readonly server: typeof import("@sluice/server");
  readonly surroundings: {
    readonly fileSystem: (typeof import("@sluice/server"))["nodeFileSystem"];
    readonly codec: (typeof import("@sluice/server"))["entryFrameCodec"];
    readonly clock: (typeof import("@sluice/server"))["systemClock"];
    readonly signal: AbortSignal;
  };
  readonly onBytes: (count: number) => void;
  readonly onProgress: (progress: { bytesDone: number; bytesTotal: number }) => void;
}

/** Runs a job on files in this process; the server's code is loaded for it alone: other `logs` commands need none of it. */
async function withProgress<T extends DoctorReport | readonly LogBackup[]>(
  { stderr, environment, stop }: CommandContext,
  label: string,
  job: (work: Work) => Promise<T>,
): Promise<T> {
  const [server, { toServerFailure }] = await Promise.all([import("@sluice/server"), import("./server-failure.ts")]);
  const { nodeFileSystem: fileSystem, entryFrameCodec: codec, systemClock: clock } = server;
  const copying = openProgress(stderr, { label, format: formatBytes, environment });
  const verifying = openProgress(stderr, { label: "Verifying", format: formatBytes, environment });
  let copied = 0;
  try {
    return await job({
      server,
      surroundings: { fileSystem, codec, clock, signal: stop },
      onBytes: (count) => copying.update((copied += count)),
      onProgress: ({ bytesDone, bytesTotal }) => verifying.update(bytesDone, bytesTotal),
    });
  } catch (error) {
    if (stop.aborted) throw new CommandFailure("Stopped before all was done", { cause: error });
    throw toServerFailure(error);
  } finally {
    copying.end();
    verifying.end();
  }
}

function textOf(log: LogBackup, { paint }: Output): string {
  const { name, first, last, segments, copiedSegments, copiedBytes, prunedSegments, damaged } = log;
  const entries = last < first ? "no entries" : `entries ${formatCount(first)} to ${formatCount(last)}`;
  const pruned = prunedSegments === 0 ? "" : `, removed ${formatCount(prunedSegments)}`;
  return [
    `log ${name}: ${entries} in ${plural(segments, "segment")}; copied ${formatCount(copiedSegments)} (${formatBytes(copiedBytes)})${pruned}`,
    ...damaged.map((range) =>
      paint("red", `  entries ${formatCount(range.first)} to ${formatCount(range.last)} do not match their checksum`),
    ),
  ].join("\n");
}
