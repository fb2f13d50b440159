// Copies of files into a backup or out of it: whole under their name, or not there.
import { crc32 } from "node:zlib";
import type { FileSystem, ReadableFile } from "./file-system.ts";
import { PART_SUFFIX } from "./atomic-file.ts";
import { readFully } from "./file-system.ts";

const CHUNK_BYTES = 1024 * 1024;
/** What is compared at the beginning and at the end of two files: frames hold sequences, times and checksums. */
const PROBE_BYTES = 4096;

export interface CopyOptions {
  /** Bytes to copy; absent: all that the file has now. */
  readonly length?: number;
  /** The checksum is taken of the bytes before this one; absent: of all. */
  readonly crcUntil?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((count: number) => void) | undefined;
}

/** Copies an open file into a folder; durable when it resolves. Returns how many bytes, and their CRC-32. */
export async function copyFile(
  fileSystem: FileSystem,
  source: ReadableFile,
  target: { folder: string; name: string },
  options: CopyOptions = {},
): Promise<{ bytes: number; crc: number }> {
  const { length = await source.size(), crcUntil = length, signal, onBytes } = options;
  const path = `${target.folder}/${target.name}`;
  const file = await fileSystem.open(path + PART_SUFFIX, "create");
  let crc = 0;
  try {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, length));
    for (let at = 0; at < length; at += buffer.length) {
      signal?.throwIfAborted();
      const part = buffer.subarray(0, Math.min(buffer.length, length - at));
      await readFully(source, part, at);
      await file.write([part], at);
      crc = crc32(part.subarray(0, Math.max(0, crcUntil - at)), crc);
      onBytes?.(part.length);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await fileSystem.rename(path + PART_SUFFIX, path);
  await fileSystem.syncFolder(target.folder);
  return { bytes: length, crc };
}

/** Whether two files begin with the same bytes, and have the same ones before `end`. */
export async function isAlike(a: ReadableFile, b: ReadableFile, end: number): Promise<boolean> {
  for (const start of [0, Math.max(0, end - PROBE_BYTES)]) {
    const parts = [a, b].map(() => Buffer.alloc(Math.min(PROBE_BYTES, end - start)));
    await readFully(a, parts[0]!, start);
    await readFully(b, parts[1]!, start);
    if (!parts[0]!.equals(parts[1]!)) return false;
  }
  return true;
}
