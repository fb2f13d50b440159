// `sluice files get`: files and folders from a server to this machine.
import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { connect, type FileInfo, type SluiceClient } from "@sluice/client";
import { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import {
  addOutputOption,
  addServerOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { formatBytes, openProgress, plural } from "../terminal.ts";
import { isUnchanged, type Saved, saveFile, type SaveOptions } from "../transfer/save-file.ts";
import { parseRateArgument } from "./rate-argument.ts";
import { collect } from "./repeatable.ts";
import { PARALLEL_RANGE, parseParallel } from "./transfer-options.ts";

interface GetOptions {
  readonly to?: string;
  readonly recursive?: boolean;
  readonly glob: readonly string[];
  readonly resume?: boolean;
  readonly force?: boolean;
  readonly limitRate?: number;
  readonly parallel: number;
  readonly server: string;
  readonly output: OutputFormat;
}

export function filesGetCommand(context: CommandContext): Command {
  const command = new Command("get")
    .summary("get files or folders")
    .description(
      "Gets files, and folders with -r. A file gets its name when all of it is there and matches the server's SHA-256; " +
        "until then it is NAME.part. Files that are there already, by size and time, are left out.",
    )
    .argument("<path...>", "the server's files or folders")
    .option("-t, --to <place>", "the file, or the folder, to write to (default: the working directory)")
    .option("-r, --recursive", "folders with all that is in them")
    .option("-g, --glob <pattern>", 'of folders: only these, as "**/*.txt"; may be repeated', collect, [])
    .option("--resume", "go on with what an earlier run left")
    .option("--force", "also files that are there already")
    .option("--limit-rate <rate>", 'bytes per second, as "500k" or "10M"', parseRateArgument)
    .option("-p, --parallel <count>", `streams at the same time, ${PARALLEL_RANGE}`, parseParallel, 1);
  addServerOption(addOutputOption(command));
  return command.action(async (paths: string[], options: GetOptions) => {
    const output = createOutput(context, options.output);
    await using client = connect(options.server);
    const jobs = await findJobs(client, paths, options, context);
    await new Getting(client, options, { output, context }).run(jobs);
  });
}

/** A file, and where it goes. */
interface Job {
  readonly info: FileInfo;
  readonly target: string;
}

async function findJobs(
  client: SluiceClient,
  paths: readonly string[],
  options: GetOptions,
  { folder, stop }: CommandContext,
): Promise<Job[]> {
  const to = resolve(folder, options.to ?? ".");
  const isFolder = options.to === undefined || paths.length > 1 || options.to.endsWith("/") || (await isDirectory(to));
  const jobs: Job[] = [];
  for (const path of paths) {
    const info = await client.getFileInfo(path, { signal: stop, checksumWaitMs: 0 });
    const name = basename(info.filePath);
    const place = isFolder ? join(to, name) : to;
    if (!info.isDirectory) {
      jobs.push({ info, target: place });
      continue;
    }
    if (options.recursive !== true) {
      throw new CommandFailure(`"${path}" is a folder`, { exitCode: EXIT.usage, hint: "Get all of it with -r." });
    }
    const query = { path, isRecursive: true, globs: options.glob };
    for await (const each of client.listFiles(query, { signal: stop })) {
      if (!each.isDirectory) jobs.push({ info: each, target: join(place, inside(each.filePath, info.filePath)) });
    }
  }
  return jobs;
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

/** The path below a folder. A server is not trusted with where we write. @throws CommandFailure */
function inside(path: string, folder: string): string {
  const below = path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : path;
  const isSafe = below
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== ".." && !/[\\\0]/u.test(part));
  if (isSafe) return below;
  throw new CommandFailure(`The server lists "${path}", which would lead out of the folder it goes to`, {
    exitCode: EXIT.denied,
  });
}

/** A run over some files. */
class Getting {
  readonly #client: SluiceClient;
  readonly #options: GetOptions;
  readonly #output: Output;
  readonly #context: CommandContext;

  constructor(
    client: SluiceClient,
    options: GetOptions,
    { output, context }: { readonly output: Output; readonly context: CommandContext },
  ) {
    this.#client = client;
    this.#options = options;
    this.#output = output;
    this.#context = context;
  }

  async run(jobs: readonly Job[]): Promise<void> {
    const { stderr, environment } = this.#context;
    const bytesTotal = jobs.reduce((sum, { info }) => sum + Number(info.size), 0);
    const label = jobs.length === 1 ? basename(jobs[0]!.target) : plural(jobs.length, "file");
    const progress = openProgress(stderr, { label, format: formatBytes, environment });
    let done = 0;
    const onBytes = (byteCount: number): void => progress.update((done += byteCount), bytesTotal);
    // One file: so many streams of it. Several: so many files, a stream each.
    const isOne = jobs.length === 1;
    const left = [...jobs];
    const work = async (): Promise<void> => {
      for (let job = left.shift(); job !== undefined; job = left.shift()) {
        const { received, ...saved } = await this.#get(job, { parallel: isOne ? this.#options.parallel : 1, onBytes });
        onBytes(Number(job.info.size) - received);
        progress.end();
        await this.#tell(job, saved);
      }
    };
    try {
      const workers = isOne ? 1 : Math.min(jobs.length, this.#options.parallel);
      const ended = await Promise.allSettled(Array.from({ length: workers }, work));
      for (const each of ended) if (each.status === "rejected") throw each.reason;
    } finally {
      progress.end();
    }
  }

  async #get({ info, target }: Job, options: Pick<SaveOptions, "parallel" | "onBytes">): Promise<Saved> {
    const { resume = false, force = false, limitRate, parallel } = this.#options;
    if (!force && (await isUnchanged(info, target))) return { outcome: "unchanged", received: 0, sha256: "" };
    const streams = Math.max(1, parallel / options.parallel);
    return await saveFile(this.#client, info, target, {
      ...options,
      signal: this.#context.stop,
      isResuming: resume,
      bytesPerSecond: limitRate === undefined ? undefined : limitRate / streams,
      onInterruption: ({ retryInMs }) =>
        this.#output.note(`connection lost; going on in ${(retryInMs / 1000).toFixed(1)} s`),
    });
  }

  async #tell({ info, target }: Job, { outcome, sha256 }: Omit<Saved, "received">): Promise<void> {
    const { filePath, size, etag } = info;
    await this.#output.result({
      text: () =>
        outcome === "unchanged" ? `${target}: unchanged` : `${target}: ${formatBytes(Number(size))}, SHA-256 ${sha256}`,
      json: () => ({ filePath, target, outcome, size, etag, ...(sha256 === "" ? {} : { checksum: sha256 }) }),
    });
  }
}
