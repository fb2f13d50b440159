// What a command says: results on stdout as text or as one JSON object a line, notes and errors on stderr.
//
// O1. stdout carries results alone, so that it can be piped; with `--output json` every line of it is one object.
// O2. A write that finds the pipe full is waited for: a slow reader slows the command, it does not fill the memory.
// O3. A reader that has gone (EPIPE, `| head`) ends the command quietly: `stop` is aborted, nothing is printed.
import { once } from "node:events";
import type { Readable } from "node:stream";
import { type Command, InvalidArgumentError, Option } from "commander";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { type OutputStream, type Paint, paintFor } from "./terminal.ts";

export type OutputFormat = "text" | "json";

/** The process around a command. A test brings its own. */
export interface CommandContext {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly environment: NodeJS.ProcessEnv;
  /** The working directory. */
  readonly folder: string;
  /** Aborted by the first Ctrl-C or SIGTERM, and when the reader of stdout has gone: finish cleanly. */
  readonly stop: AbortSignal;
}

/** A command failed in a way that it can name. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly exitCode: ExitCode;
  /** What to do next, a sentence. */
  readonly hint: string | undefined;

  constructor(message: string, options: { exitCode?: ExitCode; hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? EXIT.failure;
    this.hint = options.hint;
  }
}

/** Where a command's words go. */
export interface Output {
  readonly format: OutputFormat;
  /** Colours for stdout. */
  readonly paint: Paint;
  /**
   * Writes one result, in the form that was asked for. Only that form is made.
   * Await it: undefined when there is room, a promise when the reader is behind.
   */
  result(forms: { readonly text: () => string; readonly json: () => object }): Promise<void> | undefined;
  /** Writes whole lines or objects already made, each ended by a newline; or a file's bytes. */
  write(lines: string | Uint8Array): Promise<void> | undefined;
  /** Says something beside the results, to people, on stderr. */
  note(text: string): void;
}

/** The output of one command. */
export function createOutput(context: CommandContext, format: OutputFormat): Output {
  const { stdout, stderr, stop } = context;

  function write(lines: string | Uint8Array): Promise<void> | undefined {
    if (!stdout.writable) return undefined;
    return stdout.write(lines) ? undefined : untilDrained(stdout, stop);
  }

  return {
    format,
    paint: paintFor(stdout, context.environment),
    write,
    result: (forms) => write(format === "json" ? `${toJsonLine(forms.json())}\n` : `${forms.text()}\n`),
    note: (text) => void stderr.write(format === "json" ? `${toJsonLine({ note: text })}\n` : `${text}\n`),
  };
}

/** One line of JSON. 64-bit integers become strings, bytes base64: as protobuf's JSON has them. */
export function toJsonLine(value: object): string {
  return JSON.stringify(value, (_key, each: unknown) => {
    if (typeof each === "bigint") return each.toString();
    if (each instanceof Uint8Array) return Buffer.from(each).toString("base64");
    return each;
  });
}

/** Adds `--output text|json`. */
export function addOutputOption(command: Command): Command {
  return command.addOption(
    new Option("--output <format>", "text for people, json for programs: one object a line")
      .choices(["text", "json"])
      .default("text"),
  );
}

export const DEFAULT_SERVER = "localhost:8080";

/** Adds `--server HOST:PORT`, also SLUICE_SERVER. */
export function addServerOption(command: Command): Command {
  return command.addOption(
    new Option("--server <host:port>", "the server to talk to")
      .env("SLUICE_SERVER")
      .default(DEFAULT_SERVER)
      .argParser(parseServer),
  );
}

/** Checks HOST:PORT. */
export function parseServer(text: string): string {
  const match = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5})$/u.exec(text);
  if (match === null || Number(match[1]) < 1 || Number(match[1]) > 65_535) {
    throw new InvalidArgumentError(`"${text}" is no HOST:PORT, for example ${DEFAULT_SERVER} or [::1]:8080.`);
  }
  return text;
}

async function untilDrained(stream: OutputStream, stop: AbortSignal): Promise<void> {
  try {
    await once(stream, "drain", { signal: stop });
  } catch (error) {
    // Stopped while waiting: what was written leaves when the process ends. EPIPE is heard by whoever made `stop`.
    if (!stop.aborted) throw error;
  }
}
