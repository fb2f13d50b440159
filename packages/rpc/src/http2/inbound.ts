// What a received frame is, by its form and its stream's state, before it has any effect: order, size, padding, header
// blocks, and the table of RFC 9113 §5.1. What passes goes to the connection, typed.
//
// I1. Every header block is decoded, also those of refused, reset and unknown streams: HPACK's state is the connection's.
import { checkFrameSize, ConnectionError, ErrorCode, Flag, FrameType, readUint31, readUint32 } from "./frame.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import { HeaderAssembler } from "./header-assembler.ts";
import { DecodedHeaders } from "./header-list.ts";
import { HpackDecoder } from "./hpack.ts";
import { judgeFrame, StreamState, Verdict } from "./states.ts";
import type { Stream } from "./stream.ts";
import type { StreamTable } from "./stream-table.ts";

/** The connection, as frames see it. Each method may throw ConnectionError. */
export interface InboundOwner {
  /** Nothing more is to be read. */
  readonly isClosed: boolean;
  /** A block for an open stream, or for an idle one, then without `stream`. */
  onHeaders(streamId: number, stream: Stream | undefined, headers: DecodedHeaders, endStream: boolean): void;
  /**
   * A DATA frame begins; without `stream` it is only counted. Returns whether its content is wanted.
   * @param frameBytes counts padding, `contentBytes` does not.
   */
  onDataFrame(stream: Stream | undefined, frameBytes: number, contentBytes: number, endStream: boolean): boolean;
  onDataBytes(stream: Stream, bytes: Buffer, start: number, end: number, endStream: boolean): void;
  onReset(stream: Stream, code: number): void;
  onSettings(bytes: Buffer, start: number, end: number, isFirst: boolean): void;
  onPing(bytes: Buffer, start: number, isAcknowledgement: boolean): void;
  onGoaway(lastStreamId: number, code: number, reason: string): void;
  /** Without `stream` for the connection's window. */
  onWindowUpdate(stream: Stream | undefined, increment: number): void;
  /** A stream error (RFC 9113 §5.4.2); `stream` is undefined when it is closed already. */
  failStream(streamId: number, stream: Stream | undefined, code: number, reason: string): void;
}

export interface InboundLimits {
  readonly frameBytesMax: number;
  readonly headerTableBytes: number;
  readonly headerListBytesMax: number;
  readonly headerBlockBytesMax: number;
  readonly continuationFramesMax: number;
}

/** A GOAWAY's debug data is for people; nobody has to read 16 KiB of it. */
const GOAWAY_REASON_BYTES_MAX = 256;

export class Inbound implements FrameSink {
  readonly #owner: InboundOwner;
  readonly #streams: StreamTable;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #assembler: HeaderAssembler;
  /** The peer's first SETTINGS has arrived. */
  #isSettled = false;
  /** The stream whose DATA frame is being read; undefined when its content is not wanted. */
  #dataStream: Stream | undefined = undefined;
  #dataStreamId = 0;
  #dataEndsStream = false;
  /** The HEADERS frame whose block is being read says that its stream depends on itself (RFC 7540 §5.3.1). */
  #isSelfDependent = false;

  constructor(owner: InboundOwner, streams: StreamTable, limits: InboundLimits) {
    this.#owner = owner;
    this.#streams = streams;
    this.#reader = new FrameReader(this, limits.frameBytesMax);
    this.#decoder = new HpackDecoder(limits.headerTableBytes, limits.headerListBytesMax);
    this.#assembler = new HeaderAssembler(limits);
  }

  /** A header block or a frame (but DATA) of which only a part has arrived. */
  get unfinished(): object | undefined {
    return this.#assembler.unfinished ?? this.#reader.unfinished;
  }

  get isReading(): boolean {
    return !this.#owner.isClosed;
  }

  /** @throws ConnectionError */
  read(bytes: Buffer): void {
    this.#reader.read(bytes);
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    this.#checkOrder(type, flags, streamId);
    // Unknown types are for extensions this side does not know (RFC 9113 §5.5).
    if (type > FrameType.CONTINUATION) return;
    checkFrameSize(type, flags, end - start);
    if (type === FrameType.HEADERS) return this.#onHeaders(flags, streamId, bytes, start, end);
    if (type === FrameType.CONTINUATION && this.#assembler.streamId !== 0) {
      return this.#onContinuation(flags, bytes.subarray(start, end));
    }
    const stream = this.#streams.find(streamId);
    if (!this.#isAccepted(type, streamId, stream)) {
      if (type === FrameType.PRIORITY) this.#checkPriority(streamId, stream, bytes, start, end);
      if (type === FrameType.RST_STREAM) this.#streams.forgetReset(streamId);
      return;
    }
    this.#onAccepted(type, flags, stream, bytes, start, end);
  }

  #onAccepted(
    type: number,
    flags: number,
    stream: Stream | undefined,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    switch (type) {
      case FrameType.RST_STREAM:
        return this.#owner.onReset(stream!, readUint32(bytes, start));
      case FrameType.SETTINGS: {
        // Ours are in force from the start: they only ever grant more than the RFC's defaults.
        if ((flags & Flag.ACK) !== 0) return;
        const isFirst = !this.#isSettled;
        this.#isSettled = true;
        return this.#owner.onSettings(bytes, start, end, isFirst);
      }
      case FrameType.PING:
        return this.#owner.onPing(bytes, start, (flags & Flag.ACK) !== 0);
      case FrameType.GOAWAY: {
        const reason = bytes.toString("latin1", start + 8, Math.min(end, start + 8 + GOAWAY_REASON_BYTES_MAX));
        return this.#owner.onGoaway(readUint31(bytes, start), readUint32(bytes, start + 4), reason);
      }
      case FrameType.WINDOW_UPDATE:
        return this.#owner.onWindowUpdate(stream, readUint31(bytes, start));
    }
  }

  onDataFrame(flags: number, streamId: number, frameBytes: number, contentBytes: number): void {
    this.#checkOrder(FrameType.DATA, flags, streamId);
    const endStream = (flags & Flag.END_STREAM) !== 0;
    const stream = this.#streams.find(streamId);
    const accepted = this.#isAccepted(FrameType.DATA, streamId, stream) ? stream : undefined;
    const isWanted = this.#owner.onDataFrame(accepted, frameBytes, contentBytes, endStream);
    this.#dataStream = isWanted ? accepted : undefined;
    this.#dataStreamId = streamId;
    this.#dataEndsStream = endStream;
  }

  onDataBytes(bytes: Buffer, start: number, end: number, isLast: boolean): void {
    const stream = this.#dataStream;
    // A stream that is over must be free to go: its call may hold megabytes.
    if (isLast || stream?.isClosed === true) this.#dataStream = undefined;
    if (stream === undefined || stream.isClosed) {
      if (isLast && this.#dataEndsStream) this.#streams.forgetReset(this.#dataStreamId);
      return;
    }
    this.#owner.onDataBytes(stream, bytes, start, end, isLast && this.#dataEndsStream);
  }

  /** RFC 9113 §3.4 (SETTINGS come first) and §4.3 (nothing comes between the frames of a header block). */
  #checkOrder(type: number, flags: number, streamId: number): void {
    if (!this.#isSettled && (type !== FrameType.SETTINGS || (flags & Flag.ACK) !== 0)) {
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS");
    }
    const unfinished = this.#assembler.streamId;
    if (unfinished !== 0 && (type !== FrameType.CONTINUATION || streamId !== unfinished)) {
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "frame within a header block");
    }
  }

  /** Whether a frame has an effect in its stream's state; errors are dealt with here. */
  #isAccepted(type: number, streamId: number, stream: Stream | undefined): boolean {
    const state = stream === undefined ? this.#streams.stateOfMissing(streamId) : stream.state;
    switch (judgeFrame(state, type)) {
      case Verdict.ACCEPT:
        return true;
      case Verdict.IGNORE:
        return false;
      case Verdict.STREAM_CLOSED:
        this.#owner.failStream(streamId, stream, ErrorCode.STREAM_CLOSED, `frame of type ${type} after the end`);
        return false;
      case Verdict.CONNECTION_CLOSED:
        throw new ConnectionError(ErrorCode.STREAM_CLOSED, `frame of type ${type} on the closed stream ${streamId}`);
      default:
        throw new ConnectionError(
          ErrorCode.PROTOCOL_ERROR,
          `frame of type ${type} on stream ${streamId} in this state`,
        );
    }
  }

  /** A stream cannot depend on itself (RFC 7540 §5.3.1); for the rest, priorities are ignored. */
  #checkPriority(streamId: number, stream: Stream | undefined, bytes: Buffer, start: number, end: number): void {
    const isRightSize = end - start === 5;
    if (isRightSize && readUint31(bytes, start) !== streamId) return;
    const code = isRightSize ? ErrorCode.PROTOCOL_ERROR : ErrorCode.FRAME_SIZE_ERROR;
    // An idle stream cannot be reset (RFC 9113 §6.4).
    if (stream === undefined && this.#streams.stateOfMissing(streamId) === StreamState.IDLE) {
      throw new ConnectionError(code, `bad PRIORITY for the idle stream ${streamId}`);
    }
    this.#owner.failStream(streamId, stream, code, "bad PRIORITY");
  }

  #onHeaders(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const paddingField = (flags & Flag.PADDED) === 0 ? 0 : 1;
    const hasPriority = (flags & Flag.PRIORITY) !== 0;
    if (end - start < paddingField + (hasPriority ? 5 : 0)) {
      throw new ConnectionError(
        ErrorCode.FRAME_SIZE_ERROR,
        `HEADERS frame of ${end - start} bytes: its flags need more`,
      );
    }
    let from = start + paddingField;
    const to = paddingField === 0 ? end : end - bytes[start]!;
    this.#isSelfDependent = hasPriority && readUint31(bytes, from) === streamId;
    if (hasPriority) from += 5;
    if (from > to) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "HEADERS frame with more padding than payload");
    if ((flags & Flag.END_HEADERS) === 0) {
      this.#assembler.begin(streamId, flags, bytes.subarray(from, to));
    } else {
      this.#onBlock(streamId, flags, this.#decoder.decode(bytes, from, to));
    }
  }

  #onContinuation(flags: number, part: Buffer): void {
    const { streamId } = this.#assembler;
    this.#assembler.add(part);
    if ((flags & Flag.END_HEADERS) === 0) return;
    const block = this.#assembler.finish();
    this.#onBlock(streamId, this.#assembler.flags, this.#decoder.decode(block, 0, block.length));
  }

  /** A complete block, decoded whatever becomes of it (I1). */
  #onBlock(streamId: number, flags: number, decoded: DecodedHeaders): void {
    const endStream = (flags & Flag.END_STREAM) !== 0;
    const stream = this.#streams.find(streamId);
    if (this.#isAccepted(FrameType.HEADERS, streamId, stream)) {
      const headers = this.#isSelfDependent ? faulty(decoded, "a stream that depends on itself") : decoded;
      this.#owner.onHeaders(streamId, stream, headers, endStream);
    } else if (endStream) {
      this.#streams.forgetReset(streamId);
    }
  }
}

/** A copy that no message may have: the list itself answers every repetition of its block. */
function faulty({ fields, kinds }: DecodedHeaders, fault: string): DecodedHeaders {
  return new DecodedHeaders(fields, kinds, fault, false);
}
