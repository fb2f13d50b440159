// What a server knows of a folder: a tree of what is there, what was removed lately, and in which order it came to be so.
//
// P1. A reader is a number: it has been told of everything up to there. What it must yet be told is what the journal has
//     behind it, each path once, as it is now. Nothing is kept for a reader, and a slow one costs nothing.
// P2. What is there is remembered as long as it is there; what was removed, as long as there is room. `forgotten` is the
//     last change that is known no more: a reader before it cannot be told what it missed.
// P3. Memory is counted by entry, with those of all other pictures (EntryBudget).
import { randomBytes } from "node:crypto";
import type { FilePath } from "./file-path.ts";
import { type FileVersion, hasSameContents, isSameFile } from "./file-version.ts";
import type { FolderEntry } from "./read-folder.ts";
import { Journal, type Noted } from "./watch-journal.ts";

/** A file or a folder that is there, or was. */
export interface Entry extends Noted {
  readonly name: string;
  readonly parent: Entry | undefined;
  /** As clients know it. */
  path: FilePath | undefined;
  version: FileVersion;
  isFolder: boolean;
  isThere: boolean;
  /** The change by which it came to be there last. */
  since: number;
  /** The first change by which it came to be there, of those that anybody who is not told to resync can have seen. */
  firstSince: number;
  /** Of a folder that was looked into: also of what was removed from it. */
  children: Map<string, Entry> | undefined;
}

/** What has become of an entry, for a reader. */
export type ChangeKind = "created" | "changed" | "removed";

/** Entries that all pictures together may remember. */
export interface EntryBudget {
  /** Takes one, unless there is none left. */
  take(): boolean;
  /** Why there is none left. */
  exceeded(): Error;
  /** Gives so many back. */
  give(count: number): void;
}

const NOWHERE: FileVersion = { device: 0n, inode: 0n, size: 0, modifiedNs: 0n, changedNs: 0n };

export class Picture {
  /** Of this picture and no other, also after a restart. */
  readonly generation = randomBytes(9).toString("base64url");
  /** The folder that is watched. It is no part of what is told. */
  readonly top: Entry = entryOf("", undefined, undefined);
  readonly #journal = new Journal<Entry>();
  /** In the order in which they were removed. */
  readonly #removed = new Set<Entry>();
  readonly #budget: EntryBudget;
  readonly #removalsMax: number;
  #forgotten = 0;
  #count = 0;

  constructor(options: { readonly budget: EntryBudget; readonly removalsMax: number }) {
    this.#budget = options.budget;
    this.#removalsMax = options.removalsMax;
    this.top.children = new Map();
  }

  /** Number of the last change. */
  get head(): number {
    return this.#journal.head;
  }

  /** P2 */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** Entries that changed after `number`, at most `count` of them, in order. */
  after(number: number, count: number): Entry[] {
    return this.#journal.after(number, count);
  }

  /** What has become of an entry since change `number`; undefined: nothing that a reader there need hear of. */
  static kindOf(entry: Entry, number: number): ChangeKind | undefined {
    if (entry.isThere) return entry.since > number ? "created" : "changed";
    return entry.firstSince > number ? undefined : "removed";
  }

  /** Takes up what was found in a folder. Returns its entry, and whether it is another one than before. @throws LimitExceeded */
  put(parent: Entry, found: FolderEntry): { readonly entry: Entry; readonly isOther: boolean } {
    const children = (parent.children ??= new Map<string, Entry>());
    const known = children.get(found.name);
    if (known === undefined) this.#takeOne();
    const entry = known ?? entryOf(found.name, parent, found);
    const { isThere, version, isFolder } = entry;
    entry.version = found.version;
    entry.isFolder = found.isFolder;
    entry.path = found.isFolder ? found.path : undefined;
    if (known === undefined) {
      children.set(found.name, entry);
      this.#count++;
    }
    if (!isThere) {
      this.#removed.delete(entry);
      entry.isThere = true;
      this.#journal.note(entry);
      entry.since = entry.at;
      if (known === undefined) entry.firstSince = entry.at;
      return { entry, isOther: true };
    }
    const isOther = isFolder !== found.isFolder || !isSameFile(version, found.version);
    if (isOther || (!isFolder && !hasSameContents(version, found.version))) this.#journal.note(entry);
    return { entry, isOther };
  }

  /** What is there goes before what was. @throws LimitExceeded */
  #takeOne(): void {
    while (!this.#budget.take()) if (!this.#forgetOne()) throw this.#budget.exceeded();
  }

  /** One entry, of whose children none is there any more. */
  remove(entry: Entry): void {
    if (!entry.isThere) return;
    entry.isThere = false;
    entry.path = undefined;
    this.#journal.note(entry);
    this.#removed.add(entry);
    if (this.#removed.size > this.#removalsMax) this.#forgetOne();
  }

  /** Lets go of what was removed first. Returns whether there was any. */
  #forgetOne(): boolean {
    const [entry] = this.#removed;
    if (entry === undefined) return false;
    this.#removed.delete(entry);
    this.#forgotten = Math.max(this.#forgotten, entry.at);
    this.#journal.drop(entry);
    entry.parent?.children?.delete(entry.name);
    this.#count--;
    this.#budget.give(1);
    return true;
  }

  /** Everything below an entry that is there, what is deeper first. Those that were handed out may be removed. */
  static *below(entry: Entry): Generator<Entry> {
    if (entry.children === undefined) return;
    for (const child of entry.children.values()) {
      if (!child.isThere) continue;
      yield* Picture.below(child);
      yield child;
    }
  }

  /** Gives back what it holds. Nothing may be done with it afterwards. */
  close(): void {
    this.#budget.give(this.#count);
    this.#count = 0;
    this.top.children = new Map();
    this.#removed.clear();
  }
}

function entryOf(name: string, parent: Entry | undefined, found: FolderEntry | undefined): Entry {
  const { version = NOWHERE, isFolder = true } = found ?? {};
  return {
    at: 0,
    name,
    parent,
    path: undefined,
    version,
    isFolder,
    isThere: false,
    since: 0,
    firstSince: 0,
    children: undefined,
  };
}
