// A judge of what a connection machine sends: whether a peer that keeps to RFC 9113 strictly could read all of it.
import { Flag, FRAME_HEADER_BYTES, FrameType, PREFACE } from "../../../packages/rpc/src/http2/frame.ts";
import { HpackDecoder } from "../../../packages/rpc/src/http2/hpack.ts";
import { Setting } from "../../../packages/rpc/src/http2/settings.ts";
import { type ParsedFrame, parseFrames } from "../../../packages/rpc/src/http2/testing/frames.ts";
import { http2Frames } from "../grammar.ts";

const LAST_ERROR_CODE = 13;
const DEFAULT_WINDOW = 65_535;
const FRAME_BYTES_MAX = 0xffffff;

/** One stream as its receiver sees it. */
export interface HeardStream {
  headers: readonly string[] | undefined;
  body: Buffer[];
  trailers: readonly string[] | undefined;
  hasEnded: boolean;
  /** Of the first RST_STREAM. */
  reset: number | undefined;
  /** Of all of them. */
  readonly resets: number[];
}

/** What a machine has sent. */
export interface Heard {
  readonly streams: ReadonlyMap<number, HeardStream>;
  /** Of the last GOAWAY. */
  readonly goaway: number | undefined;
  /** DATA frames with something in them, their headers included: with tight limits a frame has few bytes. */
  readonly dataFrameBytes: number;
}

/** What the other side granted and opened, whatever became of it: an upper bound. */
interface Grants {
  readonly connectionBytes: number;
  readonly frameBytes: number;
  readonly highestId: number;
  bytesOf(streamId: number): number;
}

/** @param isOpener it is the other side that opens streams. */
function readGrants(input: Buffer, isOpener: boolean): Grants {
  let connectionBytes = DEFAULT_WINDOW;
  // What a stream starts with, in force or to come: of those that the peer opens from there on, of others from the start.
  let initialBytes = DEFAULT_WINDOW;
  let largestInitialBytes: number | undefined;
  const starts = new Map<number, number>();
  let frameBytes = 16_384;
  let highestId = 0;
  const streams = new Map<number, number>();
  for (const unit of http2Frames.cut(input)) {
    if (unit.length < 9 || unit.length - 9 !== unit.readUIntBE(0, 3)) continue;
    const type = unit[3];
    const id = unit.readUInt32BE(5) & 0x7fffffff;
    if (type === FrameType.HEADERS) {
      highestId = Math.max(highestId, id);
      if (!starts.has(id)) starts.set(id, initialBytes);
    }
    if (type === FrameType.WINDOW_UPDATE && unit.length === 13) {
      const increment = unit.readUInt32BE(9) & 0x7fffffff;
      if (id === 0) connectionBytes += increment;
      else streams.set(id, (streams.get(id) ?? 0) + increment);
    }
    for (let at = 9; type === FrameType.SETTINGS && at + 6 <= unit.length; at += 6) {
      const value = unit.readUInt32BE(at + 2);
      const setting = unit.readUInt16BE(at);
      if (setting === Setting.INITIAL_WINDOW_SIZE) initialBytes = value;
      if (setting === Setting.MAX_FRAME_SIZE) frameBytes = Math.max(frameBytes, value);
    }
    if (type !== FrameType.SETTINGS || (unit[4]! & Flag.ACK) !== 0) continue;
    largestInitialBytes = Math.max(largestInitialBytes ?? 0, initialBytes);
    for (const [stream, bytes] of starts) starts.set(stream, Math.max(bytes, initialBytes));
  }
  return {
    connectionBytes,
    frameBytes: Math.min(frameBytes, FRAME_BYTES_MAX),
    highestId,
    bytesOf: (id) => ((isOpener ? starts.get(id) : largestInitialBytes) ?? DEFAULT_WINDOW) + (streams.get(id) ?? 0),
  };
}

function insist(holds: boolean, what: string, frame?: ParsedFrame): asserts holds {
  if (holds) return;
  const where =
    frame === undefined ? "" : `, at frame type ${frame.type} flags ${frame.flags} stream ${frame.streamId}`;
  throw new Error(`Sent what is not legal: ${what}${where}`);
}

/**
 * Reads what a machine sent in answer to `input`.
 * @throws Error for whatever no endpoint may send
 */
export function judgeSent(sent: Buffer, input: Buffer, role: "client" | "server"): Heard {
  const hasPreface = role === "client";
  if (hasPreface) insist(sent.subarray(0, PREFACE.length).equals(PREFACE), "no preface");
  const frames = parseFrames(hasPreface ? sent.subarray(PREFACE.length) : sent);
  const judge = new Judge(readGrants(input, role === "server"), role);
  for (const frame of frames) judge.hear(frame);
  return { streams: judge.streams, goaway: judge.goawayCode, dataFrameBytes: judge.dataFrameBytes };
}

class Judge {
  readonly streams = new Map<number, HeardStream>();
  goawayCode: number | undefined = undefined;
  dataFrameBytes = 0;
  #dataBytes = 0;
  readonly #grants: Grants;
  readonly #role: "client" | "server";
  readonly #decoder = new HpackDecoder(4096, 0x7fffffff);
  #isFirst = true;
  #lastId = 0;
  #lastGoaway = 0x7fffffff;
  /** A header block that goes on. */
  #open: { readonly stream: number; readonly flags: number; readonly parts: Buffer[] } | undefined = undefined;

  constructor(grants: Grants, role: "client" | "server") {
    this.#grants = grants;
    this.#role = role;
  }

  hear(frame: ParsedFrame): void {
    const { type, payload, streamId } = frame;
    insist(
      !this.#isFirst || (type === FrameType.SETTINGS && (frame.flags & Flag.ACK) === 0),
      "SETTINGS not first",
      frame,
    );
    this.#isFirst = false;
    insist((this.goawayCode ?? 0) === 0, "a frame after GOAWAY with an error", frame);
    insist(payload.length <= this.#grants.frameBytes, `a frame of ${payload.length} bytes`, frame);
    insist(this.#open === undefined || type === FrameType.CONTINUATION, "a frame within a header block", frame);
    const isOfConnection = type === FrameType.SETTINGS || type === FrameType.PING || type === FrameType.GOAWAY;
    insist(
      isOfConnection ? streamId === 0 : type === FrameType.WINDOW_UPDATE || streamId % 2 === 1,
      "its stream",
      frame,
    );
    switch (type) {
      case FrameType.DATA:
        return this.#onData(frame);
      case FrameType.HEADERS:
        return this.#onHeaders(frame);
      case FrameType.RST_STREAM:
        return this.#onReset(frame);
      case FrameType.SETTINGS:
        return insist(
          payload.length % 6 === 0 && ((frame.flags & Flag.ACK) === 0 || payload.length === 0),
          "size",
          frame,
        );
      case FrameType.PING:
        return insist(payload.length === 8, "size", frame);
      case FrameType.GOAWAY:
        return this.#onGoaway(frame);
      case FrameType.WINDOW_UPDATE: {
        const increment = payload.readUInt32BE(0);
        return insist(
          payload.length === 4 && increment >= 1 && increment <= 0x7fffffff,
          `increment ${increment}`,
          frame,
        );
      }
      case FrameType.CONTINUATION:
        return this.#onContinuation(frame);
      default:
        insist(false, "its type", frame);
    }
  }

  #onData(frame: ParsedFrame): void {
    const { streamId, payload, flags } = frame;
    const stream = this.#sending(frame);
    insist(stream.headers !== undefined, "DATA before HEADERS", frame);
    stream.body.push(payload);
    const bytes = stream.body.reduce((sum, part) => sum + part.length, 0);
    this.#dataBytes += payload.length;
    if (payload.length > 0) this.dataFrameBytes += FRAME_HEADER_BYTES + payload.length;
    insist(bytes <= this.#grants.bytesOf(streamId), `${bytes} bytes of DATA: more than the stream's window`, frame);
    insist(this.#dataBytes <= this.#grants.connectionBytes, "more DATA than the connection's window", frame);
    if ((flags & Flag.END_STREAM) !== 0) stream.hasEnded = true;
  }

  #onHeaders(frame: ParsedFrame): void {
    const { streamId, flags, payload } = frame;
    if (this.#role === "client" && !this.streams.has(streamId)) {
      insist(streamId > this.#lastId, "a stream out of order", frame);
      this.#lastId = streamId;
    } else if (this.#role === "server") insist(streamId <= this.#grants.highestId, "an idle stream", frame);
    this.#open = { stream: streamId, flags, parts: [payload] };
    if ((flags & Flag.END_HEADERS) !== 0) this.#onBlock(frame);
  }

  #onContinuation(frame: ParsedFrame): void {
    insist(this.#open?.stream === frame.streamId, "CONTINUATION of nothing", frame);
    this.#open.parts.push(frame.payload);
    if ((frame.flags & Flag.END_HEADERS) !== 0) this.#onBlock(frame);
  }

  #onBlock(frame: ParsedFrame): void {
    const { parts, flags } = this.#open!;
    this.#open = undefined;
    const block = Buffer.concat(parts);
    const { fields, fault } = this.#decoder.decode(block, 0, block.length);
    insist(fault === "", fault, frame);
    const stream = this.#sending(frame);
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if (stream.headers === undefined) stream.headers = fields;
    else {
      insist(endStream && !fields.some((text, at) => at % 2 === 0 && text.startsWith(":")), "trailers", frame);
      stream.trailers = fields;
    }
    if (endStream) stream.hasEnded = true;
  }

  #onReset(frame: ParsedFrame): void {
    const { streamId, payload } = frame;
    const code = payload.readUInt32BE(0);
    insist(payload.length === 4 && code <= LAST_ERROR_CODE, `code ${code}`, frame);
    const highest = this.#role === "server" ? this.#grants.highestId : this.#lastId;
    insist(streamId <= highest, "RST_STREAM of an idle stream", frame);
    const stream = this.#stream(streamId);
    stream.reset ??= code;
    stream.resets.push(code);
  }

  #onGoaway(frame: ParsedFrame): void {
    const last = frame.payload.readUInt32BE(0);
    const code = frame.payload.readUInt32BE(4);
    insist(code <= LAST_ERROR_CODE, `code ${code}`, frame);
    insist(last <= this.#lastGoaway, `its last stream ${last} is more than was said before`, frame);
    this.#lastGoaway = last;
    this.goawayCode = code;
  }

  /** The stream of a frame that only an open one may have. */
  #sending(frame: ParsedFrame): HeardStream {
    const stream = this.#stream(frame.streamId);
    insist(!stream.hasEnded, "something after END_STREAM", frame);
    insist(stream.reset === undefined, "something after RST_STREAM", frame);
    return stream;
  }

  #stream(id: number): HeardStream {
    let stream = this.streams.get(id);
    if (stream === undefined) {
      stream = { headers: undefined, body: [], trailers: undefined, hasEnded: false, reset: undefined, resets: [] };
      this.streams.set(id, stream);
    }
    return stream;
  }
}
