// The command line inside the test's own process: a hundred times faster to start than a process of its own, for what does
// not depend on one.
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { run } from "sluice";
import type { CliOptions, CliResult } from "./cli-process.ts";

export interface CliCall {
  /** As Ctrl-C does. */
  interrupt(): void;
  /** What stderr has said so far. */
  stderr(): string;
  readonly ended: Promise<CliResult>;
}

/** Starts a command line. */
export function callCli(words: readonly string[], options: CliOptions): CliCall {
  const stop = new AbortController();
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  let said = "";
  stderr.setEncoding("utf8").on("data", (chunk: string) => void (said += chunk));
  const printed = text(stdout);
  const exited = run(words, {
    stdin: Readable.from(options.input === undefined ? [] : [Buffer.from(options.input)]),
    stdout,
    stderr,
    environment: { HOME: options.folder, ...options.environment },
    folder: options.folder,
    stop: stop.signal,
  });
  const ended = exited.then(async (exitCode) => {
    stdout.end();
    return { exitCode, signal: null, stdout: await printed, stderr: said };
  });
  return { interrupt: () => stop.abort("SIGINT"), stderr: () => said, ended };
}
