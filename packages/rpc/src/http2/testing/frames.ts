// Frames by hand, for tests that play the peer: made without the code under test.
import { ErrorCode, FrameType } from "../frame.ts";

export interface ParsedFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

export function uint32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [at, value] of values.entries()) bytes.writeUInt32BE(value, 4 * at);
  return bytes;
}

/** A header block of literals without indexing and without Huffman code; each text below 127 bytes, or as long as you like. */
export function literalBlock(fields: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    parts.push(Buffer.of(0), literalText(fields[at]!), literalText(fields[at + 1]!));
  }
  return Buffer.concat(parts);
}

export function literalText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length: number[] = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push(128 + (rest % 128));
  return Buffer.concat([Buffer.of(...length, rest), bytes]);
}

export const REQUEST = [":method", "POST", ":scheme", "http", ":path", "/S/M", ":authority", "test"];
export const RESPONSE = [":status", "200"];

const END_STREAM = 1;
const END_HEADERS = 4;

export function headersFrame(streamId: number, fields: readonly string[], options = { endStream: false }): Buffer {
  return frame(FrameType.HEADERS, END_HEADERS | (options.endStream ? END_STREAM : 0), streamId, literalBlock(fields));
}

export function dataFrame(streamId: number, content: Uint8Array | string, options = { endStream: false }): Buffer {
  return frame(FrameType.DATA, options.endStream ? END_STREAM : 0, streamId, Buffer.from(content as Uint8Array));
}

/** @param pairs identifier, value, … */
export function settingsFrame(...pairs: readonly number[]): Buffer {
  const payload = Buffer.alloc(3 * pairs.length);
  for (let at = 0; at < pairs.length; at += 2) {
    payload.writeUInt16BE(pairs[at]!, 3 * at);
    payload.writeUInt32BE(pairs[at + 1]!, 3 * at + 2);
  }
  return frame(FrameType.SETTINGS, 0, 0, payload);
}

export const SETTINGS_ACK = frame(FrameType.SETTINGS, 1, 0);

export function windowUpdate(streamId: number, increment: number): Buffer {
  return frame(FrameType.WINDOW_UPDATE, 0, streamId, uint32(increment));
}

export function resetFrame(streamId: number, code: number): Buffer {
  return frame(FrameType.RST_STREAM, 0, streamId, uint32(code));
}

export function goawayFrame(lastStreamId: number, code: number): Buffer {
  return frame(FrameType.GOAWAY, 0, 0, uint32(lastStreamId, code));
}

/** @param bytes whole frames. */
export function parseFrames(bytes: Buffer): ParsedFrame[] {
  const frames: ParsedFrame[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) throw new Error(`a frame is cut off at ${at}`);
    const streamId = bytes.readUInt32BE(at + 5);
    frames.push({ type: bytes[at + 3]!, flags: bytes[at + 4]!, streamId, payload: bytes.subarray(at + 9, end) });
    at = end;
  }
  return frames;
}

/** Frames as short texts: "RST_STREAM 1 CANCEL". */
export function summary(frames: readonly ParsedFrame[]): string[] {
  return frames.map(({ type, flags, streamId, payload }) => {
    const name = nameOf(FrameType, type);
    if (type === FrameType.RST_STREAM) return `${name} ${streamId} ${nameOf(ErrorCode, payload.readUInt32BE(0))}`;
    if (type === FrameType.GOAWAY)
      return `${name} ${payload.readUInt32BE(0)} ${nameOf(ErrorCode, payload.readUInt32BE(4))}`;
    if (type === FrameType.WINDOW_UPDATE) return `${name} ${streamId} ${payload.readUInt32BE(0)}`;
    return `${name} ${streamId}${(flags & 1) === 0 ? "" : type < 2 ? " end" : " ack"}`;
  });
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(names).find((name) => names[name] === value) ?? String(value);
}
