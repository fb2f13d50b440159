// Single fields of a stored entry, read in its frame without decoding the rest.
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import { Tag } from "./entry-scan.ts";
import { numberOf, WireReader } from "../stream/wire.ts";

/** The sequence of the entry in the frame `bytes[start..end)`. */
export function sequenceOf(bytes: Uint8Array, start: number, end: number): number {
  const wire = new WireReader();
  let sequence = 0;
  wire.open(bytes, start + FRAME_HEADER_BYTES, end);
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    wire.skip(tag);
    if (tag === Tag.SEQUENCE) sequence = numberOf(wire.low, wire.high);
  }
  return sequence;
}

/** The application of the entry in the frame `bytes[start..end)`. */
export function applicationOf(bytes: Uint8Array, start: number, end: number): string {
  const wire = new WireReader();
  let application = "";
  wire.open(bytes, start + FRAME_HEADER_BYTES, end);
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    if (tag !== Tag.APPLICATION) {
      wire.skip(tag);
      continue;
    }
    const valueEnd = wire.span();
    application = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8", wire.pos, valueEnd);
    wire.pos = valueEnd;
  }
  return application;
}
