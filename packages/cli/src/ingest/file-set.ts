// Files that are not named one by one: what is in a folder, and what matches a pattern.
//
// S1. What log rotation made of a file of the set is not another file: it is pushed with that file (rotated-files.ts),
//     also when no file has that one's name at the moment.
// S2. What is left out is said, with the reason: what is compressed, and what is no text.
import { glob, open, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { beginsJournalExport } from "./journal-export.ts";
import { isCompressed, stemsOf } from "./rotated-files.ts";

/** How much of a file shows whether it is text. */
const SAMPLE_BYTES = 1024;
const PATTERN = /[*?[{]/u;

/** What a name on the command line stands for. */
export type NamedFiles =
  | { readonly kind: "file"; readonly path: string }
  /** Whatever matches now, and later. */
  | { readonly kind: "set"; readonly pattern: string };

/** @param folder that relative names are relative to. */
export async function parseName(name: string, folder: string): Promise<NamedFiles> {
  const path = resolve(folder, name);
  const found = await stat(path).catch(() => undefined); // missing: it may be a pattern, or come later
  if (found?.isDirectory() === true) return { kind: "set", pattern: join(escapePattern(path), "**") };
  return found === undefined && PATTERN.test(name) ? { kind: "set", pattern: path } : { kind: "file", path };
}

export interface ListedFiles {
  /** In the order of their names. */
  readonly files: readonly string[];
  /** Names that were pushed before and that no file has now, though there are files that had them. */
  readonly gone: readonly string[];
  readonly leftOut: readonly { readonly path: string; readonly reason: string }[];
}

/** The files of a set as they are now. @param isKnown whether a file was pushed under a name before. */
export async function listFiles(pattern: string, isKnown: (path: string) => Promise<boolean>): Promise<ListedFiles> {
  const paths: string[] = [];
  for await (const path of glob(pattern)) paths.push(path);
  paths.sort();
  const listed = new Set(paths);
  const files: string[] = [];
  const gone = new Set<string>();
  const leftOut: { path: string; reason: string }[] = [];
  for (const path of paths) {
    if (isCompressed(path)) {
      leftOut.push({ path, reason: "it is compressed" });
      continue;
    }
    const stems = stemsOf(basename(path)).map((stem) => join(dirname(path), stem));
    if (stems.some((stem) => listed.has(stem))) continue;
    const known = await findFirst(stems, isKnown);
    if (known !== undefined) {
      gone.add(known);
      continue;
    }
    const kind = await kindOf(path);
    if (kind === "text") files.push(path);
    else if (kind === "binary") leftOut.push({ path, reason: "it is no text" });
    else if (kind === "unreadable") leftOut.push({ path, reason: "it cannot be read" });
  }
  return { files, gone: Array.from(gone), leftOut };
}

async function findFirst<T>(items: readonly T[], test: (item: T) => Promise<boolean>): Promise<T | undefined> {
  for (const item of items) if (await test(item)) return item;
  return undefined;
}

/** "other": a folder, a socket, or gone. */
async function kindOf(path: string): Promise<"text" | "binary" | "unreadable" | "other"> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) return "other";
  try {
    await using handle = await open(path, "r");
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(SAMPLE_BYTES), 0, SAMPLE_BYTES, 0);
    const sample = buffer.subarray(0, bytesRead);
    return sample.includes(0) && beginsJournalExport(sample) !== true ? "binary" : "text";
  } catch {
    return "unreadable";
  }
}

/** A folder's own name is no pattern, whatever is in it. */
function escapePattern(path: string): string {
  return path.replace(/[*?[\]{}!()@+\\]/gu, (character) => `[${character}]`);
}
