// What stands in a folder, as lists and watches see it.
//
// RF1. What could not be opened by its path (links, devices, names that are not served, names that are no UTF-8) is left out.
// RF2. Everything is reached from the descriptor of its folder, as in open-inside.ts.
import { lstat, readdir } from "node:fs/promises";
import { InvalidRequest, LimitExceeded, PermissionDenied } from "../errors.ts";
import { errorCode } from "../store/file-system.ts";
import { type FilePath, type FileRoot, isServed } from "./file-path.ts";
import { type FileVersion, versionOf } from "./file-version.ts";
import { folderPlace, type OpenFile, openInside } from "./open-inside.ts";

/** Names of one folder: they are sorted in memory. */
const NAMES_MAX = 1_000_000;

/** What stands together: the names of a folder, or of the top, where folders with a name of their own stand, too. */
export interface Level {
  /** undefined: the top, of which no folder is shared without a name. */
  readonly folder: FilePath | undefined;
  readonly named: ReadonlyMap<string, FileRoot>;
}

export interface FolderEntry {
  readonly name: string;
  readonly path: FilePath;
  readonly version: FileVersion;
  readonly isFolder: boolean;
}

const NONE: ReadonlyMap<string, FileRoot> = new Map();

export function levelOf(folder: FilePath): Level {
  return { folder, named: NONE };
}

/** All that is shared. */
export function topLevel(roots: readonly FileRoot[]): Level {
  const named = new Map(roots.filter(({ name }) => name !== "").map((root) => [root.name, root]));
  const unnamed = roots.find(({ name }) => name === "");
  return { folder: unnamed === undefined ? undefined : { root: unnamed, parts: [], text: "" }, named };
}

/** @throws PermissionDenied, InvalidRequest (a file), LimitExceeded */
export async function openLevel(level: Level): Promise<OpenLevel> {
  const { folder } = level;
  if (folder === undefined) return new OpenLevel(level, undefined);
  const opened = await openInside(folder);
  try {
    if (!opened.isFolder) {
      throw new InvalidRequest("NOT_A_DIRECTORY", [{ field: "path", description: `"${folder.text}" is a file` }]);
    }
    return new OpenLevel(level, { file: opened, place: await folderPlace(opened, folder) });
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** An open folder. Disposing it closes it. */
export class OpenLevel implements AsyncDisposable {
  readonly #level: Level;
  readonly #opened: { readonly file: OpenFile; readonly place: string } | undefined;

  constructor(level: Level, opened: { readonly file: OpenFile; readonly place: string } | undefined) {
    this.#level = level;
    this.#opened = opened;
  }

  /** A path under which the open folder itself is reached; undefined: a top that is no folder. */
  get place(): string | undefined {
    return this.#opened?.place;
  }

  get version(): FileVersion | undefined {
    return this.#opened?.file.version;
  }

  /** RF1, in the order of their UTF-8 bytes. @throws LimitExceeded */
  async names(): Promise<string[]> {
    const { named } = this.#level;
    const own = await this.#ownNames();
    return named.size === 0 ? own : [...new Set([...own, ...named.keys()])].toSorted(compareNames);
  }

  /** Those that can be described, in order. They need not be names of this folder. */
  async describe(names: readonly string[]): Promise<FolderEntry[]> {
    const found = await Promise.all(names.map((name) => this.#describe(name)));
    return found.filter((each) => each !== undefined);
  }

  async #ownNames(): Promise<string[]> {
    const { folder } = this.#level;
    if (this.#opened === undefined || folder === undefined) return [];
    const names = await readdir(this.#opened.place, { encoding: "buffer" });
    if (names.length > NAMES_MAX) {
      const message = `Cannot list "${folder.text}": it holds ${names.length} names, the limit is ${NAMES_MAX}`;
      throw new LimitExceeded(message, "names in a folder");
    }
    return names
      .toSorted((a, b) => Buffer.compare(a, b))
      .map((name) => ({ name, text: name.toString("utf8") }))
      .filter(({ name, text }) => isServed(text, folder.root) && Buffer.from(text).equals(name))
      .map(({ text }) => text);
  }

  /** undefined: RF1, or it was removed meanwhile. */
  async #describe(name: string): Promise<FolderEntry | undefined> {
    const { folder, named } = this.#level;
    const root = named.get(name);
    if (root !== undefined) return await describeRoot(root);
    if (this.#opened === undefined || folder === undefined || !isServed(name, folder.root)) return undefined;
    const text = folder.text === "" ? name : `${folder.text}/${name}`;
    const path = { root: folder.root, parts: [...folder.parts, name], text };
    try {
      const stats = await lstat(`${this.#opened.place}/${name}`, { bigint: true });
      if (!stats.isFile() && !stats.isDirectory()) return undefined;
      return { name, path, version: versionOf(stats), isFolder: stats.isDirectory() };
    } catch (error) {
      if (["ENOENT", "EACCES"].includes(errorCode(error) ?? "")) return undefined;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened?.file.close();
  }
}

/** In the order of their UTF-8 bytes. */
export function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

async function describeRoot(root: FileRoot): Promise<FolderEntry | undefined> {
  const path: FilePath = { root, parts: [], text: root.name };
  try {
    await using opened = await openInside(path);
    return { name: root.name, path, version: opened.version, isFolder: true };
  } catch (error) {
    if (error instanceof PermissionDenied) return undefined;
    throw error;
  }
}
