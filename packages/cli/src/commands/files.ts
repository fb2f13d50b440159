// `sluice files`: lists, shows, gets, puts, verifies, moves, deletes and watches files of a server's shared folders.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { connect, type FileInfo } from "@sluice/client";
import { Command, InvalidArgumentError } from "commander";
import { EXIT } from "../exit-codes.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type OutputFormat,
} from "../output.ts";
import { formatBytes, openProgress } from "../terminal.ts";
import { filesGetCommand } from "./files-get.ts";
import { formatTime } from "./log-line.ts";
import { filesPutCommand } from "./files-put.ts";
import { filesWatchCommand } from "./files-watch.ts";
import { parseRateArgument } from "./rate-argument.ts";
import { collect } from "./repeatable.ts";
import { fileToJson } from "./transfer-options.ts";

interface CommonOptions {
  readonly server: string;
  readonly output: OutputFormat;
}

export function filesCommand(context: CommandContext): Command {
  const command = new Command("files").description(
    "Lists, shows, gets, puts, verifies, moves, deletes and watches files of a server's shared folders.",
  );
  const commands = [lsCommand, statCommand, catCommand, filesGetCommand, filesPutCommand, verifyCommand];
  for (const make of [...commands, rmCommand, mvCommand, mkdirCommand, filesWatchCommand]) {
    command.addCommand(make(context));
  }
  return command;
}

function lsCommand(context: CommandContext): Command {
  const command = new Command("ls")
    .summary("list a folder")
    .description("Lists what is in a shared folder, or in all of them.")
    .argument("[path]", "the folder", "")
    .option("-r, --recursive", "also what is in the folders below")
    .option("-g, --glob <pattern>", 'only these, as "**/*.txt"; may be repeated', collect, [])
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  interface LsOptions extends CommonOptions {
    readonly recursive?: boolean;
    readonly glob: readonly string[];
    readonly utc?: boolean;
  }
  return command.action(async (path: string, options: LsOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const query = { path, isRecursive: options.recursive ?? false, globs: options.glob };
    for await (const info of client.listFiles(query, { signal: context.stop })) {
      await output.result({
        text: () => {
          const size = info.isDirectory ? "" : formatBytes(Number(info.size));
          const name = info.isDirectory ? output.paint("blue", `${info.filePath}/`) : info.filePath;
          return `${size.padStart(10)}  ${formatTime(info.modifiedTime, options.utc === true)}  ${name}`;
        },
        json: () => fileToJson(info),
      });
    }
  });
}

function statCommand(context: CommandContext): Command {
  const command = new Command("stat")
    .summary("show what is known of a file")
    .description("Shows size, time, type, version and checksum of files.")
    .argument("<path...>", "the files")
    .option("--no-checksum", "do not wait for a checksum that the server has to compute first")
    .option("--utc", "times in UTC instead of local time");
  addServerOption(addOutputOption(command));
  return command.action(
    async (paths: string[], options: CommonOptions & { readonly checksum: boolean; readonly utc?: boolean }) => {
      const output = createOutput(context, options.output);
      await using client = connect(options.server);
      for (const path of paths) {
        const wait = options.checksum ? {} : { checksumWaitMs: 0 };
        const info = await client.getFileInfo(path, { signal: context.stop, ...wait });
        await output.result({ text: () => formatInfo(info, options.utc === true), json: () => fileToJson(info) });
      }
    },
  );
}

function catCommand(context: CommandContext): Command {
  const command = new Command("cat")
    .summary("write a file to stdout")
    .description("Writes a file, or a part of it, to stdout; with --follow also what is appended to it.")
    .argument("<path>", "the file")
    .option("--offset <bytes>", "where to begin", parseByteCount)
    .option("--limit <bytes>", "how many bytes, at most", parseByteCount)
    .option("-f, --follow", "at the end, wait for more")
    .option("--limit-rate <rate>", 'bytes per second, as "500k" or "10M"', parseRateArgument);
  addServerOption(command);
  interface CatOptions {
    readonly offset?: number;
    readonly limit?: number;
    readonly follow?: boolean;
    readonly limitRate?: number;
    readonly server: string;
  }
  return command.action(async (path: string, { limitRate, server, ...options }: CatOptions) => {
    const output = createOutput(context, "text");
    await using client = connect(server);
    const download = client.downloadFile(path, {
      ...options,
      ...(limitRate === undefined ? {} : { maxBytesPerSecond: limitRate }),
      signal: context.stop,
      retry: { attemptsMax: options.follow === true ? Number.POSITIVE_INFINITY : 5 },
      onInterruption: ({ retryInMs }) =>
        output.note(`connection lost; trying again in ${(retryInMs / 1000).toFixed(1)} s`),
    });
    try {
      for await (const bytes of download) await output.write(bytes);
    } catch (error) {
      if (!context.stop.aborted) throw error;
    }
  });
}

function verifyCommand(context: CommandContext): Command {
  const command = new Command("verify")
    .summary("compare a file here with the one there")
    .description("Compares the SHA-256 of a file on this machine with that of the server's file, without getting it.")
    .argument("<path>", "the server's file")
    .argument("<file>", "the file on this machine");
  addServerOption(addOutputOption(command));
  return command.action(async (path: string, file: string, options: CommonOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const there = client.getFileInfo(path, { signal: context.stop });
    const [here, info] = await Promise.all([hashOf(resolve(context.folder, file), context), there]);
    if (info.isDirectory) throw new CommandFailure(`"${path}" is a folder`, { exitCode: EXIT.usage });
    const isSame = here === info.checksum;
    await output.result({
      text: () => (isSame ? `${file}: the same as ${path} (SHA-256 ${here})` : `${file}: differs from ${path}`),
      json: () => ({ path, file, isSame, here, there: info.checksum }),
    });
    if (isSame) return;
    throw new CommandFailure(`${file} and ${path} differ: SHA-256 ${here} here, ${info.checksum} there`, {
      exitCode: EXIT.damaged,
    });
  });
}

function rmCommand(context: CommandContext): Command {
  const command = new Command("rm")
    .summary("delete files and empty folders")
    .description("Deletes files, and folders that are empty.")
    .argument("<path...>", "the server's files");
  return addServerOption(command).action(async (paths: string[], { server }: Pick<CommonOptions, "server">) => {
    await using client = connect(server);
    for (const path of paths) await client.deleteFile(path, { signal: context.stop });
  });
}

function mvCommand(context: CommandContext): Command {
  const command = new Command("mv")
    .summary("move or rename a file")
    .description("Moves a file or a folder within a shared folder.")
    .argument("<path>", "the server's file")
    .argument("<new-path>", "where it goes")
    .option("--overwrite", "replace a file that is there");
  return addServerOption(command).action(
    async (path: string, to: string, options: { readonly overwrite?: boolean; readonly server: string }) => {
      await using client = connect(options.server);
      await client.moveFile(path, to, { signal: context.stop, overwrite: options.overwrite ?? false });
    },
  );
}

function mkdirCommand(context: CommandContext): Command {
  const command = new Command("mkdir")
    .summary("make folders")
    .description("Makes folders, with those above them that are missing.")
    .argument("<path...>", "the server's folders");
  return addServerOption(command).action(async (paths: string[], { server }: Pick<CommonOptions, "server">) => {
    await using client = connect(server);
    for (const path of paths) await client.makeDirectory(path, { signal: context.stop });
  });
}

async function hashOf(file: string, { stop, stderr, environment }: CommandContext): Promise<string> {
  const progress = openProgress(stderr, { label: "Reading", format: formatBytes, environment });
  const hash = createHash("sha256");
  let done = 0;
  try {
    for await (const bytes of createReadStream(file, { signal: stop, highWaterMark: 1024 * 1024 })) {
      hash.update(bytes as Buffer);
      progress.update((done += (bytes as Buffer).length));
    }
    return hash.digest("hex");
  } finally {
    progress.end();
  }
}

function formatInfo(info: FileInfo, isUtc: boolean): string {
  const rows = [
    ["path", info.filePath],
    ["kind", info.isDirectory ? "folder" : "file"],
    ...(info.isDirectory ? [] : [["size", `${formatBytes(Number(info.size))} (${info.size} bytes)`]]),
    ["modified", formatTime(info.modifiedTime, isUtc)],
    ["type", info.mimeType],
    ["etag", info.etag],
    ...(info.checksum === "" ? [] : [["SHA-256", info.checksum]]),
  ];
  return rows.map(([name = "", value = ""]) => `${name.padEnd(9)} ${value}`).join("\n");
}

function parseByteCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/u.test(text) && Number.isSafeInteger(count)) return count;
  throw new InvalidArgumentError("Give a number of bytes.");
}
