// Makes stored frames: the producer's bytes as they came, the server's fields behind them, and the columns of the index.
// Protobuf merges concatenated messages, so the result is one valid LogEntry without anything being encoded again.
//
// P1. Behind the producer's bytes: sequence, cursor, observed_timestamp; then, only where needed, producer and
//     producer_sequence, severity_number (derived from the level), timestamp (the time of receipt). An OpenTelemetry
//     program's entry has its origin (resource_id, scope_id) behind the cursor: behind observed_timestamp when that is the
//     program's own, before it when it is the time of receipt. So its record can be made again as it was (otlp-read.ts).
// P2. The last five bytes are always the checksum: CRC-32 (IEEE) of all message bytes before them.
// P3. Sequences are given by the batch's first one and the place in the batch. They are right when the log takes the
//     batch where it expects it; otherwise the log refuses it (Fenced) and nothing is stored.
import { crc32 } from "node:zlib";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import type { Batch } from "../store/contract.ts";
import { CURSOR_LENGTH, CursorStamp } from "../stream/cursor.ts";
import type { EntryScanner } from "./entry-scan.ts";
import { Tag } from "./entry-scan.ts";
import { writeVarint, writeVarint64 } from "../stream/wire.ts";

/** Tag and value of the checksum. */
export const CHECKSUM_BYTES = 5;

/** Frame header, sequence 9, cursor, observed_timestamp 11, severity_number 3, timestamp 11, checksum; no origin. */
const STAMP_BYTES_MAX = FRAME_HEADER_BYTES + 9 + (2 + CURSOR_LENGTH) + 11 + 3 + 11 + CHECKSUM_BYTES;
/** Tags and lengths of producer, producer_sequence and its value. */
const PRODUCER_BYTES_MAX = 3 + 9;

/** How much the frame of a producer's entry may be larger than the entry and its origin. `idBytes`: of the producer's id. */
export function stampBytesMax(idBytes: number): number {
  return STAMP_BYTES_MAX + (idBytes === 0 ? 0 : PRODUCER_BYTES_MAX + idBytes);
}

export interface StampOptions {
  readonly log: string;
  readonly epoch: number;
  /** Sequence of the first entry. */
  readonly first: number;
  /** The time of receipt, Unix ns. */
  readonly receivedNs: bigint;
  /** Id of an idempotent producer; empty: none. */
  readonly producer: string;
  /** At most this many entries will be added. */
  readonly countMax: number;
  /** About how many bytes of entries will be added. */
  readonly bytesHint: number;
}

/** Gathers entries into one batch. */
export class BatchStamp {
  /** At most so much larger is a frame than its entry and origin. */
  readonly overheadMax: number;

  readonly #options: StampOptions;
  readonly #cursors: CursorStamp;
  readonly #producerField: Uint8Array;
  readonly #offsets: Uint32Array;
  readonly #lengths: Uint32Array;
  readonly #timestamps: BigInt64Array;
  /** The same timestamps in halves: low, high, low, high, … (all of Node's platforms are little-endian). */
  readonly #timestampHalves: Int32Array;
  readonly #severities: Uint8Array;
  readonly #labels: Uint32Array;
  #bytes: Buffer;
  #used = 0;
  #count = 0;
  /** Halves of the next entry's observed time. */
  #observedLow = 0;
  #observedHigh = 0;
  #isObservedHere = true;
  /** Of the next entry. */
  #origin: Uint8Array = NO_ORIGIN;

  constructor(options: StampOptions) {
    const { countMax } = options;
    this.#options = options;
    this.observe(0, 0);
    this.#cursors = new CursorStamp(options.log, options.epoch);
    this.#producerField = encodeProducer(options.producer);
    this.overheadMax = stampBytesMax(Buffer.byteLength(options.producer));
    this.#offsets = new Uint32Array(countMax);
    this.#lengths = new Uint32Array(countMax);
    this.#timestamps = new BigInt64Array(countMax);
    this.#timestampHalves = new Int32Array(this.#timestamps.buffer);
    this.#severities = new Uint8Array(countMax);
    this.#labels = new Uint32Array(countMax);
    this.#bytes = Buffer.allocUnsafeSlow(options.bytesHint + countMax * this.overheadMax);
  }

  /** How many entries were added. */
  get count(): number {
    return this.#count;
  }

  /** Sets the observed time (halves, Unix ns) of the entries from here on; 0: the time of receipt. */
  observe(low: number, high: number): void {
    const received = this.#options.receivedNs;
    this.#isObservedHere = (low | high) === 0;
    this.#observedLow = (low | high) === 0 ? Number(BigInt.asUintN(32, received)) : low;
    this.#observedHigh = (low | high) === 0 ? Number(BigInt.asUintN(32, received >> 32n)) : high;
  }

  /** Sets the encoded fields that say where the entries from here on come from. */
  originate(origin: Uint8Array): void {
    this.#origin = origin;
  }

  /** Adds the entry `bytes[start..end)`, which `row.scanned` has just passed. */
  add(bytes: Uint8Array, start: number, end: number, row: StampRow): void {
    this.#reserve(end - start + this.#origin.length + this.overheadMax);
    const out = this.#bytes;
    const frameStart = this.#used;
    const messageStart = frameStart + FRAME_HEADER_BYTES;
    out.set(bytes.subarray(start, end), messageStart);
    let at = this.#writeServerFields(messageStart + end - start, row);
    const checksum = crc32(out.subarray(messageStart, at));
    out[at] = Tag.CHECKSUM;
    out.writeUInt32LE(checksum, at + 1);
    at += CHECKSUM_BYTES;
    out[frameStart] = 0;
    out.writeUInt32BE(at - messageStart, frameStart + 1);
    const index = this.#count++;
    this.#offsets[index] = frameStart;
    this.#lengths[index] = at - frameStart;
    this.#severities[index] = row.scanned.severity;
    this.#labels[index] = row.label;
    this.#used = at;
  }

  /** The batch; the stamp is used up. `lastProducerSequence`: the last number that this batch answers. */
  finish(lastProducerSequence: number): Batch {
    const { producer } = this.#options;
    return {
      count: this.#count,
      bytes: this.#bytes.subarray(0, this.#used),
      offsets: this.#offsets,
      lengths: this.#lengths,
      timestamps: this.#timestamps,
      severities: this.#severities,
      labels: this.#labels,
      producer: producer === "" ? undefined : { id: producer, lastSequence: lastProducerSequence },
    };
  }

  #writeServerFields(start: number, row: StampRow): number {
    const out = this.#bytes;
    const { scanned } = row;
    const index = this.#count;
    const sequence = this.#options.first + index;
    let at = start;
    out[at++] = Tag.SEQUENCE;
    at = writeVarint(out, at, sequence);
    out[at++] = Tag.CURSOR;
    out[at++] = CURSOR_LENGTH;
    this.#cursors.write(out, at, sequence);
    at += CURSOR_LENGTH;
    if (this.#isObservedHere) at = this.#writeOrigin(at);
    out[at++] = Tag.OBSERVED_TIMESTAMP;
    at = writeVarint64(out, at, this.#observedLow, this.#observedHigh);
    if (!this.#isObservedHere) at = this.#writeOrigin(at);
    if (row.producerSequence !== 0) {
      out.set(this.#producerField, at);
      at += this.#producerField.length;
      out[at++] = Tag.PRODUCER_SEQUENCE;
      at = writeVarint(out, at, row.producerSequence);
    }
    if (scanned.severity !== 0 && !scanned.hasSeverityNumber) {
      at = writeVarint(out, at, Tag.SEVERITY_NUMBER);
      out[at++] = scanned.severity;
    }
    let { timestampLow: low, timestampHigh: high } = scanned;
    if ((low | high) === 0) {
      low = this.#observedLow;
      high = this.#observedHigh;
      out[at++] = Tag.TIMESTAMP;
      at = writeVarint64(out, at, low, high);
    }
    this.#timestampHalves[2 * index] = low;
    this.#timestampHalves[2 * index + 1] = high;
    return at;
  }

  #writeOrigin(at: number): number {
    this.#bytes.set(this.#origin, at);
    return at + this.#origin.length;
  }

  #reserve(size: number): void {
    if (this.#used + size <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#used + size));
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
  }
}

/** What belongs to one entry beside its bytes. Reused from entry to entry. */
export interface StampRow {
  scanned: EntryScanner;
  /** From LogWriter.internLabel. */
  label: number;
  /** 0 without a producer. */
  producerSequence: number;
}

const NO_ORIGIN = new Uint8Array(0);

function encodeProducer(id: string): Uint8Array {
  const text = Buffer.from(id, "utf8");
  const field = new Uint8Array(3 + text.length);
  field[0] = Tag.PRODUCER;
  const at = writeVarint(field, 1, text.length);
  field.set(text, at);
  return field.subarray(0, at + text.length);
}
