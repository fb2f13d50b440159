// What the attacks are made of: calls and parts of calls, as bytes.
import { FrameType } from "../../../packages/rpc/src/http2/frame.ts";
import { dataFrame, frame, headersFrame, uint32 } from "../../../packages/rpc/src/http2/testing/frames.ts";
import { callFields } from "../../rpc/support.ts";
import { type Http2Foe } from "../foe.ts";

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const END = { endStream: true };
export const CANCEL = 8;
export const STREAMS_MAX = 1000;
export const WINDOW_BYTES_MAX = 0x7fffffff;
/** EchoRequest{}, CountRequest{}, … as a gRPC frame. */
const EMPTY_MESSAGE = Buffer.alloc(5);
export const PING = frame(FrameType.PING, 0, 0, Buffer.alloc(8));

/** The first ids of a client's streams. */
export function streamIds(count: number): number[] {
  return Array.from({ length: count }, (_, at) => 2 * at + 1);
}

/** A gRPC frame: the beginning of a message of this length. */
export function messageStart(length: number, body: Uint8Array = new Uint8Array(), flag = 0): Buffer {
  return Buffer.concat([Buffer.of(flag), uint32(length), body]);
}

/** Bytes cut into DATA frames of 16 KiB. */
export function bodyFrames(streamId: number, body: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < body.length; at += 16 * KIB) frames.push(dataFrame(streamId, body.subarray(at, at + 16 * KIB)));
  return frames;
}

/** A whole call with its request. */
export function call(streamId: number, method: string, message: Uint8Array = EMPTY_MESSAGE): Buffer {
  return Buffer.concat([headersFrame(streamId, callFields(method)), dataFrame(streamId, message, END)]);
}

/** CountRequest{count, payload_bytes}. */
export function countRequest(count: number, payloadBytes: number): Buffer {
  const varint = (value: number): number[] => (value < 128 ? [value] : [128 + (value % 128), ...varint(value >> 7)]);
  const message = Buffer.of(0x08, ...varint(count), 0x10, ...varint(payloadBytes));
  return messageStart(message.length, message);
}

/** Repeats until so many rounds are over or the server has had enough. */
export async function repeat(foe: Http2Foe, rounds: number, round: (at: number) => Buffer[]): Promise<number> {
  let done = 0;
  for (; done < rounds && !foe.isClosed && foe.goaway === undefined; done++) await foe.send(...round(done));
  await foe.heard();
  return done;
}
