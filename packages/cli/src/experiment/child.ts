// A process of the experiment, and what it says.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface Child extends AsyncDisposable {
  /** Starts what waits for a word. */
  go(): void;
  /** Resolves when it has ended; asks it to, by closing its stdin. */
  end(): Promise<void>;
}

export interface ChildOptions {
  /** Each line that it says, as an object. */
  readonly onMessage: (message: Readonly<Record<string, unknown>>) => void;
}

/** A process file beside this one, in the same form: source or compiled. */
export function startChild(name: string, words: readonly string[], options: ChildOptions): Child {
  const form = extname(import.meta.url);
  const file = fileURLToPath(new URL(`./${name}-process${form}`, import.meta.url));
  const flags = form === ".ts" ? ["--conditions=sluice-source"] : [];
  return start([...flags, file, ...words], options);
}

/** A server of its own on a free port, with its data in `folder`. It says where it listens, as every message, by an object. */
export function startServerChild(folder: string, options: ChildOptions): Child {
  const launcher = fileURLToPath(new URL("../../bin/sluice.js", import.meta.url));
  const words = ["serve", "--listen", "127.0.0.1:0", "--data", folder, "--log-format", "json"];
  return start([launcher, ...words], { ...options, isServer: true });
}

/** @param options.isServer it speaks on stderr, and ends by SIGTERM */
function start(words: readonly string[], options: ChildOptions & { readonly isServer?: boolean }): Child {
  const isServer = options.isServer ?? false;
  const child = spawn(process.execPath, words, {
    stdio: ["pipe", isServer ? "ignore" : "pipe", isServer ? "pipe" : "inherit"],
  });
  const closed = once(child, "close");
  // It may have gone before it was told to.
  child.stdin!.on("error", () => undefined);
  const lines = createInterface({ input: (isServer ? child.stderr : child.stdout)! });
  lines.on("line", (line) => {
    if (line.startsWith("{")) options.onMessage(JSON.parse(line) as Record<string, unknown>);
  });
  return {
    go: () => void child.stdin!.write("go\n"),
    async end() {
      if (isServer) child.kill("SIGTERM");
      else child.stdin!.end();
      await closed;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}
