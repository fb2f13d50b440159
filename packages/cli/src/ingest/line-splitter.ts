// Cuts a stream of bytes into lines, and remembers where each ends.
//
// N1. The same bytes give the same pieces, however they are chunked and wherever one starts at a piece's end: the ordinal
//     of a piece is the identity of its entry (see push-file.ts).
// N2. A line longer than LINE_BYTES_MAX is cut into pieces of at most that size, never inside a UTF-8 character. All of
//     them are kept; they are numbered from 1.
// N3. It holds less than LINE_BYTES_MAX + one chunk.

/** As U+FFFD is three bytes long, even a line of nothing but invalid bytes stays below the server's limit of 1 MiB. */
export const LINE_BYTES_MAX = 256 * 1024;

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

export interface Piece {
  /** Without the line's end. */
  readonly bytes: Uint8Array;
  /** Offset of the first of them. */
  readonly start: number;
  /** Offset behind the piece and its line's end: where one goes on after it. */
  readonly end: number;
  /** 0: the line is whole; else the number of this piece of it. */
  readonly part: number;
  /** The line ends here. */
  readonly isLast: boolean;
  /** What the bytes are: absent for a line, "journal" for an entry of a journal (journal-export.ts). */
  readonly kind?: "journal";
}

/** Cuts a stream of bytes into what becomes an entry. */
export interface Splitter {
  /** Takes bytes; yields the pieces that they complete. */
  push(chunk: Uint8Array): Iterable<Piece>;
  /** The last piece, when it has no end. */
  end(): Piece | undefined;
}

export class LineSplitter implements Splitter {
  /** What came since the last piece's end. */
  #rest: Uint8Array = new Uint8Array(0);
  /** Up to here `#rest` has no newline. */
  #searched = 0;
  /** Offset of `#rest` in the stream. */
  #offset: number;
  /** Number of the piece that comes next, 0 at the beginning of a line. */
  #part: number;

  /** @param offset where the bytes begin, @param part how many pieces of this line were cut off before. */
  constructor(offset = 0, part = 0) {
    this.#offset = offset;
    this.#part = part;
  }

  /** Bytes that came and are not in a piece yet. */
  get held(): number {
    return this.#rest.length;
  }

  /** Takes bytes; yields the pieces that they complete. */
  *push(chunk: Uint8Array): Generator<Piece> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const newline = this.#rest.indexOf(NEWLINE, this.#searched);
      const lineEnd = newline < 0 ? this.#rest.length : newline;
      if (lineEnd > LINE_BYTES_MAX) yield this.#cut(characterStart(this.#rest, LINE_BYTES_MAX));
      else if (newline >= 0) yield this.#finish(newline, newline + 1);
      else break;
    }
    this.#searched = this.#rest.length;
  }

  /** The last line, when it has no end. */
  end(): Piece | undefined {
    if (this.#rest.length === 0) return undefined;
    return this.#finish(this.#rest.length, this.#rest.length);
  }

  /** A piece of a line that goes on. */
  #cut(length: number): Piece {
    this.#part++;
    return this.#take(length, length, { part: this.#part, isLast: false });
  }

  /** The rest of a line, which ends before `length`. */
  #finish(length: number, next: number): Piece {
    const part = this.#part === 0 ? 0 : this.#part + 1;
    this.#part = 0;
    const hasReturn = length > 0 && this.#rest[length - 1] === CARRIAGE_RETURN;
    return this.#take(hasReturn ? length - 1 : length, next, { part, isLast: true });
  }

  #take(length: number, next: number, place: { part: number; isLast: boolean }): Piece {
    const bytes = this.#rest.subarray(0, length);
    const start = this.#offset;
    this.#rest = this.#rest.subarray(next);
    this.#searched = 0;
    this.#offset += next;
    return { bytes, start, end: this.#offset, ...place };
  }
}

/** The start of the UTF-8 character that byte `at` belongs to; `at` itself when that is no character's middle. */
function characterStart(bytes: Uint8Array, at: number): number {
  for (let back = 0; back < 4; back++) {
    if (((bytes[at - back] ?? 0) & 0xc0) !== 0x80) return at - back;
  }
  return at;
}
