// Finds what became of files that were being pushed when nobody looked: log rotation gives them another name, or copies
// them and truncates the original.
import { type FileHandle, open, readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { factsOf, type FileFacts, FileSource } from "./file-source.ts";
import { isFileOf, type Place } from "./places.ts";

/** Files that must be read before the one that has the name now. */
export interface EarlierFiles {
  /** In the order in which they had the name; with the place where reading goes on, if anything of it was pushed. */
  readonly files: readonly { readonly source: FileSource; readonly place: Place | undefined }[];
  /** How many files are gone that may have got more after they were pushed. */
  readonly lost: number;
}

/** What compressors put behind a name; what is in such a file was read before, or is lost. */
const COMPRESSED = /\.(?:gz|bz2|xz|zst|lz4|Z)$/u;

interface OpenedFile extends FileFacts {
  readonly handle: FileHandle;
}

/** Looks for the files of `places`, and for those that had the name after the newest of them and were never seen. */
export async function findEarlier(path: string, places: readonly Place[]): Promise<EarlierFiles> {
  const current = await openIfThere(path);
  const siblings = await openSiblings(path, current?.key);
  const kept = new Map<OpenedFile, Place | undefined>();
  let lost = 0;
  try {
    let newestMs: number | undefined;
    for (const place of places) {
      newestMs = undefined;
      if (current !== undefined && (await isFileOf(place, current.handle))) continue;
      const own = await findOwn(siblings, place);
      newestMs = own?.modifiedMs;
      if (own === undefined && !place.isDone) lost++;
      if (own !== undefined && !place.isDone && own.size > place.offset) kept.set(own, place);
    }
    for (const each of siblings) {
      const isLater = newestMs !== undefined && each.modifiedMs >= newestMs && each.size > 0;
      if (isLater && !kept.has(each) && !(await isKnown(each, places))) kept.set(each, undefined);
    }
    const files = Array.from(kept).toSorted(([a], [b]) => a.modifiedMs - b.modifiedMs);
    return {
      files: files.map(([{ handle, key }, place]) => ({ source: new FileSource(handle, key, place), place })),
      lost,
    };
  } finally {
    await current?.handle.close();
    for (const each of siblings) if (!kept.has(each)) await each.handle.close();
  }
}

/** The copy of a file that was truncated, at the place up to which it was pushed; undefined: there is none, or no more in it. */
export async function findCopy(path: string, place: Place): Promise<FileSource | undefined> {
  const siblings = await openSiblings(path, place.key);
  const copy = await findOwn(siblings, place);
  const hasMore = copy !== undefined && copy.size > place.offset;
  for (const each of siblings) if (each !== copy || !hasMore) await each.handle.close();
  return hasMore ? new FileSource(copy.handle, copy.key, place) : undefined;
}

async function openIfThere(path: string): Promise<OpenedFile | undefined> {
  const handle = await open(path, "r").catch(() => undefined); // whoever reads it says why it cannot
  return handle === undefined ? undefined : { handle, ...(await factsOf(handle)) };
}

/** Files whose name is this one's with something behind it, oldest first, without the one that has the name itself. */
async function openSiblings(path: string, currentKey: string | undefined): Promise<OpenedFile[]> {
  const folder = dirname(path);
  const stem = basename(path);
  const siblings: OpenedFile[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const isRotated = name.startsWith(stem) && /^[.\-_]/u.test(name.slice(stem.length)) && !COMPRESSED.test(name);
    const file = isRotated ? await openIfThere(join(folder, name)) : undefined;
    if (file === undefined) continue;
    if (file.isFile && file.key !== currentKey) siblings.push(file);
    else await file.handle.close();
  }
  return siblings.toSorted((a, b) => a.modifiedMs - b.modifiedMs);
}

/** The same inode if it is there: a copy and its original have the same content. */
async function findOwn(siblings: readonly OpenedFile[], place: Place): Promise<OpenedFile | undefined> {
  for (const each of siblings.toSorted((a, b) => Number(b.key === place.key) - Number(a.key === place.key))) {
    if (await isFileOf(place, each.handle)) return each;
  }
  return undefined;
}

async function isKnown(file: OpenedFile, places: readonly Place[]): Promise<boolean> {
  for (const place of places) if (await isFileOf(place, file.handle)) return true;
  return false;
}
