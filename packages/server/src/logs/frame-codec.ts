// Reads stored frames back: what the store needs to believe a frame and to rebuild what it derives from frames.
//
// F1. A frame proves itself: its last field is the checksum of all message bytes before it (stamp.ts, P2). A checksum
//     anywhere else is no proof, so none is looked for.
import { crc32 } from "node:zlib";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import type { FrameCodec, FrameDescription } from "../store/contract.ts";
import { readEpoch } from "../stream/cursor.ts";
import { Tag } from "./entry-scan.ts";
import { entryMarks } from "./marks.ts";
import { CHECKSUM_BYTES } from "./stamp.ts";
import { bigintOf, numberOf, WireReader } from "../stream/wire.ts";

/** The stored form of LogEntry. */
export const entryFrameCodec: FrameCodec = {
  describe(bytes, start, end) {
    const message = start + FRAME_HEADER_BYTES;
    const checksum = end - CHECKSUM_BYTES;
    if (checksum < message) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
    if (view.getUint8(0) !== 0 || view.getUint32(1) !== end - message) return undefined;
    if (bytes[checksum] !== Tag.CHECKSUM) return undefined;
    if (view.getUint32(checksum + 1 - start, true) !== crc32(bytes.subarray(message, checksum))) return undefined;
    return describeMessage(bytes, message, checksum);
  },
  marks: entryMarks,
};

function describeMessage(bytes: Uint8Array, start: number, end: number): FrameDescription | undefined {
  const wire = new WireReader();
  const found = { epoch: -1, sequence: 0, timestamp: 0n, severity: 0, label: "", producer: "", producerSequence: 0 };
  let references: number[] | undefined;
  wire.open(bytes, start, end);
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    switch (tag) {
      case Tag.TIMESTAMP:
        wire.varint();
        found.timestamp = bigintOf(wire.low, wire.high);
        break;
      case Tag.SEVERITY_NUMBER:
        found.severity = wire.varint();
        break;
      case Tag.APPLICATION:
        found.label = readText(wire);
        break;
      case Tag.SEQUENCE:
        wire.varint();
        found.sequence = numberOf(wire.low, wire.high);
        break;
      case Tag.CURSOR:
        found.epoch = readEpoch(readText(wire));
        break;
      case Tag.RESOURCE_ID:
      case Tag.SCOPE_ID:
        (references ??= []).push(wire.varint());
        break;
      case Tag.PRODUCER:
        found.producer = readText(wire);
        break;
      case Tag.PRODUCER_SEQUENCE:
        wire.varint();
        found.producerSequence = numberOf(wire.low, wire.high);
        break;
      default:
        wire.skip(tag);
    }
  }
  if (wire.hasFailed || found.sequence < 1 || found.epoch < 0) return undefined;
  return references === undefined ? found : { ...found, references };
}

function readText(wire: WireReader): string {
  const end = wire.span();
  const text = decoder.decode(wire.bytes.subarray(wire.pos, end));
  wire.pos = end;
  return text;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
