// Looks for a text in ranges of a buffer that come in ascending order.
//
// N1. A run of entries is searched once, however many entries it has: what lies before the next occurrence needs no
//     search. So a rare text costs a pass of native code over the run.
// N2. What is searched for is a few bytes of the text, beginning with the one that logs have least often: native code
//     skips to that one many bytes at a time, and goes slowly where it is frequent (measured over 285 MB of mixed logs:
//     4 GB/s for a whole text of 16 bytes, 9–25 GB/s for a piece of it). Where the piece is, the rest is compared.
// N3. The search goes on in stretches: native code cannot be stopped.
import type { Effort } from "./effort.ts";

/** What is searched at a time, at most. */
const STRETCH_BYTES = 64 * 1024;
/** Of the text: up to 7 bytes Node looks for the first one and compares; longer ones it looks for by tables. */
const PIECE_BYTES_MAX = 6;
/** Fewer stand in too many places, each of which costs a call. */
const PIECE_BYTES_MIN = 4;
/** What the slowest piece costs for each place, one search, one comparison, and a byte of it. */
const PLACE_STEPS = 6;
const SEARCH_STEPS = 100;
const COMPARE_STEPS = 50;

/** Bytes from frequent to rare, as logs have them; the ones that are not here are rarer than these. */
const FREQUENT = ` e0taiornsl12dcu-.p:m3/5h46987gbfy=,"v_kwxACDESTIRNLO[]()MP'F;Bjz|U\tGHKVWqXYJQZ{}%+*#<>&@!?$~^\\\n`;
const RARITY = new Uint8Array(256).fill(255);
for (let i = 0; i < FREQUENT.length; i++) RARITY[FREQUENT.charCodeAt(i)] = i;

export class Finder {
  readonly #text: Buffer;
  /** The piece, and where it begins in the text. */
  readonly #piece: Buffer;
  readonly #pieceAt: number;
  #bytes: Uint8Array = new Uint8Array(0);
  #view: Buffer = Buffer.alloc(0);
  /** No occurrence begins from here … */
  #from = 0;
  /** … to here, or to `#at` when that is one. */
  #to = 0;
  /** The first occurrence behind `#from`; -1: not found yet. */
  #at = -1;

  /** @param text not empty; characters are looked for as UTF-8 */
  constructor(text: string | Buffer) {
    this.#text = typeof text === "string" ? Buffer.from(text, "utf8") : text;
    this.#pieceAt = rarestOf(this.#text);
    this.#piece = this.#text.subarray(this.#pieceAt, this.#pieceAt + PIECE_BYTES_MAX);
  }

  /** Whether the text lies wholly within `bytes[start..end)`; undefined when the effort is spent: ask again. */
  isWithin(bytes: Uint8Array, start: number, end: number, effort: Effort): boolean | undefined {
    const place = this.next(bytes, start, end, effort);
    return place === undefined ? undefined : place >= 0;
  }

  /** Where the text next begins that lies wholly within `bytes[start..end)`; -1: nowhere. As for `isWithin`. */
  next(bytes: Uint8Array, start: number, end: number, effort: Effort): number | undefined {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#forget(0);
    }
    if (start < this.#from || (this.#at < 0 ? this.#to : this.#at) < start) this.#forget(start);
    const last = end - this.#text.length;
    while (this.#at < 0 && this.#to <= last) {
      if (effort.isSpent) return undefined;
      this.#search(effort);
    }
    return this.#at <= last ? this.#at : -1;
  }

  #forget(from: number): void {
    this.#from = from;
    this.#to = from;
    this.#at = -1;
  }

  /** Up to the next place of the piece, or the end of a stretch. */
  #search(effort: Effort): void {
    const from = this.#to;
    const to = Math.min(from + STRETCH_BYTES, this.#view.length);
    const piece = this.#piece;
    const stretch = this.#view.subarray(from + this.#pieceAt, to + this.#pieceAt + piece.length - 1);
    const found = stretch.indexOf(piece);
    this.#to = found < 0 ? to : from + found;
    effort.left -= (this.#to - from) * PLACE_STEPS + SEARCH_STEPS;
    if (found < 0) return;
    const compared = commonLength(this.#view, this.#to, this.#text);
    effort.left -= COMPARE_STEPS + compared;
    if (compared === this.#text.length) this.#at = this.#to;
    else this.#to++;
  }
}

/** Where a text has its rarest byte, of those with some behind them. */
function rarestOf(text: Uint8Array): number {
  let rarest = 0;
  for (let i = 1; i <= text.length - PIECE_BYTES_MIN; i++) {
    if (RARITY[text[i]!]! > RARITY[text[rarest]!]!) rarest = i;
  }
  return rarest;
}

/** How many bytes of the text stand in `bytes` from `at` on. */
function commonLength(bytes: Uint8Array, at: number, text: Uint8Array): number {
  let length = 0;
  while (length < text.length && bytes[at + length] === text[length]) length++;
  return length;
}
