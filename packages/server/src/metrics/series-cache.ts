// Finds the series of a point by the bytes of its attributes, as they came: no text is built for a series that is known.
//
// C1. What is found has the same source and the same bytes; which series that is was found out once, by its key.
// C2. Bounded in places and in bytes: at the bound it is emptied, and filled again by what comes.
// `npm run bench -- metrics-ingest` shows what it is for.
import type { Series } from "./series.ts";

const PLACES = 1 << 18;
/** Of the places; beyond it finding becomes searching. */
const SERIES_MAX = PLACES / 2;
const FIRST_BYTES = 64 * 1024;

/** Of one entry, side by side, for they are read together: hash, source, where its bytes begin, how many they are. */
const HASH = 0;
const SOURCE = 1;
const OFFSET = 2;
const LENGTH = 3;
const NUMBERS = 4;

export class SeriesCache {
  readonly #bytesMax: number;
  /** By place: number of the entry plus one; 0: free. Made when something is kept, as is the rest. */
  #places = new Int32Array(0);
  #numbers = new Int32Array(0);
  #series: Series[] = [];
  #bytes = new Uint8Array(0);
  #bytesUsed = 0;

  constructor(bytesMax = 32 * 1024 * 1024) {
    this.#bytesMax = bytesMax;
  }

  find(source: number, bytes: Uint8Array, start: number, end: number): Series | undefined {
    if (this.#series.length === 0) return undefined;
    const place = this.#placeOf(hashOf(source, bytes, start, end), source, bytes, start, end);
    const entry = this.#places[place]!;
    return entry === 0 ? undefined : this.#series[entry - 1];
  }

  /** From now on the series of these bytes is this one. */
  keep(source: number, bytes: Uint8Array, start: number, end: number, series: Series): void {
    if (this.#series.length === SERIES_MAX || this.#bytesUsed + end - start > this.#bytesMax) this.clear(); // C2
    if (this.#places.length === 0) {
      this.#places = new Int32Array(PLACES);
      this.#numbers = new Int32Array(NUMBERS * SERIES_MAX);
    }
    const hash = hashOf(source, bytes, start, end);
    const place = this.#placeOf(hash, source, bytes, start, end);
    const known = this.#places[place]!;
    if (known > 0) {
      this.#series[known - 1] = series;
      return;
    }
    const at = NUMBERS * this.#series.length;
    this.#numbers[at + HASH] = hash;
    this.#numbers[at + SOURCE] = source;
    this.#numbers[at + OFFSET] = this.#bytesUsed;
    this.#numbers[at + LENGTH] = end - start;
    this.#addBytes(bytes, start, end);
    this.#series.push(series);
    this.#places[place] = this.#series.length;
  }

  clear(): void {
    this.#places.fill(0);
    this.#series = [];
    this.#bytesUsed = 0;
  }

  /** The place of these bytes, or the free one where they would be. */
  #placeOf(hash: number, source: number, bytes: Uint8Array, start: number, end: number): number {
    const places = this.#places;
    const numbers = this.#numbers;
    for (let place = hash & (PLACES - 1); ; place = (place + 1) & (PLACES - 1)) {
      const at = NUMBERS * (places[place]! - 1);
      if (at < 0) return place;
      if (numbers[at + HASH] !== hash || numbers[at + SOURCE] !== source || numbers[at + LENGTH] !== end - start)
        continue;
      if (isEqual(this.#bytes, numbers[at + OFFSET]!, bytes, start, end)) return place;
    }
  }

  #addBytes(bytes: Uint8Array, start: number, end: number): void {
    const used = this.#bytesUsed + end - start;
    if (used > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(FIRST_BYTES, 2 * this.#bytes.length, used));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes.subarray(start, end), this.#bytesUsed);
    this.#bytesUsed = used;
  }
}

function isEqual(own: Uint8Array, offset: number, bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start, at = offset; i < end; i++, at++) if (bytes[i] !== own[at]) return false;
  return true;
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
