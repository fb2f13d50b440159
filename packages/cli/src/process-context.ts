// The process around a command: its streams, and what ends it.
//
// P1. The first Ctrl-C or SIGTERM asks the command to finish (`stop`); a second one ends the process at once.
// P2. One Ctrl-C may arrive twice: the terminal sends it to every process, and npm passes on its own. A repeated SIGINT
//     within `SAME_PRESS_MS` is the same press. No terminal sends SIGTERM, so every one of those counts.
// P3. A closed pipe (`| head`) asks to finish as well, and is nobody's error.
import { EXIT } from "./exit-codes.ts";
import type { CommandContext } from "./output.ts";

const SAME_PRESS_MS = 250;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface ProcessContext extends CommandContext, Disposable {}

/** Takes over the process's signals and the errors of its output until it is disposed. */
export function openProcessContext(): ProcessContext {
  const stopping = new AbortController();
  let stopMs: number | undefined;

  const onSignal = (signal: NodeJS.Signals): void => {
    const nowMs = performance.now();
    if (stopMs === undefined) {
      stopMs = nowMs;
      stopping.abort(signal);
    } else if (signal !== "SIGINT" || nowMs - stopMs > SAME_PRESS_MS) {
      process.exit(EXIT.interrupted);
    }
  };
  const onOutputError = (error: NodeJS.ErrnoException): void => {
    if (error.code !== "EPIPE") throw error;
    stopping.abort("EPIPE");
  };

  for (const signal of SIGNALS) process.on(signal, onSignal);
  process.stdout.on("error", onOutputError);
  process.stderr.on("error", onOutputError);
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    environment: process.env,
    folder: process.cwd(),
    stop: stopping.signal,
    [Symbol.dispose]() {
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}
