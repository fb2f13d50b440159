// Remembers the numbers behind the few byte strings that repeat in nearly every entry (applications, levels), so that
// an entry costs a comparison of bytes instead of a decoded string and a look-up.
//
// B1. One slot per hash, the last one wins: bounded whatever producers send.

const SLOTS = 1024;

interface Slot {
  readonly key: Uint8Array;
  readonly value: number;
}

export class BytesTable {
  readonly #slots: (Slot | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  readonly #resolve: (text: string) => number;

  /** @param resolve the number behind a string; what it throws is not remembered */
  constructor(resolve: (text: string) => number) {
    this.#resolve = resolve;
  }

  /** The number behind the UTF-8 bytes `start..end`. @throws what `resolve` throws */
  get(bytes: Uint8Array, start: number, end: number): number {
    let hash = end - start;
    for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
    const index = (hash ^ (hash >>> 13)) & (SLOTS - 1);
    const slot = this.#slots[index];
    if (slot !== undefined && isEqual(slot.key, bytes, start, end)) return slot.value;
    const key = bytes.slice(start, end);
    const value = this.#resolve(decoder.decode(key));
    this.#slots[index] = { key, value };
    return value;
  }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function isEqual(key: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (key.length !== end - start) return false;
  for (let i = 0; i < key.length; i++) {
    if (key[i] !== bytes[start + i]) return false;
  }
  return true;
}
