// What a writer keeps: encoded entries, from the oldest unacknowledged one to the newest.
//
// Q1. Sequences are dense: the entry at place i has the producer's sequence `first + i`.
// Q2. An entry leaves from the front only, when it was answered.

/** Stands where an entry was, so that its bytes are free at once. */
const RELEASED = new Uint8Array(0);

export class EntryQueue {
  #entries: Uint8Array[] = [];
  /** Place of the oldest entry in the array; what lies before it has left. */
  #head = 0;
  #bytes = 0;
  #first: number;

  /** @param first the producer's sequence of the first entry. */
  constructor(first: number) {
    this.#first = first;
  }

  /** The producer's sequence of the oldest entry; of the next one when there is none. */
  get first(): number {
    return this.#first;
  }

  /** The producer's sequence of the next entry. */
  get next(): number {
    return this.#first + this.length;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  /** Bytes of all entries together. */
  get bytes(): number {
    return this.#bytes;
  }

  push(entry: Uint8Array): void {
    this.#entries.push(entry);
    this.#bytes += entry.length;
  }

  /** The entry with this sequence. @throws RangeError when it is not there (any more). */
  at(sequence: number): Uint8Array {
    const entry = sequence < this.#first ? undefined : this.#entries[this.#head + sequence - this.#first];
    if (entry === undefined) throw new RangeError(`Entry ${sequence} is not among ${this.#first}..${this.next - 1}`);
    return entry;
  }

  /** Forgets everything before this sequence. */
  dropBefore(sequence: number): void {
    const end = this.#head + Math.min(sequence - this.#first, this.length);
    for (; this.#head < end; this.#head++, this.#first++) {
      this.#bytes -= this.#entries[this.#head]?.length ?? 0;
      this.#entries[this.#head] = RELEASED;
    }
    if (this.#head * 2 < this.#entries.length) return; // moving the rest pays when it is the smaller part
    this.#entries = this.#entries.slice(this.#head);
    this.#head = 0;
  }
}
