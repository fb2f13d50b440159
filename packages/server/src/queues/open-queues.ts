// All queues of a data folder: opened at the start, made, removed, and opened again when a journal has failed. Owned by the
// composition root.
//
//   queues/<name>/       a queue: its journal
//   queues/.new-<name>   one that was not made to its end
//   queues/.gone-<name>  one that is being removed
//
// C1. A queue is there from the moment its folder has its name, and no longer than that. It gets the name when its first
//     record is durable; neither the making nor the removing is answered before the folder above was synced. What a crash
//     leaves of either has another name, and is removed at the next start.
// C2. A queue whose records do not prove themselves is refused, by an error that says so, until somebody mends or removes it;
//     all others are served. One that cannot be opened for another reason is tried again, later and later.
// C3. What the queues keep in memory is bounded for all of them together.
import { AlreadyExists, DataLoss, LimitExceeded, NotFound, SluiceError } from "../errors.ts";
import { DiskSpace } from "../journal/disk-space.ts";
import type { JournalOptions } from "../journal/options.ts";
import { RecordBatches } from "../journal/record-batch.ts";
import { shareOf } from "../journal/share.ts";
import type { Clock, Timer } from "../store/contract.ts";
import type { DataFolder } from "../store/data-folder.ts";
import { makeFolderIn } from "../store/data-folder.ts";
import { errorCode, type FileSystem } from "../store/file-system.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { EngineBeforeOpen, EngineOptions, OpenQueue, QueueCatalog, QueueEngine, Settings } from "./contract.ts";
import { openQueueJournal, type QueueJournal, queueRecords } from "./journal/queue-journal.ts";
import { removeTree } from "./remove-tree.ts";
import { isQueueName } from "./requests.ts";

/** Opened at once: replay takes a core each. */
const OPENED_AT_ONCE = 4;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 30_000;
/** A queue that has been open for so long begins with the shortest pause again. */
const STEADY_MS = 60_000;
const NEW_PREFIX = ".new-";
const GONE_PREFIX = ".gone-";

export interface OpenQueuesRequest {
  readonly folder: Pick<DataFolder, "path" | "queuesFolder">;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly logger: Logger;
  readonly queuesMax: number;
  /** `engine/queue.ts`. */
  readonly createEngine: (options: EngineOptions) => EngineBeforeOpen;
  readonly journal?: Partial<JournalOptions>;
}

/** The queues of a data folder; disposing closes them. */
export interface OpenQueues extends QueueCatalog, AsyncDisposable {}

type Entry =
  | { readonly kind: "open"; readonly queue: ServedQueue }
  /** Not there yet. */
  | { readonly kind: "making" }
  /** Being opened, also for another time. */
  | { readonly kind: "opening"; readonly done: Promise<void> }
  | { readonly kind: "waiting"; readonly error: Error; readonly timer: Timer }
  /** C2. */
  | { readonly kind: "refused"; readonly error: DataLoss }
  | { readonly kind: "removing" };

/** Opens all queues that are there. A queue that cannot be opened keeps no other from it. */
export async function openQueues(request: OpenQueuesRequest): Promise<OpenQueues> {
  const queues = new FolderQueues(request);
  try {
    await queues.open();
    return queues;
  } catch (error) {
    await queues[Symbol.asyncDispose]();
    throw error;
  }
}

class ServedQueue implements OpenQueue {
  readonly name: string;
  readonly engine: QueueEngine;
  readonly journal: QueueJournal;
  readonly openedMs: number;
  readonly #listeners: ((error: Error) => void)[] = [];
  #error: Error | undefined;

  constructor(parts: { name: string; engine: QueueEngine; journal: QueueJournal; openedMs: number }) {
    this.name = parts.name;
    this.engine = parts.engine;
    this.journal = parts.journal;
    this.openedMs = parts.openedMs;
  }

  onClosed(listener: (error: Error) => void): void {
    if (this.#error === undefined) this.#listeners.push(listener);
    else listener(this.#error);
  }

  /** Nothing more is decided; sessions hear of it. */
  close(error: Error): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.engine.close();
    for (const listener of this.#listeners) listener(error);
  }
}

class FolderQueues implements OpenQueues {
  readonly #request: OpenQueuesRequest;
  readonly #entries = new Map<string, Entry>();
  readonly #space: DiskSpace;
  readonly #batches = new RecordBatches(queueRecords);
  /** Of each queue that could not be opened or failed: the next pause. */
  readonly #pauses = new Map<string, number>();
  /** What runs, and was not asked for by a call that waits for it. */
  readonly #background = new Set<Promise<void>>();
  #isClosed = false;

  constructor(request: OpenQueuesRequest) {
    this.#request = request;
    const { folder, fileSystem, clock } = request;
    this.#space = new DiskSpace({ folder: folder.path, fileSystem, clock });
  }

  /** Opens what is there, and removes what is no queue any more or not yet (C1). */
  async open(): Promise<void> {
    const { folder, fileSystem, logger } = this.#request;
    await makeFolderIn(fileSystem, folder.path, folder.queuesFolder);
    const names: string[] = [];
    for (const name of await fileSystem.list(folder.queuesFolder)) {
      if (isQueueName(name)) names.push(name);
      else if (name.startsWith(NEW_PREFIX) || name.startsWith(GONE_PREFIX)) await this.#clear(name);
      else
        logger.warn({ event: "queue-ignored", queue: name }, "a folder among the queues has not the name of a queue");
    }
    const waiting = [...names];
    const openSome = async () => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        await this.#reopen(name, names.length);
      }
    };
    await Promise.all(Array.from({ length: OPENED_AT_ONCE }, openSome));
  }

  find(name: string): OpenQueue | undefined {
    const entry = this.#entries.get(name);
    switch (entry?.kind) {
      case undefined:
      case "making":
      case "removing":
        return undefined;
      case "open":
        return entry.queue;
      case "opening":
        throw notNow(name, "it is being opened");
      case "waiting":
        throw notNow(name, entry.error.message);
      case "refused":
        throw entry.error;
      default:
        return entry satisfies never;
    }
  }

  list(): readonly OpenQueue[] {
    const open: OpenQueue[] = [];
    for (const entry of this.#entries.values()) if (entry.kind === "open") open.push(entry.queue);
    return open.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async create(name: string, settings: Settings): Promise<OpenQueue> {
    if (!isQueueName(name)) throw new Error(`Not the name of a queue: "${name}"`);
    this.#assertOpen();
    if (this.#entries.has(name)) throw new AlreadyExists("queue", name, "choose another name, or update it");
    const { queuesMax } = this.#request;
    if (this.#entries.size >= queuesMax) {
      throw new LimitExceeded(`Cannot create queue "${name}": there are ${this.#entries.size}, the limit`, "queues");
    }
    this.#entries.set(name, { kind: "making" });
    return this.#tracked(async () => {
      try {
        await this.#make(name, settings);
        const queue = await this.#openQueue(name, name, this.#entries.size);
        return this.#serve(queue);
      } catch (error) {
        this.#entries.delete(name);
        // The call has failed, so there is no such queue; where this fails as well, the next start has it.
        await this.#clear(name).catch(() => undefined);
        await this.#clear(NEW_PREFIX + name).catch(() => undefined);
        throw error;
      }
    });
  }

  async remove(name: string): Promise<void> {
    this.#assertOpen();
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.kind === "making" || entry.kind === "removing") {
      throw new NotFound("queue", name, "list the queues that are there");
    }
    if (entry.kind === "opening") throw notNow(name, "it is being opened");
    this.#entries.set(name, { kind: "removing" });
    await this.#tracked(async () => {
      if (entry.kind === "waiting") entry.timer.cancel();
      if (entry.kind === "open") {
        entry.queue.close(new NotFound("queue", name, "it was deleted"));
        await this.#close(entry.queue);
      }
      try {
        await this.#rename(name);
      } catch (error) {
        await this.#reopen(name, this.#entries.size);
        throw error;
      }
      this.#entries.delete(name);
      this.#pauses.delete(name);
      await this.#clear(GONE_PREFIX + name).catch((error: unknown) => this.#fault(name, "remove the files", error));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const entry of this.#entries.values()) if (entry.kind === "waiting") entry.timer.cancel();
    while (this.#background.size > 0) await Promise.allSettled(this.#background);
    const closing = [...this.#entries.values()].map(async (entry) => {
      if (entry.kind !== "open") return;
      entry.queue.engine.close();
      await this.#close(entry.queue);
    });
    this.#entries.clear();
    await Promise.all(closing);
    await this.#space[Symbol.asyncDispose]();
  }

  /** C1. A queue of this name and these settings, on disk. */
  async #make(name: string, settings: Settings): Promise<void> {
    const { fileSystem } = this.#request;
    const maker = NEW_PREFIX + name;
    await this.#clear(maker);
    await this.#clear(name);
    const made = await this.#openQueue(name, maker, this.#entries.size, settings);
    made.engine.close();
    await made.journal[Symbol.asyncDispose]();
    // Its name is durable when it is opened by it: `openLog` syncs the folder above.
    await fileSystem.rename(this.#path(maker), this.#path(name));
  }

  /** C1. */
  async #rename(name: string): Promise<void> {
    const { fileSystem, folder } = this.#request;
    await this.#clear(GONE_PREFIX + name);
    await fileSystem.rename(this.#path(name), this.#path(GONE_PREFIX + name));
    await fileSystem.syncFolder(folder.queuesFolder);
  }

  async #clear(folderName: string): Promise<void> {
    await removeTree(this.#request.fileSystem, this.#path(folderName));
  }

  /** @param count of queues that share what there is (C3) */
  async #openQueue(name: string, folderName: string, count: number, settings?: Settings): Promise<ServedQueue> {
    const { fileSystem, clock, random, createEngine, logger } = this.#request;
    const before = createEngine({ name, clock, random });
    const journal = await openQueueJournal({
      folder: this.#path(folderName),
      name,
      fileSystem,
      clock,
      owner: before,
      space: this.#space,
      batches: this.#batches,
      options: { ...shareOf(count), ...this.#request.journal },
      onFault: (text) => logger.warn({ event: "queue-fault", queue: name }, text),
    });
    try {
      if (journal.replayed === 0 && settings === undefined) {
        const path = this.#path(folderName);
        throw new DataLoss(
          `Cannot open queue "${name}": ${path} holds no record of it; restore it, or delete the queue`,
          {
            queue: name,
            folder: path,
          },
        );
      }
      const { value: engine, place } = before.open(journal, settings);
      await journal.durable(place);
      return new ServedQueue({ name, engine, journal, openedMs: clock.monotonicMs() });
    } catch (error) {
      await journal[Symbol.asyncDispose]();
      throw error;
    }
  }

  #serve(queue: ServedQueue): ServedQueue {
    const { name } = queue;
    this.#entries.set(name, { kind: "open", queue });
    queue.journal.onFailure((error) => {
      if (this.#isClosed || this.#queueOf(name) !== queue) return;
      this.#fault(name, "go on", error);
      queue.close(error);
      if (this.#request.clock.monotonicMs() - queue.openedMs > STEADY_MS) this.#pauses.delete(name);
      const done = this.#tracked(async () => {
        await this.#close(queue);
        this.#retryLater(name, error);
      });
      this.#entries.set(name, { kind: "opening", done });
    });
    return queue;
  }

  #queueOf(name: string): ServedQueue | undefined {
    const entry = this.#entries.get(name);
    return entry?.kind === "open" ? entry.queue : undefined;
  }

  /** Opens a queue that is on disk. Never rejects (C2). */
  #reopen(name: string, count: number): Promise<void> {
    const done = this.#tracked(async () => {
      try {
        const queue = await this.#openQueue(name, name, count);
        if (this.#isClosed) await this.#close(queue);
        else this.#serve(queue);
      } catch (error) {
        this.#fault(name, "open", error);
        if (error instanceof DataLoss) this.#entries.set(name, { kind: "refused", error });
        else this.#retryLater(name, error instanceof Error ? error : new Error(String(error)));
      }
    });
    this.#entries.set(name, { kind: "opening", done });
    return done;
  }

  /** C2. */
  #retryLater(name: string, error: Error): void {
    if (this.#isClosed) return;
    const pause = this.#pauses.get(name) ?? RETRY_FIRST_MS;
    this.#pauses.set(name, Math.min(2 * pause, RETRY_MAX_MS));
    const timer = this.#request.clock.setTimer(() => void this.#reopen(name, this.#entries.size), pause);
    this.#entries.set(name, { kind: "waiting", error, timer });
  }

  /** The log of a queue that is no longer used. */
  async #close(queue: ServedQueue): Promise<void> {
    try {
      await queue.journal[Symbol.asyncDispose]();
    } catch (error) {
      this.#fault(queue.name, "close", error);
    }
  }

  /** Disposing waits for it. */
  #tracked<T>(work: () => Promise<T>): Promise<T> {
    const running = work();
    const ended = running.then(
      () => undefined,
      () => undefined,
    );
    this.#background.add(ended);
    void ended.then(() => this.#background.delete(ended));
    return running;
  }

  #assertOpen(): void {
    if (this.#isClosed)
      throw new SluiceError("unavailable", "Cannot change queues: the server is stopping", {
        reason: "DRAINING",
        retryAfterMs: RETRY_FIRST_MS,
      });
  }

  #path(folderName: string): string {
    return `${this.#request.folder.queuesFolder}/${folderName}`;
  }

  #fault(name: string, what: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.#request.logger.error({ event: "queue-fault", queue: name, code: errorCode(error) }, `cannot ${what}: ${why}`);
  }
}

function notNow(name: string, why: string): SluiceError {
  return new SluiceError("unavailable", `Cannot use queue "${name}" now: ${why}`, {
    reason: "QUEUE_NOT_OPEN",
    retryAfterMs: 1000,
  });
}
