import { readdirSync, readlinkSync } from "node:fs";

/** The files of a folder that this process holds open, by path. Other tests run in this process, too: the folder tells theirs apart. */
export function openFilesIn(folder: string): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(`${folder}/`) ? [path] : [];
    } catch {
      return []; // closed since the listing
    }
  });
}
