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

export interface FileSystem {
  open(path: string, mode: "read" | "create" | "read-write"): Promise<File>;
  /** Names in the folder, sorted. @throws when it is missing. */
  list(path: string): Promise<string[]>;
  /** Makes the folder and its parents. */
  makeFolder(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes the folder's entries (creations, renames, removals) durable. */
  syncFolder(path: string): Promise<void>;
}
