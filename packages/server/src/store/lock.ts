// One process owns a data folder.
//
// The lock is the operating system's own (fcntl on Unix, LockFileEx on Windows), so it cannot outlive its process: after
// SIGKILL the kernel has released it. Plain Node offers no such lock, but its SQLite takes one on the file of a database
// in exclusive mode; the database stays empty. What else was weighed: a file with pid and start time goes stale, and
// says nothing across containers, where both servers are process 1; a Unix socket in the folder must be unlinked when it
// is stale, a race, and its path is limited to 107 bytes; an abstract socket is invisible in another network namespace.
//
// OWNER beside it is only for the sentence that names who holds the lock.
import { readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { DatabaseSync } from "node:sqlite";
import { FolderInUse } from "../errors.ts";
import { errorCode } from "./file-system.ts";

const SQLITE_BUSY = 5;

/** What is locked now: garbage collection closes a database that nothing refers to, and anybody could take the folder. */
const held = new Set<DatabaseSync>();

/** Locks a folder that exists, until disposed or the process ends. @throws FolderInUse */
export function lockFolder(folder: string): Disposable {
  const database = new DatabaseSync(`${folder}/LOCK`, { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = OFF; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    writeFileSync(`${folder}/OWNER`, `process ${process.pid} on ${hostname()}\n`);
  } catch (error) {
    database.close();
    throw isBusy(error) ? new FolderInUse(folder, readOwner(folder)) : error;
  }
  held.add(database);
  return {
    [Symbol.dispose]() {
      removeOwner(folder);
      database.close();
      held.delete(database);
    },
  };
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
}

function readOwner(folder: string): string {
  try {
    return readFileSync(`${folder}/OWNER`, "utf8").trim();
  } catch {
    // Just being opened, or just being closed.
    return "another process";
  }
}

function removeOwner(folder: string): void {
  try {
    unlinkSync(`${folder}/OWNER`);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}
