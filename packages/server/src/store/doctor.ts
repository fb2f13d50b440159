// Examines a data folder that no server has open, or a backup: every checksum of every segment, every index against its
// frames. Changes nothing unless it is asked to repair; then what it did stands in the report (`doctor-segment.ts`).
import type { Clock, FrameCodec } from "./contract.ts";
import type { SegmentHealth } from "./doctor-segment.ts";
import type { DurableMark } from "./epochs.ts";
import type { DamagedRange } from "./events.ts";
import { errorCode, type FileSystem } from "./file-system.ts";
import type { SegmentSource } from "./segment-files.ts";
import { NotFound } from "../errors.ts";
import { PART_SUFFIX } from "./atomic-file.ts";
import { FORMAT_FILE, readKind } from "./data-folder.ts";
import { loadDictionary } from "./dictionary-file.ts";
import { examineSegment } from "./doctor-segment.ts";
import { epochOf, readEpochs } from "./epochs.ts";
import { FilePool } from "./file-pool.ts";
import { endOfWritten } from "./growing-file.ts";
import { LabelDictionary } from "./labels.ts";
import { lockFolder } from "./lock.ts";
import { findSegments, openFrames } from "./segment-files.ts";

export type { SegmentHealth } from "./doctor-segment.ts";

/** Nothing is known to be durable. */
const NO_MARK: DurableMark = { segment: 0, bytes: 0, sequence: 0, sinceMs: 0 };
const OPEN_FILES_MAX = 8;

export interface DoctorRequest {
  /** The data folder. */
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly codec: FrameCodec;
  /** Of the journals of queues; without it they are not examined. */
  readonly queueCodec?: FrameCodec;
  /** Of the history of metrics; without it that is not examined. */
  readonly metricsCodec?: FrameCodec;
  readonly clock: Clock;
  /** Writes indexes and tables anew, cuts the torn end, removes what an interrupted write left. */
  readonly repair: boolean;
  readonly onProgress?: (progress: DoctorProgress) => void;
  readonly signal?: AbortSignal;
  readonly lock?: (folder: string) => Disposable;
}

/** Frames examined so far, of all logs, queues and the history of metrics. */
export interface DoctorProgress {
  readonly log: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export interface DoctorReport {
  readonly logs: readonly LogHealth[];
  /** Their journals, which are logs of records. One that is damaged is not opened. */
  readonly queues: readonly LogHealth[];
  /** The two logs of their history. Where one is damaged, points are missing. */
  readonly metrics: readonly LogHealth[];
  /** Nothing is damaged or missing. What was never acknowledged, or can be derived, is no fault. */
  readonly isHealthy: boolean;
}

export interface LogHealth {
  readonly name: string;
  readonly entries: number;
  readonly bytes: number;
  readonly segments: readonly SegmentHealth[];
  /** Sequences that no file has: between two segments, or at the end, where durable entries had been. */
  readonly missing: readonly DamagedRange[];
  /** Files that an interrupted write left; the next start removes them, a repair does. */
  readonly leftovers: readonly string[];
  /** "damaged": the next start begins a new epoch. */
  readonly epochs: "good" | "missing" | "damaged";
  readonly dictionary: DictionaryHealth;
}

/** Nothing of it can be repaired here: it heals as producers go on (dictionary.ts, D4). */
export interface DictionaryHealth {
  readonly entries: number;
  readonly damagedRecords: number;
  /** How many ids stand in entries, and nowhere in the dictionary. */
  readonly unknownIds: number;
}

/** @throws FolderInUse; NotFound when the folder is none of Sluice's */
export async function examineDataFolder(request: DoctorRequest): Promise<DoctorReport> {
  const { folder, fileSystem } = request;
  if ((await readKind(fileSystem, folder)) === undefined) {
    throw new NotFound("data folder", folder, `it has no file ${FORMAT_FILE}; check the path`);
  }
  const lock = (request.lock ?? lockFolder)(folder);
  try {
    return await examineLogs(request);
  } finally {
    lock[Symbol.dispose]();
  }
}

async function examineLogs(request: DoctorRequest): Promise<DoctorReport> {
  const { codec, queueCodec, metricsCodec } = request;
  const logs = await takeStockOfAll(request, "logs", codec);
  const queues = await takeStockOfAll(request, "queues", queueCodec);
  const metrics = await takeStockOfAll(request, "metrics", metricsCodec);
  const all = [...logs, ...queues, ...metrics];
  const progress = { bytesDone: 0, bytesTotal: all.reduce((sum, log) => sum + log.bytesTotal, 0) };
  const health: LogHealth[] = [];
  for (const log of all) health.push(await examineLog(request, log, progress));
  const metricsAt = logs.length + queues.length;
  return {
    logs: health.slice(0, logs.length),
    queues: health.slice(logs.length, metricsAt),
    metrics: health.slice(metricsAt),
    isHealthy: health.every(isHealthy),
  };
}

/** Of all logs in a folder, which may be missing. What begins with a dot is no log: not yet, or no longer. */
async function takeStockOfAll(
  { fileSystem, folder }: DoctorRequest,
  part: string,
  codec: FrameCodec | undefined,
): Promise<Examination[]> {
  if (codec === undefined) return [];
  const logs: Examination[] = [];
  for (const name of await listIfThere(fileSystem, `${folder}/${part}`)) {
    if (name.startsWith(".")) continue;
    logs.push(await takeStock(fileSystem, { name, folder: `${folder}/${part}/${name}`, codec }));
  }
  return logs;
}

async function listIfThere(fileSystem: FileSystem, folder: string): Promise<string[]> {
  try {
    return await fileSystem.list(folder);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  }
}

function isHealthy({ missing, epochs, segments, dictionary }: LogHealth): boolean {
  const isWhole = (segment: SegmentHealth, i: number) =>
    segment.damaged.length === 0 && (segment.tailBytes === 0 || i === segments.length - 1);
  const isKnown = dictionary.damagedRecords === 0 && dictionary.unknownIds === 0;
  return missing.length === 0 && epochs !== "damaged" && segments.every(isWhole) && isKnown;
}

interface ExaminedLog {
  readonly name: string;
  readonly folder: string;
  readonly codec: FrameCodec;
}

interface Examination extends ExaminedLog {
  readonly firsts: readonly number[];
  readonly leftovers: readonly string[];
  readonly bytesTotal: number;
}

async function takeStock(fileSystem: FileSystem, log: ExaminedLog): Promise<Examination> {
  const { folder } = log;
  const names = await fileSystem.list(folder);
  const { firsts, unfinished } = findSegments(names);
  const leftovers = [...names.filter((each) => each.endsWith(PART_SUFFIX)), ...unfinished];
  let bytesTotal = 0;
  for (const first of firsts) {
    const file = await openFrames({ fileSystem, folder }, first);
    const size = await file.size();
    bytesTotal += first === firsts.at(-1) ? await endOfWritten(file, 0, size) : size;
    await file.close();
  }
  return { ...log, firsts, leftovers, bytesTotal };
}

async function examineLog(
  request: DoctorRequest,
  { name, folder, codec, firsts, leftovers }: Examination,
  progress: { bytesDone: number; bytesTotal: number },
): Promise<LogHealth> {
  const { fileSystem, clock, repair, onProgress } = request;
  const pool = new FilePool(fileSystem, { openMax: OPEN_FILES_MAX });
  const source = { folder, fileSystem, codec, clock, pool, labels: new LabelDictionary(Number.MAX_SAFE_INTEGER) };
  const stored = await readEpochs(fileSystem, folder);
  const isExpected = (epoch: number, sequence: number) =>
    typeof stored === "string" || epochOf(stored.epochs, sequence) === epoch;
  const mark = typeof stored === "string" ? NO_MARK : stored.mark;
  const segments: SegmentHealth[] = [];
  const references = new Set<number>();
  try {
    for (const [i, first] of firsts.entries()) {
      request.signal?.throwIfAborted();
      const context = { isExpected, next: firsts[i + 1], mark, repair, references };
      const health = await examineSegment(source, first, context);
      segments.push(health);
      progress.bytesDone += health.bytes + health.tailBytes;
      // The last checksum may end with zeros, which were taken for room.
      progress.bytesTotal = Math.max(progress.bytesTotal, progress.bytesDone);
      onProgress?.({ log: name, ...progress });
    }
    for (const each of repair ? leftovers : []) await fileSystem.remove(`${folder}/${each}`);
  } finally {
    await pool.close();
  }
  const last = segments.at(-1)?.last ?? 0;
  return {
    name,
    entries: segments.reduce((sum, { first, last }) => sum + last - first + 1, 0),
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    segments,
    missing: segments.flatMap((segment, i) => {
      // Behind the last segment: what had been durable when the mark was written.
      const next = firsts[i + 1] ?? Math.max(mark.sequence, last) + 1;
      return next === segment.last + 1 ? [] : [{ first: segment.last + 1, last: next - 1 }];
    }),
    leftovers,
    epochs: typeof stored === "string" ? stored : "good",
    dictionary: await examineDictionary(source, references),
  };
}

async function examineDictionary(
  { fileSystem, folder }: Pick<SegmentSource, "fileSystem" | "folder">,
  references: ReadonlySet<number>,
): Promise<DictionaryHealth> {
  const files = await loadDictionary(fileSystem, folder);
  const known = new Set(files.flatMap(({ entries }) => entries.map(({ id }) => id)));
  return {
    entries: known.size,
    damagedRecords: files.reduce((sum, { damagedRecords }) => sum + damagedRecords, 0),
    unknownIds: [...references].filter((id) => !known.has(id)).length,
  };
}
