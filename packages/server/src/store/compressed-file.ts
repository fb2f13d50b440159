// A compressed segment, read as if it were the plain frames file: the same bytes at the same places.
//
// CF1. A group is decompressed whole and proves itself by zstd's checksum. What does not, or cannot be read, is given as
//      zeros, and said: no frame proves itself in zeros, so its entries come out as damaged, and those beside it do not.
// CF2. Only so many groups are decompressed at once, whatever is asked for.
import type { ReadableFile } from "./file-system.ts";
import type { GroupTable } from "./group-table.ts";
import { errorCode, readFully, UnexpectedEnd } from "./file-system.ts";
import { groupAt } from "./group-table.ts";
import { decompress } from "./zstd.ts";

/** CF2. As many as a block of history has, mostly. */
const GROUPS_AT_ONCE = 8;

export interface GroupsRead {
  /** Fewer than were asked for only at the end of the segment. */
  readonly byteCount: number;
  /** False: some of the bytes are zeros instead of what was stored (CF1). */
  readonly isWhole: boolean;
}

/** Fills the buffer with plain bytes from `start` on. */
export async function readGroups(
  file: ReadableFile,
  table: GroupTable,
  buffer: Uint8Array,
  start: number,
): Promise<GroupsRead> {
  const plainEnd = table.plainStarts[table.count]!;
  const end = Math.min(start + buffer.length, plainEnd);
  let isWhole = true;
  let at = start;
  while (at < end) {
    const from = groupAt(table, at);
    const to = Math.min(groupAt(table, end - 1) + 1, from + GROUPS_AT_ONCE);
    const groups = await decompressGroups(file, table, from, to);
    for (const [i, group] of groups.entries()) {
      const groupStart = table.plainStarts[from + i]!;
      const groupEnd = Math.min(end, table.plainStarts[from + i + 1]!);
      if (group === undefined) buffer.fill(0, at - start, groupEnd - start);
      else buffer.set(group.subarray(at - groupStart, groupEnd - groupStart), at - start);
      isWhole &&= group !== undefined;
      at = groupEnd;
    }
  }
  return { byteCount: Math.max(0, end - start), isWhole };
}

async function decompressGroups(
  file: ReadableFile,
  table: GroupTable,
  from: number,
  to: number,
): Promise<(Uint8Array | undefined)[]> {
  const { storedStarts, plainStarts } = table;
  const base = storedStarts[from]!;
  const stored = await readStored(file, base, storedStarts[to]!);
  const groups = Array.from({ length: to - from }, (_, i) => from + i);
  return Promise.all(
    groups.map(async (group) => {
      const start = storedStarts[group]!;
      const end = storedStarts[group + 1]!;
      // A bad sector among several groups: each of them by itself.
      const bytes = stored?.subarray(start - base, end - base) ?? (await readStored(file, start, end));
      return bytes && decompress(bytes, plainStarts[group + 1]! - plainStarts[group]!);
    }),
  );
}

/** Undefined: the disk does not give these bytes. */
async function readStored(file: ReadableFile, start: number, end: number): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(end - start);
  try {
    await readFully(file, bytes, start);
    return bytes;
  } catch (error) {
    if (error instanceof UnexpectedEnd || errorCode(error) === "EIO") return undefined;
    throw error;
  }
}

/** A compressed segment as the plain file that it stands for. Closing it closes the file underneath. */
export class CompressedFile implements ReadableFile {
  readonly table: GroupTable;
  readonly #file: ReadableFile;

  constructor(file: ReadableFile, table: GroupTable) {
    this.#file = file;
    this.table = table;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    return (await readGroups(this.#file, this.table, buffer, position)).byteCount;
  }

  size(): Promise<number> {
    return Promise.resolve(this.table.plainStarts[this.table.count]!);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
