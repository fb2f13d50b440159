// Drops the oldest segments when there are too many bytes, or when they are too old.
//
// Q1. Whole sealed segments, from the oldest on, never the open one.
// Q2. One at a time, each removal durable before the next: a crash must not leave a hole between segments.
// Q3. A segment goes only when no producer would be forgotten with it (O1).
import { dirname } from "node:path";
import type { SegmentChain } from "./chain.ts";
import type { FilePool } from "./file-pool.ts";
import type { FileSystem } from "./file-system.ts";
import type { Segment } from "./segment.ts";
import { errorCode } from "./file-system.ts";
import { COMPRESSED_SUFFIX, FRAMES_SUFFIX, segmentFile } from "./segment.ts";

const NS_PER_MS = 1_000_000n;

export interface RetentionPolicy {
  /** Of frames and indexes together. */
  readonly bytes?: number | undefined;
  /** Since the newest entry of a segment came. */
  readonly ageMs?: number | undefined;
}

/** Why the oldest segment is to go; undefined: it stays. */
export function findReason(chain: SegmentChain, policy: RetentionPolicy, nowNs: bigint): "bytes" | "age" | undefined {
  const oldest = chain.all[0]!;
  if (oldest.sealedAtNs === undefined) return undefined;
  if (policy.bytes !== undefined && chain.diskBytes > policy.bytes) return "bytes";
  if (policy.ageMs !== undefined && nowNs - oldest.sealedAtNs > BigInt(policy.ageMs) * NS_PER_MS) return "age";
  return undefined;
}

/** Removes the files of a segment that nobody finds any more. Reads of it that have begun end well. */
export async function removeSegment(segment: Segment, host: { fileSystem: FileSystem; pool: FilePool }): Promise<void> {
  const { fileSystem, pool } = host;
  const { indexPath, marksPath } = segment;
  const folder = dirname(indexPath);
  pool.forget(segment.frames.path);
  pool.forget(indexPath);
  pool.forget(marksPath);
  // Both forms: a change from one to the other may have been interrupted.
  for (const suffix of [COMPRESSED_SUFFIX, FRAMES_SUFFIX]) {
    await removeIfThere(fileSystem, segmentFile(folder, segment.first, suffix));
  }
  await fileSystem.syncFolder(folder);
  await removeIfThere(fileSystem, indexPath);
  await removeIfThere(fileSystem, marksPath);
}

/** Removes a derived file, which may never have been written. */
export async function removeIfThere(fileSystem: FileSystem, path: string): Promise<void> {
  try {
    await fileSystem.remove(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}
