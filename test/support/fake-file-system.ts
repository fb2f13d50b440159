// A file system in memory that keeps its promises to the letter and nothing beyond them, deterministic from a seed.
//
// FF1. What was written is seen at once by whoever reads (the system's cache), and survives the end of the process.
// FF2. After a power cut, of what was not synced any part may be there: each sector of each write by itself, each change
//      of a folder by itself; of a rename from one folder to another both or none. What was synced is there: such a rename
//      when the folder that it went to was.
// FF3. A sync that fails has taken its chance: the cache keeps the bytes, but no later sync brings them to disk unless
//      they are written again. So do Linux file systems.
// FF4. A process that has ended does nothing more: what it had open is dead, what it still asks for fails.
import type { File, FileSystem, OpenMode } from "../../packages/server/src/store/file-system.ts";
import { FakeFolder, FakeInode } from "./fake-file-system-disk.ts";

/** What the store asks for, before it happens. */
export interface Operation {
  readonly kind: OperationKind;
  readonly path: string;
  /** For syncs: the function that asked, such as "openLast". */
  readonly site: string;
}

export type OperationKind =
  | "open"
  | "create"
  | "list"
  | "make-folder"
  | "rename"
  | "remove"
  | "sync-folder"
  | "read"
  | "write"
  | "sync"
  | "truncate";

/** What becomes of an operation. */
export type Fate =
  | "done"
  /** It says that it is done, and nothing has happened. */
  | "ignored"
  /** The process ends before it. */
  | "killed"
  /** The process ends in the midst of it: of a write, the beginning is there. */
  | "killed-within"
  /** It fails. Of a write, the beginning may be there. */
  | { readonly code: "EIO" | "ENOSPC" };

export class FakeFileSystem {
  /** Decides what becomes of each operation. */
  plan: (operation: Operation) => Fate = () => "done";
  /** Says which bytes of a file cannot be read. */
  readFault: (read: { path: string; start: number; end: number }) => boolean = () => false;
  /** What a sync that fails brings to disk nevertheless: nothing, or any part. */
  failedSync: "nothing" | "any-part" = "nothing";
  /** What the disk says that it has free. */
  freeBytes: () => number = () => Number.MAX_SAFE_INTEGER;
  readonly #random: () => number;
  readonly #root = new FakeFolder();
  #process: FakeProcess;

  /** @param random numbers in 0..1, from a seed. */
  constructor(random: () => number) {
    this.#random = random;
    this.#process = this.#start();
  }

  /** The file system as the process that runs now sees it. */
  get fileSystem(): FileSystem {
    return this.#process;
  }

  /** Whether the plan has ended the process that was started last. */
  get isDead(): boolean {
    return this.#process.isDead;
  }

  /** The process ends; what it wrote is in the system's cache. The next one may start. */
  kill(): void {
    this.#process.isDead = true;
    this.#process = this.#start();
  }

  /** The power goes: what was not synced is there in part, or not at all (FF2). The next process may start. */
  cutPower(mode: "nothing-unsynced" | "any-part-unsynced"): void {
    this.kill();
    this.#root.cutPower(mode === "nothing-unsynced" ? () => false : () => this.#random() < 0.5);
  }

  /** Flips the bits of a stored byte, behind everybody's back. */
  damage(path: string, position: number): void {
    this.#root.file(path).damage(position);
  }

  /** Cuts a file, durably, behind everybody's back: what the repair of a file system may leave. */
  shorten(path: string, length: number): void {
    this.#root.file(path).shorten(length);
  }

  /** Removes a file, durably, behind everybody's back. */
  lose(path: string): void {
    this.#root.lose(path);
  }

  /** Without the zeros at the end: room that was made for what comes. */
  writtenBytesOf(path: string): Buffer {
    const bytes = this.bytesOf(path);
    return bytes.subarray(0, bytes.findLastIndex((byte) => byte !== 0) + 1);
  }

  bytesOf(path: string): Buffer {
    return this.#root.file(path).content();
  }

  /** What a file has after a power cut, at least. */
  durableBytesOf(path: string): Buffer {
    return this.#root.file(path).durableContent();
  }

  /** Whether there is a folder at a path. */
  hasFolder(path: string): boolean {
    return this.#root.hasFolder(path);
  }

  /** Names in a folder, as the cache has them. */
  names(path: string): string[] {
    return this.#root.folder(path).names();
  }

  #start(): FakeProcess {
    return new FakeProcess(this.#root, this.#random, {
      keepsOfFailedSync: () => this.failedSync === "any-part" && this.#random() < 0.5,
      plan: (operation) => this.plan(operation),
      readFault: (read) => this.readFault(read),
      freeBytes: () => this.freeBytes(),
    });
  }
}

interface Faults extends Pick<FakeFileSystem, "plan" | "readFault" | "freeBytes"> {
  readonly keepsOfFailedSync: () => boolean;
}

/** One life of a process that uses the disk. */
class FakeProcess implements FileSystem {
  isDead = false;
  readonly #root: FakeFolder;
  readonly #random: () => number;
  readonly #faults: Faults;

  constructor(root: FakeFolder, random: () => number, faults: Faults) {
    this.#root = root;
    this.#random = random;
    this.#faults = faults;
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    return this.#do({ kind: mode === "create" ? "create" : "open", path, site: "" }, () => {
      const inode = mode === "create" ? this.#root.create(path) : this.#root.file(path);
      return this.#fileOf(inode, path, mode);
    });
  }

  list(path: string): Promise<string[]> {
    return this.#do({ kind: "list", path, site: "" }, () => this.#root.folder(path).names());
  }

  async makeFolder(path: string): Promise<void> {
    await this.#do({ kind: "make-folder", path, site: "" }, () => this.#root.makeFolder(path));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#do({ kind: "rename", path: from, site: "" }, () => this.#root.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#do({ kind: "remove", path, site: "" }, () => this.#root.remove(path));
  }

  removeFolder(path: string): Promise<void> {
    return this.#do({ kind: "remove", path, site: "" }, () => this.#root.removeFolder(path));
  }

  syncFolder(path: string): Promise<void> {
    return this.#do({ kind: "sync-folder", path, site: callingFunction() }, () => this.#root.folder(path).sync());
  }

  /** As much as the test says. */
  freeBytes(path: string): Promise<number> {
    return this.#do({ kind: "list", path, site: "" }, () => this.#faults.freeBytes());
  }

  #fileOf(inode: FakeInode, path: string, mode: OpenMode): File {
    const sync = (site: string): Promise<void> =>
      this.#do({ kind: "sync", path, site }, () => inode.sync(), {
        failed: () => inode.failSync(this.#faults.keepsOfFailedSync),
      });
    return {
      read: (buffer, position) => {
        const operation = { kind: "read", path, site: "" } as const;
        return this.#do(operation, () => {
          if (this.#faults.readFault({ path, start: position, end: position + buffer.length })) {
            throw systemError("EIO", operation);
          }
          return inode.read(buffer, position);
        });
      },
      readSync: (buffer, position) => inode.read(buffer, position),
      write: async (buffers, position) => {
        const site = callingFunction();
        const bytes = Buffer.concat(buffers);
        const part = () => inode.write(bytes.subarray(0, Math.floor(this.#random() * bytes.length)), position);
        await this.#do({ kind: "write", path, site: "" }, () => inode.write(bytes, position), {
          within: part,
          failed: part,
        });
        if (mode === "append") await sync(site);
      },
      sync: () => sync(callingFunction()),
      truncate: (length) => this.#do({ kind: "truncate", path, site: "" }, () => inode.truncate(length)),
      size: () => Promise.resolve(inode.length),
      close: () => Promise.resolve(),
    };
  }

  /**
   * Does what the plan says; the answer comes in a later turn of the event loop. `effects` are what is left of an
   * operation within which the process ended, or which failed.
   */
  async #do<T>(
    operation: Operation,
    work: () => T,
    effects: { within?: () => void; failed?: () => void } = {},
  ): Promise<T> {
    if (this.isDead) throw systemError("EDEAD", operation);
    const fate = this.#faults.plan(operation);
    if (fate === "killed" || fate === "killed-within") this.isDead = true;
    if (fate === "killed-within") effects.within?.();
    if (typeof fate === "object") effects.failed?.();
    const result = fate === "done" ? work() : undefined;
    await nextTurn();
    if (typeof fate === "object") throw systemError(fate.code, operation);
    if (this.isDead) throw systemError("EDEAD", operation);
    return result as T;
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function systemError(code: string, { kind, path }: Operation): Error {
  return Object.assign(new Error(`${code}: ${kind} '${path}'`), { code });
}

/** The name of the store's function that called: the innermost frame that is not of this file. */
function callingFunction(): string {
  const frames = (new Error("to read its stack").stack ?? "").split("\n").slice(1);
  const frame = frames.find((line) => !line.includes("fake-file-system")) ?? "";
  return /at (?:async )?(?:.*\.)?(#?\w+) \(/.exec(frame)?.[1] ?? frame.trim();
}
