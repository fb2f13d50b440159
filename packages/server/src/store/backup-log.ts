// Copies one log into a backup, or brings the copy up to date, while a server may be writing to the log.
//
// BL1. Segments are copied from the oldest on, each durable under its name before the next: what an interrupted backup
//      leaves is a log that ends earlier.
// BL2. A sealed segment does not change: one that the backup has is not copied again, in whatever form it is kept.
// BL3. Of the open segment those frames are copied that prove themselves and are durable: the file is synced here, too,
//      before it is read, so that no crash takes from the log what the backup has.
// BL4. A backup holds one history: entries with the same numbers and other contents are refused, not mixed.
import type { FrameCodec } from "./contract.ts";
import type { DurableMark, EpochsFile } from "./epochs.ts";
import type { DamagedRange } from "./events.ts";
import type { File, FileSystem, ReadableFile } from "./file-system.ts";
import type { FileIndex } from "./index-file.ts";
import type { PageTable } from "./page-table.ts";
import type { FoundSegments, SegmentSource } from "./segment-files.ts";
import { DataLoss, SluiceError } from "../errors.ts";
import { CompressedFile } from "./compressed-file.ts";
import { makeFolderIn } from "./data-folder.ts";
import { DICTIONARY_SUFFIX } from "./dictionary-file.ts";
import { collectDamage } from "./doctor-segment.ts";
import { epochOf, readEpochs, writeEpochs } from "./epochs.ts";
import { copyFile, isAlike } from "./file-copy.ts";
import { errorCode, UnexpectedEnd } from "./file-system.ts";
import { endOfWritten } from "./growing-file.ts";
import { IndexDamaged } from "./index-file.ts";
import { LabelDictionary } from "./labels.ts";
import { durableBytes } from "./open-segment.ts";
import { PRODUCERS_SUFFIX } from "./producer-snapshot.ts";
import { removeIfThere } from "./retention.ts";
import { findSegments, openFrames, openIndex, walkSegment } from "./segment-files.ts";
import { COMPRESSED_SUFFIX, FRAMES_SUFFIX, INDEX_SUFFIX, sequenceName } from "./segment.ts";

/** What is replaced or taken back while it is copied is copied again. */
const ATTEMPTS_MAX = 5;
/** With which a frame ends. */
const CHECKSUM_BYTES = 4;

export interface LogBackupRequest {
  readonly name: string;
  /** The log's folder, and that of its copy. */
  readonly source: string;
  readonly target: string;
  readonly fileSystem: FileSystem;
  readonly codec: FrameCodec;
  /** To read indexes with; of the source. */
  readonly reading: Pick<SegmentSource, "clock" | "pool">;
  /** Removes from the backup what retention has removed from the log. */
  readonly prune: boolean;
  readonly onBytes?: ((count: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LogBackup {
  readonly name: string;
  /** Entries that the backup has now; last is first - 1 when it has none. */
  readonly first: number;
  readonly last: number;
  readonly segments: number;
  readonly copiedSegments: number;
  readonly copiedBytes: number;
  readonly prunedSegments: number;
  /** Entries that did not prove themselves when they were copied. */
  readonly damaged: readonly DamagedRange[];
}

/** @throws SluiceError when the copy is of another history; DataLoss when the log's table of epochs cannot be read */
export function backUpLog(request: LogBackupRequest): Promise<LogBackup> {
  return new LogCopy(request).run();
}

class LogCopy {
  readonly #request: LogBackupRequest;
  readonly #damaged: DamagedRange[] = [];
  #epochs: EpochsFile["epochs"] = [];
  /** Of the backup. */
  #mark: DurableMark = { segment: 1, bytes: 0, sequence: 0, sinceMs: 0 };
  /** Of the log. */
  #theirMark = this.#mark;
  /** First sequences of the log's segments. */
  #firsts: readonly number[] = [];
  /** Names in the backup before. */
  #kept: ReadonlySet<string> = new Set();
  #copiedSegments = 0;
  #copiedBytes = 0;

  constructor(request: LogBackupRequest) {
    this.#request = request;
  }

  async run(): Promise<LogBackup> {
    const { fileSystem, source, target, name, prune } = this.#request;
    await makeFolderIn(fileSystem, target.slice(0, target.lastIndexOf("/")), target);
    await this.#copyEpochs();
    const names = await fileSystem.list(source);
    const found = findSegments(names);
    this.#firsts = found.firsts;
    this.#kept = new Set(await fileSystem.list(target));
    const before = findSegments([...this.#kept]);
    for (const first of found.firsts) {
      const isOpen = first === found.firsts.at(-1) && !found.compressed.has(first);
      if (isOpen) await this.#copyOpen(first, before);
      else await this.#copySealed(first, before);
    }
    for (const suffix of [PRODUCERS_SUFFIX, DICTIONARY_SUFFIX]) await this.#copySmall(suffix);
    const prunedSegments = prune ? await this.#prune(found, before) : 0;
    await writeEpochs(fileSystem, target, { epochs: this.#epochs, mark: this.#mark });
    const { firsts } = findSegments(await fileSystem.list(target));
    return {
      name,
      first: firsts[0] ?? 1,
      last: this.#mark.sequence,
      segments: firsts.length,
      copiedSegments: this.#copiedSegments,
      copiedBytes: this.#copiedBytes,
      prunedSegments,
      damaged: this.#damaged,
    };
  }

  /** What frames are believed by comes first; the mark stays behind until the frames are there. */
  async #copyEpochs(): Promise<void> {
    const { fileSystem, source, target, name } = this.#request;
    const [theirs, ours] = [await readEpochs(fileSystem, source), await readEpochs(fileSystem, target)];
    if (typeof theirs === "string") {
      const text = `Cannot back up log "${name}": its table of epochs is ${theirs}; start the server once, then try again`;
      throw new DataLoss(text, { file: `${source}/EPOCHS` });
    }
    if (typeof ours !== "string") {
      const isOurs = (each: { epoch: number; sequence: number }, i: number) =>
        theirs.epochs[i]?.epoch === each.epoch && theirs.epochs[i].sequence === each.sequence;
      const cut = theirs.epochs[ours.epochs.length];
      if (!ours.epochs.every(isOurs) || (cut !== undefined && cut.sequence <= ours.mark.sequence))
        throw this.#foreign();
      this.#mark = ours.mark;
    }
    this.#epochs = theirs.epochs;
    this.#theirMark = theirs.mark;
    await writeEpochs(fileSystem, target, { epochs: this.#epochs, mark: this.#mark });
  }

  /** BL4. */
  #foreign(): SluiceError {
    const { name, target } = this.#request;
    const message = `Cannot back up log "${name}" to ${target}: what is there is of another history; choose another folder`;
    return new SluiceError("failed-precondition", message, { reason: "BACKUP_OF_ANOTHER_HISTORY" });
  }

  /** BL2. Copies nothing when retention has taken the segment meanwhile. */
  async #copySealed(first: number, before: FoundSegments): Promise<void> {
    const { source, fileSystem } = this.#request;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#copyFrames(first, before);
        return;
      } catch (error) {
        if (errorCode(error) !== "ENOENT" || attempt === ATTEMPTS_MAX) throw error;
        if (!findSegments(await fileSystem.list(source)).firsts.includes(first)) return;
        // It was compressed meanwhile.
      }
    }
  }

  async #copyFrames(first: number, before: FoundSegments): Promise<void> {
    const { source, fileSystem } = this.#request;
    const frames = await openFrames({ fileSystem, folder: source }, first);
    const isCompressed = frames instanceof CompressedFile;
    const suffix = isCompressed ? COMPRESSED_SUFFIX : FRAMES_SUFFIX;
    try {
      if (await this.#isKnown(first, frames, before)) {
        // It may have been sealed just before the last backup, and have had no index yet.
        if (!this.#kept.has(sequenceName(first) + INDEX_SUFFIX)) await this.#copyIndex(first, frames);
        return;
      }
      const file = isCompressed ? await fileSystem.open(this.#path(source, first, suffix), "read") : frames;
      try {
        const crcUntil = isCompressed ? { crcUntil: frames.table.storedStarts[frames.table.count]! } : {};
        const { crc } = await this.#copy(file, sequenceName(first) + suffix, crcUntil);
        await this.#finish(first, suffix, frames, crc);
      } finally {
        if (file !== frames) await file.close();
      }
    } finally {
      await frames.close();
    }
  }

  /** Whether the backup has the segment already, up to `end`. @throws when it has other frames under this name (BL4) */
  async #isKnown(first: number, frames: ReadableFile, before: FoundSegments, end?: number): Promise<boolean> {
    const { target, fileSystem } = this.#request;
    if (!before.firsts.includes(first)) return false;
    const known = await openFrames({ fileSystem, folder: target }, first);
    try {
      const size = await known.size();
      // The one that was open at the last backup has grown since.
      const isLast = first === before.firsts.at(-1);
      const bytes = await frames.size();
      if ((size !== bytes && !isLast) || size > bytes || !(await isAlike(known, frames, size))) throw this.#foreign();
      return size >= (end ?? bytes);
    } finally {
      await known.close();
    }
  }

  /** Ends the copy of a sealed segment: its other form goes, its index comes; what is damaged in it is noted. */
  async #finish(first: number, suffix: string, frames: Pick<File, "size">, crc: number): Promise<void> {
    const { target, fileSystem } = this.#request;
    this.#copiedSegments++;
    // In the other form it was open when the last backup was made, and ended earlier.
    const other = suffix === FRAMES_SUFFIX ? COMPRESSED_SUFFIX : FRAMES_SUFFIX;
    await removeIfThere(fileSystem, this.#path(target, first, other));
    const table = await this.#copyIndex(first, frames);
    const proof = frames instanceof CompressedFile ? frames.table.facts?.storedCrc : table?.crc(table.count - 1);
    if (proof !== crc || table === undefined || isMarked(table)) await this.#noteDamage(first);
  }

  /** Copies the index, if there is one that is of these frames; returns its table. */
  async #copyIndex(first: number, frames: Pick<File, "size">): Promise<PageTable | undefined> {
    const { source, fileSystem, codec, reading } = this.#request;
    const labels = new LabelDictionary(Number.MAX_SAFE_INTEGER);
    const index = await openIndex({ folder: source, fileSystem, codec, labels, ...reading }, first);
    const table = index?.facts.bytes === (await frames.size()) ? await readTable(index) : undefined;
    if (table === undefined) return undefined;
    const file = await fileSystem.open(this.#path(source, first, INDEX_SUFFIX), "read");
    try {
      await this.#copy(file, sequenceName(first) + INDEX_SUFFIX);
    } finally {
      await file.close();
    }
    return table;
  }

  /** Looks through the copy, frame by frame. */
  async #noteDamage(first: number): Promise<void> {
    const { target, fileSystem, codec } = this.#request;
    const labels = new LabelDictionary(Number.MAX_SAFE_INTEGER);
    let next = first;
    await walkSegment({ folder: target, fileSystem, codec, labels }, first, {
      isExpected: this.#isExpected,
      onEntries: (batch) => {
        collectDamage(this.#damaged, batch, next);
        next += batch.count;
      },
    });
    // Behind the last entry that proves itself there is none to say how many were damaged, but the next segment.
    const end = this.#firsts[this.#firsts.indexOf(first) + 1];
    if (end !== undefined && next < end) this.#damaged.push({ first: next, last: end - 1 });
  }

  readonly #isExpected = (epoch: number, sequence: number): boolean => epochOf(this.#epochs, sequence) === epoch;

  /** BL3. */
  async #copyOpen(first: number, before: FoundSegments): Promise<void> {
    const { source, fileSystem } = this.#request;
    const path = this.#path(source, first, FRAMES_SUFFIX);
    const file = await fileSystem.open(path, "read");
    try {
      for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        try {
          if (await this.#tryCopyOpen(first, file, attempt === 1 ? before : undefined)) return;
        } catch (error) {
          // It was sealed meanwhile, and is as long as what was written.
          if (!(error instanceof UnexpectedEnd)) throw error;
        }
      }
    } finally {
      await file.close();
    }
    throw new SluiceError("unavailable", `Cannot back up ${path}: it is written and taken back again and again`, {
      reason: "STORAGE_FAILED",
    });
  }

  /** `before`: what the backup had then may be all of it. False: the file no longer has what was copied. @throws UnexpectedEnd */
  async #tryCopyOpen(first: number, file: File, before: FoundSegments | undefined): Promise<boolean> {
    const size = await file.size();
    const written = await endOfWritten(file, 0, size);
    const isKnown = before !== undefined && (await this.#isKnown(first, file, before, written));
    await file.sync();
    if (!isKnown) {
      // The last checksum may end with zeros.
      const length = Math.min(size, written + CHECKSUM_BYTES);
      await this.#copy(file, sequenceName(first) + FRAMES_SUFFIX, { length });
      this.#copiedSegments++;
    }
    return this.#endCopy(first, file);
  }

  /** Cuts the copy behind its last whole frame. False: the file no longer has what was copied. */
  async #endCopy(first: number, file: File): Promise<boolean> {
    const { target, fileSystem, codec } = this.#request;
    const labels = new LabelDictionary(Number.MAX_SAFE_INTEGER);
    let next = first;
    const damaged: DamagedRange[] = [];
    const walked = await walkSegment({ folder: target, fileSystem, codec, labels }, first, {
      isExpected: this.#isExpected,
      durableBytes: (size) => Math.min(size, durableBytes(this.#theirMark, first, size)),
      onEntries: (batch) => {
        collectDamage(damaged, batch, next);
        next += batch.count;
      },
    });
    const copy = await fileSystem.open(this.#path(target, first, FRAMES_SUFFIX), "read-write");
    try {
      if ((await file.size()) < walked.end || !(await isAlike(file, copy, walked.end))) return false;
      // Not synced: a torn end that comes back is cut when the backup is restored.
      await copy.truncate(walked.end);
    } finally {
      await copy.close();
    }
    this.#damaged.push(...damaged);
    const { sinceMs } = this.#theirMark;
    this.#mark = { segment: first, bytes: walked.end, sequence: walked.next - 1, sinceMs };
    return true;
  }

  /** Files that are replaced or only grow: copied whole, and those that are gone are removed. */
  async #copySmall(suffix: string): Promise<void> {
    const { source, target, fileSystem } = this.#request;
    const isOf = (name: string) => name.endsWith(suffix);
    const names = new Set((await fileSystem.list(source)).filter(isOf));
    for (const name of names) {
      try {
        const file = await fileSystem.open(`${source}/${name}`, "read");
        try {
          await this.#copy(file, name);
        } finally {
          await file.close();
        }
      } catch (error) {
        if (errorCode(error) !== "ENOENT") throw error;
      }
    }
    for (const name of (await fileSystem.list(target)).filter(isOf)) {
      if (!names.has(name)) await removeIfThere(fileSystem, `${target}/${name}`);
    }
  }

  /** Removes the oldest segments that the log no longer has. */
  async #prune(found: FoundSegments, before: FoundSegments): Promise<number> {
    const { target, fileSystem } = this.#request;
    const gone = before.firsts.filter((first) => first < (found.firsts[0] ?? 0));
    for (const first of gone) {
      for (const suffix of [COMPRESSED_SUFFIX, FRAMES_SUFFIX, INDEX_SUFFIX]) {
        await removeIfThere(fileSystem, this.#path(target, first, suffix));
      }
    }
    return gone.length;
  }

  async #copy(
    file: ReadableFile,
    name: string,
    options: { length?: number; crcUntil?: number } = {},
  ): Promise<{ bytes: number; crc: number }> {
    const { fileSystem, target, onBytes, signal } = this.#request;
    const copied = await copyFile(fileSystem, file, { folder: target, name }, { ...options, onBytes, signal });
    this.#copiedBytes += copied.bytes;
    return copied;
  }

  #path(folder: string, first: number, suffix: string): string {
    return `${folder}/${sequenceName(first)}${suffix}`;
  }
}

async function readTable(index: FileIndex): Promise<PageTable | undefined> {
  try {
    return await index.readTable();
  } catch (error) {
    if (error instanceof IndexDamaged) return undefined;
    throw error;
  }
}

/** Whether damaged entries are known to the index. */
function isMarked(table: PageTable): boolean {
  return Array.from({ length: table.count }, (_, page) => table.severityMask(page)).some((mask) => mask >>> 31 === 1);
}
