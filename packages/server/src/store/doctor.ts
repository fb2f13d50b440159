// Examines a data folder that no server has open: every checksum of every segment, every index against its frames.
// Changes nothing, except that it writes indexes anew when it is asked to.
import type { Clock, FrameCodec } from "./contract.ts";
import type { DamagedRange } from "./events.ts";
import type { FileSystem } from "./file-system.ts";
import type { SegmentSource } from "./segment-files.ts";
import type { WalkedBatch } from "./walk.ts";
import { NotFound } from "../errors.ts";
import { readWhole } from "./atomic-file.ts";
import { FORMAT_FILE, checkFormat } from "./data-folder.ts";
import { epochOf, readEpochs } from "./epochs.ts";
import { FilePool } from "./file-pool.ts";
import { isSameIndex } from "./index-file.ts";
import { LabelDictionary } from "./labels.ts";
import { lockFolder } from "./lock.ts";
import { MemoryIndex } from "./memory-index.ts";
import { FRAMES_SUFFIX, parseSegmentFile, segmentFile } from "./segment.ts";
import { openIndex, walkSegment, writeIndex } from "./segment-files.ts";

const OPEN_FILES_MAX = 8;

export interface DoctorRequest {
  /** The data folder. */
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly codec: FrameCodec;
  readonly clock: Clock;
  /** Writes an index anew where it is missing or not what the frames say. */
  readonly rebuildIndexes: boolean;
  readonly onProgress?: (progress: DoctorProgress) => void;
  readonly signal?: AbortSignal;
  readonly lock?: (folder: string) => Disposable;
}

/** Frames examined so far, of all logs. */
export interface DoctorProgress {
  readonly log: string;
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export interface DoctorReport {
  readonly logs: readonly LogHealth[];
  /** Nothing is damaged or missing. What was never acknowledged, or can be derived, is no fault. */
  readonly isHealthy: boolean;
}

export interface LogHealth {
  readonly name: string;
  readonly entries: number;
  readonly bytes: number;
  readonly segments: readonly SegmentHealth[];
  /** Sequences between two segments that no file has. */
  readonly missing: readonly DamagedRange[];
  /** "damaged": the next start begins a new epoch. */
  readonly epochs: "good" | "missing" | "damaged";
}

export interface SegmentHealth {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  /** Entries that do not prove themselves. */
  readonly damaged: readonly DamagedRange[];
  /** Bytes at the end that prove nothing. In the last segment: torn by a crash, never acknowledged, cut at the next start. */
  readonly tailBytes: number;
  /** "none": the last segment has its index in memory when it is open. */
  readonly index: "good" | "missing" | "wrong" | "rebuilt" | "none";
}

/** @throws FolderInUse; NotFound when the folder is none of Sluice's */
export async function examineDataFolder(request: DoctorRequest): Promise<DoctorReport> {
  const { folder, fileSystem } = request;
  if ((await readWhole(fileSystem, `${folder}/${FORMAT_FILE}`)) === undefined) {
    throw new NotFound("data folder", folder, `it has no file ${FORMAT_FILE}; check the path`);
  }
  const lock = (request.lock ?? lockFolder)(folder);
  try {
    await checkFormat(fileSystem, folder);
    return await examineLogs(request);
  } finally {
    lock[Symbol.dispose]();
  }
}

async function examineLogs(request: DoctorRequest): Promise<DoctorReport> {
  const logs: Examination[] = [];
  for (const name of await request.fileSystem.list(`${request.folder}/logs`)) {
    logs.push(await takeStock(request, name));
  }
  const progress = { bytesDone: 0, bytesTotal: logs.reduce((sum, log) => sum + log.bytesTotal, 0) };
  const health: LogHealth[] = [];
  for (const log of logs) health.push(await examineLog(request, log, progress));
  return { logs: health, isHealthy: health.every(isHealthy) };
}

function isHealthy({ missing, epochs, segments }: LogHealth): boolean {
  const isWhole = (segment: SegmentHealth, i: number) =>
    segment.damaged.length === 0 && (segment.tailBytes === 0 || i === segments.length - 1);
  return missing.length === 0 && epochs !== "damaged" && segments.every(isWhole);
}

interface Examination {
  readonly name: string;
  readonly folder: string;
  readonly firsts: readonly number[];
  readonly bytesTotal: number;
}

async function takeStock({ folder, fileSystem }: DoctorRequest, name: string): Promise<Examination> {
  const logFolder = `${folder}/logs/${name}`;
  const names = await fileSystem.list(logFolder);
  const firsts = names.map((each) => parseSegmentFile(each, FRAMES_SUFFIX)).filter((first) => first !== undefined);
  let bytesTotal = 0;
  for (const first of firsts) bytesTotal += await sizeOf(fileSystem, segmentFile(logFolder, first, FRAMES_SUFFIX));
  return { name, folder: logFolder, firsts, bytesTotal };
}

async function sizeOf(fileSystem: FileSystem, path: string): Promise<number> {
  const file = await fileSystem.open(path, "read");
  try {
    return await file.size();
  } finally {
    await file.close();
  }
}

async function examineLog(
  request: DoctorRequest,
  { name, folder, firsts }: Examination,
  progress: { bytesDone: number; bytesTotal: number },
): Promise<LogHealth> {
  const { fileSystem, codec, clock, onProgress } = request;
  const pool = new FilePool(fileSystem, { openMax: OPEN_FILES_MAX });
  const source = { folder, fileSystem, codec, clock, pool, labels: new LabelDictionary(Number.MAX_SAFE_INTEGER) };
  const stored = await readEpochs(fileSystem, folder);
  const isExpected = (epoch: number, sequence: number) =>
    typeof stored === "string" || epochOf(stored.epochs, sequence) === epoch;
  const segments: SegmentHealth[] = [];
  try {
    for (const [i, first] of firsts.entries()) {
      request.signal?.throwIfAborted();
      const health = await examineSegment(source, first, { isExpected, next: firsts[i + 1], request });
      segments.push(health);
      progress.bytesDone += health.bytes + health.tailBytes;
      onProgress?.({ log: name, ...progress });
    }
  } finally {
    await pool.close();
  }
  return {
    name,
    entries: segments.reduce((sum, { first, last }) => sum + last - first + 1, 0),
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    segments,
    missing: segments.flatMap(({ last }, i) => {
      const next = firsts[i + 1];
      return next === undefined || next === last + 1 ? [] : [{ first: last + 1, last: next - 1 }];
    }),
    epochs: typeof stored === "string" ? stored : "good",
  };
}

async function examineSegment(
  source: SegmentSource,
  first: number,
  context: {
    isExpected: (epoch: number, sequence: number) => boolean;
    /** First sequence of the next segment; undefined: this is the last one. */
    next: number | undefined;
    request: DoctorRequest;
  },
): Promise<SegmentHealth> {
  const { isExpected, next, request } = context;
  const index = new MemoryIndex(source.labels);
  const damaged: DamagedRange[] = [];
  const walked = await walkSegment(source, first, {
    isExpected,
    onEntries(batch) {
      collectDamage(damaged, batch, first + index.entries);
      index.append(batch);
    },
  });
  const size = await sizeOf(source.fileSystem, segmentFile(source.folder, first, FRAMES_SUFFIX));
  return {
    first,
    last: walked.next - 1,
    bytes: walked.end,
    damaged,
    tailBytes: size - walked.end,
    index: next === undefined ? "none" : await examineIndex(source, first, index, request.rebuildIndexes),
  };
}

function collectDamage(damaged: DamagedRange[], batch: WalkedBatch, first: number): void {
  batch.descriptions.forEach((description, i) => {
    if (description !== undefined) return;
    const sequence = first + i;
    const range = damaged.at(-1);
    if (range?.last === sequence - 1) damaged[damaged.length - 1] = { first: range.first, last: sequence };
    else damaged.push({ first: sequence, last: sequence });
  });
}

/** Whether the index on disk is the one that the frames give. */
async function examineIndex(
  source: SegmentSource,
  first: number,
  expected: MemoryIndex,
  rebuild: boolean,
): Promise<SegmentHealth["index"]> {
  const stored = await openIndex(source, first);
  if (stored !== undefined && (await isSameIndex(stored, expected))) return "good";
  if (!rebuild) return stored === undefined ? "missing" : "wrong";
  await writeIndex(source, expected, { first, sealedAtNs: stored?.facts.sealedAtNs ?? source.clock.nowNs() });
  return "rebuilt";
}
