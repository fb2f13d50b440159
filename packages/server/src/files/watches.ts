// All watches: who watches the same folder shares one scanner and one picture.
//
// WA1. A picture that nobody watches is kept for a while, so that who comes back is told what happened meanwhile; the one at
//      rest for longest gives way when memory is needed.
import { Draining, LimitExceeded } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";
import { Heartbeats } from "../stream/heartbeat.ts";
import type { FileRoot } from "./file-path.ts";
import { levelOf, openLevel, topLevel } from "./read-folder.ts";
import { Watch } from "./watch.ts";
import type { FolderWatching } from "./watch-folders.ts";
import { type EntryBudget, Picture } from "./watch-picture.ts";
import type { WatchQuery } from "./watch-query.ts";
import { Scanner } from "./watch-scanner.ts";
import { LookTurns } from "./watch-turns.ts";

/** Looks at the same time: the thread pool has other work, too. */
const LOOKS_MAX = 4;
/** WA1 */
const REST_MS = 10 * 60_000;

export interface WatchLimits {
  readonly watchesMax: number;
  readonly watchEntriesMax: number;
  readonly watchRemovalsMax: number;
}

/** One folder that is watched, or was lately. */
interface Watched {
  readonly scanner: Scanner;
  readonly watches: Set<Watch>;
  resting: Timer | undefined;
}

export interface WatchesOptions {
  readonly roots: readonly FileRoot[];
  readonly watching: FolderWatching;
  readonly clock: Clock;
  readonly limits: WatchLimits;
}

export class Watches implements AsyncDisposable {
  readonly #options: WatchesOptions;
  readonly #heartbeats: Heartbeats;
  readonly #turns = new LookTurns(LOOKS_MAX);
  /** By what is watched, the one at rest for longest first. */
  readonly #watched = new Map<string, Watched>();
  readonly #closing = new Set<Promise<void>>();
  #count = 0;
  #entries = 0;
  #isDraining = false;

  constructor(options: WatchesOptions) {
    this.#options = options;
    this.#heartbeats = new Heartbeats(options.clock);
  }

  /** How many watches are open. */
  get count(): number {
    return this.#count;
  }

  /** Whoever opens a watch must `close` it when the call ends. @throws Draining, LimitExceeded, PermissionDenied, InvalidRequest */
  async open(query: WatchQuery): Promise<Watch> {
    const { roots, clock, limits } = this.#options;
    if (this.#isDraining) throw new Draining();
    if (this.#count >= limits.watchesMax) {
      const message = `Cannot open another watch: the limit is ${limits.watchesMax} at the same time; try again later`;
      throw new LimitExceeded(message, "watches", { retryAfterMs: 5_000 });
    }
    this.#count++;
    try {
      const level = query.folder === undefined ? topLevel(roots) : levelOf(query.folder);
      await (await openLevel(level))[Symbol.asyncDispose]();
      if (this.#isDraining) throw new Draining();
      const key = JSON.stringify([query.folder?.text, query.isRecursive]);
      const watched = this.#watched.get(key) ?? this.#begin(key, query);
      watched.resting?.cancel();
      watched.resting = undefined;
      const watch = new Watch({
        query,
        scanner: watched.scanner,
        heartbeats: this.#heartbeats,
        clock,
        onClose: (closed) => {
          this.#count--;
          watched.watches.delete(closed);
          if (watched.watches.size === 0) this.#rest(key, watched);
        },
      });
      watched.watches.add(watch);
      return watch;
    } catch (error) {
      this.#count--;
      throw error;
    }
  }

  /** Ends all watches, and admits no more. */
  drain(): void {
    this.#isDraining = true;
    for (const { watches } of this.#watched.values()) for (const watch of watches) watch.interrupt();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.drain();
    for (const [key, watched] of this.#watched) this.#drop(key, watched);
    await Promise.all(this.#closing);
  }

  #begin(key: string, { folder, isRecursive }: WatchQuery): Watched {
    const { roots, watching, clock, limits } = this.#options;
    const watches = new Set<Watch>();
    const scanner = new Scanner({
      level: folder === undefined ? topLevel(roots) : levelOf(folder),
      isRecursive,
      picture: new Picture({ budget: this.#budget(), removalsMax: limits.watchRemovalsMax }),
      watching,
      clock,
      turns: this.#turns,
      onMoved() {
        for (const watch of watches) watch.onMoved();
      },
      onFailed: (error) => {
        this.#drop(key, watched);
        for (const watch of watches) watch.fail(error);
      },
    });
    const watched: Watched = { scanner, watches, resting: undefined };
    this.#watched.set(key, watched);
    return watched;
  }

  #rest(key: string, watched: Watched): void {
    if (this.#watched.get(key) !== watched) return;
    watched.scanner.rest();
    // Behind those that rest for longer.
    this.#watched.delete(key);
    this.#watched.set(key, watched);
    watched.resting = this.#options.clock.setTimer(() => this.#drop(key, watched), REST_MS);
  }

  #drop(key: string, watched: Watched): void {
    watched.resting?.cancel();
    if (this.#watched.get(key) === watched) this.#watched.delete(key);
    const closing = watched.scanner.close();
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }

  #budget(): EntryBudget {
    const max = this.#options.limits.watchEntriesMax;
    return {
      take: () => {
        if (this.#entries >= max && !this.#dropResting()) return false;
        this.#entries++;
        return true;
      },
      give: (count) => {
        this.#entries -= count;
      },
      exceeded() {
        const message = `Cannot watch this folder: with it more than ${max} files and folders would be watched; watch less of it`;
        return new LimitExceeded(message, "watched files");
      },
    };
  }

  /** WA1. Returns whether there is room now. */
  #dropResting(): boolean {
    for (const [key, watched] of this.#watched) {
      if (watched.resting === undefined) continue;
      this.#drop(key, watched);
      if (this.#entries < this.#options.limits.watchEntriesMax) return true;
    }
    return false;
  }
}
