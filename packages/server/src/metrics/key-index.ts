// Finds numbers by their keys without keeping the keys: a hash leads to candidates, whose key is made anew and compared.
//
// X1. Exact: what is found has the same key.
// X2. Outside the heap, at 8 bytes a place; at most half of the places are taken.
// X3. Linear probing. What lies behind a key that goes moves up (Knuth, The Art of Computer Programming 3, 6.4, algorithm R), so
//     that no place is a gravestone.

const PLACES_MIN = 64;

export class KeyIndex {
  readonly #keyOf: (number: number) => string;
  /** The number plus one; 0: free. */
  #numbers = new Int32Array(PLACES_MIN);
  #hashes = new Int32Array(PLACES_MIN);
  #size = 0;

  /** @param keyOf of a number that was added */
  constructor(keyOf: (number: number) => string) {
    this.#keyOf = keyOf;
  }

  get size(): number {
    return this.#size;
  }

  find(key: string): number | undefined {
    const number = this.#numbers[this.#placeOf(key, hashOf(key))]!;
    return number === 0 ? undefined : number - 1;
  }

  /** The key must not be there. */
  add(number: number, key: string): void {
    if (2 * (this.#size + 1) > this.#numbers.length) this.#grow();
    this.#put(number + 1, hashOf(key));
    this.#size++;
  }

  /** A key that is not there is none that goes. */
  delete(key: string): void {
    const numbers = this.#numbers;
    const hashes = this.#hashes;
    const mask = numbers.length - 1;
    let hole = this.#placeOf(key, hashOf(key));
    if (numbers[hole] === 0) return;
    this.#size--;
    for (let place = (hole + 1) & mask; numbers[place] !== 0; place = (place + 1) & mask) {
      // X3. It may move up unless its own place lies behind the hole.
      const home = hashes[place]! & mask;
      if (((place - home) & mask) < ((place - hole) & mask)) continue;
      numbers[hole] = numbers[place]!;
      hashes[hole] = hashes[place]!;
      hole = place;
    }
    numbers[hole] = 0;
  }

  /** Of the key, or the free one where it would be. */
  #placeOf(key: string, hash: number): number {
    const numbers = this.#numbers;
    const mask = numbers.length - 1;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const number = numbers[place]!;
      if (number === 0 || (this.#hashes[place] === hash && this.#keyOf(number - 1) === key)) return place;
    }
  }

  #put(taken: number, hash: number): void {
    const mask = this.#numbers.length - 1;
    let place = hash & mask;
    while (this.#numbers[place] !== 0) place = (place + 1) & mask;
    this.#numbers[place] = taken;
    this.#hashes[place] = hash;
  }

  #grow(): void {
    const numbers = this.#numbers;
    const hashes = this.#hashes;
    this.#numbers = new Int32Array(2 * numbers.length);
    this.#hashes = new Int32Array(2 * numbers.length);
    for (const [place, taken] of numbers.entries()) if (taken !== 0) this.#put(taken, hashes[place]!);
  }
}

/** FNV-1a over UTF-16, mixed at the end as MurmurHash3 does (github.com/aappleby/smhasher). */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
