// A small frame format for tests of the store, which knows no message type: what a frame says, and a checksum over it.
//
//   flag (0), length (uint32 BE), epoch (uint16), sequence (float64), timestamp (int64), severity (uint8),
//   producer's sequence (float64), label and producer (uint8 length + bytes), payload, CRC-32 of all since the length
import { crc32 } from "node:zlib";
import type { Batch, FrameCodec, FrameDescription } from "../contract.ts";

const HEADER_BYTES = 5;
const FIXED_BYTES = 27;
const CHECKSUM_BYTES = 4;

export interface TestEntry {
  readonly timestamp: bigint;
  readonly severity: number;
  readonly label: string;
  readonly payload: string;
}

export interface TestProducer {
  readonly id: string;
  /** The producer's sequence of the first entry. */
  readonly first: number;
}

/** A stored entry as a test reads it back. */
export interface StoredEntry extends FrameDescription {
  readonly payload: string;
}

export const testCodec: FrameCodec = { describe: (bytes, start, end) => decodeFrame(bytes, start, end) };

export function encodeFrame(
  entry: TestEntry,
  place: { epoch: number; sequence: number; producer: string; producerSequence: number },
): Buffer {
  const label = Buffer.from(entry.label);
  const producer = Buffer.from(place.producer);
  const payload = Buffer.from(entry.payload);
  const length = FIXED_BYTES + 2 + label.length + producer.length + payload.length + CHECKSUM_BYTES;
  const frame = Buffer.alloc(HEADER_BYTES + length);
  frame.writeUInt32BE(length, 1);
  frame.writeUInt16LE(place.epoch, 5);
  frame.writeDoubleLE(place.sequence, 7);
  frame.writeBigInt64LE(entry.timestamp, 15);
  frame.writeUInt8(entry.severity, 23);
  frame.writeDoubleLE(place.producerSequence, 24);
  let at = frame.writeUInt8(label.length, 32);
  at += label.copy(frame, at);
  at = frame.writeUInt8(producer.length, at);
  at += producer.copy(frame, at);
  at += payload.copy(frame, at);
  frame.writeUInt32LE(crc32(frame.subarray(HEADER_BYTES, at)), at);
  return frame;
}

function decodeFrame(bytes: Uint8Array, start: number, end: number): StoredEntry | undefined {
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  if (frame.length < HEADER_BYTES + FIXED_BYTES + 2 + CHECKSUM_BYTES) return undefined;
  if (frame[0] !== 0 || frame.readUInt32BE(1) !== frame.length - HEADER_BYTES) return undefined;
  const checked = frame.length - CHECKSUM_BYTES;
  if (frame.readUInt32LE(checked) !== crc32(frame.subarray(HEADER_BYTES, checked))) return undefined;
  const labelEnd = 33 + frame.readUInt8(32);
  const producerEnd = labelEnd + 1 + frame.readUInt8(labelEnd);
  return {
    epoch: frame.readUInt16LE(5),
    sequence: frame.readDoubleLE(7),
    timestamp: frame.readBigInt64LE(15),
    severity: frame.readUInt8(23),
    producerSequence: frame.readDoubleLE(24),
    label: frame.toString("utf8", 33, labelEnd),
    producer: frame.toString("utf8", labelEnd + 1, producerEnd),
    payload: frame.toString("utf8", producerEnd, checked),
  };
}

/** Frames of entries as a service would hand them to `LogWriter.append`. */
export function makeBatch(
  writer: { readonly epoch: number; readonly next: number; internLabel(name: string): number },
  entries: readonly TestEntry[],
  producer?: TestProducer,
): Batch {
  const frames = entries.map((entry, i) =>
    encodeFrame(entry, {
      epoch: writer.epoch,
      sequence: writer.next + i,
      producer: producer?.id ?? "",
      producerSequence: producer === undefined ? 0 : producer.first + i,
    }),
  );
  const count = entries.length;
  const offsets = new Uint32Array(count);
  let at = 0;
  frames.forEach((frame, i) => {
    offsets[i] = at;
    at += frame.length;
  });
  return {
    count,
    bytes: Buffer.concat(frames),
    offsets,
    lengths: Uint32Array.from(frames, (frame) => frame.length),
    timestamps: BigInt64Array.from(entries, (entry) => entry.timestamp),
    severities: Uint8Array.from(entries, (entry) => entry.severity),
    labels: Uint32Array.from(entries, (entry) => writer.internLabel(entry.label)),
    producer: producer === undefined ? undefined : { id: producer.id, lastSequence: producer.first + count - 1 },
  };
}

/** The entries of a run, decoded. */
export function decodeRun(run: {
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
  readonly count: number;
}): StoredEntry[] {
  return Array.from({ length: run.count }, (_, i) => {
    const entry = decodeFrame(run.bytes, run.starts[i]!, run.starts[i + 1]!);
    if (entry === undefined) throw new Error(`Frame ${i} of a run does not prove itself`);
    return entry;
  });
}
