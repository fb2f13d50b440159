// Paths as clients give them, parsed once: a root and the names below it.
//
// FP1. What is no path inside a root is PERMISSION_DENIED with one text for all cases, as is what is not there, so that
//      nobody can probe what exists. Only an empty path says what is wrong: it tells nothing.
// FP2. Names are bytes to the file system and are never normalised here. A name that some file system or client would
//      take for another one by normalising it to a separator, to dots or to a hidden name is refused.
// FP3. Hidden names (with a dot in front) are their owner's own affair, unless the root shows them; what the server keeps
//      in a shared folder for itself is never served.
import { PermissionDenied, InvalidRequest } from "../errors.ts";

/** A folder that is shared. */
export interface FileRoot {
  /** "": the one whose paths need no name in front. */
  readonly name: string;
  /** Absolute path. It may be a symbolic link: whoever configured it is trusted. */
  readonly folder: string;
  readonly isWritable: boolean;
  /** Whether names with a dot in front are served, too: else they are answered as what is not there. Default: no. */
  readonly showsHidden?: boolean;
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
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/gu;
/** Names that the server keeps for itself in shared folders; also where names differ in their letters' case only. */
const OWN = /^\.sluice-/iu;

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
  const [first] = parts;
  const named = roots.find(({ name }) => name !== "" && name === first);
  const root = named ?? roots.find(({ name }) => name === "");
  if (root === undefined) throw new PermissionDenied();
  const inside = named === undefined ? parts : parts.slice(1);
  for (const part of inside) if (!isServed(part, root)) throw new PermissionDenied();
  return { root, parts: inside, text: parts.join("/") };
}

/** Whether a path is that of all that is shared together. */
export function isTop(text: string): boolean {
  return !text.startsWith("/") && text.split("/").every((part) => part === "" || part === ".");
}

/** Whether one part of a path may be looked for in a root. */
export function isServed(part: string, root: FileRoot): boolean {
  if (part === "" || Buffer.byteLength(part) > PART_BYTES_MAX) return false;
  if (SEPARATOR_OR_CONTROL.test(part) || DOTS.test(part) || !part.isWellFormed()) return false;
  // What somebody would take it for: some file systems drop what cannot be seen.
  const compatible = part.normalize("NFKC").replaceAll(INVISIBLE, "");
  if (compatible !== part && (SEPARATOR_OR_CONTROL.test(compatible) || DOTS.test(compatible))) return false;
  return !compatible.startsWith(".") || (root.showsHidden === true && !OWN.test(compatible));
}
