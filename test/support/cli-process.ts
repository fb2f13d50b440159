// The command line as a process of its own, as users run it.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const LAUNCHER = fileURLToPath(new URL("../../packages/cli/bin/sluice.js", import.meta.url));

export interface CliOptions {
  /** Working directory. */
  readonly folder: string;
  /** Beside PATH and HOME; the test's own environment is not passed on. */
  readonly environment?: Readonly<Record<string, string>>;
  /** All of stdin; absent: it is closed at once. */
  readonly input?: string;
}

export interface CliResult {
  /** null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `sluice`. */
export interface CliProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with the match as soon as what was printed matches. @throws when the process ends before that. */
  waitFor(stream: "stdout" | "stderr", pattern: RegExp): Promise<RegExpExecArray>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it has ended. */
  ended(): Promise<CliResult>;
}

/** Starts `sluice` with these words. Disposing it kills it, if it still runs, by its own id. */
export function startCli(words: readonly string[], options: CliOptions): CliProcess {
  const { PATH = "", HOME = options.folder } = process.env;
  const child = spawn(process.execPath, [LAUNCHER, ...words], {
    cwd: options.folder,
    env: { PATH, HOME, ...options.environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const text = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => void (text.stdout += chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => void (text.stderr += chunk));
  const closed = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;

  async function ended(): Promise<CliResult> {
    const [exitCode, signal] = await closed;
    return { exitCode, signal, ...text };
  }

  return {
    child,
    stdout: () => text.stdout,
    stderr: () => text.stderr,
    async waitFor(name, pattern) {
      const stopped = new AbortController();
      try {
        for (;;) {
          const match = pattern.exec(text[name]);
          if (match !== null) return match;
          const next = once(child[name], "data", { signal: stopped.signal }).then(() => true);
          const isRunning = await Promise.race([next, closed.then(() => false)]);
          if (!isRunning && pattern.exec(text[name]) === null) {
            const { exitCode } = await ended();
            throw new Error(
              `sluice ${words.join(" ")} ended (${exitCode}) before ${name} matched ${pattern}:\n${text.stderr}`,
            );
          }
        }
      } finally {
        stopped.abort();
      }
    },
    kill: (signal) => void child.kill(signal),
    ended,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

/** Runs `sluice` to its end. */
export async function runCli(words: readonly string[], options: CliOptions): Promise<CliResult> {
  await using cli = startCli(words, options);
  return await cli.ended();
}
