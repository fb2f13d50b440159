// Cuts a byte stream into frames, wherever the socket happened to cut it.
//
// DATA is passed on piece by piece as it arrives, never gathered; every other frame is handed over whole, in place when
// it lies in one piece, else from a buffer of exactly its size, which `frameBytesMax` bounds.
import { ConnectionError, ErrorCode, Flag, FRAME_HEADER_BYTES, FrameType, readUint31 } from "./frame.ts";

/** Who hears of frames. Each method may throw ConnectionError. */
export interface FrameSink {
  /** False as soon as nothing more is to be read. */
  readonly isReading: boolean;
  /** A whole frame of any type but DATA; its payload is `bytes[start..end)`. */
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void;
  /** A DATA frame begins: `contentBytes` without its padding, `frameBytes` with it, as flow control counts. */
  onDataFrame(flags: number, streamId: number, frameBytes: number, contentBytes: number): void;
  /** Bytes of that frame without its padding; `isLast` with the last of them, also when there were none. */
  onDataBytes(bytes: Buffer, start: number, end: number, isLast: boolean): void;
}

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #frameBytesMax: number;
  /** The beginning of a frame that is not there whole yet, its header included. */
  #partial: Buffer = EMPTY;
  #partialBytes = 0;
  /** Of the DATA frame being passed on: what is still to come of its content, and of its padding. */
  #contentLeft = 0;
  #paddingLeft = 0;
  #isInData = false;

  constructor(sink: FrameSink, frameBytesMax: number) {
    this.#sink = sink;
    this.#frameBytesMax = frameBytesMax;
  }

  /** The frame of which only a part is there; of DATA, whose content is passed on as it comes, only the header is one. */
  get unfinished(): object | undefined {
    return this.#partialBytes > 0 ? this.#partial : undefined;
  }

  /** @throws ConnectionError */
  read(bytes: Buffer): void {
    let at = 0;
    while (this.#sink.isReading) {
      if (this.#isInData) {
        at = this.#passData(bytes, at);
        if (this.#isInData) return;
        continue;
      }
      if (this.#partialBytes > 0) {
        at = this.#completePartial(bytes, at);
        if (this.#partialBytes > 0) return;
        continue;
      }
      const needed = this.#frameBytes(bytes, at, bytes.length);
      if (bytes.length - at < needed) {
        if (at < bytes.length) this.#keepPartial(bytes, at, needed);
        return;
      }
      at = this.#takeFrame(bytes, at, needed);
    }
  }

  /**
   * How many bytes from `at` must be there to go on: a header, or a frame (of DATA only what precedes its content).
   * @throws ConnectionError FRAME_SIZE_ERROR
   */
  #frameBytes(bytes: Buffer, at: number, end: number): number {
    if (end - at < FRAME_HEADER_BYTES) return FRAME_HEADER_BYTES;
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    if (length > this.#frameBytesMax) {
      throw new ConnectionError(
        ErrorCode.FRAME_SIZE_ERROR,
        `frame of ${length} bytes: the limit is ${this.#frameBytesMax}`,
      );
    }
    if (bytes[at + 3] !== FrameType.DATA) return FRAME_HEADER_BYTES + length;
    return (bytes[at + 4]! & Flag.PADDED) === 0 || length === 0 ? FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + 1;
  }

  /** Handles the frame at `at`, of which `needed` bytes are there; returns the place after them. */
  #takeFrame(bytes: Buffer, at: number, needed: number): number {
    const type = bytes[at + 3]!;
    const flags = bytes[at + 4]!;
    const streamId = readUint31(bytes, at + 5);
    if (type !== FrameType.DATA) {
      this.#sink.onFrame(type, flags, streamId, bytes, at + FRAME_HEADER_BYTES, at + needed);
      return at + needed;
    }
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    const isPadded = (flags & Flag.PADDED) !== 0;
    this.#paddingLeft = needed > FRAME_HEADER_BYTES ? bytes[at + FRAME_HEADER_BYTES]! : 0;
    this.#contentLeft = length - this.#paddingLeft - (isPadded ? 1 : 0);
    if (this.#contentLeft < 0) {
      const code = length === 0 ? ErrorCode.FRAME_SIZE_ERROR : ErrorCode.PROTOCOL_ERROR;
      throw new ConnectionError(code, `DATA frame of ${length} bytes with ${this.#paddingLeft} bytes of padding`);
    }
    this.#isInData = true;
    this.#sink.onDataFrame(flags, streamId, length, this.#contentLeft);
    if (this.#contentLeft === 0) this.#sink.onDataBytes(bytes, at + needed, at + needed, true);
    return at + needed;
  }

  #passData(bytes: Buffer, from: number): number {
    let at = from;
    if (this.#contentLeft > 0) {
      const length = Math.min(this.#contentLeft, bytes.length - at);
      if (length === 0) return at;
      this.#contentLeft -= length;
      at += length;
      this.#sink.onDataBytes(bytes, at - length, at, this.#contentLeft === 0);
    }
    const padding = Math.min(this.#paddingLeft, bytes.length - at);
    this.#paddingLeft -= padding;
    this.#isInData = this.#contentLeft > 0 || this.#paddingLeft > 0;
    return at + padding;
  }

  #keepPartial(bytes: Buffer, at: number, needed: number): void {
    this.#partial = Buffer.allocUnsafe(needed);
    this.#partialBytes = bytes.copy(this.#partial, 0, at);
  }

  /** Fills up the partial frame and handles it once it is whole; returns the place after what was taken. */
  #completePartial(bytes: Buffer, from: number): number {
    let at = from;
    for (;;) {
      const needed = this.#frameBytes(this.#partial, 0, this.#partialBytes);
      if (needed > this.#partial.length) {
        const larger = Buffer.allocUnsafe(needed);
        this.#partial.copy(larger, 0, 0, this.#partialBytes);
        this.#partial = larger;
      }
      const taken = bytes.copy(this.#partial, this.#partialBytes, at, at + needed - this.#partialBytes);
      at += taken;
      this.#partialBytes += taken;
      if (this.#partialBytes < needed) return at;
      if (needed === this.#frameBytes(this.#partial, 0, needed)) {
        const whole = this.#partial;
        this.#partial = EMPTY;
        this.#partialBytes = 0;
        this.#takeFrame(whole, 0, needed);
        return at;
      }
    }
  }
}

const EMPTY = Buffer.alloc(0);
