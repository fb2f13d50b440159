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

/** What is used of Node's `process`. A test brings its own. */
export type Surroundings = Pick<NodeJS.Process, "stdin" | "stdout" | "stderr" | "env" | "cwd" | "exit" | "on" | "off">;

/** Takes over the process's signals and the errors of its output until it is disposed. */
export function openProcessContext(
  surroundings: Surroundings = process,
  nowMs: () => number = () => performance.now(),
): ProcessContext {
  const { stdin, stdout, stderr } = surroundings;
  const stopping = new AbortController();
  let stopMs: number | undefined;

  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopMs === undefined) {
      stopMs = nowMs();
      stopping.abort(signal);
    } else if (signal !== "SIGINT" || nowMs() - stopMs > SAME_PRESS_MS) {
      surroundings.exit(EXIT.interrupted);
    }
  };
  const onOutputError = (error: NodeJS.ErrnoException): void => {
    if (error.code !== "EPIPE") throw error;
    stopping.abort("EPIPE");
  };

  for (const signal of SIGNALS) surroundings.on(signal, onSignal);
  for (const stream of [stdout, stderr]) stream.on("error", onOutputError);
  return {
    stdin,
    stdout,
    stderr,
    environment: surroundings.env,
    folder: surroundings.cwd(),
    stop: stopping.signal,
    [Symbol.dispose]() {
      for (const signal of SIGNALS) surroundings.off(signal, onSignal);
    },
  };
}
