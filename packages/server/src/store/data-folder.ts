// The folder that holds everything a server keeps.
//
//   FORMAT        version of what is below: "sluice-data 1", or "sluice-backup 1" for a copy that no server opens
//   LOCK, OWNER   who has it open (`lock.ts`)
//   logs/<name>/  one log: *.frames or *.frames.zst, *.index, *.marks, *.producers, *.dictionary, EPOCHS
//   queues/<name>/  one queue: its journal, which is a log, too (docs/formats/queue.md)
//   metrics/      the history of metrics: two logs, points and chunks (docs/formats/metrics.md)
//   queues/.*     a queue that was not made to its end, or is being removed
import { dirname } from "node:path";
import type { FileSystem } from "./file-system.ts";
import { SluiceError } from "../errors.ts";
import { readWhole, writeAtomically } from "./atomic-file.ts";
import { lockFolder } from "./lock.ts";

export const FORMAT_FILE = "FORMAT";
const FORMAT_VERSION = 1;

/** An open data folder; disposing gives it free. */
export interface DataFolder extends AsyncDisposable {
  readonly path: string;
  /** Where a log lives. The name is one that was parsed: a single path segment. */
  logFolder(name: string): string;
  /** Names of the logs that are there, sorted. */
  listLogs(): Promise<string[]>;
  /** Where all queues live; made by whoever opens them. */
  readonly queuesFolder: string;
  /** Where the history of metrics lives; made by whoever opens it. */
  readonly metricsFolder: string;
  /** Where the journal of notifications lives; made by whoever opens it. */
  readonly notificationsFolder: string;
}

export interface DataFolderRequest {
  readonly folder: string;
  readonly fileSystem: FileSystem;
  /** Takes the folder for this process, or throws. Another one than the system's only where the files are not real. */
  readonly lock?: (folder: string) => Disposable;
}

/** Makes or opens a data folder. @throws FolderInUse; SluiceError when a later version of Sluice wrote it */
export async function openDataFolder(request: DataFolderRequest): Promise<DataFolder> {
  const { folder, fileSystem } = request;
  await makeFolderIn(fileSystem, dirname(folder), folder);
  const lock = (request.lock ?? lockFolder)(folder);
  try {
    await checkFormat(fileSystem, folder);
    await makeFolderIn(fileSystem, folder, `${folder}/logs`);
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
  return {
    path: folder,
    logFolder(name) {
      if (name === "" || name.startsWith(".") || /[/\\]/.test(name))
        throw new Error(`Not the name of a log: "${name}"`);
      return `${folder}/logs/${name}`;
    },
    listLogs: () => fileSystem.list(`${folder}/logs`),
    queuesFolder: `${folder}/queues`,
    metricsFolder: `${folder}/metrics`,
    notificationsFolder: `${folder}/notifications`,
    async [Symbol.asyncDispose]() {
      lock[Symbol.dispose]();
    },
  };
}

/** Makes a folder, and its name durable: also when it is there, for the process that made it may have ended before. */
export async function makeFolderIn(fileSystem: FileSystem, parent: string, folder: string): Promise<void> {
  await fileSystem.makeFolder(folder);
  await fileSystem.syncFolder(parent);
}

/** What a folder of Sluice's is: one that a server may open, or a copy that waits to be restored. */
export type FolderKind = "data" | "backup";

const FORMAT_NAMES: Readonly<Record<FolderKind, string>> = { data: "sluice-data", backup: "sluice-backup" };

/** Refuses what a later version wrote, and backups; in a new folder, says on disk what this one writes. */
async function checkFormat(fileSystem: FileSystem, folder: string): Promise<void> {
  const kind = await readKind(fileSystem, folder);
  if (kind === undefined) await writeKind(fileSystem, folder, "data");
  if (kind === "backup") {
    throw unusable(folder, "is a backup; make a data folder of it with sluice logs restore");
  }
}

/** What the folder is; undefined: nothing of Sluice's. @throws SluiceError when a later version of Sluice wrote it */
export async function readKind(fileSystem: FileSystem, folder: string): Promise<FolderKind | undefined> {
  const stored = await readWhole(fileSystem, `${folder}/${FORMAT_FILE}`);
  if (stored === undefined) return undefined;
  const [name, version] = stored.toString("utf8").trim().split(" ");
  const kind = (["data", "backup"] as const).find((each) => FORMAT_NAMES[each] === name);
  if (kind === undefined) throw unusable(folder, "is not one of Sluice's; choose another with --data");
  if (version !== String(FORMAT_VERSION)) {
    const reads = `is in format ${version}, this version of Sluice reads ${FORMAT_VERSION}`;
    throw unusable(folder, `${reads}; choose another with --data`);
  }
  return kind;
}

/** Says what the folder is from now on; durable when it resolves. */
export async function writeKind(fileSystem: FileSystem, folder: string, kind: FolderKind): Promise<void> {
  await writeAtomically(fileSystem, folder, FORMAT_FILE, Buffer.from(`${FORMAT_NAMES[kind]} ${FORMAT_VERSION}\n`));
}

function unusable(folder: string, why: string): SluiceError {
  const message = `Cannot open the data folder ${folder}: it ${why}`;
  return new SluiceError("failed-precondition", message, { reason: "FOLDER_FORMAT" });
}
