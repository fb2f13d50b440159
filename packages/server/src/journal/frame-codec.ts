// Reads stored records back: what the store needs to believe a frame.
//
// F1. A record proves itself: its checksum is right, and it has exactly the fields of L1 (layout.ts).
import { crc32 } from "node:zlib";
import type { FrameCodec, FrameDescription } from "../store/contract.ts";
import { numberOf, WireReader } from "../stream/wire.ts";
import { CHECKSUM_BYTES, FRAME_HEADER_BYTES, StampTag } from "./layout.ts";

/** The stored form of records that have so many kinds. */
export function recordFrameCodec({ kindsMax }: { readonly kindsMax: number }): FrameCodec {
  return {
    describe(bytes, start, end) {
      const message = start + FRAME_HEADER_BYTES;
      const checksum = end - CHECKSUM_BYTES;
      if (checksum < message || bytes[start] !== 0 || readLength(bytes, start + 1) !== end - message) return undefined;
      if (bytes[checksum] !== StampTag.CHECKSUM) return undefined;
      if (readChecksum(bytes, checksum + 1) !== crc32(bytes.subarray(message, checksum))) return undefined;
      const kind = bytes[message]! >> 3;
      return kind < 1 || kind > kindsMax ? undefined : describeMessage(bytes, message, checksum);
    },
  };
}

const wire = new WireReader();

function describeMessage(bytes: Uint8Array, start: number, end: number): FrameDescription | undefined {
  wire.open(bytes, start, end);
  if ((wire.tag() & 7) !== 2) return undefined;
  wire.pos = wire.span();
  if (wire.pos >= end || wire.tag() !== StampTag.SEQUENCE) return undefined;
  wire.varint();
  const sequence = numberOf(wire.low, wire.high);
  if (wire.pos >= end || wire.tag() !== StampTag.EPOCH) return undefined;
  const epoch = wire.varint();
  if (wire.hasFailed || wire.pos !== end || sequence < 1) return undefined;
  return { epoch, sequence, timestamp: 0n, severity: 0, label: "", producer: "", producerSequence: 0 };
}

/** Big-endian, as gRPC has it. */
function readLength(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 2 ** 24 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}

function readChecksum(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
