// What happens when a log is opened: what is there is taken in, what is torn is cut, what is derived is rebuilt.
//
// V1. Sealed segments are trusted by their index and proven page by page before they are served (R2). The last segment
//     is walked frame by frame.
// V2. Nothing becomes visible that is not durable: what lies behind the mark (E2) may only be in the system's cache, even
//     as clean pages after a failed sync. It is written again and synced before the log opens.
// V3. What was cut, lost, damaged or rebuilt is reported.
import type { Position } from "./contract.ts";
import type { DurableMark, EpochsFile } from "./epochs.ts";
import type { File } from "./file-system.ts";
import type { FileIndex } from "./index-file.ts";
import type { MemoryIndex } from "./memory-index.ts";
import type { OpenedLast, TornTail } from "./open-segment.ts";
import type { ProducerEntry, ProducerTable } from "./producers.ts";
import type { IsExpected, SegmentSource } from "./segment-files.ts";
import { PART_SUFFIX } from "./atomic-file.ts";
import { epochOf, isSamePlace, readEpochs, writeEpochs } from "./epochs.ts";
import { collectProducers, openLast } from "./open-segment.ts";
import { PRODUCERS_SUFFIX, readSnapshot, snapshotFile } from "./producer-snapshot.ts";
import {
  buildIndex,
  createSegmentFile,
  findSegments,
  openIndex,
  sizeOf,
  walkSegment,
  writeIndex,
} from "./segment-files.ts";
import {
  COMPRESSED_SUFFIX,
  INDEX_SUFFIX,
  MARKS_SUFFIX,
  parseSegmentFile,
  segmentFile,
  sequenceName,
} from "./segment.ts";

const NS_PER_MS = 1_000_000n;
/** Indexes opened together: a large log has thousands. */
const INDEXES_AT_ONCE = 16;

/** What opening a log came to. */
export interface RecoveryReport {
  readonly isNew: boolean;
  readonly segments: number;
  /** Bytes at the end of the last segment that proved nothing and were cut; nobody ever saw them, unless `lost` is set. */
  readonly cut: TornTail | undefined;
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

export interface RecoveryRequest extends SegmentSource {
  readonly producers: ProducerTable;
}

export interface RecoveredSegment {
  readonly first: number;
  readonly index: MemoryIndex | FileIndex;
  /** What it takes on disk when it is compressed; undefined: it is not. */
  readonly compressedBytes: number | undefined;
}

export interface Recovered {
  readonly epochs: readonly Position[];
  readonly mark: DurableMark;
  /** Oldest first; the last one is open and in memory. An index in memory of another one is to be written. */
  readonly segments: readonly RecoveredSegment[];
  /** Of the open segment. */
  readonly file: File;
  readonly report: RecoveryReport;
  /** Positions of producer snapshots, ascending: O1. */
  readonly snapshots: readonly number[];
}

export async function recoverLog(request: RecoveryRequest): Promise<Recovered> {
  const { folder, fileSystem } = request;
  const files = await takeStock(request);
  const stored = await readEpochs(fileSystem, folder);
  const known = typeof stored === "string" ? undefined : stored;
  const isNew = files.frames.length === 0 && stored === "missing";
  const nowMs = Number(request.clock.nowNs() / NS_PER_MS);
  const before = known ?? {
    epochs: [{ epoch: 1, sequence: 1 }],
    mark: { segment: 1, bytes: 0, sequence: 0, sinceMs: nowMs },
  };
  const isExpected = (epoch: number, sequence: number) =>
    known === undefined || epochOf(before.epochs, sequence) === epoch;

  // In this order: a segment without EPOCHS beside it is not a new log, it is one that lost its epochs.
  if (isNew) await writeEpochs(fileSystem, folder, before);
  const lastFirst = files.frames.at(-1);
  if (lastFirst === undefined || files.compressed.has(lastFirst)) {
    const first = lastFirst === undefined ? before.mark.segment : await endOf(request, lastFirst, isExpected);
    await (await createSegmentFile(fileSystem, folder, first)).close();
    files.frames.push(first);
  }
  const sealed = await openSealed(request, files, isExpected);
  const last = await openLast(request, files.frames.at(-1)!, before.mark, isExpected);
  try {
    const snapshots = await restoreProducers(request, files, last, isExpected);
    const { next } = last.walked;
    const lost = before.mark.sequence >= next ? { first: next, last: before.mark.sequence } : undefined;
    const isContinued = isNew || (known !== undefined && lost === undefined && !files.isLastMissing);
    const epochs = known === undefined && !isNew ? await findEpochs(request, files.frames) : before.epochs;
    const newEpoch = isContinued ? undefined : { epoch: epochs.at(-1)!.epoch + 1, sequence: next };
    const after = {
      epochs: newEpoch === undefined ? epochs : withEpoch(epochs, newEpoch),
      mark: markOf(last, before.mark, nowMs),
    };
    const isMarked = isNew || (await saveEpochs(request, { known, after, isNewEpoch: newEpoch !== undefined }));
    return {
      epochs: after.epochs,
      mark: isMarked ? after.mark : before.mark,
      segments: [...sealed.segments, { first: last.first, index: last.index, compressedBytes: undefined }],
      file: last.file,
      snapshots,
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
  } catch (error) {
    await last.file.close();
    throw error;
  }
}

/** Everything that the log opens with is durable. */
function markOf(last: OpenedLast, before: DurableMark, nowMs: number): DurableMark {
  const { end, next } = last.walked;
  const isSameSegment = before.segment === last.first && before.bytes > 0;
  return { segment: last.first, bytes: end, sequence: next - 1, sinceMs: isSameSegment ? before.sinceMs : nowMs };
}

/** An older epoch that had begun behind the cut keeps its row, without entries: its cursors are past the cut. */
function withEpoch(epochs: readonly Position[], added: Position): Position[] {
  return [...epochs.map((each) => ({ epoch: each.epoch, sequence: Math.min(each.sequence, added.sequence) })), added];
}

/**
 * Writes what has changed; returns whether it is on disk. A disk that is full at the start must not stop the reading: the
 * mark may stay behind, it is a lower bound (E2). A new epoch may not.
 */
async function saveEpochs(
  request: RecoveryRequest,
  change: { known: EpochsFile | undefined; after: EpochsFile; isNewEpoch: boolean },
): Promise<boolean> {
  const { known, after, isNewEpoch } = change;
  if (known !== undefined && !isNewEpoch && isSamePlace(known.mark, after.mark)) return true;
  try {
    await writeEpochs(request.fileSystem, request.folder, after);
    return true;
  } catch (error) {
    if (isNewEpoch) throw error;
    return false;
  }
}

interface Stock {
  /** First sequences of segments, ascending. */
  readonly frames: number[];
  /** Those of them that are compressed. */
  readonly compressed: ReadonlySet<number>;
  /** Positions of producer snapshots, ascending. */
  readonly snapshots: readonly number[];
  /** The last segment has an index, or is compressed, so it had been sealed: a later segment is gone. */
  readonly isLastMissing: boolean;
  readonly removed: string[];
}

/**
 * Lists what is in the folder, and removes what an interrupted write or retention left behind. First of all the names
 * are made durable (V2): the process before may have ended between a rename and its sync.
 */
async function takeStock({ folder, fileSystem }: RecoveryRequest): Promise<Stock> {
  await fileSystem.syncFolder(folder);
  const names = await fileSystem.list(folder);
  const parse = (suffix: string) =>
    names.map((name) => parseSegmentFile(name, suffix)).filter((first) => first !== undefined);
  const { firsts, compressed, unfinished } = findSegments(names);
  const frames = [...firsts];
  const segments = new Set(frames);
  const last = frames.at(-1) ?? 0;
  const snapshots = parse(PRODUCERS_SUFFIX);
  const removed = names.filter((name) => name.endsWith(PART_SUFFIX));
  // Z1. The compressed one may not be durable; it is made again.
  removed.push(...unfinished);
  // The last segment will grow: its index, if it has one, must not be taken for true when it is sealed again.
  const isStale = (first: number) => !compressed.has(first) && (!segments.has(first) || first === last);
  const stale = parse(INDEX_SUFFIX).filter(isStale);
  removed.push(...stale.map((first) => sequenceName(first) + INDEX_SUFFIX));
  const staleMarks = parse(MARKS_SUFFIX).filter(isStale);
  removed.push(...staleMarks.map((first) => sequenceName(first) + MARKS_SUFFIX));
  for (const name of removed) await fileSystem.remove(`${folder}/${name}`);
  return { frames, compressed, snapshots, isLastMissing: compressed.has(last) || stale.includes(last), removed };
}

/**
 * Opens all segments but the last. An index is trusted when it ends where the next segment begins: one that was left from
 * an earlier life of the segment does not.
 */
async function openSealed(
  request: RecoveryRequest,
  { frames, compressed }: Stock,
  isExpected: IsExpected,
): Promise<{ segments: RecoveredSegment[]; rebuilt: number[] }> {
  const { fileSystem, folder } = request;
  const rebuilt: number[] = [];
  const segments: RecoveredSegment[] = [];
  const firsts = frames.slice(0, -1);
  const open = async (first: number) => {
    const path = segmentFile(folder, first, COMPRESSED_SUFFIX);
    const compressedBytes = compressed.has(first) ? await sizeOf(fileSystem, path) : undefined;
    return { index: await openIndex(request, first), compressedBytes };
  };
  for (let from = 0; from < firsts.length; from += INDEXES_AT_ONCE) {
    const some = firsts.slice(from, from + INDEXES_AT_ONCE);
    const opened = await Promise.all(some.map(open));
    for (const [i, first] of some.entries()) {
      const { index, compressedBytes } = opened[i]!;
      if (index !== undefined && first + index.facts.entries === frames[from + i + 1]) {
        segments.push({ first, index, compressedBytes });
      } else {
        segments.push({ first, index: await rebuildIndex(request, first, isExpected), compressedBytes });
        rebuilt.push(first);
      }
    }
  }
  return { segments, rebuilt };
}

/** The sequence behind a sealed segment, from its frames. */
async function endOf(request: RecoveryRequest, first: number, isExpected: IsExpected): Promise<number> {
  return (await walkSegment(request, first, { isExpected, onEntries: () => undefined })).next;
}

/** A full disk does not matter here: the index then serves from memory, and is written when there is room. */
async function rebuildIndex(
  request: RecoveryRequest,
  first: number,
  isExpected: IsExpected,
): Promise<MemoryIndex | FileIndex> {
  const index = await buildIndex(request, first, isExpected);
  try {
    return (await writeIndex(request, index, { first, sealedAtNs: request.clock.nowNs() })) ?? index;
  } catch {
    return index;
  }
}

/**
 * Fills the table: from the newest snapshot that stands within the log, then from the frames behind it. Returns the
 * positions of the snapshots that are kept, ascending; the last of them is the one that was loaded.
 */
async function restoreProducers(
  request: RecoveryRequest,
  files: Stock,
  last: OpenedLast,
  isExpected: IsExpected,
): Promise<number[]> {
  const { fileSystem, folder, producers } = request;
  const kept = [...files.snapshots];
  let loaded: ProducerEntry[] | undefined;
  while (kept.length > 0 && loaded === undefined) {
    const position = kept.at(-1)!;
    if (position <= last.walked.next) loaded = await readSnapshot(fileSystem, folder, position);
    if (loaded !== undefined) break;
    files.removed.push(snapshotFile(position));
    await fileSystem.remove(`${folder}/${snapshotFile(position)}`);
    kept.pop();
  }
  // A journal has none, and would read all of its frames for them.
  if (!producers.isKept) return kept;
  for (const entry of loaded ?? []) producers.commit(entry);
  const from = kept.at(-1) ?? 0;
  for (const [i, first] of files.frames.slice(0, -1).entries()) {
    if (files.frames[i + 1]! <= from) continue;
    const replayed = new Map<string, ProducerEntry>();
    await walkSegment(request, first, { isExpected, onEntries: (batch) => collectProducers(replayed, batch) });
    replay(producers, replayed, from);
  }
  replay(producers, last.producers, from);
  return kept;
}

function replay(producers: ProducerTable, replayed: ReadonlyMap<string, ProducerEntry>, from: number): void {
  for (const entry of replayed.values()) {
    if (entry.lastSequence >= from) producers.commit(entry);
  }
}

/** The table of epochs as the stored entries tell it: without it, the next start would not believe them. */
async function findEpochs(request: RecoveryRequest, firsts: readonly number[]): Promise<Position[]> {
  const epochs: Position[] = [{ epoch: 1, sequence: 1 }];
  for (const first of firsts) {
    await walkSegment(request, first, {
      isExpected: () => true,
      onEntries(batch) {
        for (const entry of batch.descriptions) {
          if (entry === undefined || entry.epoch <= epochs.at(-1)!.epoch) continue;
          epochs.push({ epoch: entry.epoch, sequence: entry.sequence });
        }
      },
    });
  }
  return epochs;
}
