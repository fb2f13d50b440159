// Examines one segment, and repairs what can be: nothing is repaired that is not said.
//
// D1. Frames are never changed: what does not prove itself stays where it is, and the index says that it is a gap. The one
//     exception is the torn end of the last segment, which the next start would cut in the same way.
import { crc32 } from "node:zlib";
import type { DamagedRange } from "./events.ts";
import type { DurableMark } from "./epochs.ts";
import type { IsExpected, SegmentSource } from "./segment-files.ts";
import type { WalkedBatch } from "./walk.ts";
import { readWhole, writeAtomically } from "./atomic-file.ts";
import { CompressedFile } from "./compressed-file.ts";
import { encodeEnd } from "./group-table.ts";
import { isSameIndex } from "./index-file.ts";
import { MemoryIndex } from "./memory-index.ts";
import { durableBytes, openLast } from "./open-segment.ts";
import { openFrames, openIndex, walkSegment, writeIndex } from "./segment-files.ts";
import { COMPRESSED_SUFFIX, sequenceName } from "./segment.ts";

export interface SegmentHealth {
  readonly first: number;
  readonly last: number;
  /** Of the frames. */
  readonly bytes: number;
  readonly form: "plain" | "compressed";
  /** Entries that do not prove themselves. */
  readonly damaged: readonly DamagedRange[];
  /** Bytes at the end that prove nothing. In the last segment: torn by a crash, never acknowledged, cut at the next start. */
  readonly tailBytes: number;
  /** The torn end was cut. */
  readonly isTailCut: boolean;
  /** Of a compressed segment: where its groups are. Damaged, they are found without it. */
  readonly table: "good" | "damaged" | "rebuilt" | "none";
  /** "none": the last segment has its index in memory when it is open. */
  readonly index: "good" | "missing" | "wrong" | "rebuilt" | "none";
  /** All that is damaged is marked in the index: readers are told of exactly these gaps. */
  readonly isIsolated: boolean;
}

export interface SegmentContext {
  readonly isExpected: IsExpected;
  /** First sequence of the next segment; undefined: this is the last one. */
  readonly next: number | undefined;
  readonly mark: DurableMark;
  readonly repair: boolean;
  /** Gets the ids in the dictionary that entries have. */
  readonly references: Set<number>;
}

export async function examineSegment(
  source: SegmentSource,
  first: number,
  context: SegmentContext,
): Promise<SegmentHealth> {
  const { isExpected, next, repair } = context;
  const index = new MemoryIndex(source.labels);
  const damaged: DamagedRange[] = [];
  const walked = await walkSegment(source, first, {
    isExpected,
    onEntries(batch) {
      collectDamage(damaged, batch, first + index.entries);
      for (const description of batch.descriptions) {
        for (const id of description?.references ?? []) context.references.add(id);
      }
      index.append(batch);
    },
    // The end of the last segment is judged as at the next start.
    ...(next === undefined ? { durableBytes: (size) => durableBytes(context.mark, first, size) } : {}),
  });
  const tailBytes = walked.size - walked.end;
  const table = await examineTable(source, first, index, repair);
  const isTailCut = next === undefined && tailBytes > 0 && table === "none" && repair;
  if (isTailCut) await cutTail(source, first, context);
  const indexHealth = next === undefined ? "none" : await examineIndex(source, first, index, repair);
  return {
    first,
    last: walked.next - 1,
    bytes: walked.end,
    form: table === "none" ? "plain" : "compressed",
    damaged,
    tailBytes,
    isTailCut,
    table,
    index: indexHealth,
    isIsolated: indexHealth === "good" || indexHealth === "rebuilt" || next === undefined,
  };
}

/** Adds the damaged entries of a batch that begins at `first` to the ranges before. */
export function collectDamage(damaged: DamagedRange[], batch: WalkedBatch, first: number): void {
  batch.descriptions.forEach((description, i) => {
    if (description !== undefined) return;
    const sequence = first + i;
    const range = damaged.at(-1);
    if (range?.last === sequence - 1) damaged[damaged.length - 1] = { first: range.first, last: sequence };
    else damaged.push({ first: sequence, last: sequence });
  });
}

/** Does what the next start would do. */
async function cutTail(source: SegmentSource, first: number, { mark, isExpected }: SegmentContext): Promise<void> {
  const opened = await openLast(source, first, mark, isExpected);
  await opened.file.close();
}

/** Whether the index on disk is the one that the frames give. One that is written anew marks what is damaged. */
async function examineIndex(
  source: SegmentSource,
  first: number,
  expected: MemoryIndex,
  repair: boolean,
): Promise<SegmentHealth["index"]> {
  const stored = await openIndex(source, first);
  if (stored !== undefined && (await isSameIndex(stored, expected))) return "good";
  if (!repair) return stored === undefined ? "missing" : "wrong";
  await writeIndex(source, expected, { first, sealedAtNs: stored?.facts.sealedAtNs ?? source.clock.nowNs() });
  return "rebuilt";
}

/** Whether a compressed segment's table proves itself. */
async function examineTable(
  source: SegmentSource,
  first: number,
  index: MemoryIndex,
  repair: boolean,
): Promise<SegmentHealth["table"]> {
  const file = await openFrames(source, first);
  await file.close();
  if (!(file instanceof CompressedFile)) return "none";
  const { facts, storedStarts, plainStarts, count } = file.table;
  if (facts !== undefined) return "good";
  if (!repair) return "damaged";
  const { folder, fileSystem } = source;
  const name = sequenceName(first) + COMPRESSED_SUFFIX;
  const groups = ((await readWhole(fileSystem, `${folder}/${name}`)) ?? Buffer.alloc(0)).subarray(
    0,
    storedStarts[count],
  );
  const lengths = Array.from({ length: count }, (_, i) => ({
    stored: storedStarts[i + 1]! - storedStarts[i]!,
    plain: plainStarts[i + 1]! - plainStarts[i]!,
  }));
  const end = encodeEnd(lengths, {
    first,
    entries: index.entries,
    bytes: index.bytes,
    plainCrc: index.table.count === 0 ? 0 : index.table.crc(index.table.count - 1),
    storedCrc: crc32(groups),
  });
  await writeAtomically(fileSystem, folder, name, Buffer.concat([groups, end]));
  return "rebuilt";
}
