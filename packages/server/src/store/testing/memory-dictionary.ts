// A dictionary without a disk, with a bound in the test's hands.
import type { Dictionary, DictionaryEntry, DictionaryLease } from "../dictionary.ts";

export class MemoryDictionary implements Dictionary {
  /** New byte strings find no room. */
  isFull = false;
  /** Leases that are not disposed. */
  openLeases = 0;
  readonly #entries: DictionaryEntry[] = [];

  lease(): DictionaryLease {
    this.openLeases++;
    return {
      intern: (kind, bytes) => this.#intern(kind, bytes),
      [Symbol.dispose]: () => void this.openLeases--,
    };
  }

  find(id: number): DictionaryEntry | undefined {
    return this.#entries[id - 1];
  }

  entries(): Iterable<DictionaryEntry> {
    return this.#entries;
  }

  #intern(kind: number, bytes: Uint8Array): number | undefined | Promise<number> {
    const known = this.#entries.find((each) => each.kind === kind && Buffer.compare(each.bytes, bytes) === 0);
    if (known !== undefined) return known.id;
    if (this.isFull) return undefined;
    const id = this.#entries.length + 1;
    this.#entries.push({ id, kind, bytes: bytes.slice() });
    return Promise.resolve(id);
  }
}
