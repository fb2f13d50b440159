// Keeps a picture true, as long as somebody watches: looks into folders when the system hints that something changed there,
// and from time to time anyway.
//
// WS1. What is there is decided by looking alone: hints say where and when. So a lost hint costs time, never a change.
// WS2. A folder's hints are asked for before it is read: what changes meanwhile is looked at again.
// WS3. Every look goes by the path from the shared folder on (open-inside.ts): what was swapped in leads nowhere.
// WS4. One look at a time, few in the whole server (LookTurns), and at most half of the time (of all folders: a tenth) goes into looking.
// WS5. At rest it holds nothing but its picture; who comes back has everything looked at first.
import { InvalidRequest, LimitExceeded, PermissionDenied } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";
import { nextTurn } from "../stream/turn.ts";
import { errorCode } from "../store/file-system.ts";
import { type FileVersion, isSameFile } from "./file-version.ts";
import { type FolderEntry, type Level, levelOf, openLevel, type OpenLevel } from "./read-folder.ts";
import type { FolderWatching } from "./watch-folders.ts";
import { type Entry, Picture } from "./watch-picture.ts";
import type { LookTurns } from "./watch-turns.ts";

/** From a hint to the look, so that one look serves many hints. */
const SETTLE_MS = 50;
/** How often folders are looked into of which no hints come, and whether the watched folder itself still is that. */
const LOOK_MS = 2_000;
/** How often all are looked into although hints come. */
const LOOK_AT_ALL_MS = 60_000;
/** Looks at all folders take a tenth of the time, at most. */
const ALL_SHARE = 10;
/** Names looked at one by one; beyond that the folder is read. */
const NAMES_MAX = 1_000;
/** Files described at the same time, and entries changed in one turn of the event loop. */
const BATCH = 256;
const DEPTH_MAX = 256;

export interface ScannerOptions {
  readonly level: Level;
  readonly isRecursive: boolean;
  readonly picture: Picture;
  readonly watching: FolderWatching;
  readonly clock: Clock;
  /** Of all scanners. */
  readonly turns: LookTurns;
  /** There may be something to tell. */
  readonly onMoved: () => void;
  /** It cannot go on. */
  readonly onFailed: (error: unknown) => void;
}

/** Where to look: for these names, or for all that is in the folder. */
type Look = readonly [folder: Folder, names: ReadonlySet<string> | undefined];

/** A folder that is kept true. */
interface Folder {
  readonly entry: Entry;
  readonly level: Level;
  readonly depth: number;
  /** As it was opened last; undefined: it could not be, so there is nothing to see in it. */
  version: FileVersion | undefined;
  /** Ends the hints; undefined: none come. */
  watch: Disposable | undefined;
}

export class Scanner {
  readonly picture: Picture;
  readonly #options: ScannerOptions;
  readonly #top: Folder;
  readonly #folders = new Map<Entry, Folder>();
  /** Where something may have changed. */
  readonly #hints = new Map<Folder, Set<string> | undefined>();
  #unsubscribe: (() => void) | undefined;
  #state: "resting" | "waiting" | "looking" | "closed" = "resting";
  #timer: { readonly timer: Timer; readonly dueMs: number } | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** Everything must be looked at. */
  #isStale = true;
  /** Somebody waits for a look. */
  #isAsked = false;
  #looks = 0;
  /** What was last told of. */
  #toldTo = 0;
  #allEndedMs = 0;
  #allTookMs = 0;
  /** WS4: not before, unless somebody asks. */
  #restedMs = 0;

  constructor(options: ScannerOptions) {
    const { picture, level } = options;
    this.#options = options;
    this.picture = picture;
    this.#top = { entry: picture.top, level, depth: 0, version: undefined, watch: undefined };
    this.#folders.set(this.#top.entry, this.#top);
  }

  /** How many looks have ended. */
  get looks(): number {
    return this.#looks;
  }

  /** Begins to look, or goes on after a rest. Returns the look that will have seen all that has happened until now. */
  ask(): number {
    this.#isAsked = true;
    if (this.#state === "resting") {
      this.#state = "waiting";
      this.#unsubscribe = this.#options.watching.onMissing(() => {
        this.#isStale = true;
        this.#lookWithin(SETTLE_MS);
      });
    }
    if (this.#state === "looking") return this.#looks + 2;
    this.#lookWithin(0);
    return this.#looks + 1;
  }

  /** Nobody watches now. WS5 */
  rest(): void {
    if (this.#state === "closed") return;
    this.#timer?.timer.cancel();
    this.#timer = undefined;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    for (const folder of this.#folders.values()) unwatch(folder);
    this.#hints.clear();
    this.#isStale = true;
    this.#isAsked = false;
    this.#state = "resting";
  }

  /** Gives the picture up. Resolves when nothing is under way. Idempotent. */
  async close(): Promise<void> {
    this.rest();
    if (this.#state !== "closed") this.picture.close();
    this.#state = "closed";
    await this.#looking;
  }

  #lookWithin(ms: number): void {
    if (this.#state !== "waiting") return;
    const nowMs = this.#options.clock.monotonicMs();
    const dueMs = ms === 0 ? nowMs : Math.max(nowMs + ms, this.#restedMs);
    if (this.#timer !== undefined) {
      if (this.#timer.dueMs <= dueMs) return;
      this.#timer.timer.cancel();
    }
    const timer = this.#options.clock.setTimer(() => {
      this.#timer = undefined;
      this.#looking = this.#looking.then(() => this.#look());
    }, dueMs - nowMs);
    this.#timer = { timer, dueMs };
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    if (this.#state !== "waiting") return;
    this.#state = "looking";
    const wasAsked = this.#isAsked;
    this.#isAsked = false;
    const endTurn = await this.#options.turns.begin();
    try {
      if (this.#isLooking()) await this.#lookNow(wasAsked);
    } finally {
      endTurn();
    }
  }

  async #lookNow(wasAsked: boolean): Promise<void> {
    const startMs = this.#options.clock.monotonicMs();
    let isDone = false;
    try {
      // What the system hinted at before somebody asked is heard in the next turn.
      if (wasAsked) await nextTurn();
      await this.#lookWhereNeeded(startMs, wasAsked);
      if (!this.#isLooking()) return;
      isDone = true;
      this.#looks++;
    } catch (error) {
      if (!this.#isLooking()) return;
      if (!(error instanceof LimitExceeded) || error.facts.retryAfterMs === undefined) {
        this.#options.onFailed(error);
        return;
      }
      this.#isStale = true;
      this.#isAsked ||= wasAsked;
    }
    this.#state = "waiting";
    const nowMs = this.#options.clock.monotonicMs();
    // A look at all of it has a bound of its own, and nobody should wait for what happened during the first.
    this.#restedMs = this.#allEndedMs > startMs ? nowMs : nowMs + (nowMs - startMs);
    const isSoon = this.#hints.size > 0 || this.#isStale;
    this.#lookWithin(!isDone ? LOOK_MS : this.#isAsked ? 0 : isSoon ? SETTLE_MS : LOOK_MS);
    this.#tell();
  }

  async #lookWhereNeeded(startMs: number, wasAsked: boolean): Promise<void> {
    if (this.#mustLookAtAll(startMs, wasAsked) || (await this.#isOtherTop())) {
      this.#isStale = false;
      this.#hints.clear();
      await this.#lookInto([...this.#folders.values()].map((folder): Look => [folder, undefined]));
      this.#allEndedMs = this.#options.clock.monotonicMs();
      this.#allTookMs = this.#allEndedMs - startMs;
      return;
    }
    const hints: Look[] = [...this.#hints];
    this.#hints.clear();
    // Of a top that is no folder nobody hints at anything.
    if (this.#top.level.folder === undefined) hints.push([this.#top, undefined]);
    await this.#lookInto(hints);
  }

  #mustLookAtAll(nowMs: number, wasAsked: boolean): boolean {
    if (this.#isStale) return true;
    // Without hints only a look at all of it tells.
    const isHinted = this.#folders.values().every(({ watch, version }) => watch !== undefined || version === undefined);
    if (wasAsked && !isHinted) return true;
    const everyMs = Math.max(isHinted ? LOOK_AT_ALL_MS : LOOK_MS, this.#allTookMs * ALL_SHARE);
    return nowMs - this.#allEndedMs >= everyMs;
  }

  /** Whether the path of the folder that is watched leads to another one now, or nowhere. */
  async #isOtherTop(): Promise<boolean> {
    const { level, version } = this.#top;
    const opened = await this.#open(level);
    try {
      const now = opened?.version;
      return now === undefined || version === undefined ? now !== version : !isSameFile(now, version);
    } finally {
      await opened?.[Symbol.asyncDispose]();
    }
  }

  async #lookInto(looks: readonly Look[]): Promise<void> {
    const found: Folder[] = [];
    for (const [folder, names] of looks) await this.#lookIntoFolder(folder, names, found);
    // What is found there is put behind.
    for (const folder of found) await this.#lookIntoFolder(folder, undefined, found);
  }

  /** @param found takes the folders that are to be looked into next */
  async #lookIntoFolder(folder: Folder, names: ReadonlySet<string> | undefined, found: Folder[]): Promise<void> {
    if (!this.#isLooking() || this.#folders.get(folder.entry) !== folder) return;
    const opened = await this.#open(folder.level);
    try {
      if (!this.#isLooking()) return;
      const isNew = this.#watch(folder, opened);
      await this.#compare(folder, { opened, names: isNew ? undefined : names, found });
      if (this.picture.head - this.#toldTo >= BATCH) this.#tell();
    } finally {
      await opened?.[Symbol.asyncDispose]();
    }
  }

  /** WS3; undefined: there is no such folder, or none for us. */
  async #open(level: Level): Promise<OpenLevel | undefined> {
    try {
      return await openLevel(level);
    } catch (error) {
      if (error instanceof PermissionDenied || error instanceof InvalidRequest) return undefined;
      throw error;
    }
  }

  /** WS2. Returns whether hints may have been missed before. */
  #watch(folder: Folder, opened: OpenLevel | undefined): boolean {
    const before = folder.version;
    const now = opened?.version;
    folder.version = now;
    if (now !== undefined && before !== undefined && folder.watch !== undefined && isSameFile(before, now))
      return false;
    unwatch(folder);
    if (opened?.place === undefined) return true;
    folder.watch = this.#options.watching.watch(
      opened.place,
      (name) => {
        this.#hint(folder, name);
      },
      () => {
        folder.watch = undefined;
        this.#hint(folder, undefined);
      },
    );
    return true;
  }

  #hint(folder: Folder, name: string | undefined): void {
    if (this.#state === "closed" || this.#state === "resting") return;
    if (!this.#hints.has(folder)) this.#hints.set(folder, new Set());
    const names = this.#hints.get(folder);
    if (name === undefined || (names?.size ?? 0) >= NAMES_MAX) this.#hints.set(folder, undefined);
    else names?.add(name);
    this.#lookWithin(SETTLE_MS);
  }

  /** Compares what the picture has of a folder with what there is: all of it, or some names. */
  async #compare(
    folder: Folder,
    options: { opened: OpenLevel | undefined; names: ReadonlySet<string> | undefined; found: Folder[] },
  ): Promise<void> {
    const { opened, names, found } = options;
    const wanted = opened === undefined ? [] : names === undefined ? await this.#namesOf(opened) : [...names];
    const there = new Set<string>();
    for (let start = 0; start < wanted.length; start += BATCH) {
      const entries = (await opened?.describe(wanted.slice(start, start + BATCH))) ?? [];
      for (const entry of entries) {
        if (!this.#isLooking()) return;
        there.add(entry.name);
        await this.#take(folder, entry, found);
      }
    }
    const known = folder.entry.children ?? new Map<string, Entry>();
    const gone = names === undefined ? known.keys() : names.keys();
    for (const name of [...gone].filter((each) => !there.has(each))) {
      const entry = known.get(name);
      if (entry?.isThere === true) await this.#remove(entry);
    }
  }

  /** None of a folder that was removed while it was open. */
  async #namesOf(opened: OpenLevel): Promise<string[]> {
    try {
      return await opened.names();
    } catch (error) {
      if (errorCode(error) === "ENOENT") return [];
      throw error;
    }
  }

  async #take(folder: Folder, found: FolderEntry, folders: Folder[]): Promise<void> {
    const known = folder.entry.children?.get(found.name);
    if (known?.isThere === true && known.isFolder && !found.isFolder) await this.#removeBelow(known);
    if (!this.#isLooking()) return;
    const { entry, isOther } = this.picture.put(folder.entry, found);
    if (!isOther || !found.isFolder || !this.#options.isRecursive || folder.depth >= DEPTH_MAX) return;
    const below = this.#folders.get(entry) ?? {
      entry,
      level: levelOf(found.path),
      depth: folder.depth + 1,
      version: undefined,
      watch: undefined,
    };
    this.#folders.set(entry, below);
    folders.push(below);
  }

  async #remove(entry: Entry): Promise<void> {
    await this.#removeBelow(entry);
    if (this.#isLooking()) this.picture.remove(entry);
  }

  async #removeBelow(entry: Entry): Promise<void> {
    this.#leave(entry);
    let count = 0;
    for (const below of Picture.below(entry)) {
      this.#leave(below);
      this.picture.remove(below);
      if (++count % BATCH === 0) await nextTurn();
      if (!this.#isLooking()) return;
    }
  }

  #leave(entry: Entry): void {
    const folder = this.#folders.get(entry);
    if (folder === undefined) return;
    unwatch(folder);
    this.#folders.delete(entry);
    this.#hints.delete(folder);
  }

  /** Also says that a look has ended. */
  #tell(): void {
    this.#toldTo = this.picture.head;
    this.#options.onMoved();
  }

  #isLooking(): boolean {
    return this.#state === "looking";
  }
}

function unwatch(folder: Folder): void {
  folder.watch?.[Symbol.dispose]();
  folder.watch = undefined;
}
