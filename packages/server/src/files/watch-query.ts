// What a watch asks for, parsed once; and its tokens.
import type { WatchFilesRequest } from "@sluice/api";
import { InvalidRequest } from "../errors.ts";
import { type FilePath, type FileRoot, isTop, parseFolderPath } from "./file-path.ts";
import { parseGlobs, type PathMatcher } from "./glob.ts";

/** A place in a picture. */
export interface WatchPlace {
  readonly generation: string;
  /** Number of the last change that was told of. */
  readonly position: number;
  /** It lies in what is told first, of what was there before. */
  readonly isInState: boolean;
}

/** What is asked for, checked. */
export interface WatchQuery {
  /** undefined: all that is shared. */
  readonly folder: FilePath | undefined;
  readonly isRecursive: boolean;
  readonly matches: PathMatcher;
  readonly hasState: boolean;
  readonly after: WatchPlace | undefined;
  /** 0: never. */
  readonly heartbeatMs: number;
}

/** @throws InvalidRequest, PermissionDenied */
export function parseWatchQuery(
  request: WatchFilesRequest,
  options: { readonly roots: readonly FileRoot[]; readonly heartbeatMs: number },
): WatchQuery {
  const { path, recursive, globs, includeExisting, resumeToken, heartbeatMs = options.heartbeatMs } = request;
  if (heartbeatMs < 0) {
    const description = `${heartbeatMs} is negative: it takes milliseconds, 0 for none`;
    throw new InvalidRequest("BAD_FIELD", [{ field: "heartbeat_ms", description }]);
  }
  return {
    folder: isTop(path) ? undefined : parseFolderPath(path, options.roots),
    isRecursive: recursive,
    matches: parseGlobs(globs),
    hasState: includeExisting,
    after: resumeToken === "" ? undefined : parseToken(resumeToken),
    heartbeatMs,
  };
}

/** Opaque to clients. */
export function formatToken({ generation, position, isInState }: WatchPlace): string {
  return Buffer.from(`${generation}.${position}${isInState ? ".s" : ""}`).toString("base64url");
}

/** @throws InvalidRequest */
function parseToken(token: string): WatchPlace {
  const text = Buffer.from(token, "base64url").toString("latin1");
  const {
    generation = "",
    position = "",
    state,
  } = /^(?<generation>[\w-]{12})\.(?<position>\d{1,15})(?<state>\.s)?$/u.exec(text)?.groups ?? {};
  const place = { generation, position: Number(position), isInState: state !== undefined };
  if (generation !== "" && formatToken(place) === token) return place;
  throw new InvalidRequest("BAD_RESUME_TOKEN", [
    { field: "resume_token", description: "is none that this server gave; leave it empty to begin anew" },
  ]);
}
