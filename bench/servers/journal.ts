// Appends to one file with group commit: while one fdatasync runs, what arrives gathers for the next.

import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

export interface Journal {
  /** Resolves when the bytes are durable. */
  append(bytes: Uint8Array): Promise<void>;
}

/** @param folder undefined: a journal that drops what it is given */
export async function openJournal(folder: string | undefined): Promise<Journal> {
  if (folder === undefined) return { append: async () => {} };
  return new FileJournal(await open(join(folder, "entries.frames"), "w"));
}

class FileJournal implements Journal {
  readonly #file: FileHandle;
  #gathered: Uint8Array[] = [];
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  append(bytes: Uint8Array): Promise<void> {
    this.#gathered.push(bytes);
    this.#next ??= this.#running.then(() => this.#commit());
    return this.#next;
  }

  #commit(): Promise<void> {
    const group = this.#gathered;
    this.#gathered = [];
    this.#next = undefined;
    this.#running = this.#file.writev(group).then(() => this.#file.datasync());
    return this.#running;
  }
}

/** One message as a gRPC frame. */
export function frameOf(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return frame;
}
