// The command line's entrance: finds the command, runs it, and says how it ended.
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { EXIT, EXIT_CODE_HELP, type ExitCode } from "./exit-codes.ts";
import { describeFailure } from "./failure.ts";
import { type CommandContext, toJsonLine } from "./output.ts";
import { openProcessContext } from "./process-context.ts";

/** Makes a command for the process around it. */
type MakeCommand = (context: CommandContext) => Command;

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** A command's code is loaded only when it runs: `sluice --help` needs none of the server. */
  readonly load: () => Promise<MakeCommand>;
}

const COMMANDS: readonly CommandEntry[] = [
  {
    name: "serve",
    summary: "run the server",
    load: async () => (await import("./commands/serve.ts")).serveCommand,
  },
  {
    name: "demo",
    summary: "run the server with this machine's own logs, and show what to type next",
    load: async () => (await import("./commands/demo.ts")).demoCommand,
  },
  {
    name: "logs",
    summary: "read and follow logs; push files and pipes into a log",
    load: async () => (await import("./commands/logs.ts")).logsCommand,
  },
  {
    name: "files",
    summary: "list, show, get, put and verify files",
    load: async () => (await import("./commands/files.ts")).filesCommand,
  },
  {
    name: "metrics",
    summary: "show what is happening now: of this machine, and of programs that say so",
    load: async () => (await import("./commands/metrics.ts")).metricsCommand,
  },
  {
    name: "queue",
    summary: "enqueue jobs, work on them, look after queues",
    load: async () => (await import("./commands/queue.ts")).queueCommand,
  },
  {
    name: "sidecar",
    summary: "give the jobs of a queue to a service in any language, beside it",
    load: async () => (await import("./commands/sidecar.ts")).sidecarCommand,
  },
  {
    name: "notify",
    summary: "publish notifications, watch inboxes",
    load: async () => (await import("./commands/notify.ts")).notifyCommand,
  },
  {
    name: "applications",
    summary: "list who has written",
    load: async () => (await import("./commands/applications.ts")).applicationsCommand,
  },
  {
    name: "canary",
    summary: "write stamped entries, read them back, report what is missing",
    load: async () => (await import("./commands/canary.ts")).canaryCommand,
  },
  {
    name: "experiment",
    summary: "show where jobs wait while a slow worker is busy",
    load: async () => (await import("./commands/experiment.ts")).experimentCommand,
  },
  {
    name: "config",
    summary: "show the configuration, and where each value comes from",
    load: async () => (await import("./commands/config.ts")).configCommand,
  },
  {
    name: "doctor",
    summary: "verify every checksum of a data folder",
    load: async () => (await import("./commands/doctor.ts")).doctorCommand,
  },
  {
    name: "completion",
    summary: "print what bash, zsh or fish completes command lines with",
    load: async () => {
      const { completionCommand } = await import("./commands/completion.ts");
      return (context) => completionCommand(context, () => createProgram("all", context));
    },
  },
];

/** Runs one command line. @param words what stands behind the program's name. @returns the exit code. */
export async function run(words: readonly string[], context: CommandContext): Promise<ExitCode> {
  const program = await createProgram(words, context);
  try {
    await program.parseAsync(words, { from: "user" });
    return EXIT.ok;
  } catch (error) {
    // commander has already said what is wrong, or shown the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return fail(error, words, context);
  }
}

/** Runs the process's own command line and sets its exit code. */
export async function runProcess(): Promise<void> {
  using context = openProcessContext();
  process.exitCode = await run(process.argv.slice(2), context);
}

/** @param words the command line: the commands that it names are made. "all": all of them. */
async function createProgram(words: readonly string[] | "all", context: CommandContext): Promise<Command> {
  const program = new Command("sluice")
    .description("Sluice streams logs, files, jobs, metrics and notifications over gRPC from one port.")
    .version(readVersion())
    .helpCommand("help [command]", "say what a command does")
    .addHelpText("after", exitCodeHelp());
  for (const { name, summary, load } of COMMANDS) {
    // `sluice NAME …` and `sluice help NAME` need the command itself, the overview needs its name only.
    const isNamed = words === "all" || words.slice(0, 2).includes(name);
    const command = isNamed ? (await load())(context) : new Command(name);
    program.addCommand(command.summary(summary));
  }
  settle(program, context);
  return program;
}

// Settings of commander are inherited only by commands that it makes itself.
function settle(command: Command, context: CommandContext): void {
  command
    .exitOverride()
    // An option behind `logs push` is the subcommand's, also when `logs` has one of the same name.
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /u, "sluice: ")),
      getOutHelpWidth: () => context.stdout.columns ?? 100,
      getErrHelpWidth: () => context.stderr.columns ?? 100,
    })
    .showHelpAfterError(`(see sluice ${[...namesOf(command), "--help"].join(" ")})`);
  for (const child of command.commands) settle(child, context);
}

function namesOf(command: Command): string[] {
  return command.parent === null ? [] : [...namesOf(command.parent), command.name()];
}

function fail(error: unknown, words: readonly string[], context: CommandContext): ExitCode {
  const failure = describeFailure(error);
  if (failure.exitCode === EXIT.ok) return EXIT.ok;
  const isJson = words.includes("--output=json") || words[words.indexOf("--output") + 1] === "json";
  context.stderr.write(isJson ? `${toJsonLine({ error: failure.facts })}\n` : `${failure.text}\n`);
  return failure.exitCode;
}

function exitCodeHelp(): string {
  const lines = EXIT_CODE_HELP.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`);
  return `\nExit codes:\n${lines.join("\n")}\n\nEnvironment:
  SLUICE_SERVER  the server to talk to, HOST:PORT
  SLUICE_…       every setting of the server, see "sluice serve --help"
  NO_COLOR       no colours, also on a terminal`;
}

function readVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
