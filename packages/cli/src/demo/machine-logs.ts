// Which of this machine's own logs can be shown: plain text files that this user may read.
import { type Dirent, constants } from "node:fs";
import { access, open, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";

/** A file to read from. */
export interface MachineLog {
  readonly path: string;
  /** Under what name its lines are shown: "dpkg" for dpkg.log. */
  readonly application: string;
  readonly sizeBytes: number;
}

/** A file that is left out, and why. */
export interface LeftOut {
  readonly path: string;
  readonly reason: string;
}

export interface MachineLogs {
  /** Most recently written first. */
  readonly files: readonly MachineLog[];
  readonly leftOut: readonly LeftOut[];
}

/** Folders below the first one that are looked into. */
const DEPTH_MAX = 3;
/** Folder entries that are looked at: a mail spool must not hold up the start. */
const ENTRIES_MAX = 2000;
/** Files that are read and followed. */
const FILES_MAX = 32;
/** How much of a file's beginning shows whether it is text. */
const PROBE_BYTES = 4096;

/** Looks through a folder. Links are not followed: they may lead anywhere. */
export async function findMachineLogs(folder: string): Promise<MachineLogs> {
  const search: Search = { files: [], leftOut: [], entriesLeft: ENTRIES_MAX };
  await look(search, folder, DEPTH_MAX);
  search.files.sort((a, b) => b.modifiedMs - a.modifiedMs);
  for (const { path } of search.files.splice(FILES_MAX)) {
    search.leftOut.push({ path, reason: `more than ${FILES_MAX} files: it was written longest ago` });
  }
  return { files: search.files, leftOut: search.leftOut };
}

interface Search {
  readonly files: (MachineLog & { readonly modifiedMs: number })[];
  readonly leftOut: LeftOut[];
  entriesLeft: number;
}

async function look(search: Search, folder: string, depth: number): Promise<void> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    search.leftOut.push({ path: folder, reason: reasonOf(error) });
    return;
  }
  for (const entry of entries.toSorted((a, b) => a.name.localeCompare(b.name))) {
    const path = join(folder, entry.name);
    if (search.entriesLeft === 0) {
      search.leftOut.push({ path: folder, reason: `more than ${ENTRIES_MAX} entries: the rest was not looked at` });
      return;
    }
    search.entriesLeft -= 1;
    if (entry.isDirectory()) {
      if (depth > 0) await look(search, path, depth - 1);
      else search.leftOut.push({ path, reason: "too deep" });
    } else if (entry.isFile()) {
      await consider(search, path);
    }
  }
}

async function consider(search: Search, path: string): Promise<void> {
  try {
    const { size, mtimeMs } = await stat(path);
    const reason = await findReasonAgainst(path);
    if (reason === undefined) {
      search.files.push({ path, application: applicationOf(path), sizeBytes: size, modifiedMs: mtimeMs });
    } else {
      search.leftOut.push({ path, reason });
    }
  } catch (error) {
    search.leftOut.push({ path, reason: reasonOf(error) });
  }
}

async function findReasonAgainst(path: string): Promise<string | undefined> {
  if (/\.(?:gz|xz|bz2|zst|lz4)$/u.test(path)) return "compressed";
  if (/[.-](?:\d{1,8}|old)$/u.test(path)) return "an older part that was put aside by rotation";
  if (/^(?:[wb]tmp|lastlog|faillog|tallylog)$/u.test(basename(path))) return "a binary record of logins";
  await access(path, constants.R_OK);
  await using file = await open(path, "r");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(PROBE_BYTES), 0, PROBE_BYTES, 0);
  return buffer.subarray(0, bytesRead).includes(0) ? "binary" : undefined;
}

function applicationOf(path: string): string {
  return basename(path).replace(/\.(?:log|txt)$/u, "");
}

function reasonOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM") return "this user may not read it";
  if (code === "ENOENT") return "there is none";
  return error instanceof Error ? error.message : String(error);
}
