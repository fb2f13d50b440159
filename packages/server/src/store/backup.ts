// Copies of a data folder, made and brought up to date while a server has it open; and data folders made of them.
//
// Files are read beside the server, not through it: sealed segments do not change, frames prove themselves, and so a backup
// needs nothing of the server, neither its memory nor its being alive (docs/decisions/0009-compressed-segments.md).
//
// BK1. A backup is laid out as a data folder and can be read and verified as one, but its FORMAT says that it is none: a
//      server that wrote into it would make another history of it.
// BK2. A restored log begins a new epoch behind its last entry: readers may have seen later ones, which are gone. Its
//      number is one that nobody else is likely to have begun with.
// BK3. A folder becomes a data folder last of all: when everything is there and was verified.
import { dirname } from "node:path";
import type { LogBackup } from "./backup-log.ts";
import type { Clock, FrameCodec } from "./contract.ts";
import type { DoctorProgress, DoctorReport, LogHealth } from "./doctor.ts";
import type { FileSystem } from "./file-system.ts";
import { NotFound, SluiceError } from "../errors.ts";
import { PART_SUFFIX } from "./atomic-file.ts";
import { backUpLog } from "./backup-log.ts";
import { FORMAT_FILE, makeFolderIn, readKind, writeKind } from "./data-folder.ts";
import { examineDataFolder } from "./doctor.ts";
import { readEpochs, writeEpochs } from "./epochs.ts";
import { copyFile } from "./file-copy.ts";
import { FilePool } from "./file-pool.ts";
import { lockFolder } from "./lock.ts";

export type { LogBackup } from "./backup-log.ts";

const OPEN_FILES_MAX = 8;
/** BK2. Epochs are 16 bits wide in cursors. */
const EPOCH_STEP_MAX = 256;

interface CopyRequest {
  readonly fileSystem: FileSystem;
  readonly codec: FrameCodec;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly lock?: (folder: string) => Disposable;
  /** Bytes copied since the last call. */
  readonly onBytes?: (count: number) => void;
}

export interface BackupRequest extends CopyRequest {
  /** The data folder; a server may have it open. */
  readonly folder: string;
  /** The backup: a folder that is empty, missing, or has an earlier backup of the same data. */
  readonly backup: string;
  /** Removes from the backup what retention has removed from the logs. */
  readonly prune: boolean;
}

/** Makes a backup, or brings one up to date. @throws NotFound, SluiceError, FolderInUse: another one is being made there */
export async function backUp(request: BackupRequest): Promise<readonly LogBackup[]> {
  const { folder, backup, fileSystem, codec, clock, prune, onBytes, signal } = request;
  if ((await readKind(fileSystem, folder)) !== "data") {
    throw new NotFound("data folder", folder, `it has no file ${FORMAT_FILE} of a data folder; check the path`);
  }
  await makeFolderIn(fileSystem, dirname(backup), backup);
  await claimFolder(fileSystem, backup, "backup");
  using _lock = (request.lock ?? lockFolder)(backup);
  await makeFolderIn(fileSystem, backup, `${backup}/logs`);
  const pool = new FilePool(fileSystem, { openMax: OPEN_FILES_MAX });
  try {
    const logs: LogBackup[] = [];
    for (const name of await fileSystem.list(`${folder}/logs`)) {
      const [source, target] = [`${folder}/logs/${name}`, `${backup}/logs/${name}`];
      const reading = { clock, pool };
      logs.push(await backUpLog({ name, source, target, fileSystem, codec, reading, prune, onBytes, signal }));
    }
    return logs;
  } finally {
    await pool.close();
  }
}

/** Makes a folder a backup, or finds that it is one. @throws SluiceError when it holds anything else */
async function claimFolder(fileSystem: FileSystem, folder: string, wanted: "backup" | "nothing"): Promise<void> {
  const kind = await readKind(fileSystem, folder);
  if (kind === wanted) return;
  const names = (await fileSystem.list(folder)).filter((name) => !name.endsWith(PART_SUFFIX));
  if (kind !== undefined || names.length > 0) {
    const message = `Cannot write to ${folder}: it is not empty${kind === "data" ? ", it is a data folder" : ""}; choose another`;
    throw new SluiceError("failed-precondition", message, { reason: "FOLDER_NOT_EMPTY" });
  }
  await writeKind(fileSystem, folder, "backup");
}

export interface RestoreRequest extends CopyRequest {
  readonly backup: string;
  /** The new data folder: empty or missing. */
  readonly folder: string;
  /** A number in 0..1. */
  readonly random: () => number;
  readonly onProgress?: (progress: DoctorProgress) => void;
}

/** Makes a data folder of a backup, and verifies all of it. What is damaged is in the report, and told to readers as gaps. */
export async function restoreBackup(request: RestoreRequest): Promise<DoctorReport> {
  const { backup, folder, fileSystem, codec, clock, onProgress, signal } = request;
  if ((await readKind(fileSystem, backup)) !== "backup") {
    throw new NotFound("backup", backup, "sluice logs backup makes one; check the path");
  }
  await makeFolderIn(fileSystem, dirname(folder), folder);
  await claimFolder(fileSystem, folder, "nothing");
  // Its name becomes durable with FORMAT, at the end.
  await fileSystem.makeFolder(`${folder}/logs`);
  for (const name of await fileSystem.list(`${backup}/logs`)) await copyLog(request, name);
  const report = await examineDataFolder({
    folder,
    fileSystem,
    codec,
    clock,
    repair: true,
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
    ...(request.lock === undefined ? {} : { lock: request.lock }),
  });
  for (const log of report.logs) await beginEpoch(request, log);
  await writeKind(fileSystem, folder, "data");
  return report;
}

async function copyLog({ backup, folder, fileSystem, onBytes, signal }: RestoreRequest, name: string): Promise<void> {
  const target = `${folder}/logs/${name}`;
  await makeFolderIn(fileSystem, `${folder}/logs`, target);
  for (const each of await fileSystem.list(`${backup}/logs/${name}`)) {
    if (each.endsWith(PART_SUFFIX)) continue;
    const file = await fileSystem.open(`${backup}/logs/${name}/${each}`, "read");
    try {
      await copyFile(fileSystem, file, { folder: target, name: each }, { onBytes, signal });
    } finally {
      await file.close();
    }
  }
}

/** BK2. Of a table that is damaged or missing the server makes a new one when it starts. */
async function beginEpoch({ folder, fileSystem, random }: RestoreRequest, log: LogHealth): Promise<void> {
  const path = `${folder}/logs/${log.name}`;
  const known = await readEpochs(fileSystem, path);
  const last = log.segments.at(-1);
  if (typeof known === "string" || last === undefined) return;
  const epoch = known.epochs.at(-1)!.epoch + 1 + Math.floor(random() * EPOCH_STEP_MAX);
  await writeEpochs(fileSystem, path, {
    epochs: [...known.epochs, { epoch, sequence: last.last + 1 }],
    mark: { segment: last.first, bytes: last.bytes, sequence: last.last, sinceMs: known.mark.sinceMs },
  });
}
