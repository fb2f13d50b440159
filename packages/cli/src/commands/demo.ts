// `sluice demo` (`npm start`): a server with this machine's own logs in it, and what to type next.
//
// Everything it shows is real: text files of the system's log folder, the server's own log, what is piped in, and as a
// large file the program that runs it all.
import { fstatSync } from "node:fs";
import { constants, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type LoadedConfig, loadConfig, OWN_APPLICATION, PortInUse, systemClock } from "@sluice/server";
import { Command } from "commander";
import { findMachineLogs, type LeftOut } from "../demo/machine-logs.ts";
import { type FileOutcome, startReadings } from "../demo/readings.ts";
import {
  addOutputOption,
  CommandFailure,
  type CommandContext,
  createOutput,
  DEFAULT_SERVER,
  type Output,
  type OutputFormat,
} from "../output.ts";
import { plural } from "../terminal.ts";
import { drain, type RunningServer, startServer, untilStopped } from "./run-server.ts";
import { toServerFailure } from "./server-failure.ts";

const LOG_FOLDER = "/var/log";
/** What the demo's data may take of the temporary folder. */
const RETENTION = "1GiB";
const TEXT_FILE = "test.txt";
/** The program that runs the demo: a large file that every machine has. */
const LARGE_FILE = basename(process.execPath);

interface DemoOptions {
  readonly listen?: string;
  readonly logs: string;
  readonly output: OutputFormat;
}

export function demoCommand(context: CommandContext): Command {
  return addOutputOption(new Command("demo"))
    .description(
      "Runs a server with real logs in it: this machine's own (the end of each text file of the log folder, and what is " +
        "added to it), the server's own, and what is piped in; and with a few files to read. Its data goes to a temporary folder that is removed at the " +
        'end; "sluice serve --data FOLDER" keeps it. Ctrl-C ends it.',
    )
    .option("--listen <host:port>", "address to serve on (default: 127.0.0.1:8080, or another port when that is taken)")
    .option("--logs <folder>", "where this machine keeps its logs", LOG_FOLDER)
    .action(async (options: DemoOptions) => {
      const data = await mkdtemp(join(tmpdir(), "sluice-demo-"));
      try {
        await runDemo(options, data, context);
      } finally {
        await rm(data, { recursive: true, force: true });
      }
    });
}

async function runDemo(options: DemoOptions, data: string, context: CommandContext): Promise<void> {
  const output = createOutput(context, options.output);
  const shared = await shareFiles(data);
  const loaded = await loadDemoConfig(options, { data, shared }, context);
  const running = await startOnFreePort(loaded, output, context);
  const { server } = running;
  const { files, leftOut } = await findMachineLogs(options.logs);
  const ending = new AbortController();
  const readings = startReadings({
    files,
    stdin: isPiped(context.stdin) ? context.stdin : undefined,
    clock: systemClock,
    signal: AbortSignal.any([context.stop, ending.signal]),
    append: async (entries) => (await server.ingest(entries)).rejected,
    onStdinEnd: ({ lines, refused }) => output.note(`Read ${countOf(lines, refused)} from stdin, which has ended.`),
    onFailure: (source, reason) => output.note(`Cannot read on in ${source}: ${reason}.`),
  });
  try {
    await output.result({
      text: () => `Serving on ${server.address}. Its data is in ${data} until it ends.\n`,
      json: () => ({ event: "serving", address: server.address, data }),
    });
    const outcomes = await readings.history;
    await reportReadings(output, options.logs, outcomes, leftOut);
    await suggest(output, server.address, outcomes);
    await untilStopped(context);
  } finally {
    ending.abort();
    await readings.ended;
    await drain(running, loaded.config, context);
  }
}

/** A folder with something to read. */
async function shareFiles(data: string): Promise<string> {
  const shared = join(data, "shared");
  await mkdir(shared);
  const text = "This file is served by Sluice, chunk by chunk; the last chunk has the SHA-256 of what was sent.\n";
  await writeFile(join(shared, TEXT_FILE), text);
  await copyFile(process.execPath, join(shared, LARGE_FILE), constants.COPYFILE_FICLONE);
  return shared;
}

/** The user's own settings hold, but the data goes to a temporary folder: each demo reads the machine's logs anew. */
async function loadDemoConfig(
  { listen }: DemoOptions,
  { data, shared }: { readonly data: string; readonly shared: string },
  { environment, folder }: CommandContext,
): Promise<LoadedConfig> {
  const flags = new Map([
    ["data", data],
    ["retainBytes", RETENTION],
    ["files", shared],
  ]);
  if (listen !== undefined) flags.set("listen", listen);
  try {
    return await loadConfig({ flags, environment, folder });
  } catch (error) {
    throw toServerFailure(error);
  }
}

/** An address that somebody chose must be free; the default one gives way. */
async function startOnFreePort(loaded: LoadedConfig, output: Output, context: CommandContext): Promise<RunningServer> {
  const isChosen = loaded.values.some(({ key, origin }) => key === "listen" && origin.kind !== "default");
  try {
    return await startServer(loaded, context);
  } catch (error) {
    if (isChosen || !(error instanceof CommandFailure && error.cause instanceof PortInUse)) throw error;
    const { config, warnings } = loaded;
    const [taken] = config.listen;
    output.note(`Port ${taken?.kind === "address" ? taken.address.port : 0} is taken; using another one.`);
    const listen = [{ kind: "address", address: { host: "127.0.0.1", port: 0 } }] as const;
    return startServer({ config: { ...config, listen }, warnings }, context);
  }
}

/** Says which files were read and how much of them, and which were left out and why. */
async function reportReadings(
  output: Output,
  folder: string,
  outcomes: readonly FileOutcome[],
  leftOut: readonly LeftOut[],
): Promise<void> {
  const read = outcomes.filter((each) => each.kind === "read");
  const failed = outcomes.filter((each) => each.kind === "failed");
  const width = Math.max(0, ...read.map(({ file }) => file.application.length));
  const notRead = [...failed.map(({ file, reason }) => ({ path: file.path, reason })), ...leftOut];
  await output.result({
    text: () =>
      [
        read.length === 0 ? `There is no log to read in ${folder}.` : `Read from ${folder}, and followed on:`,
        ...read.map(
          ({ file, counts }) =>
            `  ${file.application.padEnd(width)}  ${countOf(counts.lines, counts.refused)}  ${file.path}`,
        ),
        ...notRead.map(({ path, reason }) => output.paint("dim", `  not read: ${path} (${reason})`)),
        'The server\'s own log is the application "sluice".\n',
      ].join("\n"),
    json: () => ({
      event: "read",
      files: read.map(({ file, counts }) => ({ path: file.path, ...counts })),
      notRead,
    }),
  });
}

/** Lines to paste into another terminal. */
async function suggest(output: Output, address: string, outcomes: readonly FileOutcome[]): Promise<void> {
  const port = Number(address.slice(address.lastIndexOf(":") + 1));
  const place = address.startsWith("127.") ? `localhost:${port}` : address;
  const server = place === DEFAULT_SERVER ? "" : ` --server ${place}`;
  const shown = outcomes.find((each) => each.kind === "read" && each.counts.lines > 0);
  const application = shown?.kind === "read" ? shown.counts.application : OWN_APPLICATION;
  const grpcurl = (request: object, method: string): string =>
    `grpcurl -plaintext -d ${quoteForShell(JSON.stringify(request))} ${place} ${method}`;
  const lines = [
    grpcurl({ application, follow: true }, "LogService/StreamLogs"),
    `npx sluice logs -f${server}`,
    `some-program | npx sluice logs push --application myapp${server}`,
    grpcurl({ file_path: TEXT_FILE, chunk_size: 1024 }, "FileService/DownloadFile"),
    `npx sluice files get ${LARGE_FILE} --to /tmp/${server}`,
    grpcurl({ metric_names: ["cpu", "memory"], interval_seconds: 5 }, "MetricsService/StreamMetrics"),
    `npx sluice metrics cpu memory disk network load${server}`,
    `npx sluice queue create jobs${server} && seq 20 | npx sluice queue enqueue jobs --lines${server} && npx sluice queue work jobs --exec cat${server}`,
    `npx sluice notify send --user me --title Hello${server} && npx sluice notify watch --user me${server}`,
  ];
  await output.result({
    text: () =>
      [
        "In another terminal:",
        "",
        ...lines.map((line) => `  ${output.paint("bold", line)}`),
        "",
        "Ctrl-C ends it.",
      ].join("\n"),
    json: () => ({ event: "try", lines }),
  });
}

/** True when a program or a file is behind stdin: not a terminal, and not nothing. */
function isPiped(stdin: CommandContext["stdin"]): boolean {
  if (!("fd" in stdin) || typeof stdin.fd !== "number") return false;
  const stats = fstatSync(stdin.fd);
  return stats.isFIFO() || stats.isFile() || stats.isSocket();
}

function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function countOf(lines: number, refused: number): string {
  return refused === 0 ? plural(lines, "line") : `${plural(lines, "line")} (${refused} refused)`;
}
