// One file as it lies on the disk, whatever its name is now: read piece by piece from a place in it, while it may grow.
//
// F1. Bytes are read once, in order. Before new ones are believed, those before them are read again and compared: a file
//     that was truncated and has grown past the old place does not pass for the old one.
// F2. Where an earlier run ended what was open, this one does too: bytes behind a cut are another piece.
import type { FileHandle } from "node:fs/promises";
import { isJournalExport, JournalSplitter } from "./journal-export.ts";
import { LineSplitter, type Piece, type Splitter } from "./line-splitter.ts";

const CHUNK_BYTES = 256 * 1024;
/** How much of what was read last is compared before going on. */
const OVERLAP_BYTES = 64;
/** How much of a file's beginning tells it from others. */
const HEAD_BYTES_MAX = 1024;

/** Where reading begins. */
export interface StartPlace {
  readonly offset: number;
  /** How many pieces of the line at `offset` lie before it; 0: a line begins there. */
  readonly part: number;
  /** Offsets behind it at which an earlier run ended lines and records that could have gone on. */
  readonly cuts?: readonly number[];
}

/** What a look at the file's end brought. */
export type ReadResult =
  | { readonly kind: "pieces"; readonly pieces: Piece[] }
  /** An earlier run ended here what was open (F2). */
  | { readonly kind: "cut" }
  /** Nothing new. */
  | { readonly kind: "end" }
  /** Other content stands where ours was: what follows is another file in all but name. */
  | { readonly kind: "truncated" };

/** What an open file is, whatever it is called. */
export interface FileFacts {
  /** Device and inode: as long as the handle is open no other file gets the same. */
  readonly key: string;
  readonly isFile: boolean;
  readonly size: number;
  /** Unix ms. */
  readonly modifiedMs: number;
}

export async function factsOf(handle: FileHandle): Promise<FileFacts> {
  const found = await handle.stat({ bigint: true });
  return {
    key: `${found.dev}:${found.ino}`,
    isFile: found.isFile(),
    size: Number(found.size),
    modifiedMs: Number(found.mtimeMs),
  };
}

export class FileSource {
  /** Device and inode: its identity as long as it is there. */
  readonly key: string;
  readonly #handle: FileHandle;
  readonly #splitter: Splitter;
  /** Still to come, in order. */
  readonly #cuts: number[];
  readonly #startOffset: number;
  #offset: number;
  /** The bytes before `#offset`, at most OVERLAP_BYTES. */
  #overlap = Buffer.alloc(0);
  /** The file's first bytes, as far as they were read. */
  #head = Buffer.alloc(0);

  private constructor(handle: FileHandle, key: string, start: StartPlace, splitter: Splitter) {
    this.#handle = handle;
    this.key = key;
    this.#offset = start.offset;
    this.#startOffset = start.offset;
    this.#cuts = (start.cuts ?? []).filter((cut) => cut > start.offset);
    this.#splitter = splitter;
  }

  /** Owns `handle` from now on. A journal's export is told by its beginning. */
  static async open(handle: FileHandle, key: string, start: StartPlace = { offset: 0, part: 0 }): Promise<FileSource> {
    const isJournal = await isJournalExport(handle);
    const splitter = isJournal ? new JournalSplitter(start.offset) : new LineSplitter(start.offset, start.part);
    return new FileSource(handle, key, start, splitter);
  }

  /** Where the next bytes are read. */
  get offset(): number {
    return this.#offset;
  }

  get startOffset(): number {
    return this.#startOffset;
  }

  /** The file's first bytes, at most HEAD_BYTES_MAX; empty when reading began further on. */
  get head(): Buffer {
    return this.#head;
  }

  facts(): Promise<FileFacts> {
    return factsOf(this.#handle);
  }

  /** Reads on. */
  async read(): Promise<ReadResult> {
    const [cut] = this.#cuts;
    if (cut === this.#offset) return this.#end();
    const before = this.#overlap.length;
    const room = Math.min(CHUNK_BYTES, (cut ?? Number.POSITIVE_INFINITY) - this.#offset);
    const buffer = Buffer.allocUnsafeSlow(before + room);
    const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.#offset - before);
    if (bytesRead < before || !buffer.subarray(0, before).equals(this.#overlap)) return { kind: "truncated" }; // F1
    if (bytesRead === before && (await this.facts()).size < this.#offset) return { kind: "truncated" };
    if (bytesRead === before) return { kind: "end" };
    const fresh = buffer.subarray(before, bytesRead);
    if (this.#offset === this.#head.length && this.#offset < HEAD_BYTES_MAX) {
      this.#head = Buffer.concat([this.#head, fresh]).subarray(0, HEAD_BYTES_MAX);
    }
    this.#offset += fresh.length;
    this.#overlap = Buffer.from(buffer.subarray(Math.max(0, bytesRead - OVERLAP_BYTES), bytesRead));
    return { kind: "pieces", pieces: [...this.#splitter.push(fresh)] };
  }

  /** Ends the line at a cut (F2), then tells of the cut. */
  #end(): ReadResult {
    const rest = this.#splitter.end();
    if (rest !== undefined) return { kind: "pieces", pieces: [rest] };
    this.#cuts.shift();
    return { kind: "cut" };
  }

  /** The last line, when the file ends without a newline and nothing more will come. */
  takeRest(): Piece | undefined {
    return this.#splitter.end();
  }

  /** The file is gone on from its beginning, as another one. Owns the handle from now on; this source is over. */
  restart(): Promise<FileSource> {
    return FileSource.open(this.#handle, this.key);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}
