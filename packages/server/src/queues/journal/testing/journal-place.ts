// A folder of its own for a journal, on the real disk, that a test opens, closes and opens again, and whose writes it can hold
// up or let fail.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import type { File, FileSystem } from "../../../store/file-system.ts";
import { nodeFileSystem } from "../../../store/file-system-node.ts";
import type { JournalOptions } from "../../../journal/options.ts";
import { type OpenQueueJournal, openQueueJournal, type QueueJournal } from "../queue-journal.ts";
import { ModelQueue } from "./model-queue.ts";

export interface OpenedModel extends AsyncDisposable {
  readonly journal: QueueJournal;
  readonly queue: ModelQueue;
}

export class JournalPlace implements AsyncDisposable {
  readonly folder: string;
  readonly clock = new ManualClock();
  readonly faults: string[] = [];
  readonly fileSystem: FileSystem;
  /** Bytes that the disk says it has free. */
  freeBytes = Number.MAX_SAFE_INTEGER;
  /** Error code of the next writes of records. */
  failWrites: "EIO" | "ENOSPC" | undefined;
  /** Writes of records wait for `release`. */
  isHeld = false;
  /** How many writes of records were asked for. */
  writes = 0;
  #held: (() => void)[] = [];

  constructor(folder: string) {
    this.folder = folder;
    this.fileSystem = {
      ...nodeFileSystem,
      open: async (path, mode) => {
        const file = await nodeFileSystem.open(path, mode);
        return mode === "append" ? this.#watched(file) : file;
      },
      freeBytes: () => Promise.resolve(this.freeBytes),
    };
  }

  static async make(): Promise<JournalPlace> {
    return new JournalPlace(await mkdtemp(join(tmpdir(), "sluice-journal-")));
  }

  /** Opens the journal with an empty model that the records fill, and writes the record of this opening. */
  async open(options: Partial<JournalOptions> = {}, request: Partial<OpenQueueJournal> = {}): Promise<OpenedModel> {
    const queue = new ModelQueue();
    const journal = await openQueueJournal({
      folder: `${this.folder}/queue`,
      name: "tax",
      fileSystem: this.fileSystem,
      clock: this.clock,
      owner: queue,
      options: { cleanBytesPerSecond: Number.POSITIVE_INFINITY, ...options },
      onFault: (text) => this.faults.push(text),
      ...request,
    });
    try {
      await journal.durable(queue.open(journal));
    } catch (error) {
      await journal[Symbol.asyncDispose]();
      throw error;
    }
    const dispose = async () => {
      this.isHeld = false;
      this.release();
      await journal[Symbol.asyncDispose]();
    };
    return { journal, queue, [Symbol.asyncDispose]: dispose };
  }

  /** Lets the writes happen that wait. */
  release(): void {
    const held = this.#held;
    this.#held = [];
    for (const go of held) go();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true });
    if (this.clock.timers > 0) throw new Error(`${this.clock.timers} timers were left`);
  }

  #watched(file: File): File {
    return {
      read: (buffer, position) => file.read(buffer, position),
      readSync: (buffer, position) => file.readSync(buffer, position),
      write: async (buffers, position) => {
        this.writes++;
        if (this.isHeld) await new Promise<void>((resolve) => this.#held.push(resolve));
        const { failWrites: code } = this;
        // What fails may have come to disk all the same.
        await file.write(buffers, position);
        if (code !== undefined) throw Object.assign(new Error(`${code}: write`), { code });
      },
      sync: () => file.sync(),
      truncate: (length) => file.truncate(length),
      size: () => file.size(),
      close: () => file.close(),
    };
  }
}
