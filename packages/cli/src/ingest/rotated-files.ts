// Finds what became of files that were being pushed when nobody looked: log rotation gives them another name, or copies
// them and truncates the original.
import { type FileHandle, open, readdir } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { factsOf, type FileFacts, FileSource, type StartPlace } from "./file-source.ts";
import { isFileOf, type Place } from "./places.ts";

/** The names that log rotation could have made a name of. */
export function stemsOf(name: string): string[] {
  const plain = name.replace(COMPRESSED, "");
  const ending = extname(plain);
  const stems: string[] = [];
  for (let at = 1; at < plain.length; at++) {
    for (const stem of [plain.slice(0, at), plain.slice(0, at) + ending]) {
      if (stem !== plain && isRotationOf(plain, stem) && !stems.includes(stem)) stems.push(stem);
    }
  }
  return stems;
}

/** Files that must be read before the one that has the name now. */
export interface EarlierFiles {
  /** In the order in which they had the name; with the place where reading goes on, if anything of it was pushed. */
  readonly files: readonly { readonly source: FileSource; readonly place: Place | undefined }[];
  /** How many files are gone that may have got more after they were pushed. */
  readonly lost: number;
}

/** What compressors put behind a name; what is in such a file was read before, or is lost. */
const COMPRESSED = /\.(?:gz|bz2|xz|zst|lz4|Z)$/u;
/** ".1", "-20261121", ".20261121-084301", ".2026-11-21.3", ".old": what rotation puts behind a name. */
const ROTATED = /^(?:[.\-_](?:\d[\d\-_.:TZ+]*|old|bak|prev))+$/u;
/** "-20261121", ".2026-11-21": what it puts before a name's ending. */
const DATED = /^[.\-_]\d{4}[\d\-_.:TZ+]*$/u;

export function isCompressed(name: string): boolean {
  return COMPRESSED.test(name);
}

/** Whether a name is what log rotation makes of another one, `stem`. */
export function isRotationOf(name: string, stem: string): boolean {
  if (name.startsWith(stem) && ROTATED.test(name.slice(stem.length).replace(COMPRESSED, ""))) return true;
  const ending = extname(stem);
  const beginning = stem.slice(0, stem.length - ending.length);
  const isBetween = ending !== "" && name.startsWith(beginning) && name.endsWith(ending) && name.length > stem.length;
  return isBetween && DATED.test(name.slice(beginning.length, -ending.length));
}

interface OpenedFile extends FileFacts {
  readonly name: string;
  readonly handle: FileHandle;
}

/**
 * Looks for the files of `places`, and for those that had the name after the newest of them and were never seen.
 * @param options.takesAll without any place: whether to take a file, by its path, that had the name before.
 */
export async function findEarlier(
  path: string,
  places: readonly Place[],
  options: { readonly takesAll?: ((path: string) => Promise<boolean>) | undefined } = {},
): Promise<EarlierFiles> {
  const current = await openIfThere(path);
  const siblings = await openSiblings(path, current?.key);
  /** In their order: places are kept in it, and siblings come by their age. */
  const kept = new Map<OpenedFile, Place | undefined>();
  let lost = 0;
  try {
    const takesAll = places.length === 0 ? options.takesAll : undefined;
    let newestMs = takesAll === undefined ? undefined : 0;
    for (const place of places) {
      newestMs = undefined;
      if (current !== undefined && (await isFileOf(place, current.handle))) continue;
      const own = await findOwn(siblings, place);
      newestMs = own?.modifiedMs;
      if (own === undefined && !place.isDone) lost++;
      if (own !== undefined && !place.isDone && own.size > place.offset) kept.set(own, place);
    }
    for (const each of siblings) {
      const isRotated = newestMs !== undefined && isRotationOf(each.name, basename(path));
      const isLater = isRotated && each.modifiedMs >= (newestMs ?? 0) && each.size > 0;
      if (!isLater || kept.has(each) || (await isKnown(each, places))) continue;
      if (takesAll === undefined || (await takesAll(join(dirname(path), each.name)))) kept.set(each, undefined);
    }
    const files: { source: FileSource; place: Place | undefined }[] = [];
    for (const [{ handle, key }, place] of kept) {
      files.push({ source: await FileSource.open(handle, key, place), place });
    }
    return { files, lost };
  } finally {
    await current?.handle.close();
    for (const each of siblings) if (!kept.has(each)) await each.handle.close();
  }
}

/** The copy of a file that was truncated, from `start` on; undefined: there is none, or no more in it. */
export async function findCopy(path: string, place: Place, start: StartPlace): Promise<FileSource | undefined> {
  const siblings = await openSiblings(path, place.key);
  const copy = await findOwn(siblings, place);
  const hasMore = copy !== undefined && copy.size > start.offset;
  for (const each of siblings) if (each !== copy || !hasMore) await each.handle.close();
  return hasMore ? FileSource.open(copy.handle, copy.key, start) : undefined;
}

async function openIfThere(path: string): Promise<OpenedFile | undefined> {
  const handle = await open(path, "r").catch(() => undefined); // whoever reads it says why it cannot
  return handle === undefined ? undefined : { handle, name: basename(path), ...(await factsOf(handle)) };
}

/** Files whose name is this one's with something behind it, oldest first, without the one that has the name itself. */
async function openSiblings(path: string, currentKey: string | undefined): Promise<OpenedFile[]> {
  const folder = dirname(path);
  const stem = basename(path);
  const siblings: OpenedFile[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    const isNamedAlike = name.startsWith(stem) && /^[.\-_]/u.test(name.slice(stem.length));
    const isRotated = (isNamedAlike || isRotationOf(name, stem)) && !COMPRESSED.test(name);
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
