// The dictionary of a log: byte strings that many entries share (what produced them), stored once; an entry has the id.
//
//   0000000007.dictionary   header: "SLUICED1", start (u64), CRC-32 of both (u32)
//                           records: length (u32), CRC-32 (u32) of what follows: id (u32), kind (u8), the bytes
//
// D1. An id is durable before any entry that has it is appended: a crash never leaves an entry whose id nobody knows.
// D2. A file is a generation. An entry at or behind a file's `start` has only ids that this file or a later one defines: what
//     is still used is defined again in each. So a file goes when retention has dropped everything before the next one's
//     start, and nothing has to be counted. Whoever has an id when a file begins is counted as using it.
// D3. A process appends only to a file that it made: what an earlier one left may be torn, or not on disk yet.
// D4. An id is made of the bytes (their CRC-32, 28 bits of it; the next free one where another has it). A dictionary that
//     is lost therefore heals as producers go on, and gives no old entry a new meaning but with a chance of n ÷ 2^28.
// D5. Bounded: what finds no room stays with its entry.
import { crc32 } from "node:zlib";
import type { File, FileSystem } from "./file-system.ts";
import { DiskFull, SluiceError } from "../errors.ts";
import {
  type DictionaryEntry,
  DictionaryFile,
  encodeHeader,
  encodeRecord,
  type LoadedFile,
  loadDictionary,
} from "./dictionary-file.ts";
import { errorCode } from "./file-system.ts";
import { removeIfThere } from "./retention.ts";

export type { DictionaryEntry } from "./dictionary-file.ts";

/** What one write uses of a dictionary. Until it is disposed, its ids may be put into entries. */
export interface DictionaryLease extends Disposable {
  /**
   * The id of these bytes: at once when they are known, as a promise when they must go to disk first. Undefined: there is
   * no room for them (D5). @throws DiskFull and others that say when to try again
   */
  intern(kind: number, bytes: Uint8Array): number | undefined | Promise<number | undefined>;
}

export interface Dictionary {
  lease(): DictionaryLease;
  find(id: number): DictionaryEntry | undefined;
  /** All, in no order. */
  entries(): Iterable<DictionaryEntry>;
}

export interface DictionaryOptions {
  /** All entries together, and their bytes: they are kept in memory. */
  readonly entriesMax: number;
  readonly bytesMax: number;
  /** One entry. */
  readonly entryBytesMax: number;
  /** A file gets no more once it has so many. */
  readonly fileEntriesMax: number;
  readonly fileBytesMax: number;
  /** More files than these are made fewer when the dictionary is opened. */
  readonly filesMax: number;
}

const MIB = 1024 * 1024;

const DEFAULT_DICTIONARY_OPTIONS: DictionaryOptions = {
  entriesMax: 65_536,
  bytesMax: 64 * MIB,
  entryBytesMax: 64 * 1024,
  fileEntriesMax: 4096,
  fileBytesMax: 4 * MIB,
  filesMax: 32,
};

export interface OpenDictionaryRequest {
  /** Of the log. */
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly log: string;
  /** The sequence that the log's next entry gets, and the oldest that its folder may still have after a crash. */
  readonly next: () => number;
  readonly first: () => number;
  readonly options?: Partial<DictionaryOptions>;
}

/** An open dictionary. Disposing ends what is being written and closes the file. */
export interface OpenDictionary extends Dictionary, AsyncDisposable {}

/** Opens the dictionary of a log, and removes what no entry can have any more. */
export async function openDictionary(request: OpenDictionaryRequest): Promise<OpenDictionary> {
  const dictionary = new FileDictionary(request, { ...DEFAULT_DICTIONARY_OPTIONS, ...request.options });
  await dictionary.load();
  return dictionary;
}

interface Known extends DictionaryEntry {
  readonly key: string;
  /** The newest file that defines it; 0: none yet. */
  generation: number;
  /** Leases that have its id. */
  pins: number;
}

interface Wish {
  readonly known: Known;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface OpenFile {
  readonly file: File;
  /** Where the next record goes. */
  end: number;
  count: number;
}

const RETRY_AFTER_MS = 1000;

class FileDictionary implements OpenDictionary {
  readonly #request: OpenDictionaryRequest;
  readonly #options: DictionaryOptions;
  readonly #byKey = new Map<string, Known>();
  readonly #byId = new Map<number, Known>();
  /** Ascending. The last one may be the open one. */
  readonly #files: DictionaryFile[] = [];
  #bytes = 0;
  /** Only what this generation defines is given out. */
  #generation = 0;
  #open: OpenFile | undefined;
  #wishes: Wish[] = [];
  #running: Promise<void> | undefined;
  /** Where the log began when it was last looked for files that may go. */
  #reapedAt = 0;

  constructor(request: OpenDictionaryRequest, options: DictionaryOptions) {
    this.#request = request;
    this.#options = options;
  }

  async load(): Promise<void> {
    const { folder, fileSystem } = this.#request;
    const loaded = await loadDictionary(fileSystem, folder);
    for (const { file, entries, damagedRecords } of loaded) {
      this.#generation = file.generation;
      // Torn when it was made: nobody ever used it.
      if (entries.length === 0 && damagedRecords === 0) {
        await removeIfThere(fileSystem, file.path);
        continue;
      }
      this.#files.push(file);
      for (const entry of entries) this.#learn(entry, file.generation);
    }
    await this.#reap();
    if (this.#files.length > this.#options.filesMax) await this.#mergeOldest(loaded);
  }

  lease(): DictionaryLease {
    const pinned: Known[] = [];
    return {
      intern: (kind, bytes) => {
        const known = this.#know(kind, bytes);
        if (known === undefined) return undefined;
        known.pins++;
        pinned.push(known);
        return known.generation === this.#generation && this.#open !== undefined ? known.id : this.#define(known);
      },
      [Symbol.dispose]: () => {
        for (const known of pinned.splice(0)) known.pins--;
      },
    };
  }

  find(id: number): DictionaryEntry | undefined {
    return this.#byId.get(id);
  }

  *entries(): Generator<DictionaryEntry> {
    for (const known of this.#byId.values()) {
      if (known.generation > 0) yield known;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running;
    await this.#open?.file.close();
    this.#open = undefined;
  }

  /** Finds the bytes, or takes them in; undefined: no room. */
  #know(kind: number, bytes: Uint8Array): Known | undefined {
    const key = String.fromCharCode(kind) + latin1(bytes);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const { entriesMax, bytesMax, entryBytesMax } = this.#options;
    if (bytes.length > entryBytesMax) return undefined;
    if (this.#byId.size >= entriesMax || this.#bytes + bytes.length > bytesMax) {
      if (this.#request.first() > this.#reapedAt) this.#start();
      return undefined;
    }
    return this.#add({ id: this.#freeId(kind, bytes), kind, bytes: bytes.slice() }, key);
  }

  #add(entry: DictionaryEntry, key: string): Known {
    const known: Known = { ...entry, key, generation: 0, pins: 0 };
    this.#byKey.set(key, known);
    this.#byId.set(known.id, known);
    this.#bytes += known.bytes.length;
    return known;
  }

  #learn(entry: DictionaryEntry, generation: number): void {
    const key = String.fromCharCode(entry.kind) + latin1(entry.bytes);
    const known = this.#byId.get(entry.id) ?? this.#add(entry, key);
    known.generation = generation;
  }

  /** D4. */
  #freeId(kind: number, bytes: Uint8Array): number {
    let id = crc32(bytes, kind) & ID_MASK;
    while (id === 0 || this.#byId.has(id)) id = (id + 1) & ID_MASK;
    return id;
  }

  async #define(known: Known): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#wishes.push({ known, resolve, reject });
      this.#start();
    });
    return known.id;
  }

  #start(): void {
    this.#running ??= this.#run();
  }

  /** Brings to disk what is wished for; what comes meanwhile goes together, next. */
  async #run(): Promise<void> {
    await Promise.resolve();
    do {
      const wishes = this.#wishes;
      this.#wishes = [];
      try {
        await this.#write(wishes.map(({ known }) => known));
        for (const { resolve } of wishes) resolve();
      } catch (error) {
        const failure = failureOf(error, this.#request.log);
        for (const { reject } of wishes) reject(failure);
      }
    } while (this.#wishes.length > 0);
    this.#running = undefined;
  }

  async #write(wanted: readonly Known[]): Promise<void> {
    const { fileEntriesMax, fileBytesMax } = this.#options;
    const isFull = this.#open !== undefined && (this.#open.count >= fileEntriesMax || this.#open.end >= fileBytesMax);
    if (wanted.length > 0 && (this.#open === undefined || isFull)) await this.#beginFile();
    await this.#appendRecords(wanted);
    if (this.#request.first() > this.#reapedAt) await this.#reap();
  }

  /** D2: from this turn on nobody gets an id that the new file does not define. */
  async #beginFile(): Promise<void> {
    const { folder, fileSystem, next } = this.#request;
    const full = this.#open;
    this.#open = undefined;
    this.#generation++;
    const generation = this.#generation;
    const start = next();
    const pinned = [...this.#byId.values()].filter(({ pins }) => pins > 0);
    await full?.file.close();
    const made = new DictionaryFile(folder, generation, start);
    await (await fileSystem.open(made.path, "create")).close();
    const open = { file: await fileSystem.open(made.path, "append"), end: 0, count: 0 };
    try {
      await this.#append(open, [encodeHeader(start), ...pinned.map(encodeRecord)]);
      await fileSystem.syncFolder(folder);
    } catch (error) {
      await open.file.close();
      await removeIfThere(fileSystem, made.path).catch(() => undefined);
      throw error;
    }
    open.count = pinned.length;
    this.#open = open;
    this.#files.push(made);
    for (const known of pinned) known.generation = generation;
  }

  async #appendRecords(wanted: readonly Known[]): Promise<void> {
    const open = this.#open;
    const missing = [...new Set(wanted)].filter(({ generation }) => generation !== this.#generation);
    if (open === undefined || missing.length === 0) return;
    await this.#append(open, missing.map(encodeRecord));
    open.count += missing.length;
    for (const known of missing) known.generation = this.#generation;
  }

  /** Durable when it resolves. At the same place again when it failed before: what lies there proves nothing. */
  async #append(open: OpenFile, pieces: readonly Uint8Array[]): Promise<void> {
    const bytes = Buffer.concat(pieces);
    await open.file.write([bytes], open.end);
    open.end += bytes.length;
  }

  /** D2: removes the oldest files, as long as the log begins behind what they are needed for. */
  async #reap(): Promise<void> {
    this.#reapedAt = this.#request.first();
    for (;;) {
      const [oldest, ...later] = this.#files;
      const end = Math.min(...later.map(({ start }) => start));
      if (oldest === undefined || end > this.#reapedAt) return;
      await removeIfThere(this.#request.fileSystem, oldest.path);
      this.#files.shift();
      for (const known of this.#byId.values()) {
        if (known.generation === oldest.generation && known.pins === 0) this.#forget(known);
      }
    }
  }

  #forget(known: Known): void {
    this.#byKey.delete(known.key);
    this.#byId.delete(known.id);
    this.#bytes -= known.bytes.length;
  }

  /**
   * Makes one file of the older half, in the place of its newest one: a process that dies on the way leaves all that was
   * there. What a later file defines again is kept all the same: that may not be on disk yet (D3).
   */
  async #mergeOldest(loaded: readonly LoadedFile[]): Promise<void> {
    const { folder, fileSystem } = this.#request;
    const merged = this.#files.splice(0, Math.ceil(this.#files.length / 2));
    const newest = merged.at(-1)!;
    const defined = loaded.flatMap(({ file, entries }) => (merged.includes(file) ? entries.map(({ id }) => id) : []));
    const kept = [...new Set(defined)].map((id) => this.#byId.get(id)).filter((known) => known !== undefined);
    const file = new DictionaryFile(folder, newest.generation, merged[0]!.start);
    await file.replace(fileSystem, kept);
    for (const known of kept) known.generation = Math.max(known.generation, newest.generation);
    for (const { path } of merged.slice(0, -1)) await removeIfThere(fileSystem, path);
    this.#files.unshift(file);
  }
}

/** 28 bits: four bytes of a varint. */
const ID_MASK = 0x0fff_ffff;

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

function failureOf(error: unknown, log: string): SluiceError {
  const code = errorCode(error);
  if (code === "ENOSPC" || code === "EDQUOT") return new DiskFull(log);
  const why = error instanceof Error ? error.message : String(error);
  return new SluiceError(
    "unavailable",
    `Cannot append to log "${log}": writing its dictionary failed: ${why}`,
    { reason: "STORAGE_FAILED", retryAfterMs: RETRY_AFTER_MS },
    { cause: error },
  );
}
