// Open files for reading, shared by all readers and bounded: a sealed segment is opened when somebody reads it, and
// closed when others were read more recently.
//
// L1. At most `openMax` files are open, besides those that are being read at this moment.
// L2. A file that is being read is not closed: `forget` and the bound close it when the last read of it has ended.
import type { File, FileSystem } from "./file-system.ts";

interface Entry {
  readonly file: Promise<File>;
  uses: number;
  isDoomed: boolean;
}

export class FilePool {
  readonly #fileSystem: FileSystem;
  readonly #openMax: number;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  /** Files being closed. */
  readonly #closing = new Set<Promise<void>>();

  constructor(fileSystem: FileSystem, options: { openMax: number }) {
    this.#fileSystem = fileSystem;
    this.#openMax = options.openMax;
  }

  get openCount(): number {
    return this.#entries.size;
  }

  /** Lends the open file to `use`. */
  async use<T>(path: string, use: (file: File) => Promise<T>): Promise<T> {
    const entry = this.#enter(path);
    try {
      return await use(await entry.file);
    } catch (error) {
      // A file that could not be opened, or be read, gets a new try with the next use.
      this.#doom(path, entry);
      throw error;
    } finally {
      entry.uses--;
      if (entry.isDoomed && entry.uses === 0) this.#close(entry);
    }
  }

  /** Lets go of a file that will be removed or replaced. */
  forget(path: string): void {
    const entry = this.#entries.get(path);
    if (entry === undefined) return;
    this.#doom(path, entry);
    if (entry.uses === 0) this.#close(entry);
  }

  /** Closes all; resolves when they are closed. Nobody may use the pool any more. */
  async close(): Promise<void> {
    for (const path of this.#entries.keys()) this.forget(path);
    await Promise.all(this.#closing);
  }

  #enter(path: string): Entry {
    let entry = this.#entries.get(path);
    if (entry === undefined) {
      entry = { file: this.#fileSystem.open(path, "read"), uses: 0, isDoomed: false };
    } else {
      this.#entries.delete(path);
    }
    this.#entries.set(path, entry);
    entry.uses++;
    this.#trim();
    return entry;
  }

  #trim(): void {
    for (const [path, entry] of this.#entries) {
      if (this.#entries.size <= this.#openMax) return;
      if (entry.uses === 0) this.forget(path);
    }
  }

  #doom(path: string, entry: Entry): void {
    entry.isDoomed = true;
    if (this.#entries.get(path) === entry) this.#entries.delete(path);
  }

  #close(entry: Entry): void {
    const closing = entry.file.then((file) => file.close()).catch(() => undefined);
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }
}
