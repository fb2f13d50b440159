// Records gathered for one commit: frames, one after the other, and the columns that the log's index takes.
//
// R1. A batch is filled, handed to the log, and used again when the log has no more to do with it (`RecordBatches`).
// R2. Adding either adds a whole record or changes nothing.
import { crc32 } from "node:zlib";
import type { Batch } from "../store/contract.ts";
import { writeVarint } from "../stream/wire.ts";
import type { Place, RecordEncoder, RecordFormat } from "./contract.ts";
import { CHECKSUM_BYTES, FRAME_HEADER_BYTES, STAMP_BYTES_MAX, StampTag } from "./layout.ts";

/** A batch of so much is handed to the log although nothing has made room for it yet. */
const FULL_BYTES = 512 * 1024;
const RECORDS_MAX = 8192;
/** To begin with: most commits of a quiet queue are one record. */
const FIRST_BYTES = 16 * 1024;
const FIRST_RECORDS = 128;
/** Bytes of a shorter record are summed up in JavaScript: a native call costs more. */
const NATIVE_SUM_BYTES = 48;

export class RecordBatch<New> {
  /** Place of the first record. */
  first = 0;
  count = 0;
  #epoch = 0;
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #used = 0;
  #offsets = new Uint32Array(FIRST_RECORDS);
  #lengths = new Uint32Array(FIRST_RECORDS);
  /** Records have neither time nor severity of their own: these stay 0. */
  #timestamps = new BigInt64Array(FIRST_RECORDS);
  #severities = new Uint8Array(FIRST_RECORDS);
  #labels = new Uint32Array(FIRST_RECORDS);
  #done: PromiseWithResolvers<void> | undefined;
  readonly #encoder: RecordEncoder<New>;

  constructor(encoder: RecordEncoder<New>) {
    this.#encoder = encoder;
  }

  /** Place of the last record. */
  get last(): Place {
    return this.first + this.count - 1;
  }

  get bytes(): number {
    return this.#used;
  }

  /** What it holds on to. */
  get memory(): number {
    return this.#bytes.length;
  }

  get isFull(): boolean {
    return this.#used >= FULL_BYTES || this.count >= RECORDS_MAX;
  }

  /** Makes it an empty one, whose first record gets this place. */
  begin(first: Place, epoch: number): void {
    this.first = first;
    this.#epoch = epoch;
    this.count = 0;
    this.#used = 0;
    this.#done = undefined;
  }

  /**
   * Adds a record; answers the bytes of its frame. 0: it would have more than `bytesMax`, and was not added.
   * `body`: as it is stored, in place of the record's own.
   */
  add(record: New, bytesMax: number, body?: Uint8Array): number {
    const size = FRAME_HEADER_BYTES + this.#encoder.measure(record, body) + STAMP_BYTES_MAX;
    if (size > bytesMax) return 0;
    this.#reserve(size);
    const bytes = this.#bytes;
    const start = this.#used;
    const message = start + FRAME_HEADER_BYTES;
    let at = this.#encoder.write(bytes, message);
    bytes[at++] = StampTag.SEQUENCE;
    at = writeVarint(bytes, at, this.first + this.count);
    bytes[at++] = StampTag.EPOCH;
    at = writeVarint(bytes, at, this.#epoch);
    const checksum = sumOf(bytes, message, at);
    bytes[at] = StampTag.CHECKSUM;
    bytes.writeUInt32LE(checksum, at + 1);
    at += CHECKSUM_BYTES;
    bytes[start] = 0;
    bytes.writeUInt32BE(at - message, start + 1);
    this.#offsets[this.count] = start;
    this.#lengths[this.count] = at - start;
    this.count++;
    this.#used = at;
    return at - start;
  }

  /** The frame of a record that is in here. Used again with the batch. */
  frame(place: Place): Uint8Array {
    const offset = this.#offsets[place - this.first]!;
    return this.#bytes.subarray(offset, offset + this.#lengths[place - this.first]!);
  }

  /** What the log takes. */
  toBatch(): Batch {
    return {
      count: this.count,
      bytes: this.#bytes,
      offsets: this.#offsets,
      lengths: this.#lengths,
      timestamps: this.#timestamps,
      severities: this.#severities,
      labels: this.#labels,
    };
  }

  /** Resolves when it is durable. */
  done(): Promise<void> {
    if (this.#done === undefined) {
      this.#done = Promise.withResolvers<void>();
      // Whoever waits hears of it by a promise of its own; the owner by `onFailure`.
      this.#done.promise.catch(() => undefined);
    }
    return this.#done.promise;
  }

  resolve(): void {
    this.#done?.resolve();
  }

  reject(error: Error): void {
    this.#done?.reject(error);
  }

  #reserve(size: number): void {
    if (this.#used + size > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(4 * this.#bytes.length, this.#used + size));
      larger.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = larger;
    }
    if (this.count < this.#offsets.length) return;
    const room = 4 * this.#offsets.length;
    this.#offsets = grown(this.#offsets, room);
    this.#lengths = grown(this.#lengths, room);
    this.#timestamps = new BigInt64Array(room);
    this.#severities = new Uint8Array(room);
    this.#labels = new Uint32Array(room);
  }
}

function grown(column: Uint32Array, room: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(room);
  larger.set(column);
  return larger;
}

/** Batches that wait to be used again: one set for all journals of a server that have the same records. */
export class RecordBatches<New> {
  readonly #free: RecordBatch<New>[] = [];
  readonly #encoder: RecordEncoder<New>;

  constructor(format: RecordFormat<unknown, New>) {
    this.#encoder = format.createEncoder();
  }

  take(first: Place, epoch: number): RecordBatch<New> {
    const batch = this.#free.pop() ?? new RecordBatch<New>(this.#encoder);
    batch.begin(first, epoch);
    return batch;
  }

  /** Nobody reads it any more. */
  give(batch: RecordBatch<New>): void {
    if (this.#free.length < FREE_MAX && batch.memory <= 2 * FULL_BYTES) this.#free.push(batch);
  }
}

const FREE_MAX = 16;

/** CRC-32 (IEEE) of a part of the bytes. */
function sumOf(bytes: Buffer, start: number, end: number): number {
  if (end - start > NATIVE_SUM_BYTES) return crc32(bytes.subarray(start, end));
  let sum = -1;
  for (let i = start; i < end; i++) sum = SUMS[(sum ^ bytes[i]!) & 0xff]! ^ (sum >>> 8);
  return ~sum >>> 0;
}

const SUMS = Int32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});
