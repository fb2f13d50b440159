// A process of a test that is asked things and answers them, one after the other.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";

export interface AskedProcess extends AsyncDisposable {
  /** Sends a question and resolves with its answer. One at a time. */
  ask<T>(question: unknown): Promise<T>;
}

/** Runs a module of TypeScript as a process; its answer to `undefined` is what it says first. */
export function startProcess(module: string, args: readonly string[], flags: readonly string[] = []): AskedProcess {
  const child: ChildProcess = fork(module, [...args], {
    execArgv: ["--conditions=sluice-source", ...flags],
    env: { PATH: process.env["PATH"] ?? "" },
  });
  const closed = once(child, "close");
  const ended = once(child, "exit").then(([code, signal]) => {
    throw new Error(`${module} ended with ${String(code ?? signal)}`);
  });
  // Heard by whoever asks; a process that was ended on purpose has nobody asking.
  ended.catch(() => {});
  return {
    async ask<T>(question: unknown): Promise<T> {
      const answer = once(child, "message");
      if (question !== undefined) child.send(question as object);
      const [value] = (await Promise.race([answer, ended])) as [T];
      return value;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}
