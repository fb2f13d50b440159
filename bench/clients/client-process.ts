// A client process, from the inside: its task comes as one argument, and it talks to whoever started it by lines of
// JSON on stdout. `pause` is where the other side does something before the client goes on.

import { createInterface } from "node:readline";

/** What a client process prints, a line each. */
export type ClientLine<Outcome> =
  | { readonly kind: "paused"; readonly at: string }
  | { readonly kind: "done"; readonly outcome: Outcome };

/** Says where the client stands, and resolves when the other side writes a line. */
export type Pause = (at: string) => Promise<void>;

/** Carries out the task that this process was started for, and ends the process. */
export async function carryOut<Task, Outcome>(work: (task: Task, pause: Pause) => Promise<Outcome>): Promise<void> {
  const pause: Pause = async (at) => {
    print({ kind: "paused", at });
    const input = createInterface({ input: process.stdin });
    await new Promise<void>((resolve) => input.once("line", () => resolve()));
    input.close();
  };
  try {
    print({ kind: "done", outcome: await work(JSON.parse(process.argv[2] ?? "null") as Task, pause) });
    process.exitCode = 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  }
  process.stdin.destroy();
}

function print(line: ClientLine<unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
