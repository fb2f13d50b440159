// A shell command that runs as in a terminal of its own: what it says is kept, and Ctrl-C reaches all of it.

import { spawn } from "node:child_process";
import { once } from "node:events";

/** Longer than this nothing that is waited for takes, on a busy machine either. */
const SILENCE_MS = 30_000;

export interface TerminalOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

export class TerminalSession {
  /** stdout and stderr so far, in the order in which they came. */
  output = "";
  stdout = "";
  /** -1: a signal ended it. */
  #code: number | undefined;
  #changed = Promise.withResolvers<void>();
  readonly #child;

  constructor(command: string, { cwd, env }: TerminalOptions) {
    // A group of its own, so that it can be ended whole.
    this.#child = spawn("bash", ["-c", command], { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const { stdout, stderr } = this.#child;
    stdout.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
      this.#say(text);
    });
    stderr.setEncoding("utf8").on("data", (text: string) => this.#say(text));
    this.#child.on("close", (code, signal) => {
      this.#code = code ?? -1;
      this.#say(code === null ? `[ended by ${signal}]\n` : "");
    });
  }

  #say(text: string): void {
    this.output += text;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Resolves with the match as soon as it has said this. @throws Error when it ends before, or says nothing for long. */
  async hasSaid(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (this.#code !== undefined)
        throw new Error(`It never said ${pattern}, but ended with ${this.#code}:\n${this.output}`);
      const silence = setTimeout(() => {
        this.#changed.reject(new Error(`It never said ${pattern}, and is silent now:\n${this.output}`));
      }, SILENCE_MS);
      try {
        await this.#changed.promise;
      } finally {
        clearTimeout(silence);
      }
    }
  }

  /** Resolves with the exit code. */
  async end(): Promise<number> {
    if (this.#code === undefined) await once(this.#child, "close");
    return this.#code ?? -1;
  }

  /** Presses Ctrl-C, waits for the end and answers the exit code; only answers it when it has ended already. */
  async interrupt(): Promise<number> {
    if (this.#code === undefined && this.#child.pid !== undefined) process.kill(-this.#child.pid, "SIGINT");
    return this.end();
  }
}
