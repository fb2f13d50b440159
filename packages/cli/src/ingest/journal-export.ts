// systemd's journal as `journalctl -o export` writes it: entries of fields, a blank line behind each. A field with a
// newline in it, or with bytes that are no text, has its name on a line, then eight bytes of length, then its value.
//
// Source: https://systemd.io/JOURNAL_EXPORT_FORMATS/
//
// X1. The same bytes give the same pieces, however they are chunked, from any entry's beginning on.
// X2. An entry of more than LINE_BYTES_MAX is cut into pieces of that size, numbered from 1. Reading does not begin
//     inside of one: where a value's length stands is known from the beginning only.
import type { FileHandle } from "node:fs/promises";
import type { JournalField } from "./journal-entry.ts";
import { LINE_BYTES_MAX, type Piece, type Splitter } from "./line-splitter.ts";

const NEWLINE = 0x0a;
const EQUALS = 0x3d;
const LENGTH_BYTES = 8;
/** journalctl writes this field first. */
const BEGINNING = Buffer.from("__CURSOR=");

/** Whether these are the first bytes of such an export; undefined: too few to tell. */
export function beginsJournalExport(bytes: Uint8Array): boolean | undefined {
  const length = Math.min(bytes.length, BEGINNING.length);
  if (!BEGINNING.subarray(0, length).equals(bytes.subarray(0, length))) return false;
  return length === BEGINNING.length ? true : undefined;
}

/** Whether a file is such an export, by its beginning. */
export async function isJournalExport(handle: FileHandle): Promise<boolean> {
  const buffer = Buffer.alloc(BEGINNING.length);
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
  return beginsJournalExport(buffer.subarray(0, bytesRead)) ?? false;
}

export class JournalSplitter implements Splitter {
  /** What came since the last piece's end. */
  #rest: Uint8Array = new Uint8Array(0);
  /** Up to here `#rest` is fields that are whole. */
  #scanned = 0;
  /** Bytes of a value, and the newline behind it, that lie behind `#scanned`. */
  #valueLeft = 0;
  /** The name of the field at `#scanned` was cut off with the piece before. */
  #isInField = false;
  /** Offset of `#rest` in the stream. */
  #offset: number;
  #part = 0;

  /** @param offset where an entry begins */
  constructor(offset = 0) {
    this.#offset = offset;
  }

  *push(chunk: Uint8Array): Generator<Piece> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const end = this.#findEnd();
      const length = end ?? this.#rest.length;
      if (length > LINE_BYTES_MAX) yield this.#cut();
      else if (end === undefined) return;
      else if (end > 0 || this.#part > 0) yield this.#finish(end, end + 1);
      else this.#drop(1);
    }
  }

  end(): Piece | undefined {
    return this.#rest.length === 0 ? undefined : this.#finish(this.#rest.length, this.#rest.length);
  }

  /** Goes over the fields; returns where the blank line is that ends the entry, if it has come. */
  #findEnd(): number | undefined {
    const rest = this.#rest;
    for (;;) {
      if (this.#valueLeft > 0) {
        const taken = Math.min(this.#valueLeft, rest.length - this.#scanned);
        this.#scanned += taken;
        this.#valueLeft -= taken;
        if (this.#valueLeft > 0) return undefined;
      }
      const newline = rest.indexOf(NEWLINE, this.#scanned);
      if (newline < 0) return undefined;
      if (newline === this.#scanned && !this.#isInField) return newline;
      const equals = rest.indexOf(EQUALS, this.#scanned);
      if (this.#isInField || (equals >= 0 && equals < newline)) {
        this.#isInField = false;
        this.#scanned = newline + 1;
        continue;
      }
      if (rest.length < newline + 1 + LENGTH_BYTES) return undefined;
      this.#valueLeft = lengthAt(rest, newline + 1) + 1;
      this.#scanned = newline + 1 + LENGTH_BYTES;
    }
  }

  #cut(): Piece {
    this.#part++;
    this.#isInField ||= this.#scanned < LINE_BYTES_MAX;
    return this.#take(LINE_BYTES_MAX, LINE_BYTES_MAX, { part: this.#part, isLast: false });
  }

  #finish(length: number, next: number): Piece {
    const part = this.#part === 0 ? 0 : this.#part + 1;
    this.#part = 0;
    this.#isInField = false;
    return this.#take(length, next, { part, isLast: true });
  }

  #take(length: number, next: number, place: { part: number; isLast: boolean }): Piece {
    const bytes = this.#rest.subarray(0, length);
    const start = this.#offset;
    this.#drop(next);
    return { bytes, start, end: this.#offset, kind: "journal", ...place };
  }

  #drop(count: number): void {
    this.#rest = this.#rest.subarray(count);
    this.#scanned = Math.max(0, this.#scanned - count);
    this.#offset += count;
  }
}

/** Little-endian, of eight bytes. A length that is none takes all that comes. */
function lengthAt(bytes: Uint8Array, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Math.min(Number(view.getBigUint64(at, true)), Number.MAX_SAFE_INTEGER - 1);
}

/** The fields of one entry; undefined: these bytes are none. */
export function parseJournalExport(bytes: Uint8Array): JournalField[] | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const fields: JournalField[] = [];
  for (let at = 0; at < buffer.length;) {
    const newline = buffer.indexOf(NEWLINE, at);
    const lineEnd = newline < 0 ? buffer.length : newline;
    const equals = buffer.subarray(at, lineEnd).indexOf(EQUALS);
    if (equals >= 0) {
      fields.push({
        name: buffer.toString("latin1", at, at + equals),
        value: buffer.subarray(at + equals + 1, lineEnd),
      });
      at = lineEnd + 1;
      continue;
    }
    const valueAt = newline + 1 + LENGTH_BYTES;
    if (newline < 0 || valueAt > buffer.length) return undefined;
    const end = valueAt + lengthAt(buffer, newline + 1);
    if (end > buffer.length) return undefined;
    fields.push({ name: buffer.toString("latin1", at, newline), value: buffer.subarray(valueAt, end) });
    at = end + 1;
  }
  return fields;
}
