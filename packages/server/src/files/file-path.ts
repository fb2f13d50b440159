// Paths as clients give them, parsed once: a root and the names below it.
//
// FP1. What is no path inside a root is PERMISSION_DENIED with one text for all cases, as is what is not there, so that
//      nobody can probe what exists. Only an empty path says what is wrong: it tells nothing.
// FP2. Names are bytes to the file system and are never normalised here. A name that some file system or client would
//      take for another one by normalising it to a separator or to dots is refused.
import { PermissionDenied, InvalidRequest } from "../errors.ts";

/** A folder that is shared. */
export interface FileRoot {
  /** "": the one whose paths need no name in front. */
  readonly name: string;
  /** Absolute path. It may be a symbolic link: whoever configured it is trusted. */
  readonly folder: string;
  readonly isWritable: boolean;
}

/** A path that `parseFilePath` has checked; it may still name nothing. */
export interface FilePath {
  readonly root: FileRoot;
  /** Names below the root, none of them "", "." or "..". Empty: the root itself. */
  readonly parts: readonly string[];
  /** As answers show it: the parts behind the root's name. */
  readonly text: string;
}

/** Bounds of Linux (NAME_MAX, PATH_MAX), which others share or exceed. */
const PART_BYTES_MAX = 255;
const PATH_BYTES_MAX = 4096;

const SEPARATOR_OR_CONTROL = /[\\/\p{Cc}]/u;
const DOTS = /^\.+$/u;

/** @throws PermissionDenied for whatever is not inside a root, InvalidRequest for an empty path */
export function parseFilePath(text: string, roots: readonly FileRoot[], field = "file_path"): FilePath {
  if (text === "") {
    throw new InvalidRequest("EMPTY_PATH", [{ field, description: "must not be empty: it takes the path of a file" }]);
  }
  return parseFolderPath(text, roots);
}

/** The same; empty is the root without a name. @throws PermissionDenied */
export function parseFolderPath(text: string, roots: readonly FileRoot[]): FilePath {
  if (text.startsWith("/") || Buffer.byteLength(text) > PATH_BYTES_MAX) throw new PermissionDenied();
  const parts = text.split("/").filter((part) => part !== "" && part !== ".");
  for (const part of parts) if (!isName(part)) throw new PermissionDenied();
  const [first] = parts;
  const named = roots.find(({ name }) => name !== "" && name === first);
  const root = named ?? roots.find(({ name }) => name === "");
  if (root === undefined) throw new PermissionDenied();
  return { root, parts: named === undefined ? parts : parts.slice(1), text: parts.join("/") };
}

/** Whether one part of a path may be looked for. Hidden names are none: they are their owner's own affair. */
export function isName(part: string): boolean {
  if (part.startsWith(".") || Buffer.byteLength(part) > PART_BYTES_MAX) return false;
  if (SEPARATOR_OR_CONTROL.test(part) || !part.isWellFormed()) return false;
  const compatible = part.normalize("NFKC");
  return compatible === part || !(SEPARATOR_OR_CONTROL.test(compatible) || DOTS.test(compatible));
}
