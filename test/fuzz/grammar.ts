// What mutations need to know of a format: where its units begin, and how to damage one so that the rest still makes sense.
import { FRAME_HEADER_BYTES as HTTP2_HEADER_BYTES } from "../../packages/rpc/src/http2/frame.ts";
import type { Random } from "./random.ts";

export interface Grammar {
  /** Cuts bytes into units whose concatenation they are. Never fails: what cannot be cut is one unit. */
  cut(bytes: Buffer): Buffer[];
  /** A changed copy of one unit. */
  change(unit: Buffer, random: Random): Buffer;
}

const PREFACE_BYTES = 24;
const FLAGS = [0, 1, 4, 5, 8, 9, 0xc, 0xd, 0x20, 0x24, 0x25, 0x2c, 0x2d, 0xff];
const STREAM_IDS = [0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 101, 0x7fffffff, 0x80000001, 0xffffffff];

/** Frames of HTTP/2, after the client's preface where there is one. */
export const http2Frames: Grammar = {
  cut(bytes) {
    const hasPreface = bytes.subarray(0, 3).equals(Buffer.from("PRI"));
    const units = hasPreface ? [bytes.subarray(0, PREFACE_BYTES)] : [];
    return [
      ...units,
      ...cutByLength(bytes, hasPreface ? PREFACE_BYTES : 0, (at) =>
        at + HTTP2_HEADER_BYTES > bytes.length ? undefined : HTTP2_HEADER_BYTES + bytes.readUIntBE(at, 3),
      ),
    ];
  },
  change(unit, random) {
    if (unit.length < HTTP2_HEADER_BYTES) return changeBytes(unit, random);
    const copy = Buffer.from(unit);
    switch (random.below(8)) {
      case 0:
        copy[3] = random.oneIn(8) ? random.uint32() : random.below(11);
        return copy;
      case 1:
        copy[4] = random.pick(FLAGS);
        return copy;
      case 2:
        copy.writeUInt32BE(random.pick(STREAM_IDS), 5);
        return copy;
      case 3:
        copy.writeUIntBE(random.interesting() & 0xffffff, 0, 3);
        return copy;
      case 4:
        return splitFrame(copy, random);
      case 5:
        return padFrame(copy, random);
      default: {
        // The payload changes, and the length with it: the frames behind it stay what they are.
        const payload = changeBytes(copy.subarray(HTTP2_HEADER_BYTES), random);
        const frame = Buffer.concat([copy.subarray(0, HTTP2_HEADER_BYTES), payload]);
        frame.writeUIntBE(payload.length & 0xffffff, 0, 3);
        return frame;
      }
    }
  },
};

/** Cuts a frame in two: DATA in two frames, a header block at a CONTINUATION. */
function splitFrame(frame: Buffer, random: Random): Buffer {
  const payload = frame.subarray(HTTP2_HEADER_BYTES);
  const at = random.below(payload.length + 1);
  const isHeaders = frame[3] === 1 || frame[3] === 9;
  const first = Buffer.from(frame.subarray(0, HTTP2_HEADER_BYTES));
  const second = Buffer.from(first);
  first.writeUIntBE(at, 0, 3);
  second.writeUIntBE(payload.length - at, 0, 3);
  first[4]! &= isHeaders ? ~4 : ~1;
  if (isHeaders) second[3] = 9;
  if (isHeaders) second[4]! &= 4;
  return Buffer.concat([first, payload.subarray(0, at), second, payload.subarray(at)]);
}

/** Pads a frame, rightly or not. */
function padFrame(frame: Buffer, random: Random): Buffer {
  const padding = random.below(256);
  const promised = random.oneIn(3) ? random.below(256) : padding;
  const header = Buffer.from(frame.subarray(0, HTTP2_HEADER_BYTES));
  header[4]! |= 8;
  const payload = Buffer.concat([Buffer.of(promised), frame.subarray(HTTP2_HEADER_BYTES), Buffer.alloc(padding)]);
  header.writeUIntBE(payload.length & 0xffffff, 0, 3);
  return Buffer.concat([header, payload]);
}

const MESSAGE_HEADER_BYTES = 5;

/** gRPC's length-prefixed messages. */
export const grpcMessages: Grammar = {
  cut: (bytes) =>
    cutByLength(bytes, 0, (at) =>
      at + MESSAGE_HEADER_BYTES > bytes.length ? undefined : MESSAGE_HEADER_BYTES + bytes.readUInt32BE(at + 1),
    ),
  change(unit, random) {
    if (unit.length < MESSAGE_HEADER_BYTES || random.oneIn(3)) return changeBytes(unit, random);
    const copy = Buffer.from(unit);
    if (random.oneIn(2)) copy[0] = random.oneIn(2) ? random.below(3) : random.uint32();
    else copy.writeUInt32BE(random.interesting(), 1);
    return copy;
  },
};

/** A protobuf message by its fields, one level deep. */
export const protobufFields: Grammar = {
  cut: (bytes) => cutByLength(bytes, 0, (at) => fieldBytes(bytes, at)),
  change(unit, random) {
    if (unit.length < 2 || random.oneIn(2)) return changeBytes(unit, random);
    const copy = Buffer.from(unit);
    // Another field number, or another wire type.
    copy[0] = random.oneIn(2) ? (copy[0]! & 7) | (random.below(32) << 3) : (copy[0]! & ~7) | random.below(8);
    return copy;
  },
};

function fieldBytes(bytes: Buffer, start: number): number | undefined {
  let at = start;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    while ((bytes[at++] ?? 0) > 0x7f);
    return value;
  };
  const wireType = varint() & 7;
  if (wireType === 0) varint();
  else if (wireType === 1) at += 8;
  else if (wireType === 2) at += varint();
  else if (wireType === 5) at += 4;
  else return undefined;
  return at - start;
}

/** Cuts where `lengthAt` says that the unit there ends; the rest, where it says nothing or too much, is the last unit. */
function cutByLength(bytes: Buffer, from: number, lengthAt: (at: number) => number | undefined): Buffer[] {
  const units: Buffer[] = [];
  let at = from;
  while (at < bytes.length) {
    const length = lengthAt(at);
    const end = length === undefined || at + length > bytes.length ? bytes.length : at + length;
    units.push(bytes.subarray(at, end));
    at = end;
  }
  return units;
}

/** Lines with their ends: fields as "name: value", heads of HTTP/1.1 and the body behind them. */
export const textLines: Grammar = {
  cut: (bytes) =>
    bytes
      .toString("latin1")
      .split(/(?<=\n)/)
      .map((line) => Buffer.from(line, "latin1")),
  change: changeBytes,
};

/** One change somewhere in a row of bytes. */
export function changeBytes(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const inside = Math.min(at, bytes.length - 1);
  const copy = Buffer.from(bytes);
  const kind = bytes.length === 0 ? 5 : random.below(9);
  switch (kind) {
    case 0:
      copy[inside]! ^= 1 << random.below(8);
      return copy;
    case 1:
      copy[inside] = random.oneIn(2) ? random.interesting() : random.uint32();
      return copy;
    case 2:
      copy[inside]! += random.below(9) - 4;
      return copy;
    case 3: {
      const size = Math.min(random.pick([1, 2, 3, 4]), copy.length - inside);
      copy.writeUIntBE(random.interesting() % 256 ** size, inside, size);
      return copy;
    }
    case 4:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1 + random.below(8))]);
    case 5:
      return Buffer.concat([copy.subarray(0, at), random.bytes(1 + random.below(8)), copy.subarray(at)]);
    case 6: {
      // A part of it once more, somewhere else.
      const from = random.below(copy.length);
      const part = bytes.subarray(from, from + 1 + random.below(32));
      return Buffer.concat([copy.subarray(0, at), part, copy.subarray(at)]);
    }
    case 7:
      return copy.subarray(0, at);
    default:
      copy.fill(random.oneIn(2) ? 0xff : 0, inside, Math.min(copy.length, inside + 1 + random.below(8)));
      return copy;
  }
}
