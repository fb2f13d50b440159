import { errorCode, type FileSystem } from "../store/file-system.ts";

/** Removes a folder of files with all that is in it; nothing when it is not there. What is left after a crash is still whole files. */
export async function removeTree(fileSystem: FileSystem, folder: string): Promise<void> {
  let names: readonly string[];
  try {
    names = await fileSystem.list(folder);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  for (const name of names) await fileSystem.remove(`${folder}/${name}`);
  await fileSystem.removeFolder(folder);
}
