// Looks for a text in ranges of a buffer that come in ascending order.
//
// N1. A run of entries is searched once, however many entries it has: what lies before the next occurrence needs no
//     search. So a rare text costs a pass of native code over the run.

export class Finder {
  readonly #text: Buffer;
  #bytes: Uint8Array = new Uint8Array(0);
  #view: Buffer = Buffer.alloc(0);
  /** Where `#at` was searched from: it is the first occurrence at or behind this place. */
  #from = 0;
  /** Infinity: none. */
  #at = -1;

  constructor(text: string) {
    this.#text = Buffer.from(text, "utf8");
  }

  /** Whether the text lies wholly within `bytes[start..end)`. */
  isWithin(bytes: Uint8Array, start: number, end: number): boolean {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#at = -1;
      this.#from = 0;
    }
    if (this.#at < start || start < this.#from) {
      const found = this.#view.indexOf(this.#text, start);
      this.#at = found === -1 ? Number.POSITIVE_INFINITY : found;
      this.#from = start;
    }
    return this.#at + this.#text.length <= end;
  }
}
