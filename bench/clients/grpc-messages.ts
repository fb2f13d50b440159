// Finds gRPC messages in the bodies of streams, whose DATA frames end where they like.

import { create, toBinary } from "@bufbuild/protobuf";
import { EchoRequestSchema, RepeatRequestSchema } from "../gen/bench/v1/echo_pb.ts";
import { grpcFrame } from "./http2-wire.ts";

const prefixBytes = 5;

/**
 * A payload for an EchoRequest, or an EchoResponse, of exactly so many bytes.
 * @throws RangeError at the few lengths that no such message has
 */
export function payloadFor(messageBytes: number): Buffer {
  if (messageBytes === 0) return Buffer.alloc(0);
  for (const [lengthBytes, most] of [
    [1, 2 ** 7],
    [2, 2 ** 14],
    [3, 2 ** 21],
  ] as const) {
    const bytes = messageBytes - 1 - lengthBytes;
    if (bytes >= 0 && bytes < most) {
      const message = toBinary(EchoRequestSchema, create(EchoRequestSchema, { payload: Buffer.alloc(bytes, "x") }));
      if (message.length === messageBytes) return Buffer.alloc(bytes, "x");
    }
  }
  throw new RangeError(`No message with nothing but a payload has ${messageBytes} bytes`);
}

/** An EchoRequest of exactly so many bytes, as a gRPC frame. */
export function echoRequest(messageBytes: number): Buffer {
  const request = create(EchoRequestSchema, { payload: payloadFor(messageBytes) });
  return grpcFrame(toBinary(EchoRequestSchema, request));
}

/** The request for `count` messages of exactly so many bytes, as a gRPC frame. */
export function repeatRequest(messageBytes: number, count: number): Buffer {
  const request = create(RepeatRequestSchema, { payload: payloadFor(messageBytes), count });
  return grpcFrame(toBinary(RepeatRequestSchema, request));
}

/** Counts messages of many streams at a high rate: numbers in typed arrays, nothing kept of the bytes. */
export class MessageCounters {
  /** Bytes received of each stream. */
  readonly bytes: Float64Array;
  /** Whole messages of each stream. */
  readonly messages: Float64Array;
  /** Of the message under way: bytes of its body that are still to come. */
  readonly #bodyLeft: Float64Array;
  /** Of the message under way: bytes of its prefix that are there, and the length that they say so far. */
  readonly #prefixRead: Uint8Array;
  readonly #length: Uint32Array;

  constructor(streams: number) {
    this.bytes = new Float64Array(streams);
    this.messages = new Float64Array(streams);
    this.#bodyLeft = new Float64Array(streams);
    this.#prefixRead = new Uint8Array(streams);
    this.#length = new Uint32Array(streams);
  }

  /** Takes bytes `start..end` of a stream's body; returns how many messages they completed. */
  take(stream: number, buffer: Buffer, start: number, end: number): number {
    this.bytes[stream] = (this.bytes[stream] ?? 0) + end - start;
    let bodyLeft = this.#bodyLeft[stream] ?? 0;
    let completed = 0;
    let at = start;
    while (at < end) {
      if (bodyLeft === 0) {
        if ((this.#prefixRead[stream] ?? 0) === 0 && end - at >= prefixBytes) {
          bodyLeft = buffer.readUInt32BE(at + 1);
          at += prefixBytes;
        } else {
          at = this.#takePrefix(stream, buffer, at, end);
          if ((this.#prefixRead[stream] ?? 0) < prefixBytes) break;
          this.#prefixRead[stream] = 0;
          bodyLeft = this.#length[stream] ?? 0;
        }
        if (bodyLeft === 0) {
          completed++;
          continue;
        }
      }
      const step = Math.min(bodyLeft, end - at);
      bodyLeft -= step;
      at += step;
      if (step > 0 && bodyLeft === 0) completed++;
    }
    this.#bodyLeft[stream] = bodyLeft;
    this.messages[stream] = (this.messages[stream] ?? 0) + completed;
    return completed;
  }

  #takePrefix(stream: number, buffer: Buffer, start: number, end: number): number {
    let read = this.#prefixRead[stream] ?? 0;
    let length = read === 0 ? 0 : (this.#length[stream] ?? 0);
    let at = start;
    for (; at < end && read < prefixBytes; at++, read++) length = length * 256 + (buffer[at] ?? 0);
    this.#prefixRead[stream] = read;
    this.#length[stream] = length;
    return at;
  }
}

/** Gathers the messages of one stream, for those whose content matters. */
export class MessageReader {
  #pending: Buffer = Buffer.alloc(0);

  /** Takes bytes of the body; returns the messages that are now whole, without their prefixes. */
  take(bytes: Uint8Array): Buffer[] {
    this.#pending = Buffer.concat([this.#pending, bytes]);
    const messages: Buffer[] = [];
    let at = 0;
    while (this.#pending.length - at >= prefixBytes) {
      const end = at + prefixBytes + this.#pending.readUInt32BE(at + 1);
      if (end > this.#pending.length) break;
      messages.push(this.#pending.subarray(at + prefixBytes, end));
      at = end;
    }
    this.#pending = this.#pending.subarray(at);
    return messages;
  }
}
