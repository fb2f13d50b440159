// Reads the lines of a file, and goes on when it grows, is rotated (by rename or by copy and truncate) or appears later.
//
// T1. Files behind one name are read in their order: a newer one begins when the older one was read to its end.
// T2. A file that lost its name is read on for `drainMs` after its last line: its writer may not know yet.
// T3. The name is watched also while the reader is busy: no file is missed because the one before it takes long.
// T4. Stopped by its signal, it gives out no half line: whoever goes on later finds it whole.
import type { FileHandle } from "node:fs/promises";
import { type Clock, pause } from "@sluice/client";
import { EXIT } from "../exit-codes.ts";
import { CommandFailure } from "../output.ts";
import { FileSource, type StartPlace } from "./file-source.ts";
import type { Piece } from "./line-splitter.ts";
import { type FoundFile, NameWatch } from "./name-watch.ts";

export interface TailOptions {
  /** Go on when the end is reached, and wait for a file that is not there yet. */
  readonly follow: boolean;
  /** Following ends when no file has the name any more, and those that had it are read to their end. */
  readonly endsWhenGone?: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Where to begin in a file that is met for the first time. Default: at its beginning. See `nearEnd`. */
  readonly startOf?: (handle: FileHandle, key: string) => Promise<StartPlace>;
  /** Files that were rotated away before, oldest first: they come before the one that has the name. Owned from here on. */
  readonly earlier?: readonly FileSource[];
  /** How often to look for news, ms. Default: 250. */
  readonly pollMs?: number;
  /** See T2. Default: 5,000. */
  readonly drainMs?: number;
}

export type TailEvent =
  | { readonly kind: "opened"; readonly source: FileSource }
  | { readonly kind: "piece"; readonly source: FileSource; readonly piece: Piece }
  /** An earlier run ended here what was open in it. */
  | { readonly kind: "cut"; readonly source: FileSource }
  /** Everything that is there was read. Said once until there is more. */
  | { readonly kind: "idle" }
  /** Nothing came since for as long as one looks for news. Said once until there is more. */
  | { readonly kind: "quiet" }
  /** Nothing more comes from it. What a truncated file held back of its last line is `source.takeRest()`. */
  | { readonly kind: "closed"; readonly source: FileSource; readonly reason: "end" | "rotated" | "truncated" };

interface OpenFile {
  source: FileSource;
  /** Since when it has brought nothing, monotonic ms. */
  idleSinceMs: number | undefined;
}

const POLL_MS = 250;
const DRAIN_MS = 5000;

/** @throws when the file is missing and `follow` is not set, and when it cannot be read. */
export async function* tailFile(path: string, options: TailOptions): AsyncGenerator<TailEvent, void, undefined> {
  const { follow, clock, signal, pollMs = POLL_MS } = options;
  const files: OpenFile[] = (options.earlier ?? []).map((source) => ({ source, idleSinceMs: undefined }));
  await using watch = new NameWatch(path, { clock, signal, pollMs });
  try {
    for (const { source } of files) yield { kind: "opened", source };
    await watch.look();
    if (follow) watch.start();
    else if (watch.currentKey === undefined && files.length === 0)
      throw new CommandFailure(`Cannot read ${path}: there is no such file`, { exitCode: EXIT.notFound });
    /** How often in a row nothing was new. */
    let idle = 0;
    while (!signal.aborted) {
      for (let found = watch.take(); found !== undefined; found = watch.take()) {
        const source = await openSource(found, options);
        files.push({ source, idleSinceMs: undefined });
        yield { kind: "opened", source };
      }
      const news = await readNext(files, { ...options, currentKey: watch.currentKey });
      if (news !== undefined) {
        idle = 0;
        yield* news;
        continue;
      }
      idle++;
      if (idle <= 2) yield { kind: idle === 1 ? "idle" : "quiet" };
      const isGone = options.endsWhenGone === true && files.length === 0 && watch.currentKey === undefined;
      if (!follow || isGone) {
        yield* closeAll(files, watch.currentKey);
        return;
      }
      await pause(clock, pollMs, signal);
    }
  } finally {
    for (const { source } of files) await source.close();
  }
}

async function openSource({ handle, key }: FoundFile, options: Pick<TailOptions, "startOf">): Promise<FileSource> {
  try {
    return await FileSource.open(handle, key, await options.startOf?.(handle, key));
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Reads on in the oldest file that has anything (T1). Returns what happened; undefined: all are at their end. */
async function readNext(
  files: OpenFile[],
  options: Pick<TailOptions, "clock" | "drainMs"> & { currentKey: string | undefined },
): Promise<TailEvent[] | undefined> {
  const nowMs = options.clock.monotonicMs();
  for (const file of files) {
    const { source } = file;
    const result = await source.read();
    switch (result.kind) {
      case "pieces":
        file.idleSinceMs = undefined;
        return result.pieces.map((piece) => ({ kind: "piece", source, piece }));
      case "cut":
        return [{ kind: "cut", source }];
      case "truncated": {
        const next = await source.restart();
        file.source = next;
        file.idleSinceMs = undefined;
        return [
          { kind: "closed", source, reason: "truncated" },
          { kind: "opened", source: next },
        ];
      }
      case "end": {
        file.idleSinceMs ??= nowMs;
        const isDrained =
          source.key !== options.currentKey && nowMs - file.idleSinceMs >= (options.drainMs ?? DRAIN_MS);
        if (!isDrained) continue; // T2
        files.splice(files.indexOf(file), 1);
        await source.close();
        return [...lastPiece(source), { kind: "closed", source, reason: "rotated" }];
      }
      default:
        return result satisfies never;
    }
  }
  return undefined;
}

/** The end of a file is its last line's end. */
function* closeAll(files: OpenFile[], currentKey: string | undefined): Generator<TailEvent, void, undefined> {
  for (const { source } of files) {
    yield* lastPiece(source);
    yield { kind: "closed", source, reason: source.key === currentKey ? "end" : "rotated" };
  }
}

function lastPiece(source: FileSource): TailEvent[] {
  const piece = source.takeRest();
  return piece === undefined ? [] : [{ kind: "piece", source, piece }];
}

/** A start at the first line that begins in the last `byteCount` bytes. */
export function nearEnd(byteCount: number): (handle: FileHandle) => Promise<StartPlace> {
  return async (handle) => {
    const { size } = await handle.stat();
    const from = Math.max(0, size - byteCount);
    if (from === 0) return { offset: 0, part: 0 };
    // The byte before `from` belongs to it: a line may begin right there.
    const buffer = Buffer.alloc(size - from + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, from - 1);
    const newline = buffer.subarray(0, bytesRead).indexOf("\n");
    return { offset: newline < 0 ? size : from + newline, part: 0 };
  };
}
