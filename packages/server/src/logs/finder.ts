// Looks for a text in ranges of a buffer that come in ascending order.
//
// N1. A run of entries is searched once, however many entries it has: what lies before the next occurrence needs no
//     search. So a rare text costs a pass of native code over the run.
// N2. The search goes on in pieces: native code cannot be stopped, and compares a long text that nearly fits everywhere
//     again at every place (1.2 s for a MiB).
import type { Effort } from "./effort.ts";

/** What is searched at a time, at most. */
const PIECE_BYTES = 64 * 1024;
/** What the slowest text costs for each place: up to 250 bytes the native search skips, beyond it compares. */
const PLACE_STEPS = 6;
const SKIPPING_BYTES_MAX = 250;
const STEPS_PER_COMPARED_BYTE = 0.3;
const PIECE_STEPS = 256 * 1024;

export class Finder {
  readonly #text: Buffer;
  readonly #placeSteps: number;
  readonly #pieceBytes: number;
  #bytes: Uint8Array = new Uint8Array(0);
  #view: Buffer = Buffer.alloc(0);
  /** No occurrence begins from here … */
  #from = 0;
  /** … to here, or to `#at` when that is one. */
  #to = 0;
  /** The first occurrence behind `#from`; -1: not found yet. */
  #at = -1;

  constructor(text: string) {
    this.#text = Buffer.from(text, "utf8");
    const size = this.#text.length;
    this.#placeSteps = size <= SKIPPING_BYTES_MAX ? PLACE_STEPS : PLACE_STEPS + size * STEPS_PER_COMPARED_BYTE;
    this.#pieceBytes = Math.min(PIECE_BYTES, Math.ceil(PIECE_STEPS / this.#placeSteps));
  }

  /** Whether the text lies wholly within `bytes[start..end)`; undefined when the effort is spent: ask again. */
  isWithin(bytes: Uint8Array, start: number, end: number, effort: Effort): boolean | undefined {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#forget(0);
    }
    if (start < this.#from || (this.#at < 0 ? this.#to : this.#at) < start) this.#forget(start);
    const last = end - this.#text.length;
    while (this.#at < 0 && this.#to <= last) {
      if (effort.isSpent) return undefined;
      this.#searchPiece(effort);
    }
    return this.#at >= 0 && this.#at <= last;
  }

  #forget(from: number): void {
    this.#from = from;
    this.#to = from;
    this.#at = -1;
  }

  #searchPiece(effort: Effort): void {
    const from = this.#to;
    const to = Math.min(from + this.#pieceBytes, this.#view.length);
    const found = this.#view.subarray(from, to + this.#text.length - 1).indexOf(this.#text);
    this.#to = found < 0 ? to : from + found;
    if (found >= 0) this.#at = this.#to;
    effort.left -= (this.#to - from) * this.#placeSteps + 100;
  }
}
