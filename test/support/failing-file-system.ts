// The real file system, with a disk that can be full.
import { type FileSystem, nodeFileSystem } from "@sluice/server";

export interface FullableDisk {
  readonly fileSystem: FileSystem;
  /** While it is set, no write finds room. */
  isFull: boolean;
}

export function createFullableDisk(): FullableDisk {
  const disk: FullableDisk = {
    isFull: false,
    fileSystem: {
      ...nodeFileSystem,
      async open(path, mode) {
        if (disk.isFull && mode === "create") throw noSpace("open");
        const file = await nodeFileSystem.open(path, mode);
        return {
          read: (buffer, position) => file.read(buffer, position),
          readSync: (buffer, position) => file.readSync(buffer, position),
          write: (buffers, position) =>
            disk.isFull ? Promise.reject(noSpace("write")) : file.write(buffers, position),
          sync: () => file.sync(),
          truncate: (length) => file.truncate(length),
          size: () => file.size(),
          close: () => file.close(),
        };
      },
    },
  };
  return disk;
}

function noSpace(syscall: string): Error {
  return Object.assign(new Error(`ENOSPC: no space left on device, ${syscall}`), { code: "ENOSPC", syscall });
}
