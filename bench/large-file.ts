// Files to be read: bytes that no layer can compress or guess.

import { mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";

const BLOCK_BYTES = 2 ** 20;

/** A file of whole MiB. */
export async function writeLargeFile(path: string, size: number): Promise<void> {
  await using handle = await open(path, "w");
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let i = 0; i < block.length; i += 4) block.writeUInt32LE((i * 2_654_435_761) >>> 0, i);
  for (let at = 0; at < size; at += block.length) {
    block.writeUInt32LE(at / block.length, 0);
    await handle.write(block);
  }
}

/** A file with nothing in it but its size. */
export async function writeSparseFile(path: string, size: number): Promise<void> {
  await using handle = await open(path, "w");
  await handle.truncate(size);
}

/** Files of equal size, their names their numbers. */
export async function writeSmallFiles(folder: string, count: number, size: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  const bytes = Buffer.alloc(size, "small ");
  for (let i = 0; i < count; i++) await writeFile(join(folder, String(i)), bytes);
}
