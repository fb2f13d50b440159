// Runs a tool of the workspace and keeps what it says.

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { delimiter, join } from "node:path";

/** The repository's folder. */
export const rootFolder = join(import.meta.dirname, "..");

export interface CommandResult {
  /** The exit code; 128 + its number when a signal ended it. */
  readonly code: number;
  /** stdout and stderr, in the order in which they came. */
  readonly output: string;
  readonly stdout: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** After it the program gets SIGTERM. */
  readonly timeoutMs?: number;
}

/**
 * Runs `[name, ...args]` to its end, the workspace's own tools (`node_modules/.bin`) first in PATH.
 * @throws Error when the program does not exist; a failed program is a result
 */
export async function runCommand(
  command: readonly [string, ...string[]],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const [name, ...args] = command;
  const path = [join(rootFolder, "node_modules", ".bin"), process.env["PATH"]].join(delimiter);
  const child = spawn(name, args, {
    cwd: options.cwd ?? rootFolder,
    env: { ...process.env, PATH: path, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: options.timeoutMs,
  });
  const all: Buffer[] = [];
  const out: Buffer[] = [];
  child.stdout.on("data", (bytes: Buffer) => {
    all.push(bytes);
    out.push(bytes);
  });
  child.stderr.on("data", (bytes: Buffer) => all.push(bytes));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once("error", reject);
  child.once("close", (code, signal) => {
    resolve(code ?? 128 + (signal === null ? 0 : (constants.signals[signal] ?? 0)));
  });
  const code = await promise;
  return { code, output: Buffer.concat(all).toString(), stdout: Buffer.concat(out).toString() };
}
