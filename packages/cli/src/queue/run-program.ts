// Runs a shell command for each job.
//
// RP1. Each runs in a process group of its own: Ctrl-C in the terminal reaches this process alone, which lets them end; and
//      what they started is ended with them.
// RP2. No program outlives this process: when it ends at once, they get SIGTERM.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { CommandContext } from "../output.ts";

export interface ProgramEnd {
  /** null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last line that it wrote to stderr. */
  readonly lastWords: string;
}

export interface Programs extends Disposable {
  /** Resolves when it has ended. The signal ends it: SIGTERM, and after 5 s SIGKILL. */
  run(
    input: Uint8Array,
    options: { readonly signal: AbortSignal; readonly environment: Readonly<Record<string, string>> },
  ): Promise<ProgramEnd>;
}

const KILL_AFTER_MS = 5000;
/** As much of stderr is kept, in UTF-16 units. */
const WORDS_MAX = 500;

/** @param options.isJson stdout is for results: what programs write goes to stderr */
export function openPrograms(
  command: string,
  {
    stdout,
    stderr,
    environment,
    folder,
    isJson,
  }: Pick<CommandContext, "stdout" | "stderr" | "environment" | "folder"> & { readonly isJson: boolean },
): Programs {
  const running = new Set<ChildProcess>();
  const endAll = (): void => running.forEach((child) => kill(child, "SIGTERM")); // RP2
  process.once("exit", endAll);
  return {
    async run(input, options) {
      const env = { ...environment, ...options.environment };
      const child = spawn(command, { shell: true, detached: true, cwd: folder, env, stdio: ["pipe", "pipe", "pipe"] });
      running.add(child);
      let words = "";
      child.stdout.pipe(isJson ? stderr : stdout, { end: false });
      child.stderr.pipe(stderr, { end: false });
      child.stderr.on("data", (bytes: Buffer) => (words = (words + bytes.toString()).slice(-WORDS_MAX)));
      child.stdin.on("error", () => undefined); // a program may end without having read it all
      child.stdin.end(input);
      let patience: NodeJS.Timeout | undefined;
      const onAbort = (): void => {
        kill(child, "SIGTERM");
        patience = setTimeout(() => kill(child, "SIGKILL"), KILL_AFTER_MS);
      };
      options.signal.addEventListener("abort", onAbort, { once: true });
      try {
        const [exitCode, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
        return { exitCode, signal, lastWords: words.trimEnd().split("\n").at(-1)! };
      } finally {
        clearTimeout(patience);
        options.signal.removeEventListener("abort", onAbort);
        running.delete(child);
      }
    },
    [Symbol.dispose]() {
      process.off("exit", endAll);
      endAll();
    },
  };
}

/** RP1 */
function kill({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}
