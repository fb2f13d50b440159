// Walks through a file of frames and asks each whether it proves itself: how an index is rebuilt, a torn tail found, a
// data folder checked.
//
// F1. An entry is believed only when its frame proves itself and stands where its sequence belongs.
// F2. Behind bytes that prove nothing, the walk goes on at the next frame that does; the entries between are damaged.
import type { Batch, FrameCodec, FrameDescription } from "./contract.ts";
import type { ReadableFile } from "./file-system.ts";
import { DAMAGED } from "./columns.ts";
import { errorCode, readFully } from "./file-system.ts";

/** Read at once. A longer frame is read whole. */
const CHUNK_BYTES = 1024 * 1024;
/** gRPC: one byte of flag, four of length. */
export const FRAME_HEADER_BYTES = 5;
/** What a disk gives or does not give as a whole. */
const SECTOR_BYTES = 4096;
/** A frame holds at least its checksum: tag and four bytes. */
const FRAME_BYTES_MIN = FRAME_HEADER_BYTES + 5;
/** Handed on at once. */
const BATCH_ENTRIES = 4096;
const NO_BYTES = new Uint8Array(0);

export interface WalkRequest {
  readonly file: ReadableFile;
  /** Bytes of the file to look at. */
  readonly size: number;
  readonly codec: FrameCodec;
  /** Sequence of the frame at byte 0. */
  readonly first: number;
  /** Whether an entry may belong to an epoch. */
  readonly isExpected: (epoch: number, sequence: number) => boolean;
  readonly label: (name: string) => number;
  /** From this byte on, nothing is searched behind bytes that prove nothing: the walk ends there. */
  readonly searchUntil: number;
  /** Gets entries in order, from byte 0 on, damaged ones included (severity DAMAGED). The batch is used again. */
  readonly onEntries: (batch: WalkedBatch) => void;
}

export interface WalkedBatch extends Batch {
  /** Of each entry; undefined for damaged ones. */
  readonly descriptions: readonly (FrameDescription | undefined)[];
}

export interface WalkResult {
  /** Everything before this byte was handed on. */
  readonly end: number;
  /** The sequence that would come next. */
  readonly next: number;
  readonly damagedEntries: number;
  readonly epochMax: number;
  /** The disk did not give all bytes. */
  readonly isUnreadable: boolean;
}

/** Walks from byte 0 to `size`, or to the first byte that proves nothing and behind which nothing is to be found. */
export async function walkFrames(request: WalkRequest): Promise<WalkResult> {
  return new Walk(request).run();
}

interface Found {
  readonly start: number;
  readonly sequence: number;
}

class Walk {
  readonly #request: WalkRequest;
  readonly #gathered: Gathered;
  readonly #buffer: Uint8Array;
  /** Bytes of the file from #windowStart on. */
  #window: Uint8Array = NO_BYTES;
  #windowStart = 0;
  /** Everything before it was handed on. */
  #at = 0;
  #next: number;
  #damaged = 0;
  #epochMax = 0;
  #isUnreadable = false;

  constructor(request: WalkRequest) {
    this.#request = request;
    this.#buffer = new Uint8Array(Math.min(CHUNK_BYTES, request.size));
    this.#next = request.first;
    this.#gathered = new Gathered(request.label);
  }

  async run(): Promise<WalkResult> {
    while (this.#at < this.#request.size) {
      const frameEnd = await this.#loadFrame(this.#at);
      const before = this.#at;
      if (frameEnd !== undefined) this.#takeProven();
      if (this.#at > before) continue;
      if (this.#at >= this.#request.searchUntil) break;
      const found = await this.#search();
      if (found === undefined) break;
      await this.#takeDamaged(found);
    }
    return {
      end: this.#at,
      next: this.#next,
      damagedEntries: this.#damaged,
      epochMax: this.#epochMax,
      isUnreadable: this.#isUnreadable,
    };
  }

  /** Brings a whole frame into the window, and what follows it if there is room; its end, undefined when it has none. */
  async #loadFrame(at: number): Promise<number | undefined> {
    const { size } = this.#request;
    if (at + FRAME_HEADER_BYTES > size) return undefined;
    if (!this.#covers(at, at + FRAME_HEADER_BYTES)) await this.#load(at, CHUNK_BYTES);
    const end = this.#endOf(at);
    if (end > size) return undefined;
    if (!this.#covers(at, end)) await this.#load(at, Math.max(end - at, CHUNK_BYTES));
    return end;
  }

  #covers(start: number, end: number): boolean {
    return start >= this.#windowStart && end <= this.#windowStart + this.#window.length;
  }

  async #load(start: number, byteCount: number): Promise<void> {
    const count = Math.min(byteCount, this.#request.size - start);
    const window = count <= this.#buffer.length ? this.#buffer.subarray(0, count) : new Uint8Array(count);
    try {
      await readFully(this.#request.file, window, start);
    } catch (error) {
      if (errorCode(error) !== "EIO") throw error;
      await this.#loadReadable(window, start);
    }
    this.#window = window;
    this.#windowStart = start;
  }

  /** Sector by sector, with zeros for what the disk does not give: they prove nothing, so they come out as damage. */
  async #loadReadable(window: Uint8Array, start: number): Promise<void> {
    for (let at = 0; at < window.length; at += SECTOR_BYTES) {
      const sector = window.subarray(at, at + SECTOR_BYTES);
      try {
        await readFully(this.#request.file, sector, start + at);
      } catch (error) {
        if (errorCode(error) !== "EIO") throw error;
        sector.fill(0);
        this.#isUnreadable = true;
      }
    }
  }

  /** Where the frame at a byte ends, if its header is one. The header is in the window. */
  #endOf(at: number): number {
    const i = at - this.#windowStart;
    const bytes = this.#window;
    const length = bytes[i + 1]! * 2 ** 24 + ((bytes[i + 2]! << 16) | (bytes[i + 3]! << 8) | bytes[i + 4]!);
    return at + FRAME_HEADER_BYTES + length;
  }

  /** Hands on all frames that stand whole in the window and prove themselves, from #at on. */
  #takeProven(): void {
    const windowEnd = this.#windowStart + this.#window.length;
    const gathered = this.#gathered;
    while (this.#at + FRAME_HEADER_BYTES <= windowEnd) {
      const end = this.#endOf(this.#at);
      if (end > windowEnd) break;
      const description = this.#describe(this.#at, end);
      if (description === undefined || description.sequence !== this.#next) break;
      gathered.add(this.#at - this.#windowStart, end - this.#at, description);
      this.#epochMax = Math.max(this.#epochMax, description.epoch);
      this.#at = end;
      this.#next++;
      if (gathered.count === BATCH_ENTRIES) gathered.hand(this.#window, this.#request.onEntries);
    }
    gathered.hand(this.#window, this.#request.onEntries);
  }

  /** F1. The frame is in the window. */
  #describe(start: number, end: number): FrameDescription | undefined {
    const { codec, isExpected } = this.#request;
    const found = codec.describe(this.#window, start - this.#windowStart, end - this.#windowStart);
    return found !== undefined && isExpected(found.epoch, found.sequence) ? found : undefined;
  }

  /** F2. The next frame behind #at that proves itself and whose sequence is one that can stand there. */
  async #search(): Promise<Found | undefined> {
    const { size } = this.#request;
    // Most often only the message is damaged, and its header still tells where the next frame is.
    const behind = await this.#loadFrame(this.#at);
    const nearest = behind === undefined ? undefined : await this.#proofAt(behind);
    if (nearest !== undefined) return nearest;
    for (let at = this.#at + 1; at + FRAME_BYTES_MIN <= size; at++) {
      if (!this.#covers(at, at + FRAME_HEADER_BYTES)) await this.#load(at, CHUNK_BYTES);
      if (this.#window[at - this.#windowStart]! > 1) continue;
      const end = this.#endOf(at);
      if (end > size || end < at + FRAME_BYTES_MIN) continue;
      const found = await this.#proofAt(at);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #proofAt(start: number): Promise<Found | undefined> {
    const end = await this.#loadFrame(start);
    const description = end === undefined ? undefined : this.#describe(start, end);
    if (description === undefined) return undefined;
    const missing = description.sequence - this.#next;
    const missingMax = (start - this.#at) / FRAME_BYTES_MIN;
    return missing >= 1 && missing <= missingMax ? { start, sequence: description.sequence } : undefined;
  }

  /** Hands on the entries before `found` as damaged. Where each of them was is not known: they share the bytes evenly. */
  async #takeDamaged(found: Found): Promise<void> {
    const share = Math.floor((found.start - this.#at) / (found.sequence - this.#next));
    while (this.#next < found.sequence) {
      const left = found.sequence - this.#next;
      const entries = Math.min(left, BATCH_ENTRIES, Math.max(1, Math.floor(CHUNK_BYTES / share)));
      const end = entries === left ? found.start : this.#at + entries * share;
      await this.#load(this.#at, end - this.#at);
      for (let i = 0; i < entries; i++) {
        const length = i === entries - 1 ? this.#window.length - i * share : share;
        this.#gathered.add(i * share, length, undefined);
      }
      this.#gathered.hand(this.#window, this.#request.onEntries);
      this.#at = end;
      this.#next += entries;
      this.#damaged += entries;
    }
  }
}

/** Columns filled entry by entry, handed on as a batch, then used again. */
class Gathered {
  readonly #label: (name: string) => number;
  readonly #offsets = new Uint32Array(BATCH_ENTRIES);
  readonly #lengths = new Uint32Array(BATCH_ENTRIES);
  readonly #timestamps = new BigInt64Array(BATCH_ENTRIES);
  readonly #severities = new Uint8Array(BATCH_ENTRIES);
  readonly #labels = new Uint32Array(BATCH_ENTRIES);
  #descriptions: (FrameDescription | undefined)[] = [];
  count = 0;

  constructor(label: (name: string) => number) {
    this.#label = label;
  }

  add(offset: number, length: number, description: FrameDescription | undefined): void {
    const i = this.count++;
    this.#offsets[i] = offset;
    this.#lengths[i] = length;
    this.#timestamps[i] = description?.timestamp ?? 0n;
    this.#severities[i] = description?.severity ?? DAMAGED;
    this.#labels[i] = description === undefined ? 0 : this.#label(description.label);
    this.#descriptions.push(description);
  }

  hand(bytes: Uint8Array, onEntries: (batch: WalkedBatch) => void): void {
    if (this.count === 0) return;
    onEntries({
      count: this.count,
      bytes,
      offsets: this.#offsets,
      lengths: this.#lengths,
      timestamps: this.#timestamps,
      severities: this.#severities,
      labels: this.#labels,
      descriptions: this.#descriptions,
    });
    this.count = 0;
    this.#descriptions = [];
  }
}
