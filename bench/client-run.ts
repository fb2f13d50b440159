// Runs one of our load clients as a process of its own, see clients/client-process.ts for its side.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { ClientLine } from "./clients/client-process.ts";

export type ClientName =
  | "unary-load"
  | "history"
  | "follow"
  | "follow-latency"
  | "ingest"
  | "sdk-history"
  | "ping-pong"
  | "beside-bulk"
  | "interference"
  | "read-many"
  | "queue-work"
  | "queue-latency"
  | "queue-fairness"
  | "queue-rabbitmq"
  | "queue-bullmq"
  | "queue-jetstream"
  | "metrics-ingest"
  | "metrics-subscribe"
  | "notify-broadcast"
  | "notify-resume"
  | "notify-users"
  | "files"
  | "files-many-readers"
  | "files-watch";

/**
 * @param onPause what to do where the client pauses; it goes on afterwards
 * @throws Error with what the client printed when it fails, or is not done within `timeoutMs`
 */
export async function runClient<Task, Outcome>(
  name: ClientName,
  task: Task,
  options: { readonly timeoutMs: number; readonly onPause?: (at: string) => Promise<void> },
): Promise<Outcome> {
  const file = join(import.meta.dirname, "clients", `${name}.ts`);
  const child = spawn(process.execPath, ["--conditions=sluice-source", file, JSON.stringify(task)], {
    stdio: ["pipe", "pipe", "pipe"],
    timeout: options.timeoutMs,
    killSignal: "SIGKILL",
  });
  let complaints = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaints += text));
  const ended = new Promise<string>((resolve) =>
    child.once("close", (code, signal) => resolve(signal === null ? `code ${code}` : `${signal}`)),
  );
  let done: { readonly outcome: Outcome } | undefined;
  try {
    for await (const text of createInterface({ input: child.stdout })) {
      const line = JSON.parse(text) as ClientLine<Outcome>;
      if (line.kind === "done") {
        done = line;
        continue;
      }
      await options.onPause?.(line.at);
      child.stdin.write("go\n");
    }
  } finally {
    if (done === undefined) child.kill("SIGKILL");
  }
  const end = await ended;
  if (done === undefined) throw new Error(`The client ${name} ended with ${end}:\n${complaints}`);
  return done.outcome;
}
