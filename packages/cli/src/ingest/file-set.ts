// Files that are not named one by one: what is in a folder, and what matches a pattern.
//
// S1. What log rotation made of a file of the set is not another file: it is pushed with that file (rotated-files.ts).
// S2. What is left out is said, with the reason: what is compressed, and what is no text.
import { glob, open, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { beginsJournalExport } from "./journal-export.ts";
import { isCompressed, isRotationOf } from "./rotated-files.ts";

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
  readonly leftOut: readonly { readonly path: string; readonly reason: string }[];
}

/** The files of a set as they are now. */
export async function listFiles(pattern: string): Promise<ListedFiles> {
  const paths: string[] = [];
  for await (const path of glob(pattern)) paths.push(path);
  paths.sort();
  const namesOf = new Map<string, string[]>();
  for (const path of paths) namesOf.set(dirname(path), [...(namesOf.get(dirname(path)) ?? []), basename(path)]);
  const files: string[] = [];
  const leftOut: { path: string; reason: string }[] = [];
  for (const path of paths) {
    const name = basename(path);
    const isRotated = namesOf.get(dirname(path))?.some((stem) => stem !== name && isRotationOf(name, stem)) ?? false;
    if (isCompressed(name)) leftOut.push({ path, reason: "it is compressed" });
    else if (!isRotated) {
      const kind = await kindOf(path);
      if (kind === "text") files.push(path);
      else if (kind === "binary") leftOut.push({ path, reason: "it is no text" });
      else if (kind === "unreadable") leftOut.push({ path, reason: "it cannot be read" });
    }
  }
  return { files, leftOut };
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
