// What changes names in a shared folder: putting a finished upload into its place, moving, deleting, making folders.
//
// CH1. Everything happens in the folder that was opened for it (open-inside.ts), under names without any separator.
// CH2. One change of a name at a time: between the look at what is there and the change no other change of ours comes.
// CH3. A change is durable when it resolves.
import { lstat, mkdir, rename, rmdir, unlink } from "node:fs/promises";
import { InvalidRequest, PermissionDenied, SluiceError } from "../errors.ts";
import { errorCode, type FileSystem } from "../store/file-system.ts";
import { EtagMismatch, FileExists } from "./file-errors.ts";
import type { FilePath } from "./file-path.ts";
import { etagOf, type FileVersion, versionOf } from "./file-version.ts";
import { openParent, type ParentFolder } from "./open-inside.ts";

/** What must hold of the file that is replaced, moved or deleted. */
export interface Precondition {
  /** Its etag; empty: any. */
  readonly ifMatch: string;
  /** There must be none. */
  readonly mustBeNew: boolean;
}

export interface Found {
  readonly version: FileVersion;
  readonly isFolder: boolean;
}

/** The shared folders as changes need them: real, or simulated. */
export interface Places {
  /** See `openParent` of open-inside.ts. */
  openParent(path: FilePath, options: { readonly makes: boolean }): Promise<ParentFolder>;
  /** undefined: there is nothing. A link, a device and the like stay as they are. @throws PermissionDenied */
  find(place: string): Promise<Found | undefined>;
}

/** @param fileSystem syncs the folders that are made */
function realPlaces(fileSystem: Pick<FileSystem, "syncFolder">): Places {
  const syncFolder = (folder: string): Promise<void> => fileSystem.syncFolder(folder);
  return { openParent: (path, { makes }) => openParent(path, { makes, syncFolder }), find };
}

export class Changes {
  readonly #fileSystem: Pick<FileSystem, "syncFolder">;
  readonly #places: Places;
  /** The last change of each name that is under way, CH2. */
  readonly #running = new Map<string, Promise<void>>();

  constructor(fileSystem: Pick<FileSystem, "syncFolder">, places: Places = realPlaces(fileSystem)) {
    this.#fileSystem = fileSystem;
    this.#places = places;
  }

  /** @param place gives the file its new path, and syncs nothing. Resolves with what is there afterwards. */
  replace(
    path: FilePath,
    options: Precondition & { readonly makesFolders: boolean },
    place: (target: string, syncFolder: () => Promise<void>) => Promise<void>,
  ): Promise<FileVersion> {
    return this.#oneAtATime([path], async () => {
      await using parent = await this.#places.openParent(requireName(path), { makes: options.makesFolders });
      const there = await this.#find(parent, path);
      if (there?.isFolder === true) throw isDirectory(path);
      check(path, there, options);
      const syncPlace = (): Promise<void> => this.#fileSystem.syncFolder(parent.place);
      await place(placeOf(parent, path), syncPlace);
      return (await this.#find(parent, path))!.version;
    });
  }

  /** Makes durable what a process before may have put there and not synced (CH3). Nothing when the folder is gone. */
  async confirm(path: FilePath): Promise<void> {
    try {
      await using parent = await this.#places.openParent(requireName(path), { makes: false });
      await this.#fileSystem.syncFolder(parent.place);
    } catch (error) {
      if (!(error instanceof PermissionDenied)) throw error;
    }
  }

  move(
    from: FilePath,
    to: FilePath,
    options: { readonly ifMatch: string; readonly overwrite: boolean },
  ): Promise<Found> {
    if (from.root !== to.root) {
      throw new InvalidRequest("OTHER_ROOT", [
        { field: "new_path", description: "is in another shared folder: get the file and put it there" },
      ]);
    }
    return this.#oneAtATime([from, to], async () => {
      await using source = await this.#places.openParent(requireName(from), { makes: false });
      await using target = await this.#places.openParent(requireName(to), { makes: false });
      const moved = await this.#find(source, from);
      if (moved === undefined) throw new PermissionDenied();
      check(from, moved, { ifMatch: options.ifMatch, mustBeNew: false });
      const there = await this.#find(target, to);
      if (there?.isFolder === true) throw isDirectory(to, "new_path");
      check(to, there, { ifMatch: "", mustBeNew: !options.overwrite });
      await explained(() => rename(placeOf(source, from), placeOf(target, to)), to);
      await this.#fileSystem.syncFolder(target.place);
      await this.#fileSystem.syncFolder(source.place);
      return (await this.#find(target, to))!;
    });
  }

  remove(path: FilePath, options: { readonly ifMatch: string }): Promise<void> {
    return this.#oneAtATime([path], async () => {
      await using parent = await this.#places.openParent(requireName(path), { makes: false });
      const there = await this.#find(parent, path);
      if (there === undefined) throw new PermissionDenied();
      check(path, there, { ...options, mustBeNew: false });
      const place = placeOf(parent, path);
      await explained(() => (there.isFolder ? rmdir(place) : unlink(place)), path);
      await this.#fileSystem.syncFolder(parent.place);
    });
  }

  makeFolder(path: FilePath): Promise<void> {
    return this.#oneAtATime([path], async () => {
      await using parent = await this.#places.openParent(requireName(path), { makes: true });
      const there = await this.#find(parent, path);
      if (there?.isFolder === false) throw new FileExists(path.text);
      if (there === undefined) await explained(() => mkdir(placeOf(parent, path)), path);
      // Also one that is there: a process before may have ended just before this.
      await this.#fileSystem.syncFolder(parent.place);
    });
  }

  #find(parent: ParentFolder, path: FilePath): Promise<Found | undefined> {
    return this.#places.find(placeOf(parent, path));
  }

  /** CH2 */
  async #oneAtATime<T>(paths: readonly FilePath[], change: () => Promise<T>): Promise<T> {
    const keys = paths.map(({ root, parts }) => `${root.name}/${parts.join("/")}`);
    const before = Promise.all(keys.map((key) => this.#running.get(key) ?? Promise.resolve()));
    const running = before.then(change);
    const settled = running.then(
      () => {},
      () => {},
    );
    for (const key of keys) this.#running.set(key, settled);
    try {
      return await running;
    } finally {
      for (const key of keys) if (this.#running.get(key) === settled) this.#running.delete(key);
    }
  }
}

/** A shared folder itself cannot be changed. */
function requireName(path: FilePath): FilePath {
  if (path.parts.length === 0) throw new PermissionDenied();
  return path;
}

function placeOf(parent: ParentFolder, path: FilePath): string {
  return `${parent.place}/${path.parts.at(-1)!}`;
}

async function find(place: string): Promise<Found | undefined> {
  try {
    const stats = await lstat(place, { bigint: true });
    if (!stats.isFile() && !stats.isDirectory()) throw new PermissionDenied();
    return { version: versionOf(stats), isFolder: stats.isDirectory() };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** @throws EtagMismatch, FileExists */
function check(path: FilePath, there: Found | undefined, { ifMatch, mustBeNew }: Precondition): void {
  if (mustBeNew && there !== undefined) throw new FileExists(path.text);
  const etag = there === undefined ? "none" : etagOf(there.version);
  if (ifMatch !== "" && ifMatch !== etag) throw new EtagMismatch(path.text, ifMatch, etag);
}

function isDirectory(path: FilePath, field = "file_path"): InvalidRequest {
  return new InvalidRequest("IS_DIRECTORY", [{ field, description: `"${path.text}" is a folder` }]);
}

async function explained(change: () => Promise<void>, path: FilePath): Promise<void> {
  try {
    await change();
  } catch (error) {
    switch (errorCode(error)) {
      case "ENOTEMPTY":
      case "EEXIST":
        throw new SluiceError("failed-precondition", `Cannot change "${path.text}": the folder is not empty`, {
          reason: "FOLDER_NOT_EMPTY",
        });
      case "EACCES":
      case "EPERM":
      case "EROFS":
      case "ENOENT":
        throw new PermissionDenied();
      case "EINVAL":
        throw new InvalidRequest("INTO_ITSELF", [
          { field: "new_path", description: "lies below what would be moved there" },
        ]);
      default:
        throw error;
    }
  }
}
