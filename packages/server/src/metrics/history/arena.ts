// Chunks: compressed points of one series each, one behind the other in slabs, each with the place of the one before it of its
// series. Slabs go oldest first, and lie on disk as they lie in memory.
//
// A1. A place is a slab and an offset; it stays the same when slabs are read back.
// A2. A chunk lies in one slab.
//
//   length (4 bytes, of what follows the head), series (4), count (2), kind (1), flags (1), place of the chunk before (6; 0: none),
//   first tick (6), last tick (6); of kind 0: start (8) if flagged; of the others: oldest and newest time (8 each)
//
// Little-endian. Kinds: 0 Gorilla (gorilla.ts); 1 whole points (a tick in 6 bytes, a length in 4, whole-point.ts); 2 the same,
// compressed with Zstandard.

export const ChunkKind = { GORILLA: 0, WHOLE: 1, WHOLE_ZSTD: 2 } as const;
export type ChunkKind = (typeof ChunkKind)[keyof typeof ChunkKind];

/** The points are whole numbers. */
const IS_INT = 1;
const HAS_START = 2;
/** And above: the scale (scales.ts) of the values. */
const SCALE = 4;
const HEAD_BYTES = 30;
const HEAD_BYTES_MAX = HEAD_BYTES + 16;
const OFFSETS = 2 ** 24;

export interface Chunk {
  readonly id: number;
  readonly kind: ChunkKind;
  readonly isInt: boolean;
  /** Of its values, scales.ts; of kind 0. */
  readonly scale: number;
  /** Unix ns; of kind 0. */
  readonly startNs: bigint;
  readonly count: number;
  readonly firstTick: number;
  readonly lastTick: number;
  /** Unix ns; of the kinds that are not 0, whose points may be in any order. */
  readonly oldestNs: bigint;
  readonly newestNs: bigint;
}

/** A chunk that is there already. */
export interface StoredChunk extends Chunk {
  /** Of the one before it of its series; 0: it is the first. */
  readonly previous: number;
  readonly bytes: Buffer;
  readonly at: number;
  readonly length: number;
}

interface Slab {
  readonly bytes: Buffer;
  used: number;
  /** The lowest that its chunks refer to. */
  firstTick: number;
  /** When the last chunk was added, Unix ms. */
  sealedMs: number;
}

/** A stretch of a slab. */
export interface Stretch {
  readonly slab: number;
  readonly offset: number;
  readonly bytes: Buffer;
  readonly sealedMs: number;
}

export class Arena {
  readonly #slabBytes: number;
  readonly #slabs: Slab[] = [];
  /** Number of the first slab: never 0, so that no place is. */
  #first = 1;
  /** Nothing before it is there. */
  #begin = OFFSETS;
  #bytes = 0;

  constructor({ slabBytes }: { slabBytes: number }) {
    this.#slabBytes = slabBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get slabs(): number {
    return this.#slabs.length;
  }

  /** When the newest chunk of the oldest slab was added, Unix ms; undefined: there is none. */
  get oldestSealedMs(): number | undefined {
    return this.#slabs[0]?.sealedMs;
  }

  /** The lowest that any chunk refers to. */
  get firstTick(): number {
    let first = Infinity;
    for (const slab of this.#slabs) first = Math.min(first, slab.firstTick);
    return first;
  }

  /** Where the next chunk cannot be before. */
  get end(): { readonly slab: number; readonly offset: number } {
    const last = this.#slabs.at(-1);
    return last === undefined
      ? { slab: this.#first, offset: 0 }
      : { slab: this.#first + this.#slabs.length - 1, offset: last.used };
  }

  get firstTickOfOldest(): number {
    return this.#slabs[0]?.firstTick ?? Infinity;
  }

  isBehind(place: number, from: { readonly slab: number; readonly offset: number }): boolean {
    return place >= from.slab * OFFSETS + from.offset;
  }

  isThere(place: number): boolean {
    return place >= this.#begin;
  }

  /** Answers its place. */
  add(chunk: Chunk, body: Uint8Array, where: { readonly previous: number; readonly nowMs: number }): number {
    const slab = this.#slabFor(HEAD_BYTES_MAX + body.length);
    const { bytes } = slab;
    const start = slab.used;
    const isGorilla = chunk.kind === ChunkKind.GORILLA;
    const hasStart = isGorilla && chunk.startNs !== 0n;
    bytes.writeUInt32LE(body.length, start);
    bytes.writeUInt32LE(chunk.id, start + 4);
    bytes.writeUInt16LE(chunk.count, start + 8);
    bytes[start + 10] = chunk.kind;
    bytes[start + 11] = (chunk.isInt ? IS_INT : 0) | (hasStart ? HAS_START : 0) | (SCALE * chunk.scale);
    bytes.writeUIntLE(where.previous, start + 12, 6);
    bytes.writeUIntLE(chunk.firstTick, start + 18, 6);
    let at = bytes.writeUIntLE(chunk.lastTick, start + 24, 6);
    if (hasStart) at = bytes.writeBigInt64LE(BigInt.asIntN(64, chunk.startNs), at);
    if (!isGorilla) at = bytes.writeBigInt64LE(chunk.newestNs, bytes.writeBigInt64LE(chunk.oldestNs, at));
    bytes.set(body, at);
    slab.used = at + body.length;
    slab.firstTick = Math.min(slab.firstTick, chunk.firstTick);
    slab.sealedMs = where.nowMs;
    return (this.#first + this.#slabs.length - 1) * OFFSETS + start;
  }

  /** Undefined: it is not there any more. */
  read(place: number): StoredChunk | undefined {
    if (!this.isThere(place)) return undefined;
    return readChunk(this.#slabs[Math.floor(place / OFFSETS) - this.#first]!.bytes, place % OFFSETS);
  }

  /** What was added behind a place. */
  *since(from: { readonly slab: number; readonly offset: number }): Generator<Stretch> {
    for (const [i, { bytes, used, sealedMs }] of this.#slabs.entries()) {
      const slab = this.#first + i;
      const offset = slab < from.slab ? used : slab === from.slab ? from.offset : 0;
      if (offset < used) yield { slab, offset, bytes: bytes.subarray(offset, used), sealedMs };
    }
  }

  /** Puts a stretch back where it was, behind all that is there (A1). Hands out its chunks with their places. */
  *restore({ slab, offset, bytes, sealedMs }: Stretch): Generator<{ place: number; chunk: StoredChunk }> {
    if (this.#slabs.length === 0) {
      this.#first = slab;
      this.#begin = slab * OFFSETS + offset;
    }
    while (this.#first + this.#slabs.length <= slab) this.#makeSlab(Math.max(this.#slabBytes, offset + bytes.length));
    const target = this.#slabs[slab - this.#first];
    if (target === undefined || offset + bytes.length > target.bytes.length) return;
    target.bytes.set(bytes, offset);
    target.used = offset + bytes.length;
    target.sealedMs = sealedMs;
    for (let at = offset; at < target.used;) {
      const chunk = readChunk(target.bytes, at);
      target.firstTick = Math.min(target.firstTick, chunk.firstTick);
      yield { place: slab * OFFSETS + at, chunk };
      at = chunk.at + chunk.length;
    }
  }

  /** The chunks of the oldest slab. */
  *oldest(): Generator<StoredChunk> {
    const slab = this.#slabs[0];
    if (slab === undefined) return;
    for (let at = this.#begin % OFFSETS; at < slab.used;) {
      const chunk = readChunk(slab.bytes, at);
      yield chunk;
      at = chunk.at + chunk.length;
    }
  }

  dropOldest(): void {
    const slab = this.#slabs.shift();
    if (slab === undefined) return;
    this.#begin = ++this.#first * OFFSETS;
    this.#bytes -= slab.bytes.length;
  }

  #slabFor(size: number): Slab {
    const last = this.#slabs.at(-1);
    if (last !== undefined && last.used + size <= last.bytes.length) return last;
    return this.#makeSlab(Math.max(this.#slabBytes, size));
  }

  #makeSlab(size: number): Slab {
    const slab = { bytes: Buffer.allocUnsafeSlow(size), used: 0, firstTick: Infinity, sealedMs: 0 };
    this.#slabs.push(slab);
    this.#bytes += size;
    return slab;
  }
}

function readChunk(bytes: Buffer, start: number): StoredChunk {
  const kind = bytes[start + 10] as ChunkKind;
  const flags = bytes[start + 11]!;
  const isGorilla = kind === ChunkKind.GORILLA;
  const hasStart = (flags & HAS_START) !== 0;
  return {
    id: bytes.readUInt32LE(start + 4),
    kind,
    isInt: (flags & IS_INT) !== 0,
    scale: Math.floor(flags / SCALE),
    startNs: hasStart ? bytes.readBigInt64LE(start + HEAD_BYTES) : 0n,
    count: bytes.readUInt16LE(start + 8),
    firstTick: bytes.readUIntLE(start + 18, 6),
    lastTick: bytes.readUIntLE(start + 24, 6),
    oldestNs: isGorilla ? 0n : bytes.readBigInt64LE(start + HEAD_BYTES),
    newestNs: isGorilla ? 0n : bytes.readBigInt64LE(start + HEAD_BYTES + 8),
    previous: bytes.readUIntLE(start + 12, 6),
    bytes,
    at: start + HEAD_BYTES + (hasStart ? 8 : isGorilla ? 0 : 16),
    length: bytes.readUInt32LE(start),
  };
}
