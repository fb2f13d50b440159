// The file system as the store needs it: real (`node:fs`) or a fake that drops what was not synced.

/** An open file. Offsets and lengths in bytes. */
export interface File {
  /** Reads up to `buffer.length` bytes at `position`; returns how many (fewer only at the end of the file). */
  read(buffer: Uint8Array, position: number): Promise<number>;
  readSync(buffer: Uint8Array, position: number): number;
  /** Writes all buffers, one after the other, at `position`. */
  write(buffers: readonly Uint8Array[], position: number): Promise<void>;
  /** fdatasync. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** What reading a file takes. */
export type ReadableFile = Pick<File, "read" | "size" | "close">;

/**
 * "create" makes an empty file for reading and writing, or empties it; the others need one that exists. With "append" a
 * write returns when its bytes are durable, in one step where the system has it (O_DSYNC).
 */
export type OpenMode = "read" | "create" | "read-write" | "append";

/** Errors carry Node's `code`: ENOENT, ENOSPC, EIO … */
export interface FileSystem {
  open(path: string, mode: OpenMode): Promise<File>;
  /** Names in the folder, sorted. @throws when it is missing. */
  list(path: string): Promise<string[]>;
  /** Makes the folder and its parents; nothing when it is there. */
  makeFolder(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file. */
  remove(path: string): Promise<void>;
  /** Removes a folder, which must be empty. */
  removeFolder(path: string): Promise<void>;
  /** Makes the folder's entries (creations, renames, removals) durable. */
  syncFolder(path: string): Promise<void>;
  /** Bytes that this process may still write on the disk that holds the folder. */
  freeBytes(path: string): Promise<number>;
}

/** The system's name of what went wrong ("ENOENT"), undefined for what is no system error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** Reads `buffer` full, or throws: the file is shorter than it must be. */
export async function readFully(file: Pick<File, "read">, buffer: Uint8Array, position: number): Promise<void> {
  let filled = 0;
  while (filled < buffer.length) {
    const count = await file.read(filled === 0 ? buffer : buffer.subarray(filled), position + filled);
    if (count === 0) {
      throw new UnexpectedEnd(position + filled, position + buffer.length);
    }
    filled += count;
  }
}

/** A file ends before bytes that must be there. */
export class UnexpectedEnd extends Error {
  override readonly name = "UnexpectedEnd";
  readonly end: number;
  constructor(end: number, wanted: number) {
    super(`Cannot read up to byte ${wanted}: the file ends at ${end}`);
    this.end = end;
  }
}
