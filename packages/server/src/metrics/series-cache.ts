// Finds the series of a point by the bytes of its attributes, as they came: no text is built for a series that is known.
//
// C1. What is found has the same source and the same bytes; which series that is was found out once, by its key.
// C2. Bounded in places and in bytes: at the bound it is emptied, and filled again by what comes.
// `npm run bench -- metrics-ingest` shows what it is for.
import type { Series } from "./series.ts";

const PLACES_BITS = 18;
const PLACES = 1 << PLACES_BITS;
/** Of the places; beyond it finding becomes searching. */
const SERIES_MAX = PLACES / 2;
const FIRST_BYTES = 64 * 1024;

export class SeriesCache {
  readonly #bytesMax: number;
  /** By place: number of the entry plus one; 0: free. Made when something is kept. */
  #places = new Int32Array(0);
  readonly #hashes = new Int32Array(SERIES_MAX);
  readonly #sources = new Int32Array(SERIES_MAX);
  readonly #offsets = new Int32Array(SERIES_MAX + 1);
  #series: Series[] = [];
  #bytes = new Uint8Array(0);
  /** Of what `find` looked for last: `keep` is called after it. */
  #hash = 0;

  constructor(bytesMax = 32 * 1024 * 1024) {
    this.#bytesMax = bytesMax;
  }

  get size(): number {
    return this.#series.length;
  }

  find(source: number, bytes: Uint8Array, start: number, end: number): Series | undefined {
    const hash = hashOf(source, bytes, start, end);
    this.#hash = hash;
    if (this.#series.length === 0) return undefined;
    for (let place = hash & (PLACES - 1); ; place = (place + 1) & (PLACES - 1)) {
      const entry = this.#places[place]! - 1;
      if (entry < 0) return undefined;
      if (this.#hashes[entry] === hash && this.#sources[entry] === source && this.#isEqual(entry, bytes, start, end)) {
        return this.#series[entry];
      }
    }
  }

  /** What the last `find` did not find, or found to be gone. */
  keep(source: number, bytes: Uint8Array, start: number, end: number, series: Series): void {
    const hash = this.#hash;
    const used = this.#offsets[this.#series.length]!;
    if (this.#series.length === SERIES_MAX || used + end - start > this.#bytesMax) this.clear();
    if (this.#places.length === 0) this.#places = new Int32Array(PLACES);
    for (let place = hash & (PLACES - 1); ; place = (place + 1) & (PLACES - 1)) {
      const entry = this.#places[place]! - 1;
      if (entry < 0) {
        this.#add(place, { source, bytes, start, end, series });
        return;
      }
      if (this.#hashes[entry] === hash && this.#sources[entry] === source && this.#isEqual(entry, bytes, start, end)) {
        this.#series[entry] = series;
        return;
      }
    }
  }

  clear(): void {
    this.#places.fill(0);
    this.#series = [];
  }

  #add(place: number, what: { source: number; bytes: Uint8Array; start: number; end: number; series: Series }): void {
    const { source, bytes, start, end, series } = what;
    const entry = this.#series.length;
    const offset = this.#offsets[entry]!;
    const used = offset + end - start;
    if (used > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(FIRST_BYTES, 2 * this.#bytes.length, used));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes.subarray(start, end), offset);
    this.#offsets[entry + 1] = used;
    this.#hashes[entry] = this.#hash;
    this.#sources[entry] = source;
    this.#series.push(series);
    this.#places[place] = entry + 1;
  }

  #isEqual(entry: number, bytes: Uint8Array, start: number, end: number): boolean {
    const offset = this.#offsets[entry]!;
    if (this.#offsets[entry + 1]! - offset !== end - start) return false;
    const own = this.#bytes;
    for (let i = start, at = offset; i < end; i++, at++) if (bytes[i] !== own[at]) return false;
    return true;
  }
}

/** MurmurHash3's mixing, four bytes at a time (github.com/aappleby/smhasher). */
function hashOf(source: number, bytes: Uint8Array, start: number, end: number): number {
  let hash = source ^ (end - start);
  let at = start;
  for (; at + 4 <= end; at += 4) {
    let four = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    four = Math.imul(four, 0xcc9e2d51);
    four = (four << 15) | (four >>> 17);
    hash ^= Math.imul(four, 0x1b873593);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
