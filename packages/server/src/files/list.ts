// ListFiles: walks folders in order, one folder's names in memory at a time for each level of depth.
//
// LF1. Order: a folder before what is in it, names by their UTF-8 bytes. So a path says where a listing was, and a page
//      token is the last path that was answered: what was added or removed meanwhile moves nothing else.
// LF2. What could not be opened by its path is not listed (read-folder.ts).
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FileInfoSchema, ListFilesRequest, ListFilesResponseSchema } from "@sluice/api";
import { InvalidRequest, PermissionDenied } from "../errors.ts";
import { fileInfo } from "./file-info.ts";
import { type FilePath, type FileRoot, isTop, parseFolderPath } from "./file-path.ts";
import { parseGlobs, type PathMatcher } from "./glob.ts";
import { compareNames, type FolderEntry, type Level, levelOf, openLevel, topLevel } from "./read-folder.ts";

type Info = MessageInitShape<typeof FileInfoSchema>;

/** Files in one message, and stats under way at the same time. */
const BATCH = 256;
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
  return {
    folder: isTop(path) ? undefined : parseFolderPath(path, roots),
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
  const level = query.folder === undefined ? topLevel(roots) : levelOf(query.folder);
  let files: Info[] = [];
  let last: readonly string[] = [];
  let left = query.limit;
  for await (const { parts, info } of walkLevel(level, [], query)) {
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

/** @param above parts of the folder, relative to the one that is listed */
async function* walkLevel(level: Level, above: readonly string[], query: ListQuery): AsyncGenerator<Found> {
  // What lies before the token is left out unread; the part of the token itself may hold more.
  const { after } = query;
  const isOnToken = after !== undefined && above.every((part, i) => part === after[i]);
  const from = isOnToken ? after[above.length] : undefined;
  const all = await namesOf(level);
  const names = from === undefined ? all : all.filter((name) => compareNames(name, from) >= 0);
  for (let start = 0; start < names.length; start += BATCH) {
    for (const { name, path, version, isFolder } of await describeAll(level, names.slice(start, start + BATCH))) {
      const parts = [...above, name];
      if (name !== from) yield { parts, info: fileInfo(path.text, { version, isFolder }) };
      if (query.isRecursive && isFolder && parts.length <= DEPTH_MAX) yield* walkInto(path, parts, query);
    }
  }
}

/** What cannot be opened now was removed, or is not for this user: a listing goes on without. */
async function* walkInto(folder: FilePath, parts: readonly string[], query: ListQuery): AsyncGenerator<Found> {
  try {
    yield* walkLevel(levelOf(folder), parts, query);
  } catch (error) {
    if (!(error instanceof PermissionDenied)) throw error;
  }
}

async function namesOf(level: Level): Promise<string[]> {
  await using opened = await openLevel(level);
  return await opened.names();
}

/** Opened anew: a slow reader holds no folder open. */
async function describeAll(level: Level, names: readonly string[]): Promise<FolderEntry[]> {
  await using opened = await openLevel(level);
  return await opened.describe(names);
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
