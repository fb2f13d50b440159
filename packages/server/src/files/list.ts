// ListFiles: walks folders in order, one folder's names in memory at a time for each level of depth.
//
// LF1. Order: a folder before what is in it, names by their UTF-8 bytes. So a path says where a listing was, and a page
//      token is the last path that was answered: what was added or removed meanwhile moves nothing else.
// LF2. What could not be opened by its path (links, devices, hidden names, names that are no UTF-8) is not listed.
// LF3. Everything is reached from the descriptor of its folder, as in open-inside.ts.
import { lstat, readdir } from "node:fs/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FileInfoSchema, ListFilesRequest, ListFilesResponseSchema } from "@sluice/api";
import { InvalidRequest, LimitExceeded, PermissionDenied } from "../errors.ts";
import { errorCode } from "../store/file-system.ts";
import { fileInfo } from "./file-info.ts";
import { type FilePath, type FileRoot, isName, parseFolderPath } from "./file-path.ts";
import { versionOf } from "./file-version.ts";
import { parseGlobs, type PathMatcher } from "./glob.ts";
import { folderPlace, openInside } from "./open-inside.ts";

type Info = MessageInitShape<typeof FileInfoSchema>;

/** Files in one message, and stats under way at the same time. */
const BATCH = 256;
/** Names of one folder: they are sorted in memory. */
const NAMES_MAX = 1_000_000;
const DEPTH_MAX = 256;

/** What is asked for, checked. */
export interface ListQuery {
  readonly folder: FilePath | undefined;
  readonly isRecursive: boolean;
  readonly matches: PathMatcher;
  readonly limit: number;
  /** Parts, relative to the folder, of the last path that was answered before. */
  readonly after: readonly string[] | undefined;
}

/** @throws InvalidRequest, PermissionDenied */
export function parseListQuery(request: ListFilesRequest, roots: readonly FileRoot[]): ListQuery {
  const { path, recursive, globs, limit, pageToken } = request;
  if (limit < 0n) {
    throw new InvalidRequest("BAD_COUNT", [{ field: "limit", description: `${limit} is negative; 0 is no limit` }]);
  }
  const matches = parseGlobs(globs);
  const isTop = path.split("/").every((part) => part === "" || part === ".") && !path.startsWith("/");
  return {
    folder: isTop ? undefined : parseFolderPath(path, roots),
    isRecursive: recursive,
    matches,
    limit: limit === 0n ? Number.POSITIVE_INFINITY : Number(limit),
    after: pageToken === "" ? undefined : parseToken(pageToken),
  };
}

/** Messages of at most 256 files. @throws PermissionDenied, LimitExceeded */
export async function* listFiles(
  query: ListQuery,
  options: { readonly roots: readonly FileRoot[]; readonly isEnded: () => boolean },
): AsyncGenerator<MessageInitShape<typeof ListFilesResponseSchema>> {
  const { roots, isEnded } = options;
  const walk = query.folder === undefined ? walkTop(query, roots) : walkFolder(query.folder, [], query);
  let files: Info[] = [];
  let last: readonly string[] = [];
  let left = query.limit;
  for await (const { parts, info } of walk) {
    if (isEnded()) return;
    if (!query.matches(parts.join("/"))) continue;
    if (left === 0 || files.length === BATCH) {
      yield { files, nextPageToken: formatToken(last) };
      files = [];
      if (left === 0) return;
    }
    files.push(info);
    last = parts;
    left--;
  }
  yield { files, nextPageToken: "" };
}

interface Found {
  /** Relative to the folder that is listed. */
  readonly parts: readonly string[];
  readonly info: Info;
}

/** What is listed together: the names of a folder, or of the top, where folders with a name of their own stand, too. */
interface Level {
  /** undefined: the top, of which no folder is shared without a name. */
  readonly folder: FilePath | undefined;
  readonly named: ReadonlyMap<string, FileRoot>;
  /** Relative to the folder that is listed. */
  readonly above: readonly string[];
  /** Sorted. */
  readonly names: readonly string[];
}

async function* walkTop(query: ListQuery, roots: readonly FileRoot[]): AsyncGenerator<Found> {
  const named = new Map(roots.filter(({ name }) => name !== "").map((root) => [root.name, root]));
  const unnamed = roots.find(({ name }) => name === "");
  const folder = unnamed === undefined ? undefined : { root: unnamed, parts: [], text: "" };
  const own = folder === undefined ? [] : await namesOf(folder);
  const names = [...new Set([...own, ...named.keys()])].toSorted(compareNames);
  yield* walkLevel({ folder, named, above: [], names }, query);
}

async function* walkFolder(folder: FilePath, above: readonly string[], query: ListQuery): AsyncGenerator<Found> {
  if (above.length > DEPTH_MAX) return;
  yield* walkLevel({ folder, named: new Map(), above, names: await namesOf(folder) }, query);
}

async function* walkLevel(level: Level, query: ListQuery): AsyncGenerator<Found> {
  const { above } = level;
  // What lies before the token is left out unread; the part of the token itself may hold more.
  const { after } = query;
  const isOnToken = after !== undefined && above.every((part, i) => part === after[i]);
  const from = isOnToken ? after[above.length] : undefined;
  const names = from === undefined ? level.names : level.names.filter((name) => compareNames(name, from) >= 0);
  for (let start = 0; start < names.length; start += BATCH) {
    for (const { name, path, info } of await describeAll(level, names.slice(start, start + BATCH))) {
      const parts = [...above, name];
      if (name !== from) yield { parts, info };
      if (query.isRecursive && info.isDirectory === true) yield* walkInto(path, parts, query);
    }
  }
}

/** What cannot be opened now was removed, or is not for this user: a listing goes on without. */
async function* walkInto(folder: FilePath, parts: readonly string[], query: ListQuery): AsyncGenerator<Found> {
  try {
    yield* walkFolder(folder, parts, query);
  } catch (error) {
    if (!(error instanceof PermissionDenied)) throw error;
  }
}

/** Sorted, LF2. */
async function namesOf(folder: FilePath): Promise<string[]> {
  await using opened = await openInside(folder);
  if (!opened.isFolder) {
    throw new InvalidRequest("NOT_A_DIRECTORY", [{ field: "path", description: `"${folder.text}" is a file` }]);
  }
  const names = await readdir(await folderPlace(opened, folder), { encoding: "buffer" });
  if (names.length > NAMES_MAX) {
    const message = `Cannot list "${folder.text}": it holds ${names.length} names, the limit is ${NAMES_MAX}`;
    throw new LimitExceeded(message, "names in a folder");
  }
  return names
    .toSorted((a, b) => Buffer.compare(a, b))
    .map((name) => ({ name, text: name.toString("utf8") }))
    .filter(({ name, text }) => isName(text) && Buffer.from(text).equals(name))
    .map(({ text }) => text);
}

interface Described {
  readonly name: string;
  readonly path: FilePath;
  readonly info: Info;
}

/** Those that can be described, in order. */
async function describeAll({ folder, named }: Level, names: readonly string[]): Promise<Described[]> {
  await using opened = folder === undefined ? undefined : await openInside(folder);
  const place = opened === undefined || folder === undefined ? undefined : await folderPlace(opened, folder);
  const described = await Promise.all(
    names.map(async (name): Promise<Described | undefined> => {
      const root = named.get(name);
      if (root !== undefined) return await describeRoot(root);
      return folder === undefined ? undefined : await describe(name, `${place}/${name}`, folder);
    }),
  );
  return described.filter((each) => each !== undefined);
}

async function describeRoot(root: FileRoot): Promise<Described | undefined> {
  const path: FilePath = { root, parts: [], text: root.name };
  try {
    await using opened = await openInside(path);
    return { name: root.name, path, info: fileInfo(path.text, { version: opened.version, isFolder: true }) };
  } catch (error) {
    if (error instanceof PermissionDenied) return undefined;
    throw error;
  }
}

/** undefined: LF2, or it was removed meanwhile. */
async function describe(name: string, place: string, folder: FilePath): Promise<Described | undefined> {
  const text = folder.text === "" ? name : `${folder.text}/${name}`;
  const path = { root: folder.root, parts: [...folder.parts, name], text };
  try {
    const stats = await lstat(place, { bigint: true });
    if (!stats.isFile() && !stats.isDirectory()) return undefined;
    return { name, path, info: fileInfo(text, { version: versionOf(stats), isFolder: stats.isDirectory() }) };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function formatToken(parts: readonly string[]): string {
  return Buffer.from(parts.join("/")).toString("base64url");
}

/** @throws InvalidRequest */
function parseToken(token: string): string[] {
  const text = Buffer.from(token, "base64url").toString("utf8");
  if (formatToken(text.split("/")) !== token || text === "") {
    throw new InvalidRequest("BAD_PAGE_TOKEN", [
      { field: "page_token", description: "is none that this server gave; leave it empty to begin again" },
    ]);
  }
  return text.split("/");
}
