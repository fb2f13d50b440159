// What the index knows of consecutive entries, column by column: typed arrays, no object per entry.
//
// Timestamps are 64-bit nanoseconds. In loops they are two 32-bit words (low, high: little-endian, so that a
// BigInt64Array over the same buffer shows the same numbers): BigInt arithmetic costs an allocation per entry.
//
// K1. `starts` has one element more than there are entries: entry i is starts[i] .. starts[i + 1].
// K2. An entry with severity DAMAGED does not prove itself and is never handed out.

/** Stands in the severity column for an entry whose bytes do not prove themselves. */
export const DAMAGED = 255;

/** Bytes of one entry in the columns. */
export const ENTRY_COLUMNS_BYTES = 17;

/** Bytes of columns for so many entries. */
export function columnsBytes(capacity: number): number {
  return capacity * ENTRY_COLUMNS_BYTES + 4;
}

export class Columns {
  readonly capacity: number;
  /** What it was made in, for whoever made that. */
  readonly memory: Uint8Array | undefined;
  /** Pairs (low, high). */
  readonly timestamps: Int32Array;
  readonly starts: Uint32Array;
  /** Label ids of this process. */
  readonly labels: Uint32Array;
  readonly severities: Uint8Array;

  /** @param memory `columnsBytes` or more, aligned to 4 bytes, not zeroed; without it, new memory, zeroed */
  constructor(capacity: number, memory?: Uint8Array) {
    this.capacity = capacity;
    this.memory = memory;
    const { buffer, byteOffset: at } = memory ?? new Uint8Array(columnsBytes(capacity));
    this.timestamps = new Int32Array(buffer, at, capacity * 2);
    this.starts = new Uint32Array(buffer, at + capacity * 8, capacity + 1);
    this.labels = new Uint32Array(buffer, at + capacity * 12 + 4, capacity);
    this.severities = new Uint8Array(buffer, at + capacity * 16 + 4, capacity);
  }

  equals(other: Columns): boolean {
    const bytes = ({ starts: { buffer }, timestamps, capacity }: Columns) =>
      Buffer.from(buffer, timestamps.byteOffset, columnsBytes(capacity));
    return bytes(this).equals(bytes(other));
  }
}

/** The same nanoseconds as pairs of words (low, high), without a copy. */
export function asWords(timestamps: BigInt64Array): Int32Array {
  return new Int32Array(timestamps.buffer, timestamps.byteOffset, timestamps.length * 2);
}

/** a < b for 64-bit integers in two words; the high word is signed. */
export function isBefore(aLow: number, aHigh: number, bLow: number, bHigh: number): boolean {
  return aHigh === bHigh ? aLow >>> 0 < bLow >>> 0 : aHigh < bHigh;
}

const words = new Int32Array(2);
const asBigInt = new BigInt64Array(words.buffer);

export function toBigInt(low: number, high: number): bigint {
  words[0] = low;
  words[1] = high;
  return asBigInt[0]!;
}

/** The words (low, high) of a 64-bit integer. */
export function toWords(value: bigint): { low: number; high: number } {
  asBigInt[0] = value;
  return { low: words[0]!, high: words[1]! };
}
