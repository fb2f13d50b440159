// Watches which file stands behind a name, also while nobody reads: a rotated log is found however busy its reader is.
//
// It looks at the name every so often instead of being told: file system events get lost on network file systems,
// in containers and under load, and a stat costs microseconds.
import { type FileHandle, open, stat } from "node:fs/promises";
import { type Clock, pause } from "@sluice/client";
import { CommandFailure } from "../output.ts";
import { factsOf } from "./file-source.ts";

export interface FoundFile {
  readonly handle: FileHandle;
  /** See FileFacts. */
  readonly key: string;
}

export interface NameWatchOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly pollMs: number;
}

/** Looks in a row that may fail for another reason than absence: a new log may get its rights a moment later. */
const FAILURES_MAX = 20;

export class NameWatch implements AsyncDisposable {
  readonly #path: string;
  readonly #options: NameWatchOptions;
  readonly #stop = new AbortController();
  readonly #found: FoundFile[] = [];
  #currentKey: string | undefined;
  #failures = 0;
  #failure: Error | undefined;
  #running: Promise<void> | undefined;

  constructor(path: string, options: NameWatchOptions) {
    this.#path = path;
    this.#options = options;
  }

  /** Key of the file that has the name now; undefined: none has. */
  get currentKey(): string | undefined {
    return this.#currentKey;
  }

  /** The next file that got the name, in their order. The caller owns its handle. @throws what stopped the watch */
  take(): FoundFile | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#found.shift();
  }

  /** Goes on looking until it is disposed of. */
  start(): void {
    this.#running = this.#run();
  }

  /** Looks once. @throws when the name cannot be looked at; a missing file is no error. */
  async look(): Promise<void> {
    const key = await keyOf(this.#path);
    if (key === this.#currentKey) return;
    if (key === undefined) {
      this.#currentKey = undefined;
      return;
    }
    const handle = await open(this.#path, "r").catch(ignoreMissing);
    if (handle === undefined) return; // gone between the two looks: the next one finds out
    const { key: openKey } = await factsOf(handle);
    this.#currentKey = openKey;
    this.#found.push({ handle, key: openKey });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    for (const { handle } of this.#found.splice(0)) await handle.close();
  }

  async #run(): Promise<void> {
    const { clock, signal, pollMs } = this.#options;
    const stop = AbortSignal.any([signal, this.#stop.signal]);
    for (;;) {
      await pause(clock, pollMs, stop);
      if (stop.aborted) return;
      try {
        await this.look();
        this.#failures = 0;
      } catch (error) {
        this.#failures++;
        if (this.#failures < FAILURES_MAX) continue;
        this.#failure = new CommandFailure(`Cannot watch ${this.#path}: ${textOf(error)}`, { cause: error });
        return;
      }
    }
  }
}

/** Device and inode of what has this name. */
async function keyOf(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(ignoreMissing);
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}
