// Whether pages still hold what was written: their running CRC against the bytes that the disk gives now.
import { crc32 } from "node:zlib";
import type { Columns } from "./columns.ts";
import type { FrameCodec } from "./contract.ts";
import type { PageTable } from "./page-table.ts";
import type { Segment } from "./segment.ts";
import { DAMAGED } from "./columns.ts";
import { errorCode, UnexpectedEnd } from "./file-system.ts";

/** What a range of pages must prove, taken from the table in one turn: the last row of an open segment grows (P3). */
export interface Proof {
  /** The first page. */
  readonly page: number;
  /** Sequence of its first entry. */
  readonly first: number;
  /** Where the range lies in the frames file. */
  readonly start: number;
  readonly end: number;
  readonly crcBefore: number;
  readonly pages: readonly { readonly entries: number; readonly end: number; readonly crc: number }[];
}

export function takeProof(segment: Segment, table: PageTable, from: number, to: number): Proof {
  const pages = Array.from({ length: to - from }, (_, i) => ({
    entries: table.entries(from + i),
    end: table.end(from + i),
    crc: table.crc(from + i),
  }));
  return {
    page: from,
    first: segment.first + table.firstEntry(from),
    start: table.start(from),
    end: table.end(to - 1),
    crcBefore: table.crcBefore(from),
    pages,
  };
}

/** Fills the buffer with the frames of the range. False: the file is too short, or a part of it is unreadable. */
export async function readProvable(segment: Segment, proof: Proof, buffer: Uint8Array): Promise<boolean> {
  try {
    await segment.readFrames(buffer, proof.start);
    return true;
  } catch (error) {
    if (error instanceof UnexpectedEnd || errorCode(error) === "EIO") return false;
    throw error;
  }
}

/** Whether all pages prove themselves; then the segment remembers it. One native call. */
export function isIntact(segment: Segment, proof: Proof, bytes: Uint8Array): boolean {
  if (crc32(bytes, proof.crcBefore) !== proof.pages.at(-1)!.crc) return false;
  proof.pages.forEach((_, i) => segment.setProof(proof.page + i, true));
  return true;
}

/** What was read of the pages: fewer bytes than they should have, when the disk does not give more. */
export interface Read {
  readonly bytes: Uint8Array;
  /** Starts counted from `bytes`. */
  readonly columns: Columns;
}

/** Marks the entries that do not prove themselves (K2), and tells of each stretch. Pages that do are left alone. */
export function markDamage(
  segment: Segment,
  proof: Proof,
  read: Read,
  codec: FrameCodec,
  onDamage: (first: number, last: number) => void,
): void {
  const { bytes, columns } = read;
  let { crcBefore } = proof;
  let start = 0;
  let entry = 0;
  proof.pages.forEach((page, i) => {
    const end = page.end - proof.start;
    const isGood = end <= bytes.length && crc32(bytes.subarray(start, end), crcBefore) === page.crc;
    segment.setProof(proof.page + i, isGood);
    if (!isGood) markPage(proof, read, entry, entry + page.entries, codec);
    entry += page.entries;
    crcBefore = page.crc;
    start = end;
  });
  for (let from = 0; from < entry; from++) {
    let to = from;
    while (to < entry && columns.severities[to] === DAMAGED) to++;
    if (to > from) onDamage(proof.first + from, proof.first + to - 1);
    from = to;
  }
}

function markPage(proof: Proof, read: Read, from: number, to: number, codec: FrameCodec): void {
  for (let i = from; i < to; i++) {
    if (!provesItself(proof.first + i, i, read, codec)) read.columns.severities[i] = DAMAGED;
  }
}

function provesItself(sequence: number, entry: number, { bytes, columns }: Read, codec: FrameCodec): boolean {
  const end = columns.starts[entry + 1]!;
  return end <= bytes.length && codec.describe(bytes, columns.starts[entry]!, end)?.sequence === sequence;
}
