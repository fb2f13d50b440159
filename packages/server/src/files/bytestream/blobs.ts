// Blobs: files that are named by their SHA-256, below a hidden folder of a shared one, where no path leads.
//
// BL1. A file is there only when its bytes have had the SHA-256 that it is named by, and what is read is checked again once
//      for each version that a process sees: nothing leaves that does not prove itself.
import { DataLoss, NotFound, PermissionDenied } from "../../errors.ts";
import type { Checksums } from "../checksums.ts";
import type { FilePath, FileRoot } from "../file-path.ts";
import { etagOf } from "../file-version.ts";
import { openFileInside } from "../open-inside.ts";
import type { BlobName } from "./resource-name.ts";

const BLOBS_FOLDER = ".sluice-blobs";

/** Where a blob lies: `.sluice-blobs/ab/abcdef…`, so that no folder holds too many. @throws PermissionDenied: no such root */
export function blobPath({ root: name, sha256 }: BlobName, roots: readonly FileRoot[]): FilePath {
  const root = roots.find((each) => each.name === name);
  if (root === undefined) throw new PermissionDenied();
  const parts = [BLOBS_FOLDER, sha256.slice(0, 2), sha256];
  return { root, parts, text: (name === "" ? parts : [name, ...parts]).join("/") };
}

/** The etag of a blob that is there and proves itself; undefined: there is none. @throws DataLoss */
export async function findBlob(name: BlobName, path: FilePath, checksums: Checksums): Promise<string | undefined> {
  try {
    const file = await openFileInside(path);
    const { version } = file;
    const actual = await checksums.compute(file);
    if (actual === name.sha256 && version.size === name.size) return etagOf(version);
    // A size that never was this hash's: there is no such blob.
    if (actual === name.sha256) return undefined;
    const message = `Cannot read blob ${name.sha256}: what is stored has another SHA-256; write it again`;
    throw new DataLoss(message, { expected: name.sha256, actual: actual ?? "" });
  } catch (error) {
    if (error instanceof PermissionDenied) return undefined;
    throw error;
  }
}

export function noBlob({ sha256, size }: BlobName): NotFound {
  return new NotFound("blob", `blobs/${sha256}/${size}`, "it was not written, or has been removed");
}
