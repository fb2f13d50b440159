// The files of one segment: made, walked, and their index opened or built anew.
import type { Clock, FrameCodec } from "./contract.ts";
import type { FilePool } from "./file-pool.ts";
import type { File, FileSystem, ReadableFile } from "./file-system.ts";
import type { LabelDictionary } from "./labels.ts";
import type { WalkRequest, WalkResult } from "./walk.ts";
import { CompressedFile } from "./compressed-file.ts";
import { errorCode } from "./file-system.ts";
import { endOfWritten } from "./growing-file.ts";
import { readGroupTable } from "./group-table.ts";
import { FileIndex, readIndexEnd, writeIndexFile } from "./index-file.ts";
import { MemoryIndex } from "./memory-index.ts";
import {
  COMPRESSED_SUFFIX,
  FRAMES_SUFFIX,
  INDEX_SUFFIX,
  parseSegmentFile,
  segmentFile,
  sequenceName,
} from "./segment.ts";
import { attempt } from "./step.ts";
import { walkFrames } from "./walk.ts";

/** Where segments are, and what it takes to read them. */
export interface SegmentSource {
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly codec: FrameCodec;
  readonly pool: FilePool;
  readonly labels: LabelDictionary;
  readonly clock: Clock;
}

/** Whether an entry may belong to an epoch. */
export type IsExpected = WalkRequest["isExpected"];

/** Makes the file of a segment and its name durable; opens it to append. */
export async function createSegmentFile(fileSystem: FileSystem, folder: string, first: number): Promise<File> {
  const path = segmentFile(folder, first, FRAMES_SUFFIX);
  const made = await attempt("creating a segment", fileSystem.open(path, "create"));
  await made.close();
  const file = await attempt("creating a segment", fileSystem.open(path, "append"));
  await attempt("syncing the folder", fileSystem.syncFolder(folder));
  return file;
}

/** The segments whose files are among the names of a folder. */
export interface FoundSegments {
  /** First sequences, ascending. */
  readonly firsts: readonly number[];
  /** Those of them that are compressed, and not plain as well (Z1). */
  readonly compressed: ReadonlySet<number>;
  /** Names of compressed files beside which the plain one is still there: perhaps not durable, not needed. */
  readonly unfinished: readonly string[];
}

export function findSegments(names: readonly string[]): FoundSegments {
  const parse = (suffix: string) =>
    names.map((name) => parseSegmentFile(name, suffix)).filter((first) => first !== undefined);
  const plain = new Set(parse(FRAMES_SUFFIX));
  const compressed = parse(COMPRESSED_SUFFIX);
  const only = compressed.filter((first) => !plain.has(first));
  return {
    firsts: [...plain, ...only].sort((a, b) => a - b),
    compressed: new Set(only),
    unfinished: compressed.filter((first) => plain.has(first)).map((first) => sequenceName(first) + COMPRESSED_SUFFIX),
  };
}

/** The frames of a segment, wherever they are. While the plain file is there, it counts (Z1). */
export async function openFrames(
  { fileSystem, folder }: Pick<SegmentSource, "fileSystem" | "folder">,
  first: number,
): Promise<ReadableFile> {
  try {
    return await fileSystem.open(segmentFile(folder, first, FRAMES_SUFFIX), "read");
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    return openCompressed(fileSystem, segmentFile(folder, first, COMPRESSED_SUFFIX));
  }
}

/** A compressed segment, to be read as the plain file that it stands for. */
export async function openCompressed(fileSystem: FileSystem, path: string): Promise<CompressedFile> {
  const file = await fileSystem.open(path, "read");
  try {
    return new CompressedFile(file, await readGroupTable(file));
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Bytes of a file; how many it takes on disk when it is compressed. */
export async function sizeOf(fileSystem: FileSystem, path: string): Promise<number> {
  const file = await fileSystem.open(path, "read");
  try {
    return await file.size();
  } finally {
    await file.close();
  }
}

/** The index of a sealed segment from its file; undefined when that is missing or proves nothing. */
export async function openIndex(source: SegmentSource, first: number): Promise<FileIndex | undefined> {
  const path = segmentFile(source.folder, first, INDEX_SUFFIX);
  try {
    const file = await source.fileSystem.open(path, "read");
    try {
      const end = await readIndexEnd(file, source.labels);
      return end?.facts.first === first ? new FileIndex(source.pool, path, end) : undefined;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT" || errorCode(error) === "EIO") return undefined;
    throw error;
  }
}

/** Builds the index of a sealed segment from its frames. */
export async function buildIndex(source: SegmentSource, first: number, isExpected: IsExpected): Promise<MemoryIndex> {
  const index = new MemoryIndex(source.labels);
  await walkSegment(source, first, { isExpected, onEntries: (batch) => index.append(batch) });
  return index;
}

/** Writes the index of a sealed segment, and opens what was written. */
export async function writeIndex(
  source: SegmentSource,
  index: MemoryIndex,
  segment: { first: number; sealedAtNs: bigint },
): Promise<FileIndex | undefined> {
  const path = segmentFile(source.folder, segment.first, INDEX_SUFFIX);
  await writeIndexFile(source.fileSystem, path, index, segment);
  source.pool.forget(path);
  return openIndex(source, segment.first);
}

/**
 * Walks a whole segment. Without `durableBytes` it was durable to its end: it is sealed; the last one may have room behind what was
 * written, which does not count (GF2).
 */
export async function walkSegment(
  source: Omit<SegmentSource, "clock" | "pool">,
  first: number,
  to: { isExpected: IsExpected; onEntries: WalkRequest["onEntries"]; durableBytes?: (size: number) => number },
): Promise<WalkResult & { readonly size: number }> {
  const file = await openFrames(source, first);
  try {
    const size = await file.size();
    const walked = await walkFrames({
      file,
      size,
      codec: source.codec,
      first,
      label: (name) => source.labels.restore(name),
      searchUntil: to.durableBytes?.(size) ?? size,
      isExpected: to.isExpected,
      onEntries: to.onEntries,
    });
    const { durableBytes } = to;
    return { ...walked, size: durableBytes === undefined ? size : await endOfWritten(file, walked.end, size) };
  } finally {
    await file.close();
  }
}
