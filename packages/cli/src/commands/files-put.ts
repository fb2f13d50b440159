// `sluice files put`: files and folders from this machine to a server.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve, sep } from "node:path";
import { connect, type FileInfo, type SluiceClient, type UploadSource } from "@sluice/client";
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
import { stateFolder } from "../state-folder.ts";
import { formatBytes, openProgress, plural } from "../terminal.ts";
import { parseRateArgument } from "./rate-argument.ts";
import { fileToJson, PARALLEL_RANGE, parseParallel } from "./transfer-options.ts";

interface PutOptions {
  readonly recursive?: boolean;
  readonly resume?: boolean;
  readonly force?: boolean;
  readonly new?: boolean;
  readonly limitRate?: number;
  readonly parallel: number;
  readonly server: string;
  readonly output: OutputFormat;
}

/** Attempts in a row before an upload is given up: about a minute. */
const RETRY = { attemptsMax: 8 };

export function filesPutCommand(context: CommandContext): Command {
  const command = new Command("put")
    .summary("put files or folders onto a server")
    .description(
      "Puts files, and folders with -r, into a shared folder that may be written to. On the server a file gets its name when " +
        "all of it is there and has the SHA-256 of the file here; until then the old one stays. Files that are there already, " +
        "by size and SHA-256, are left out.",
    )
    .argument("<files...>", "files or folders of this machine, and last the server's file or folder to put them to")
    .option("-r, --recursive", "folders with all that is in them")
    .option("--resume", "go on with what an earlier run left")
    .option("--force", "also files that are there already")
    .option("--new", "only where there is no such file yet")
    .option("--limit-rate <rate>", 'bytes per second, as "500k" or "10M"', parseRateArgument)
    .option("-p, --parallel <count>", `files at the same time, ${PARALLEL_RANGE}`, parseParallel, 1);
  addServerOption(addOutputOption(command));
  return command.action(async (words: string[], options: PutOptions) => {
    const output = createOutput(context, options.output);
    const to = words.at(-1) ?? "";
    if (words.length < 2) {
      throw new CommandFailure("Where to?", { exitCode: EXIT.usage, hint: "sluice files put a.txt folder/" });
    }
    await using client = connect(options.server);
    const jobs = await findJobs(words.slice(0, -1), to, options, context);
    await put(client, jobs, options, { output, context });
  });
}

/** A file here, and where it goes. */
interface Job {
  readonly file: string;
  readonly path: string;
  readonly size: number;
  readonly modifiedMs: number;
}

async function findJobs(
  files: readonly string[],
  to: string,
  options: PutOptions,
  { folder }: CommandContext,
): Promise<Job[]> {
  const isFolder = files.length > 1 || to.endsWith("/") || to === ".";
  const base = to.replace(/\/+$/u, "");
  const under = (name: string): string => (base === "" || base === "." ? name : `${base}/${name}`);
  const jobs: Job[] = [];
  for (const name of files) {
    const file = resolve(folder, name);
    const stats = await stat(file);
    if (!stats.isDirectory()) {
      jobs.push(jobOf(file, isFolder ? under(basename(file)) : to, stats));
      continue;
    }
    if (options.recursive !== true) {
      throw new CommandFailure(`${name} is a folder`, { exitCode: EXIT.usage, hint: "Put all of it with -r." });
    }
    const root = isFolder ? under(basename(file)) : base;
    for (const entry of await readdir(file, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const inner = join(entry.parentPath, entry.name);
      jobs.push(jobOf(inner, `${root}/${relative(file, inner).split(sep).join("/")}`, await stat(inner)));
    }
  }
  return jobs;
}

function jobOf(file: string, path: string, stats: { readonly size: number; readonly mtimeMs: number }): Job {
  return { file, path, size: stats.size, modifiedMs: stats.mtimeMs };
}

async function put(
  client: SluiceClient,
  jobs: readonly Job[],
  options: PutOptions,
  { output, context }: { readonly output: Output; readonly context: CommandContext },
): Promise<void> {
  const { stderr, environment } = context;
  const label = jobs.length === 1 ? basename(jobs[0]!.file) : plural(jobs.length, "file");
  const progress = openProgress(stderr, { label, format: formatBytes, environment });
  const total = jobs.reduce((sum, { size }) => sum + size, 0);
  const done = new Map<Job, number>();
  const onProgress = (job: Job, durable: number): void => {
    done.set(job, durable);
    progress.update(
      [...done.values()].reduce((sum, each) => sum + each, 0),
      total,
    );
  };
  const left = [...jobs];
  const workers = Math.min(jobs.length, options.parallel);
  // Those that run at the same time share the rate.
  const { limitRate } = options;
  const each = { ...options, ...(limitRate === undefined ? {} : { limitRate: limitRate / workers }) };
  const work = async (): Promise<void> => {
    for (let job = left.shift(); job !== undefined; job = left.shift()) {
      const current = job;
      const { outcome, info } = await putOne(client, current, each, {
        context,
        output,
        onProgress: (durable) => onProgress(current, durable),
      });
      onProgress(current, current.size);
      progress.end();
      await output.result({
        text: () =>
          outcome === "unchanged"
            ? `${info.filePath}: unchanged`
            : `${info.filePath}: ${formatBytes(current.size)}, SHA-256 ${info.checksum}`,
        json: () => ({ file: current.file, outcome, ...fileToJson(info) }),
      });
    }
  };
  try {
    const ended = await Promise.allSettled(Array.from({ length: workers }, work));
    for (const each of ended) if (each.status === "rejected") throw each.reason;
  } finally {
    progress.end();
  }
}

async function putOne(
  client: SluiceClient,
  job: Job,
  options: PutOptions,
  { context, output, onProgress }: { context: CommandContext; output: Output; onProgress: (durable: number) => void },
): Promise<{ readonly outcome: "saved" | "unchanged"; readonly info: FileInfo }> {
  const { stop: signal } = context;
  if (options.force !== true && options.new !== true) {
    const there = await findUnchanged(client, job, signal);
    if (there !== undefined) return { outcome: "unchanged", info: there };
  }
  const note = new UploadNote(client.address, job, context.environment);
  const uploadId = options.resume === true ? await note.read() : undefined;
  let noted: Promise<void> = Promise.resolve();
  try {
    const info = await client.uploadFile(job.path, sourceOf(job), {
      signal,
      makeDirectories: true,
      ifNoneMatch: options.new ?? false,
      retry: RETRY,
      onStart(id) {
        noted = note.write(id).catch((error: unknown) => {
          output.note(`an interrupted run could not be resumed: ${String(error)}`);
        });
      },
      onProgress: ({ durable }) => onProgress(durable),
      onInterruption: ({ retryInMs }) => output.note(`connection lost; going on in ${(retryInMs / 1000).toFixed(1)} s`),
      ...(uploadId === undefined ? {} : { uploadId }),
      ...(options.limitRate === undefined ? {} : { maxBytesPerSecond: Math.max(1, Math.floor(options.limitRate)) }),
    });
    await noted;
    await note.remove();
    return { outcome: "saved", info };
  } catch (error) {
    await noted;
    if (!signal.aborted) throw error;
    throw new CommandFailure(`Stopped before all of ${job.file} was there`, {
      hint: "What arrived is kept for a day: the same command with --resume goes on.",
      cause: error,
    });
  }
}

/** The server's file, when it has the size and the SHA-256 of ours. */
async function findUnchanged(client: SluiceClient, job: Job, signal: AbortSignal): Promise<FileInfo | undefined> {
  // Most are not there, or of another size: nothing is read then.
  const info = await client.getFileInfo(job.path, { signal, checksumWaitMs: 0 }).catch(() => undefined);
  if (info === undefined || info.isDirectory || info.size !== BigInt(job.size)) return undefined;
  const hash = createHash("sha256");
  for await (const bytes of createReadStream(job.file, { signal })) hash.update(bytes as Buffer);
  const there = await client.getFileInfo(job.path, { signal });
  return there.checksum === hash.digest("hex") ? there : undefined;
}

function sourceOf({ file, size }: Job): UploadSource {
  return { size, read: (start) => createReadStream(file, { start, highWaterMark: 1024 * 1024 }) };
}

/** Which upload is ours, for a later run: in the user's state folder, by server, path and version of the file here. */
class UploadNote {
  readonly #file: string;

  constructor(server: string, { file, path, size, modifiedMs }: Job, environment: NodeJS.ProcessEnv) {
    const key = createHash("sha256").update([server, path, file, size, modifiedMs].join("\n")).digest("base64url");
    this.#file = join(stateFolder(environment, "uploads"), key);
  }

  async read(): Promise<string | undefined> {
    return await readFile(this.#file, "utf8").catch(() => undefined);
  }

  async write(id: string): Promise<void> {
    await mkdir(join(this.#file, ".."), { recursive: true });
    await writeFile(`${this.#file}.new`, id, { mode: 0o600 });
    await rename(`${this.#file}.new`, this.#file);
  }

  async remove(): Promise<void> {
    await rm(this.#file, { force: true });
  }
}
