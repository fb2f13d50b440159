// A server under measurement: a process of its own, known by its id, ended by whoever started it.

import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

const defaultStartTimeoutMs = 60_000;
const endTimeoutMs = 5_000;
const probeTimeoutMs = 10_000;
/** Lines of a server's output that are kept for the error when it fails. */
const keptLines = 40;

export interface ServerCommand {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Until it listens; a minute unless it is known to take longer. */
  readonly startTimeoutMs?: number;
}

export interface Memory {
  /** What is in use on the heap and by buffers outside it, after garbage was collected. */
  readonly usedBytes: number;
  readonly residentBytes: number;
  /** All that V8 has allocated on its heap since the start, whether it was collected or not. */
  readonly allocatedBytes: number;
}

export class ServerProcess implements AsyncDisposable {
  readonly pid: number;
  /** "127.0.0.1:PORT" */
  readonly address: string;
  /** What the server says of itself; empty when it says nothing. */
  readonly version: string;
  readonly #child: ChildProcess;
  readonly #output: ServerOutput;

  private constructor(child: ChildProcess, output: ServerOutput, address: string) {
    this.pid = child.pid ?? 0;
    this.address = address;
    this.version = output.version;
    this.#child = child;
    this.#output = output;
  }

  /** Resolves when the server says that it is listening. @throws Error with its output when it does not. */
  static async start(command: ServerCommand): Promise<ServerProcess> {
    const child = spawn(command.command, command.arguments, {
      env: { ...process.env, ...command.environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(child);
    child.once("close", () => running.delete(child));
    const output = new ServerOutput(child);
    try {
      const address = await output.find(/listening (?:on )?(\S+:\d+)/, command.startTimeoutMs ?? defaultStartTimeoutMs);
      return new ServerProcess(child, output, address[1] ?? "");
    } catch (error) {
      await end(child);
      throw error;
    }
  }

  /** Needs a server that was started with the memory probe. */
  async memory(): Promise<Memory> {
    const printed = this.#output.find(/^memory (\d+) (\d+) (\d+)$/, probeTimeoutMs);
    this.#child.kill("SIGUSR2");
    const [, used, resident, allocated] = await printed;
    return { usedBytes: Number(used), residentBytes: Number(resident), allocatedBytes: Number(allocated) };
  }

  /** CPU time of all of the process's threads so far, in ticks of 10 ms. Linux only: undefined elsewhere. */
  cpuSeconds(): number | undefined {
    let text: string;
    try {
      text = readFileSync(`/proc/${this.pid}/stat`, "latin1");
    } catch {
      return undefined;
    }
    // Fields 14 and 15 of proc(5); the second one, a name in parentheses, may have spaces in it.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#child);
  }
}

/** Children that have not ended: none may outlive this process. */
const running = new Set<ChildProcess>();

/** Ends every server at once; for when this process itself is told to end. */
export function killServers(): void {
  for (const child of running) child.kill("SIGKILL");
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.kill("SIGTERM");
  const impatience = setTimeout(() => child.kill("SIGKILL"), endTimeoutMs);
  await ended;
  clearTimeout(impatience);
}

class ServerOutput {
  version = "";
  readonly #lines: string[] = [];
  readonly #waiting = new Set<(line: string) => void>();
  readonly #ended: Promise<never>;

  constructor(child: ChildProcess) {
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.#ended = promise;
    child.once("error", (error) => reject(error));
    child.once("close", (code, signal) => {
      reject(new Error(`${child.spawnargs.join(" ")} ended with ${signal ?? code}:\n${this.text}`));
    });
    for (const stream of [child.stdout, child.stderr]) if (stream !== null) this.#read(stream);
  }

  get text(): string {
    return this.#lines.join("\n");
  }

  #read(stream: Readable): void {
    createInterface({ input: stream }).on("line", (line) => {
      if (line.startsWith("version ")) this.version = line.slice("version ".length);
      this.#lines.push(line);
      if (this.#lines.length > keptLines) this.#lines.shift();
      for (const take of this.#waiting) take(line);
    });
  }

  /** The next line that matches. @throws Error when none came in time, or the process has ended. */
  async find(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const take = (line: string): void => {
      const found = pattern.exec(line);
      if (found !== null) resolve(found);
    };
    const timer = setTimeout(() => {
      reject(new Error(`No line matched ${pattern} within ${timeoutMs} ms:\n${this.text}`));
    }, timeoutMs);
    this.#waiting.add(take);
    try {
      return await Promise.race([promise, this.#ended]);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(take);
    }
  }
}
