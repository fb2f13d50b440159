// How far the files behind one name were pushed: kept in a file of its own, so that a later run goes on there.
//
// P1. A place is on disk before the first entry of its file is sent, with the producer's id that its entries carry: after
//     a crash, whatever the log acknowledged meanwhile is sent again under the same numbers, and dropped by the server.
// P2. A place is believed only when the file still has the bytes that were read: its beginning and the last line before
//     the place. The name and the inode are hints where to look.
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CommandFailure } from "../output.ts";

/** Bytes of a file by which it is recognised. */
export interface Fingerprint {
  readonly at: number;
  readonly length: number;
  /** SHA-256, hexadecimal. */
  readonly hash: string;
}

/** How far one file was pushed: everything before it was acknowledged by the server. */
export interface Place {
  /** Device and inode when it was last seen. */
  readonly key: string;
  readonly offset: number;
  /** See Piece.part: pieces of the line at `offset` that lie before it. */
  readonly part: number;
  /** Its first bytes. */
  readonly head: Fingerprint;
  /** The end of the last line before `offset`; absent while nothing was acknowledged. */
  readonly tail?: Fingerprint;
  /** It lost its name, and all that is in it was acknowledged. */
  readonly isDone: boolean;
  /** Under which id its entries are written. */
  readonly producer: string;
  /** The producer's sequence of the entry that comes next. */
  readonly nextSequence: number;
  /** See StartPlace. Stored before anything behind them is sent, so that another run makes the same records. */
  readonly cuts?: readonly number[];
  /** How lines were made into records: with another way the producer's sequences mean other entries. */
  readonly way: string;
}

/** Of one name only so many files are remembered: the one that has it now, and those that had it last. */
const PLACES_MAX = 8;
const FORMAT = 1;
/** How much of the last line is remembered. */
const TAIL_BYTES_MAX = 256;

export function fingerprintOf(bytes: Uint8Array, at: number): Fingerprint {
  return { at, length: bytes.length, hash: createHash("sha256").update(bytes).digest("hex") };
}

/** The fingerprint of a line's last bytes. @param end offset behind them. */
export function tailFingerprint(line: Uint8Array, end: number): Fingerprint {
  const bytes = line.subarray(Math.max(0, line.length - TAIL_BYTES_MAX));
  return fingerprintOf(bytes, end - bytes.length);
}

/** Whether the open file is the one that the place speaks of (P2). */
export async function isFileOf(place: Place, handle: FileHandle): Promise<boolean> {
  for (const each of [place.head, place.tail]) {
    if (each === undefined) continue;
    const buffer = Buffer.alloc(each.length);
    const { bytesRead } = await handle.read(buffer, 0, each.length, each.at);
    if (bytesRead < each.length || fingerprintOf(buffer, each.at).hash !== each.hash) return false;
  }
  return true;
}

/** The places of one name, pushed to one target. */
export class PlaceFile {
  readonly #file: string;
  readonly #name: { readonly target: string; readonly path: string };
  #places: Place[];
  /** The last write, so that the next one waits for it. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, name: { target: string; path: string }, places: Place[]) {
    this.#file = file;
    this.#name = name;
    this.#places = places;
  }

  /**
   * @param folder where places are kept; made when missing.
   * @param name.target where to the file is pushed: another target has places of its own. @param name.path absolute.
   * @throws when the folder cannot be used, or the file in it is none of ours.
   */
  static async open(folder: string, name: { readonly target: string; readonly path: string }): Promise<PlaceFile> {
    await mkdir(folder, { recursive: true });
    const id = createHash("sha256").update(`${name.target}\n${name.path}`).digest("hex").slice(0, 32);
    const file = join(folder, `${id}.json`);
    return new PlaceFile(file, name, await readPlaces(file));
  }

  /** Newest last. */
  get places(): readonly Place[] {
    return this.#places;
  }

  /** Stores a place, durably: instead of the one with the same producer, or as the newest. */
  async store(place: Place): Promise<void> {
    const isThere = this.#places.some((each) => each.producer === place.producer);
    this.#places = isThere
      ? this.#places.map((each) => (each.producer === place.producer ? place : each))
      : [...this.#places, place].slice(-PLACES_MAX);
    await this.#save();
  }

  /** Forgets all: the name is pushed from the beginning. */
  async clear(): Promise<void> {
    this.#places = [];
    await this.#save();
  }

  #save(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    const text = `${JSON.stringify({ format: FORMAT, ...this.#name, places: this.#places }, undefined, 2)}\n`;
    const temporary = `${this.#file}.${process.pid}.new`;
    const handle = await open(temporary, "w", 0o600);
    try {
      await handle.writeFile(text);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(temporary, this.#file);
    const folder = await open(dirname(this.#file), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

async function readPlaces(file: string): Promise<Place[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  try {
    const stored: unknown = JSON.parse(text);
    if (isStored(stored)) return stored.places;
  } catch {
    // Not even JSON.
  }
  throw new CommandFailure(`Cannot read the places in ${file}: they are in another format`, {
    hint: "Remove the file to push from the beginning.",
  });
}

function isStored(value: unknown): value is { readonly places: Place[] } {
  return (
    typeof value === "object" &&
    value !== null &&
    "format" in value &&
    value.format === FORMAT &&
    "places" in value &&
    Array.isArray(value.places)
  );
}
