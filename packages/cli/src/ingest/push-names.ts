// Everything that a command line names, pushed: files one after the other, or followed side by side; folders and patterns
// as the files that are in them, now and later.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { pause } from "@sluice/client";
import { EXIT } from "../exit-codes.ts";
import { CommandFailure } from "../output.ts";
import { type ListedFiles, listFiles, parseName } from "./file-set.ts";
import { hasPlace, type PushContext, pushFile, type PushFileOptions } from "./push-file.ts";
import { pushStream } from "./push-stream.ts";

const STDIN = "-";
/** How often one looks for new files of a pattern. */
const LIST_EVERY_MS = 1000;
/** Each holds a call of its own, of which a connection may have 1,000. */
const FOLLOWED_MAX = 500;

export interface PushNamesOptions extends Omit<PushFileOptions, "isOfSet"> {
  /** Relative names are relative to it. */
  readonly folder: string;
  readonly stdin: Readable;
}

/** What is to be pushed: names as they were given, patterns as they were found. */
export interface Named {
  readonly files: readonly { readonly path: string; readonly isOfSet: boolean }[];
  readonly patterns: readonly string[];
}

/** @param names none, or "-": stdin. @throws when a pattern has no file and nothing will come later. */
export async function findNamed(
  names: readonly string[],
  options: PushNamesOptions,
  context: PushContext,
): Promise<Named> {
  /** By path: what is named twice is pushed once. */
  const files = new Map<string, { path: string; isOfSet: boolean }>();
  const patterns: string[] = [];
  for (const name of names.length === 0 ? [STDIN] : names) {
    const named = name === STDIN ? undefined : await parseName(name, options.folder);
    if (named?.kind !== "set") {
      const path = named?.path ?? STDIN;
      files.set(path, { path, isOfSet: false });
      continue;
    }
    patterns.push(named.pattern);
    const listed = await listFiles(named.pattern, (path) => hasPlace(path, options));
    sayLeftOut(listed, context);
    for (const path of [...listed.gone, ...listed.files])
      if (!files.has(path)) files.set(path, { path, isOfSet: true });
    if (listed.files.length + listed.gone.length > 0 || options.follow) continue;
    throw new CommandFailure(`Cannot push ${name}: there is no file of text in it`, { exitCode: EXIT.notFound });
  }
  return { files: Array.from(files.values()), patterns };
}

function sayLeftOut({ leftOut }: ListedFiles, context: PushContext): void {
  for (const { path, reason } of leftOut) context.note(`${path}: left out, ${reason}`);
}

/** A file that cannot be read does not keep the others from being pushed; a server that cannot be written to does. */
export async function pushInTurn(named: Named, options: PushNamesOptions, context: PushContext): Promise<void> {
  const failures: CommandFailure[] = [];
  for (const { path, isOfSet } of named.files) {
    try {
      await pushAny(path, { ...options, isOfSet }, context);
    } catch (error) {
      if (!(error instanceof CommandFailure)) throw error;
      failures.push(error);
    }
  }
  const [first, ...others] = failures;
  if (first === undefined) return;
  const more = others.map(({ message }) => message);
  if (more.length === 0) throw first;
  throw new CommandFailure([first.message, ...more].join("; "), { exitCode: first.exitCode });
}

/** A file that is followed has no end to wait for. When one fails, the others are stopped: nobody would see it otherwise. */
export async function pushTogether(named: Named, options: PushNamesOptions, context: PushContext): Promise<void> {
  await new Following(options, context).run(named);
}

class Following {
  readonly #options: PushNamesOptions;
  readonly #context: PushContext;
  readonly #failed = new AbortController();
  readonly #stop: AbortSignal;
  /** Files that are being pushed. */
  readonly #open = new Map<string, Promise<void>>();
  readonly #errors: unknown[] = [];

  constructor(options: PushNamesOptions, context: PushContext) {
    this.#stop = AbortSignal.any([context.stop, this.#failed.signal]);
    this.#options = options;
    this.#context = { ...context, stop: this.#stop };
  }

  async run({ files, patterns }: Named): Promise<void> {
    try {
      for (const { path, isOfSet } of files) this.#start(path, isOfSet);
      while (patterns.length > 0 && !this.#stop.aborted) {
        await pause(this.#context.clock, LIST_EVERY_MS, this.#stop);
        for (const pattern of this.#stop.aborted ? [] : patterns) {
          // A name that has gone is followed to its end; what is left of it then, no one writes to any more.
          const { files: found } = await listFiles(pattern, (path) => hasPlace(path, this.#options));
          for (const path of found) if (!this.#open.has(path)) this.#start(path, true);
        }
      }
    } catch (error) {
      this.#fail(error);
    }
    await Promise.all(this.#open.values());
    if (this.#errors.length > 0) throw this.#errors[0];
  }

  #start(path: string, isOfSet: boolean): void {
    if (this.#open.size >= FOLLOWED_MAX) {
      throw new CommandFailure(`Cannot follow more than ${FOLLOWED_MAX} files at once`, {
        exitCode: EXIT.limit,
        hint: "Name fewer of them, and others in a second command.",
      });
    }
    const pushed = pushAny(path, { ...this.#options, isOfSet }, this.#context).catch((error: unknown) =>
      this.#fail(error),
    );
    this.#open.set(path, isOfSet ? pushed.then(() => void this.#open.delete(path)) : pushed);
  }

  #fail(error: unknown): void {
    this.#errors.push(error);
    this.#failed.abort();
  }
}

/** Regular files have a place; what else can be read is read once. */
async function pushAny(path: string, options: PushNamesOptions & PushFileOptions, context: PushContext): Promise<void> {
  if (path === STDIN) return pushStream(options.stdin, { name: "stdin" }, context);
  const found = await stat(path).catch(() => undefined); // missing: `--follow` waits for it, and else it is said there
  if (found !== undefined && !found.isFile()) return pushStream(createReadStream(path), { name: path }, context);
  return pushFile(path, options, context);
}
