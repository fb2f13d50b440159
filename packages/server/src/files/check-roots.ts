// Looks at the shared folders when the server starts: who names one that is not there hears so then, not from a client.
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { SluiceError } from "../errors.ts";
import { errorCode } from "../store/file-system.ts";
import type { FileRoot } from "./file-path.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such folder",
  ENOTDIR: "it is no folder",
  EACCES: "this user has not the right to it",
  EPERM: "this user has not the right to it",
};

/** @throws SluiceError for the first folder that cannot be read */
export async function checkRoots(roots: readonly FileRoot[]): Promise<void> {
  for (const { folder, isWritable } of roots) {
    const reason = await findReasonAgainst(folder, constants.R_OK | constants.X_OK | (isWritable ? constants.W_OK : 0));
    if (reason === undefined) continue;
    const message = `Cannot share the folder ${folder}: ${reason}; make it, or choose another with --files`;
    throw new SluiceError("failed-precondition", message, { reason: "FOLDER_UNUSABLE" });
  }
}

async function findReasonAgainst(folder: string, mode: number): Promise<string | undefined> {
  try {
    if (!(await stat(folder)).isDirectory()) return REASONS["ENOTDIR"];
    await access(folder, mode);
    return undefined;
  } catch (error) {
    return REASONS[errorCode(error) ?? ""] ?? String(error);
  }
}
