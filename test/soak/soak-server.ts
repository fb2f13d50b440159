// The server under test: one data folder, one process after another.
import { readFile } from "node:fs/promises";
import { type ServerProcess, startServer } from "../support/server-process.ts";

export interface SoakServer extends AsyncDisposable {
  /** "127.0.0.1:41234": another one after each start. */
  readonly address: string;
  start(): Promise<void>;
  /** Ends the process and waits for that. @throws Error when a drain does not end with exit code 0 */
  end(how: "SIGKILL" | "SIGTERM"): Promise<void>;
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  /** Lines of level ERROR that the processes so far have written. */
  errors(): readonly string[];
  /** Memory that the process holds, bytes; undefined where the system does not say. */
  residentBytes(): Promise<number | undefined>;
}

/** @param folder holds "data" @param words settings of `sluice serve` */
export async function openSoakServer(folder: string, words: readonly string[]): Promise<SoakServer> {
  let current: ServerProcess = await startServer(words, { folder });
  const errors: string[] = [];
  const errorsOf = (stderr: string): string[] => stderr.split("\n").filter((line) => / (?:ERROR|FATAL) /u.test(line));
  return {
    get address() {
      return current.address;
    },
    async start() {
      current = await startServer(words, { folder });
    },
    async end(how) {
      current.kill(how);
      const { exitCode, stderr } = await current.ended();
      errors.push(...errorsOf(stderr));
      if (how === "SIGTERM" && exitCode !== 0)
        throw new Error(`The drain ended with exit code ${exitCode}:\n${stderr}`);
    },
    signal: (signal) => current.kill(signal),
    errors: () => errors,
    async residentBytes() {
      const status = await readFile(`/proc/${current.child.pid}/status`, "utf8").catch(() => "");
      const match = /^VmRSS:\s+(\d+) kB$/mu.exec(status);
      return match === null ? undefined : Number(match[1]) * 1024;
    },
    [Symbol.asyncDispose]: () => current[Symbol.asyncDispose](),
  };
}
