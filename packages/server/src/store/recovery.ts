// What happens when a log is opened: what is there is taken in, what is torn is cut, what is derived is rebuilt.
//
// V1. Sealed segments are trusted by their index and proven page by page before they are served (R2). The last segment
//     is walked frame by frame.
// V2. Nothing becomes visible that is not durable: what lies behind the mark (E2) may only be in the system's cache, even
//     as clean pages after a failed sync. It is written again and synced before the log opens.
// V3. What was cut, lost, damaged or rebuilt is reported.
import type { Clock, FrameCodec, Position } from "./contract.ts";
import type { DurableMark, EpochsFile } from "./epochs.ts";
import type { FilePool } from "./file-pool.ts";
import type { File, FileSystem } from "./file-system.ts";
import type { LabelDictionary } from "./labels.ts";
import type { ProducerTable } from "./producers.ts";
import type { WalkResult, WalkedBatch } from "./walk.ts";
import { toBigInt } from "./columns.ts";
import { PART_SUFFIX } from "./atomic-file.ts";
import { epochOf, readEpochs, writeEpochs } from "./epochs.ts";
import { errorCode, readFully } from "./file-system.ts";
import { FileIndex, readIndexEnd, wholeOf, writeIndexFile } from "./index-file.ts";
import { MemoryIndex } from "./memory-index.ts";
import { PRODUCERS_SUFFIX, readSnapshot } from "./producer-snapshot.ts";
import { FRAMES_SUFFIX, INDEX_SUFFIX, parseSegmentFile, segmentFile } from "./segment.ts";
import { attempt } from "./step.ts";
import { FRAME_HEADER_BYTES, walkFrames } from "./walk.ts";

const REWRITE_BYTES = 1024 * 1024;

/** What opening a log came to. */
export interface RecoveryReport {
  readonly isNew: boolean;
  readonly segments: number;
  /** Bytes at the end of the last segment that proved nothing and were cut; nobody ever saw them, unless `lost` is set. */
  readonly cut:
    | { readonly file: string; readonly at: number; readonly bytes: number; readonly entries: number }
    | undefined;
  /** Durable entries that are gone from the end of the log: the new epoch begins with `first`. */
  readonly lost: { readonly first: number; readonly last: number } | undefined;
  readonly newEpoch: Position | undefined;
  /** Entries of the last segment that do not prove themselves. */
  readonly damagedEntries: number;
  /** Segments whose index was missing or damaged. */
  readonly rebuiltIndexes: readonly number[];
  /** Files of an interrupted write or retention, removed. */
  readonly removedFiles: readonly string[];
}

export interface RecoveryRequest {
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly codec: FrameCodec;
  readonly pool: FilePool;
  readonly labels: LabelDictionary;
  readonly clock: Clock;
  readonly producers: ProducerTable;
}

export interface Recovered {
  readonly epochs: readonly Position[];
  readonly mark: DurableMark;
  /** Oldest first; the last one is open and in memory. An index in memory of another one is to be written. */
  readonly segments: readonly { readonly first: number; readonly index: MemoryIndex | FileIndex }[];
  /** Of the open segment. */
  readonly file: File;
  readonly report: RecoveryReport;
  /** The newest durable snapshot of producers: O1. */
  readonly snapshotFirst: number;
}

export async function recoverLog(request: RecoveryRequest): Promise<Recovered> {
  const { folder, fileSystem } = request;
  const files = await takeStock(request);
  const stored = await readEpochs(fileSystem, folder);
  const known = typeof stored === "string" ? undefined : stored;
  const isNew = files.frames.length === 0 && stored === "missing";
  const mark = known?.mark ?? { segment: 1, bytes: 0, sequence: 0 };
  const epochs = known?.epochs ?? [{ epoch: 1, sequence: 1 }];
  const isExpected = (epoch: number, sequence: number) => known === undefined || epochOf(epochs, sequence) === epoch;

  if (files.frames.length === 0) {
    await (await createSegmentFile(fileSystem, folder, mark.segment)).close();
    files.frames.push(mark.segment);
  }
  const sealed = await openSealed(request, files.frames.slice(0, -1), isExpected);
  const snapshotFirst = await restoreProducers(request, files, isExpected);
  const last = await openLast(request, files.frames.at(-1)!, mark, isExpected);
  const lost = mark.sequence >= last.walked.next ? { first: last.walked.next, last: mark.sequence } : undefined;
  const isContinued = isNew || (known !== undefined && lost === undefined);
  const epochMax = known === undefined ? await highestEpoch(request, files.frames) : epochs.at(-1)!.epoch;
  const newEpoch = isContinued ? undefined : { epoch: epochMax + 1, sequence: last.walked.next };
  const content: EpochsFile = {
    epochs: newEpoch === undefined ? epochs : withEpoch(epochs, newEpoch),
    mark: { segment: last.first, bytes: last.walked.end, sequence: last.walked.next - 1 },
  };
  await saveEpochs(request, content, { before: known, mustBeWritten: isNew || newEpoch !== undefined });
  return {
    epochs: content.epochs,
    mark: content.mark,
    segments: [...sealed.segments, { first: last.first, index: last.index }],
    file: last.file,
    snapshotFirst,
    report: {
      isNew,
      segments: files.frames.length,
      cut: last.cut,
      lost,
      newEpoch,
      damagedEntries: last.walked.damagedEntries,
      rebuiltIndexes: sealed.rebuilt,
      removedFiles: files.removed,
    },
  };
}

/** An older epoch that had begun behind the cut keeps its row, without entries: its cursors are past the cut. */
function withEpoch(epochs: readonly Position[], added: Position): Position[] {
  return [...epochs.map((each) => ({ epoch: each.epoch, sequence: Math.min(each.sequence, added.sequence) })), added];
}

/** A disk that is full at the start must not stop the reading: the mark may stay behind, it is a lower bound (E2). */
async function saveEpochs(
  request: RecoveryRequest,
  content: EpochsFile,
  options: { before: EpochsFile | undefined; mustBeWritten: boolean },
): Promise<void> {
  const { before, mustBeWritten } = options;
  if (before !== undefined && !mustBeWritten && isSameMark(before.mark, content.mark)) return;
  try {
    await writeEpochs(request.fileSystem, request.folder, content);
  } catch (error) {
    if (mustBeWritten) throw error;
  }
}

function isSameMark(a: DurableMark, b: DurableMark): boolean {
  return a.segment === b.segment && a.bytes === b.bytes && a.sequence === b.sequence;
}

interface Stock {
  /** First sequences of segments, ascending. */
  readonly frames: number[];
  /** First sequences of producer snapshots, ascending. */
  readonly snapshots: readonly number[];
  readonly removed: string[];
}

/** Lists what is in the folder, and removes what an interrupted write or retention left behind. */
async function takeStock({ folder, fileSystem }: RecoveryRequest): Promise<Stock> {
  const names = await fileSystem.list(folder);
  const parse = (suffix: string) =>
    names.map((name) => parseSegmentFile(name, suffix)).filter((first) => first !== undefined);
  const frames = parse(FRAMES_SUFFIX);
  const segments = new Set(frames);
  const snapshots = parse(PRODUCERS_SUFFIX);
  const removed = names.filter((name) => name.endsWith(PART_SUFFIX));
  for (const first of parse(INDEX_SUFFIX)) {
    if (!segments.has(first)) removed.push(segmentFile("", first, INDEX_SUFFIX).slice(1));
  }
  for (const name of removed) await fileSystem.remove(`${folder}/${name}`);
  return { frames, snapshots, removed };
}

/** Makes the file of a segment and its name durable. */
export async function createSegmentFile(fileSystem: FileSystem, folder: string, first: number): Promise<File> {
  const file = await attempt(
    "creating a segment",
    fileSystem.open(segmentFile(folder, first, FRAMES_SUFFIX), "create"),
  );
  await attempt("syncing the folder", fileSystem.syncFolder(folder));
  return file;
}

type IsExpected = (epoch: number, sequence: number) => boolean;

async function openSealed(
  request: RecoveryRequest,
  firsts: readonly number[],
  isExpected: IsExpected,
): Promise<{ segments: { first: number; index: MemoryIndex | FileIndex }[]; rebuilt: number[] }> {
  const rebuilt: number[] = [];
  const segments: { first: number; index: MemoryIndex | FileIndex }[] = [];
  for (const first of firsts) {
    let index: MemoryIndex | FileIndex | undefined = await openIndex(request, first);
    if (index === undefined) {
      rebuilt.push(first);
      index = await rebuildIndex(request, first, isExpected);
    }
    segments.push({ first, index });
  }
  return { segments, rebuilt };
}

/** The index of a sealed segment from its file; undefined when that is missing or proves nothing. */
export async function openIndex(request: IndexRequest, first: number): Promise<FileIndex | undefined> {
  const path = segmentFile(request.folder, first, INDEX_SUFFIX);
  try {
    const file = await request.fileSystem.open(path, "read");
    try {
      const end = await readIndexEnd(file, request.labels);
      return end?.facts.first === first ? new FileIndex(request.pool, path, end) : undefined;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "EIO") return undefined;
    throw error;
  }
}

export type IndexRequest = Omit<RecoveryRequest, "producers">;

/** Builds the index of a sealed segment from its frames, writes it, and opens what was written. */
export async function rebuildIndex(
  request: IndexRequest,
  first: number,
  isExpected: IsExpected,
): Promise<MemoryIndex | FileIndex> {
  const { fileSystem, folder, pool, labels } = request;
  const index = new MemoryIndex(labels);
  await walkSegment(request, first, { isExpected, onEntries: (batch) => index.append(batch) });
  const path = segmentFile(folder, first, INDEX_SUFFIX);
  try {
    pool.forget(path);
    await writeIndexFile(fileSystem, path, index, { first, sealedAtNs: sealedAt(index, request.clock) });
  } catch {
    // No room for what can be derived: it serves from memory, and is written when the log is opened again.
    return index;
  }
  return (await openIndex(request, first)) ?? index;
}

/** The age of a segment whose time of sealing is not known: its newest event, which is not in the future. */
function sealedAt(index: MemoryIndex, clock: Clock): bigint {
  const { low, high } = wholeOf(index.table).maxTimestamp(0);
  const newest = toBigInt(low, high);
  const now = clock.nowNs();
  return newest < now ? newest : now;
}

/** Walks a whole segment that was durable to its end. */
async function walkSegment(
  { fileSystem, folder, codec, labels }: IndexRequest,
  first: number,
  to: { isExpected: IsExpected; onEntries: (batch: WalkedBatch) => void },
): Promise<WalkResult> {
  const file = await fileSystem.open(segmentFile(folder, first, FRAMES_SUFFIX), "read");
  try {
    const size = await file.size();
    return await walkFrames({
      file,
      size,
      codec,
      first,
      label: (name) => labels.restore(name),
      searchUntil: size,
      ...to,
    });
  } finally {
    await file.close();
  }
}

/** Fills the table from the newest snapshot and from sealed segments behind it. Returns where the snapshot stands. */
async function restoreProducers(request: RecoveryRequest, files: Stock, isExpected: IsExpected): Promise<number> {
  const { fileSystem, folder, producers } = request;
  const last = files.frames.at(-1)!;
  let from = files.frames[0]!;
  for (const first of files.snapshots.filter((each) => each <= last).reverse()) {
    const entries = await readSnapshot(fileSystem, folder, first);
    if (entries === undefined) continue;
    for (const entry of entries) producers.commit(entry);
    from = first;
    break;
  }
  const onEntries = (batch: WalkedBatch) => replay(producers, batch);
  for (const first of files.frames.slice(0, -1)) {
    if (first >= from) await walkSegment(request, first, { isExpected, onEntries });
  }
  return from;
}

function replay(producers: ProducerTable, batch: WalkedBatch): void {
  for (const found of batch.descriptions) {
    if (found === undefined || found.producer === "") continue;
    producers.commit({
      id: found.producer,
      lastProducerSequence: found.producerSequence,
      lastSequence: found.sequence,
    });
  }
}

/** The highest epoch among stored entries, looked for from the newest segment back; 1 when there is no entry. */
async function highestEpoch(request: RecoveryRequest, firsts: readonly number[]): Promise<number> {
  for (const first of firsts.toReversed()) {
    const { epochMax } = await walkSegment(request, first, { isExpected: () => true, onEntries: () => undefined });
    if (epochMax > 0) return epochMax;
  }
  return 1;
}

interface OpenedLast {
  readonly first: number;
  readonly index: MemoryIndex;
  readonly file: File;
  readonly walked: WalkResult;
  readonly cut: RecoveryReport["cut"];
}

async function openLast(
  request: RecoveryRequest,
  first: number,
  mark: DurableMark,
  isExpected: IsExpected,
): Promise<OpenedLast> {
  const { fileSystem, folder, codec, labels, producers } = request;
  const path = segmentFile(folder, first, FRAMES_SUFFIX);
  const file = await fileSystem.open(path, "read-write");
  try {
    const size = await file.size();
    const index = new MemoryIndex(labels);
    const walked = await walkFrames({
      file,
      size,
      codec,
      first,
      isExpected,
      label: (name) => labels.restore(name),
      searchUntil: durableBytes(mark, first, size),
      onEntries(batch) {
        index.append(batch);
        replay(producers, batch);
      },
    });
    const cut = walked.end < size ? await cutTail(file, path, walked.end, size) : undefined;
    const provenFrom = Math.min(durableBytes(mark, first, size), walked.end);
    await rewrite(file, provenFrom, walked.end);
    if (cut !== undefined || provenFrom < walked.end) await file.sync();
    return { first, index, file, walked, cut };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** How much of the last segment was durable for certain (E2). */
function durableBytes(mark: DurableMark, first: number, size: number): number {
  if (mark.segment > first) return size;
  return mark.segment === first ? mark.bytes : 0;
}

async function cutTail(file: File, path: string, at: number, size: number): Promise<RecoveryReport["cut"]> {
  const entries = await countBegun(file, at, size);
  await file.truncate(at);
  return { file: path, at, bytes: size - at, entries };
}

/** How many frames begin in a torn tail, going by what their headers say. */
async function countBegun(file: File, start: number, size: number): Promise<number> {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  let count = 0;
  let at = start;
  while (at < size) {
    count++;
    if (at + header.length > size) break;
    await readFully(file, header, at);
    const length = header.readUInt32BE(1);
    // Zeros are no frames: the file had grown, its bytes had not come.
    if (length === 0) break;
    at += header.length + length;
  }
  return count;
}

/** V2. Writes what is there once more, so that the sync that follows has something to bring to disk. */
async function rewrite(file: File, start: number, end: number): Promise<void> {
  const buffer = Buffer.alloc(Math.min(REWRITE_BYTES, end - start));
  for (let at = start; at < end; at += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, end - at));
    await readFully(file, part, at);
    await file.write([part], at);
  }
}
