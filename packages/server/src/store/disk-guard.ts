// Keeps some of the disk free for others: drops the oldest segments of the logs that allow it while less is free, and lets
// them refuse writes when nothing is left to drop. Owned by whoever opened the logs.
//
// K1. Of all logs that want more free space than there is, the one whose oldest segment is oldest goes first.
// K2. One look drops no more than it found lacking: what a reader still holds open comes free later, and must not cost
//     a second segment.
// K3. Writes are refused only when no log is left that could drop anything, and go on by themselves with the next look
//     that finds enough.
import type { Clock, Timer } from "./contract.ts";
import type { FileSystem } from "./file-system.ts";

/** What the guard asks of a log. */
export interface GuardedLog {
  /** Unix ns; undefined: nothing to drop. */
  readonly oldestSealedAtNs: bigint | undefined;
  /** Drops the oldest sealed segment; returns its bytes, 0 when it could not go. */
  dropOldest(): Promise<number>;
  /** Refuses writes for this reason; undefined: no longer. */
  hold(why: string | undefined): void;
}

export interface DiskGuardOptions {
  /** On the disk that is watched. */
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  /** Hears of a disk that does not say what it has free; in the same words, once. */
  readonly onFault: (text: string) => void;
}

/** Between two looks. Besides, whoever makes a segment asks for one and waits for it. */
const LOOK_MS = 1000;

interface Guarded {
  readonly log: GuardedLog;
  readonly minFreeBytes: number;
}

export class DiskGuard implements AsyncDisposable {
  readonly #options: DiskGuardOptions;
  readonly #logs: Guarded[] = [];
  #timer: Timer | undefined;
  #looking: Promise<void> | undefined;
  #isAsked = false;
  #isClosed = false;
  #fault = "";

  constructor(options: DiskGuardOptions) {
    this.#options = options;
  }

  /** Watches over a log from now on. */
  add(log: GuardedLog, minFreeBytes: number): void {
    this.#logs.push({ log, minFreeBytes });
    this.#timer ??= this.#arm();
  }

  /** Looks now; when it is just doing so, once more behind that. Never rejects. */
  look(): Promise<void> {
    if (this.#logs.length === 0 || this.#isClosed) return Promise.resolve();
    this.#isAsked = true;
    this.#looking ??= this.#lookWhileAsked();
    return this.#looking;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#looking;
  }

  #arm(): Timer {
    return this.#options.clock.setTimer(() => {
      this.#timer = this.#arm();
      void this.look();
    }, LOOK_MS);
  }

  async #lookWhileAsked(): Promise<void> {
    while (this.#isAsked && !this.#isClosed) {
      this.#isAsked = false;
      await this.#look();
    }
    this.#looking = undefined;
  }

  async #look(): Promise<void> {
    const { fileSystem, folder, onFault } = this.#options;
    let free: number;
    try {
      free = await fileSystem.freeBytes(folder);
      this.#fault = "";
    } catch (error) {
      const text = `cannot find out how much of the disk is free: ${error instanceof Error ? error.message : String(error)}`;
      if (text !== this.#fault) onFault(text);
      this.#fault = text;
      return;
    }
    const dropped = await this.#makeRoom(free);
    for (const { log, minFreeBytes } of this.#logs) {
      log.hold(
        free + dropped < minFreeBytes ? `the disk has ${free} bytes free, less than ${minFreeBytes}` : undefined,
      );
    }
  }

  /** Drops segments until what they held would be enough (K2). Returns how many bytes that was. */
  async #makeRoom(free: number): Promise<number> {
    let dropped = 0;
    const stuck = new Set<GuardedLog>();
    while (!this.#isClosed) {
      const oldest = this.#findOldest(free + dropped, stuck);
      if (oldest === undefined) break;
      const bytes = await oldest.dropOldest();
      if (bytes === 0) stuck.add(oldest);
      dropped += bytes;
    }
    return dropped;
  }

  /** K1. Of the logs to which `free` bytes are too few. */
  #findOldest(free: number, stuck: ReadonlySet<GuardedLog>): GuardedLog | undefined {
    let oldest: GuardedLog | undefined;
    for (const { log, minFreeBytes } of this.#logs) {
      if (free >= minFreeBytes || stuck.has(log) || log.oldestSealedAtNs === undefined) continue;
      if (oldest?.oldestSealedAtNs === undefined || log.oldestSealedAtNs < oldest.oldestSealedAtNs) oldest = log;
    }
    return oldest;
  }
}
