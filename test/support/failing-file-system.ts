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

export interface SlowDisk {
  readonly fileSystem: FileSystem;
  /** Resolves when somebody waits for the disk, or `stop` was called. */
  wanted(): Promise<void>;
  /** Lets the writes happen that wait now. Returns how many bytes they bring. */
  release(): number;
  /** From now on it is as fast as the real one. */
  stop(): void;
}

/** The real file system, whose logs' writes happen when the test lets them. */
export function createSlowDisk(): SlowDisk {
  let waiting: { bytes: number; go: () => void }[] = [];
  let wake = Promise.withResolvers<void>();
  let isSlow = true;
  const waitFor = (bytes: number): Promise<void> =>
    new Promise((resolve) => {
      waiting.push({ bytes, go: resolve });
      wake.resolve();
    });
  const release = (): number => {
    const released = waiting;
    waiting = [];
    wake = Promise.withResolvers();
    for (const { go } of released) go();
    return released.reduce((sum, { bytes }) => sum + bytes, 0);
  };
  return {
    fileSystem: {
      ...nodeFileSystem,
      async open(path, mode) {
        const file = await nodeFileSystem.open(path, mode);
        if (mode !== "append" || !path.includes("/logs/")) return file;
        return {
          read: (buffer, position) => file.read(buffer, position),
          readSync: (buffer, position) => file.readSync(buffer, position),
          async write(buffers, position) {
            if (isSlow) await waitFor(buffers.reduce((sum, { length }) => sum + length, 0));
            await file.write(buffers, position);
          },
          sync: () => file.sync(),
          truncate: (length) => file.truncate(length),
          size: () => file.size(),
          close: () => file.close(),
        };
      },
    },
    wanted: () => wake.promise,
    release,
    stop() {
      isSlow = false;
      wake.resolve();
      release();
    },
  };
}

function noSpace(syscall: string): Error {
  return Object.assign(new Error(`ENOSPC: no space left on device, ${syscall}`), { code: "ENOSPC", syscall });
}
