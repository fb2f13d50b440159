// Where a segment's frames are read from: a file of frames, or a compressed one that stands for it.
import type { FilePool } from "./file-pool.ts";
import type { ReadableFile } from "./file-system.ts";
import type { GroupTable } from "./group-table.ts";
import { readGroups } from "./compressed-file.ts";
import { readFully, UnexpectedEnd } from "./file-system.ts";
import { readGroupTable } from "./group-table.ts";

export interface FramesPlace {
  readonly path: string;
  /** What they take on disk; undefined: as many bytes as they have. */
  readonly storedBytes: number | undefined;
  /** Fills the buffer with frames from byte `start` on. False: some of it are zeros (CF1). @throws UnexpectedEnd */
  fill(buffer: Uint8Array, start: number): Promise<boolean>;
  /** Lets go of what is kept in memory to find them. */
  forgetTable(): void;
}

export function plainFrames(pool: FilePool, path: string): FramesPlace {
  return {
    path,
    storedBytes: undefined,
    async fill(buffer, start) {
      await pool.use(path, (file) => readFully(file, buffer, start));
      return true;
    },
    forgetTable: () => undefined,
  };
}

export function compressedFrames(pool: FilePool, path: string, storedBytes: number): FramesPlace {
  let table: Promise<GroupTable> | undefined;
  const loadTable = (file: ReadableFile) => {
    table ??= readGroupTable(file).catch((error: unknown) => {
      table = undefined;
      throw error;
    });
    return table;
  };
  return {
    path,
    storedBytes,
    async fill(buffer, start) {
      const read = await pool.use(path, async (file) => readGroups(file, await loadTable(file), buffer, start));
      if (read.byteCount < buffer.length) throw new UnexpectedEnd(start + read.byteCount, start + buffer.length);
      return read.isWhole;
    },
    forgetTable() {
      table = undefined;
    },
  };
}
