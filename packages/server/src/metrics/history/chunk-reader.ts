// Reads chunks, of the arena or open ones: what was put in comes out, with its time and its tick.
import { zstdDecompressSync } from "node:zlib";
import { ChunkKind, type StoredChunk } from "./arena.ts";
import { GorillaReader } from "./gorilla.ts";
import { unscaled } from "./scales.ts";
import type { Ticks } from "./ticks.ts";
import { decodeWhole, type PastPoint, STALE_HIGH, STALE_LOW } from "./whole-point.ts";

/** A point, and when it came. */
export interface TickPoint extends PastPoint {
  readonly tick: number;
}

/** A chunk, wherever it is. */
export interface ReadableChunk extends Omit<StoredChunk, "id" | "previous" | "bytes"> {
  readonly bytes: Uint8Array;
  /** Of whole points that lie in pieces. */
  readonly parts?: readonly Buffer[];
}

/** Of a tick in a chunk of whole points. */
export const TICK_BYTES = 6;

const scratch = new Float64Array(1);
const halves = new Uint32Array(scratch.buffer);

export class ChunkReader {
  readonly #ticks: Ticks;
  readonly #reader = new GorillaReader();

  constructor(ticks: Ticks) {
    this.#ticks = ticks;
  }

  oldestOf(chunk: ReadableChunk): bigint {
    return chunk.kind === ChunkKind.GORILLA ? this.#ticks.timestampNs(chunk.firstTick) : chunk.oldestNs;
  }

  newestOf(chunk: ReadableChunk): bigint {
    return chunk.kind === ChunkKind.GORILLA ? this.#ticks.timestampNs(chunk.lastTick) : chunk.newestNs;
  }

  /** All points of a chunk. */
  decode(chunk: ReadableChunk, visit: (point: TickPoint) => void): void {
    if (chunk.kind === ChunkKind.GORILLA) this.#decodeGorilla(chunk, visit);
    else this.#decodeWhole(chunk, visit);
  }

  /** Times (ns since `seconds`) and values of all points but ends. */
  numbers(chunk: ReadableChunk, seconds: number, visit: (sinceNs: number, value: number) => void): void {
    const ticks = this.#ticks;
    if (chunk.kind !== ChunkKind.GORILLA) {
      this.#decodeWhole(chunk, ({ tick, value, isStale }) => {
        if (!isStale) visit(ticks.since(tick, seconds), value);
      });
      return;
    }
    const { bytes, at, scale } = chunk;
    const reader = this.#reader;
    reader.open(bytes, at, chunk);
    while (reader.next()) {
      const { high, low } = reader;
      if (high === STALE_HIGH && low === STALE_LOW) continue;
      halves[0] = low;
      halves[1] = high;
      visit(ticks.since(reader.tick, seconds), unscaled(scratch[0]!, scale));
    }
  }

  #decodeGorilla(chunk: ReadableChunk, visit: (point: TickPoint) => void): void {
    const { startNs, isInt, scale, bytes, at } = chunk;
    const reader = this.#reader;
    reader.open(bytes, at, chunk);
    while (reader.next()) {
      const { tick, high, low } = reader;
      halves[0] = low;
      halves[1] = high;
      const value = unscaled(scratch[0]!, scale);
      const isStale = high === STALE_HIGH && low === STALE_LOW;
      const timestampNs = this.#ticks.timestampNs(tick);
      const intValue = isInt && !isStale ? BigInt(value) : undefined;
      visit({ tick, value, intValue, timestampNs, startNs, isStale });
    }
  }

  #decodeWhole({ kind, bytes, at, length, parts }: ReadableChunk, visit: (point: TickPoint) => void): void {
    const stored = parts === undefined ? bytes.subarray(at, at + length) : Buffer.concat(parts);
    const plain =
      kind === ChunkKind.WHOLE_ZSTD
        ? zstdDecompressSync(stored)
        : Buffer.from(stored.buffer, stored.byteOffset, stored.length);
    for (let from = 0; from < plain.length;) {
      const tick = plain.readUIntLE(from, TICK_BYTES);
      const start = from + TICK_BYTES + 4;
      const end = start + plain.readUInt32LE(from + TICK_BYTES);
      visit({ ...decodeWhole(plain.subarray(start, end), this.#ticks.timestampNs(tick)), tick });
      from = end;
    }
  }
}
