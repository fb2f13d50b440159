// A bounded cache in two generations: what was not asked for while a whole generation filled up is forgotten.
// Look-up and insertion are one or two Map operations; nothing is ever walked.

interface Entry<V> {
  readonly value: V;
  readonly bytes: number;
}

export class RecentCache<V> {
  readonly #generationBytes: number;
  #young = new Map<string, Entry<V>>();
  #old = new Map<string, Entry<V>>();
  #youngBytes = 0;

  /** @param bytesMax of both generations together, by what `set` is told. */
  constructor(bytesMax: number) {
    this.#generationBytes = bytesMax / 2;
  }

  get isEmpty(): boolean {
    return this.#young.size === 0 && this.#old.size === 0;
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young.value;
    if (this.#old.size === 0) return undefined;
    const old = this.#old.get(key);
    if (old === undefined) return undefined;
    this.#keep(key, old);
    return old.value;
  }

  /** @param bytes what key and value cost, roughly. An entry larger than a generation is not kept. */
  set(key: string, value: V, bytes: number): void {
    const cost = bytes + ENTRY_BYTES;
    if (cost <= this.#generationBytes) this.#keep(key, { value, bytes: cost });
  }

  clear(): void {
    if (this.isEmpty) return;
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = 0;
  }

  #keep(key: string, entry: Entry<V>): void {
    if (this.#youngBytes + entry.bytes > this.#generationBytes) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(key, entry);
    this.#youngBytes += entry.bytes;
  }
}

/** A Map's slot, the entry, the value's object and the strings' heads. */
const ENTRY_BYTES = 160;
