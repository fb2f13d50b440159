// Opens what lies inside a root, and nothing else.
//
// OI1. On Linux every part of a path is opened from the descriptor of the part before it, without following links
//      (O_PATH | O_NOFOLLOW through /proc/self/fd), so what was checked is what is used, whoever moves things meanwhile.
//      That walk is needed when the path, followed at once, led anywhere but to itself: a descriptor (O_PATH, which opens
//      nothing) tells by its own name in /proc/self/fd what it holds, so one that has the very name that was asked for,
//      behind the root's, is what the walk would have found at that moment. Benchmark `files-small` shows the difference.
// OI2. Elsewhere the file is opened first; then its real path must be the one that was asked for, and what lies there
//      must be the file that is open, by device and inode.
// OI3. A device, FIFO or socket is never opened for reading: on Linux O_PATH opens nothing, elsewhere lstat comes first.
// OI4. Nothing of it is done on the event loop but closing descriptors that only stand for a place (O_PATH): the file system of a
//      network may take its time for all else. Who opens many files does it by opener.ts.
// OI5. What is not there, not inside, a link, or not for this user: PERMISSION_DENIED, one text for all.
import { close, closeSync, constants, fstat, open, type BigIntStats } from "node:fs";
import { lstat, mkdir, readlink, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { InvalidRequest, LimitExceeded, PermissionDenied } from "../errors.ts";
import { errorCode } from "../store/file-system.ts";
import type { FilePath } from "./file-path.ts";
import { type FileVersion, isSameFile, versionOf } from "./file-version.ts";
import { O_PATH } from "./open-protocol.ts";

const openFd = promisify(open);
export const closeFd = promisify(close);
const fstatFd = promisify(fstat);

/** OI1: of a path and of what /proc tells of it, less than PATH_MAX. */
const FOLLOWED_BYTES_MAX = 4000;

/** An open descriptor, or what a small file had in it. Disposing it closes it. */
export class OpenFile implements AsyncDisposable {
  readonly fd: number;
  readonly isFolder: boolean;
  readonly version: FileVersion;
  /** All of this version; undefined: read it by the descriptor. */
  readonly contents: Uint8Array | undefined;
  #held = 0;
  #closing: PromiseWithResolvers<void> | undefined;

  readonly #closeFd: (fd: number) => Promise<void>;

  /** @param opened a descriptor, which it closes by `closeDescriptor`, or contents without one */
  constructor(
    opened: Pick<OpenFile, "fd" | "isFolder" | "version" | "contents">,
    closeDescriptor: (fd: number) => Promise<void> = closeFd,
  ) {
    this.#closeFd = closeDescriptor;
    this.fd = opened.fd;
    this.isFolder = opened.isFolder;
    this.version = opened.version;
    this.contents = opened.contents;
  }

  /** The version that it has now: of contents, theirs. @throws DOMException AbortError when it was closed before */
  async currentVersion(): Promise<FileVersion> {
    if (this.contents !== undefined) return this.version;
    return await this.hold(async () => versionOf(await fstatFd(this.fd, { bigint: true })));
  }

  /**
   * Keeps the descriptor open until `work` with it is done: else its number could be another file's by then.
   * @throws DOMException AbortError when it was closed before
   */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw hasClosed();
    this.#held++;
    try {
      return await work();
    } finally {
      this.#held--;
      if (this.#closing !== undefined && this.#held === 0) this.#closeNow(this.#closing);
    }
  }

  /** Closes it as soon as nothing holds it. Idempotent. Never fails: of what was only read nothing can be lost by that. */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = Promise.withResolvers();
      if (this.#held === 0) this.#closeNow(this.#closing);
    }
    return this.#closing.promise;
  }

  #closeNow({ resolve }: PromiseWithResolvers<void>): void {
    if (this.contents === undefined) this.#closeFd(this.fd).then(resolve, () => resolve());
    else resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function hasClosed(): DOMException {
  return new DOMException("The file was closed", "AbortError");
}

export const isDescriptorWalk = process.platform === "linux";

/** Opens a file or a folder for reading. @throws PermissionDenied, LimitExceeded (no more descriptors) */
export async function openInside(path: FilePath): Promise<OpenFile> {
  try {
    if (!isDescriptorWalk) return await openAndCompare(path);
    return (await openAtOnce(path)) ?? (await openByWalk(path));
  } catch (error) {
    throw explain(error);
  }
}

/** The same; a folder is INVALID_ARGUMENT. */
export async function openFileInside(path: FilePath, field = "file_path"): Promise<OpenFile> {
  return await refuseFolder(await openInside(path), path, field);
}

/** What is no folder; closes one. @throws InvalidRequest */
export async function refuseFolder(opened: OpenFile, path: FilePath, field: string): Promise<OpenFile> {
  if (!opened.isFolder) return opened;
  await opened.close();
  throw new InvalidRequest("IS_DIRECTORY", [{ field, description: `"${path.text}" is a folder: list it instead` }]);
}

/** A path under which the open folder itself is reached, whatever its own path is by now (elsewhere than on Linux: was). */
export async function folderPlace(folder: OpenFile, { root, parts }: FilePath): Promise<string> {
  return isDescriptorWalk ? `/proc/self/fd/${folder.fd}` : join(await realpath(root.folder), ...parts);
}

/** The folder that a path's last name stands in, held open, so that what is done in it is done there and nowhere else. */
export class ParentFolder implements AsyncDisposable {
  /** A path of the folder itself, whatever becomes of its name (elsewhere than on Linux: of its name). */
  readonly place: string;
  readonly #fd: number | undefined;

  constructor(place: string, fd: number | undefined) {
    this.place = place;
    this.#fd = fd;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}

/**
 * Opens the folder that holds the last name of a path.
 * @param options `makes`: those that are missing are made; `syncFolder` makes that durable
 * @throws PermissionDenied
 */
export async function openParent(
  { root, parts }: FilePath,
  options: { readonly makes: boolean; readonly syncFolder: (folder: string) => Promise<void> },
): Promise<ParentFolder> {
  const above = parts.slice(0, -1);
  try {
    if (isDescriptorWalk) {
      const fd = await walk(root.folder, above, options.makes ? options.syncFolder : undefined);
      return new ParentFolder(`/proc/self/fd/${fd}`, fd);
    }
    const wanted = join(await realpath(root.folder), ...above);
    if (options.makes) await makeFolders(wanted, options.syncFolder);
    if ((await realpath(wanted)) !== wanted) throw new PermissionDenied();
    return new ParentFolder(wanted, undefined);
  } catch (error) {
    throw explain(error);
  }
}

/** With those above it. */
async function makeFolders(folder: string, syncFolder: (folder: string) => Promise<void>): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  for (let made = folder; first !== undefined && made.length >= first.length; made = dirname(made)) {
    await syncFolder(dirname(made));
  }
}

/** OI1: a descriptor (O_PATH) of the folder below `start`. @param syncFolder given: folders that are missing are made */
async function walk(
  start: string,
  parts: readonly string[],
  syncFolder?: (folder: string) => Promise<void>,
): Promise<number> {
  let fd = await openFd(start, O_PATH | constants.O_DIRECTORY);
  try {
    for (const part of parts) {
      const place = `/proc/self/fd/${fd}/${part}`;
      if (syncFolder !== undefined) {
        await makeFolder(place);
        await syncFolder(`/proc/self/fd/${fd}`);
      }
      const next = await openFd(place, O_PATH | constants.O_NOFOLLOW | constants.O_DIRECTORY);
      closeSync(fd);
      fd = next;
    }
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Nothing when it is there: who made it may have ended before it was synced, so it is synced in any case. */
async function makeFolder(place: string): Promise<void> {
  try {
    await mkdir(place);
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
  }
}

/** What another thread failed with. */
export function explainFailure({ code, reason }: { readonly code: string; readonly reason: string }): unknown {
  return explain(Object.assign(new Error(reason), { code }));
}

function explain(error: unknown): unknown {
  switch (errorCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
    case "ELOOP":
    case "EACCES":
    case "EPERM":
    case "ENXIO":
    case "ENAMETOOLONG":
    case "EINVAL":
      return new PermissionDenied();
    case "EMFILE":
    case "ENFILE":
      return new LimitExceeded("Cannot open the file: the process has too many files open; try again", "open files", {
        retryAfterMs: 1_000,
      });
    default:
      return error;
  }
}

/** OI1: a path that can be followed at once; undefined: it is too long for that. */
export function placeOf({ root, parts }: FilePath): string | undefined {
  const place = [root.folder, ...parts].join("/");
  return Buffer.byteLength(place) > FOLLOWED_BYTES_MAX ? undefined : place;
}

/** OI1: undefined when the path has to be walked: also where the root's own path leads over a link. */
async function openAtOnce(path: FilePath): Promise<OpenFile | undefined> {
  const place = placeOf(path);
  if (place === undefined) return undefined;
  const wanted = Buffer.from(place);
  const fd = await openFd(wanted, O_PATH | constants.O_NOFOLLOW);
  try {
    const isItself = (await readlink(`/proc/self/fd/${fd}`, { encoding: "buffer" })).equals(wanted);
    return isItself ? await openHeld(fd) : undefined;
  } finally {
    closeSync(fd);
  }
}

/** OI1 */
async function openByWalk({ root, parts }: FilePath): Promise<OpenFile> {
  const above = await walk(root.folder, parts.slice(0, -1));
  let fd = above;
  try {
    const last = parts.at(-1);
    if (last !== undefined) fd = await openFd(`/proc/self/fd/${above}/${last}`, O_PATH | constants.O_NOFOLLOW);
    return await openHeld(fd);
  } finally {
    if (fd !== above) closeSync(fd);
    closeSync(above);
  }
}

/** Opens for reading what an O_PATH descriptor holds. */
async function openHeld(held: number): Promise<OpenFile> {
  const stats = await fstatFd(held, { bigint: true });
  refuseSpecial(stats);
  return openFileOf(await openFd(`/proc/self/fd/${held}`, constants.O_RDONLY | constants.O_NONBLOCK), stats);
}

function openFileOf(fd: number, stats: BigIntStats): OpenFile {
  return new OpenFile({ fd, isFolder: stats.isDirectory(), version: versionOf(stats), contents: undefined });
}

/** OI2 */
async function openAndCompare({ root, parts }: FilePath): Promise<OpenFile> {
  const wanted = join(await realpath(root.folder), ...parts);
  refuseSpecial(await lstat(wanted, { bigint: true }));
  const opened = await openForReading(wanted);
  try {
    const isThere = (await realpath(wanted)) === wanted;
    const there = versionOf(await lstat(wanted, { bigint: true }));
    if (!isThere || !isSameFile(there, opened.version)) throw new PermissionDenied();
    return opened;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** O_NONBLOCK: should it have become a FIFO meanwhile, nothing waits for its other end. */
async function openForReading(path: string): Promise<OpenFile> {
  const fd = await openFd(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await fstatFd(fd, { bigint: true });
    refuseSpecial(stats);
    return openFileOf(fd, stats);
  } catch (error) {
    await closeFd(fd);
    throw error;
  }
}

/** OI3 */
function refuseSpecial(stats: BigIntStats): void {
  if (!stats.isFile() && !stats.isDirectory()) throw new PermissionDenied();
}
