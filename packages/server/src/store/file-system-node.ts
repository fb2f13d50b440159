// The real file system.
//
// Plain callbacks of `node:fs` instead of its promise API: a FileHandle costs an object and a finalizer per file, and
// closes behind one's back when it is collected.
import fs from "node:fs";
import { promisify } from "node:util";
import type { File, FileSystem, OpenMode } from "./file-system.ts";

const open = promisify(fs.open);
const close = promisify(fs.close);
const fdatasync = promisify(fs.fdatasync);
const fsync = promisify(fs.fsync);
const ftruncate = promisify(fs.ftruncate);
const fstat = promisify(fs.fstat);

const { O_RDWR, O_DSYNC } = fs.constants;
/** Elsewhere O_DSYNC is missing (Windows), or leaves the bytes in the drive's cache (macOS). */
const HAS_DURABLE_WRITE = process.platform === "linux";

const FLAGS: Readonly<Record<OpenMode, string | number>> = {
  read: "r",
  create: "w+",
  "read-write": "r+",
  append: HAS_DURABLE_WRITE ? O_RDWR | O_DSYNC : "r+",
};

/** pwritev takes at most IOV_MAX buffers. */
const BUFFERS_MAX = 1024;

export const nodeFileSystem: FileSystem = {
  open: async (path, mode) => new NodeFile(await open(path, FLAGS[mode]), mode === "append" && !HAS_DURABLE_WRITE),
  list: async (path) => (await fs.promises.readdir(path)).sort(),
  async makeFolder(path) {
    await fs.promises.mkdir(path, { recursive: true });
  },
  rename: (from, to) => fs.promises.rename(from, to),
  remove: (path) => fs.promises.unlink(path),
  removeFolder: (path) => fs.promises.rmdir(path),
  syncFolder,
  async freeBytes(path) {
    const { bavail, bsize } = await fs.promises.statfs(path);
    return bavail * bsize;
  },
};

/** Windows can neither open nor sync a folder: there NTFS journals the names by itself. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await fsync(folder);
  } finally {
    await close(folder);
  }
}

class NodeFile implements File {
  readonly #descriptor: number;
  readonly #syncsWrites: boolean;

  constructor(descriptor: number, syncsWrites: boolean) {
    this.#descriptor = descriptor;
    this.#syncsWrites = syncsWrites;
  }

  read(buffer: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#descriptor, buffer, 0, buffer.length, position, (error, count) => {
        if (error === null) resolve(count);
        else reject(error);
      });
    });
  }

  readSync(buffer: Uint8Array, position: number): number {
    return fs.readSync(this.#descriptor, buffer, 0, buffer.length, position);
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    let rest = buffers;
    let at = position;
    while (rest.length > 0) {
      const some = rest.slice(0, BUFFERS_MAX);
      const written = await this.#writeSome(some, at);
      at += written;
      rest = skip(rest, written);
    }
    if (this.#syncsWrites) await this.sync();
  }

  #writeSome(buffers: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.writev(this.#descriptor, buffers as Uint8Array[], position, (error, written) => {
        if (error === null) resolve(written);
        else reject(error);
      });
    });
  }

  sync(): Promise<void> {
    return fdatasync(this.#descriptor);
  }

  truncate(length: number): Promise<void> {
    return ftruncate(this.#descriptor, length);
  }

  async size(): Promise<number> {
    return (await fstat(this.#descriptor)).size;
  }

  close(): Promise<void> {
    return close(this.#descriptor);
  }
}

/** What is left of `buffers` behind the first `count` bytes: the kernel may write less than it was given. */
function skip(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let left = count;
  for (let i = 0; i < buffers.length; i++) {
    const buffer = buffers[i]!;
    if (left < buffer.length) {
      return left === 0 ? buffers.slice(i) : [buffer.subarray(left), ...buffers.slice(i + 1)];
    }
    left -= buffer.length;
  }
  return [];
}
