// Small files that are replaced as a whole.
import type { FileSystem } from "./file-system.ts";
import { errorCode, readFully } from "./file-system.ts";

export const PART_SUFFIX = ".part";

/** Replaces a file so that after any crash either the old or the new one is there; durable when it resolves. */
export async function writeAtomically(
  fileSystem: FileSystem,
  folder: string,
  name: string,
  bytes: Uint8Array,
): Promise<void> {
  const part = `${folder}/${name}${PART_SUFFIX}`;
  const file = await fileSystem.open(part, "create");
  try {
    await file.write([bytes], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await fileSystem.rename(part, `${folder}/${name}`);
  await fileSystem.syncFolder(folder);
}

/** The whole file; undefined when it is missing. */
export async function readWhole(fileSystem: FileSystem, path: string): Promise<Buffer | undefined> {
  try {
    const file = await fileSystem.open(path, "read");
    try {
      const bytes = Buffer.alloc(await file.size());
      await readFully(file, bytes, 0);
      return bytes;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
