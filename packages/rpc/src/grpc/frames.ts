// gRPC's length-prefixed messages: one flag byte, four length bytes (big-endian), the message.
//
// F1. A length field alone never makes a MessageReader allocate: a message gets its place when a part of it is there (F3).
// F2. What it hands out is never changed again; it may refer to the transport's buffers, but to none that is lent.
// F3. What it holds keeps no more memory than four times its bytes and a page, also when they came a few in each of many
//     buffers; six times where the memory is lent.
import { isLent, keepBytes } from "../reading/read-buffer.ts";
import { frameMemory } from "./frame-memory.ts";
import { Code, RpcError } from "./status.ts";

/** Flag and length in front of every message. */
export const FRAME_HEADER_BYTES = 5;

/** Flag of a message that is compressed with the stream's `grpc-encoding`. */
export const FLAG_COMPRESSED = 1;

/** Pieces smaller than this are copied together, so that a trickle of bytes does not keep a socket buffer for each. */
const COALESCE_BYTES = 1024;
const TAIL_BYTES = 4096;
/** A piece of a buffer that is more times as large is copied, others stay where they lie (F3). */
const HELD_TIMES = 4;
/** Messages whose memory is lent: a room of `frameMemory` is no more than half as large again. */
const LENT_BYTES_MIN = 24 * 1024;
const LENT_BYTES_MAX = 1024 * 1024;
/** A message gets its whole place when it is no larger than what is there so many times, and this (F3). */
const HELD_BYTES = 4096;

/**
 * Ready-made bytes that hold whole gRPC frames; they are sent as they are. The bytes must not change afterwards. A client's stream
 * of requests may give a large frame in several, one right after the other: so its bytes need not be copied together.
 */
export class Frames {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** One message as a frame. */
export function frameOf(message: Uint8Array, flag = 0): Uint8Array {
  const length = message.length;
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + length);
  writeFrameHeader(frame, flag, length);
  frame.set(message, FRAME_HEADER_BYTES);
  return frame;
}

/** Writes what is in front of a message of this length. */
export function writeFrameHeader(frame: Uint8Array, flag: number, length: number): void {
  frame[0] = flag;
  frame[1] = length >>> 24;
  frame[2] = length >>> 16;
  frame[3] = length >>> 8;
  frame[4] = length;
}

/** How many frames lie in `bytes`, which must hold whole ones. */
export function countFrames(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at + FRAME_HEADER_BYTES <= bytes.length; at += FRAME_HEADER_BYTES + frameLengthAt(bytes, at))
    count++;
  return count;
}

/** Length of the message whose frame starts at `at`. */
export function frameLengthAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at + 1] ?? 0) * 0x1000000 +
    (((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0))
  );
}

/** @throws RpcError RESOURCE_EXHAUSTED */
function checkMessageLength(length: number, limit: number): void {
  if (length > limit) {
    throw new RpcError(
      Code.RESOURCE_EXHAUSTED,
      `Cannot receive a message of ${length} bytes: the limit is ${limit} bytes`,
    );
  }
}

/**
 * A view of a part of a buffer, as a plain Uint8Array: messages hand such views on, and `slice` of a Buffer, unlike that
 * of a Uint8Array, does not copy.
 */
export function bytesOf(buffer: Buffer, start: number, end: number): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset + start, end - start);
}

/** Puts messages together from pieces that were split anywhere. Pulled: nothing is parsed before it is wanted. */
export class MessageReader {
  /** Bytes held. */
  available = 0;
  /** Flag of the message that `take` returned last. */
  flag = 0;
  readonly #limit: number;
  #chunks: Uint8Array[] = [];
  #headIndex = 0;
  /** Where the unread part of the first chunk starts. */
  #headOffset = 0;
  /** A chunk of our own, last in the list, that still has room behind `#tailFill`. */
  #tail: Uint8Array | undefined;
  #tailFill = 0;
  /** The last chunk, as long as it lies in the transport's lent memory. */
  #lent: Uint8Array | undefined;
  /** The message that was asked for and is not whole: what comes of it goes to its place at once. */
  #inPlace: MessageInPlace | undefined;
  readonly #isLending: boolean;

  /** @param limit largest message in bytes, as it lies on the wire. @param options `isLending`: large ones may lie in `frameMemory` */
  constructor(limit: number, { isLending = false }: { readonly isLending?: boolean } = {}) {
    this.#limit = limit;
    this.#isLending = isLending;
  }

  /** `keep` must follow, before the transport has its bytes back; whatever is taken in between is not copied twice. */
  push(buffer: Buffer, start: number, end: number): void {
    this.available += end - start;
    const from = this.#inPlace === undefined ? start : this.#inPlace.fill(buffer, start, end);
    const length = end - from;
    if (length === 0) return;
    if (length >= COALESCE_BYTES) {
      this.#tail = undefined;
      const piece = bytesOf(buffer, from, end);
      if (isLent(buffer)) this.#lent = piece;
      const isHeld = this.#lent !== undefined || HELD_TIMES * length >= buffer.buffer.byteLength;
      this.#chunks.push(isHeld ? piece : piece.slice());
      return;
    }
    if (this.#tail === undefined || this.#tailFill + length > this.#tail.length) {
      this.#tail = new Uint8Array(TAIL_BYTES);
      this.#tailFill = 0;
      this.#chunks.push(this.#tail.subarray(0, 0));
    }
    this.#tail.set(bytesOf(buffer, from, end), this.#tailFill);
    this.#tailFill += length;
    // The last chunk grows by making a new view; views handed out before stay as they are.
    const last = this.#chunks.length - 1;
    const view = this.#chunks[last];
    const begin = view === undefined ? 0 : view.byteOffset - this.#tail.byteOffset;
    this.#chunks[last] = this.#tail.subarray(begin, this.#tailFill);
  }

  /** Copies what is left of the bytes that were pushed last, if they are lent. */
  keep(): void {
    const lent = this.#lent;
    if (lent === undefined) return;
    this.#lent = undefined;
    const last = this.#chunks.length - 1;
    if (this.#chunks[last] !== lent) return;
    const from = last === this.#headIndex ? this.#headOffset : 0;
    this.#chunks[last] = lent.slice(from);
    this.#headOffset -= from;
  }

  /**
   * The next whole message, or undefined when its end has not arrived.
   * @throws RpcError RESOURCE_EXHAUSTED as soon as its length is known to exceed the limit; INTERNAL for a bad flag.
   */
  take(): Uint8Array | undefined {
    if (this.#inPlace !== undefined) return this.#takeInPlace(this.#inPlace);
    if (this.available < FRAME_HEADER_BYTES) return undefined;
    const head = this.#chunks[this.#headIndex];
    const isInOnePiece = head !== undefined && this.#headOffset + FRAME_HEADER_BYTES <= head.length;
    const header = isInOnePiece ? head : this.#peekHeader();
    const at = isInOnePiece ? this.#headOffset : 0;
    const flag = header[at] ?? 0;
    const length = frameLengthAt(header, at);
    if (flag > FLAG_COMPRESSED)
      throw new RpcError(Code.INTERNAL, `Cannot read a message: its flag byte is ${flag}, not 0 or 1`);
    checkMessageLength(length, this.#limit);
    const { available } = this;
    const isWhole = available >= FRAME_HEADER_BYTES + length;
    if (!isWhole && length > HELD_TIMES * available + HELD_BYTES) return undefined;
    this.flag = flag;
    this.#skip(FRAME_HEADER_BYTES);
    const message = this.#read(length);
    if (message === undefined) this.available = available;
    return message;
  }

  /**
   * Where there are no frames: all that came, when it `isEnded`; undefined before.
   * @throws RpcError RESOURCE_EXHAUSTED as soon as it exceeds the limit
   */
  takeUnframed(isEnded: boolean): Uint8Array | undefined {
    checkMessageLength(this.available, this.#limit);
    return isEnded ? this.#read(this.available) : undefined;
  }

  /** Forgets everything. */
  clear(): void {
    this.#forgetChunks();
    this.#inPlace = undefined;
    this.available = 0;
  }

  #forgetChunks(): void {
    this.#chunks = [];
    this.#headIndex = 0;
    this.#headOffset = 0;
    this.#tail = undefined;
  }

  #takeInPlace(arriving: MessageInPlace): Uint8Array | undefined {
    const message = arriving.whole;
    if (message === undefined) return undefined;
    this.#inPlace = undefined;
    this.available -= FRAME_HEADER_BYTES + message.length;
    return message;
  }

  /** A frame's header that is spread over several chunks. */
  #peekHeader(): Uint8Array {
    const header = new Uint8Array(FRAME_HEADER_BYTES);
    let index = this.#headIndex;
    let offset = this.#headOffset;
    for (let at = 0; at < FRAME_HEADER_BYTES;) {
      const chunk = this.#chunks[index] ?? header;
      if (offset < chunk.length) header[at++] = chunk[offset++] ?? 0;
      else {
        offset = 0;
        index++;
      }
    }
    return header;
  }

  #skip(count: number): void {
    this.available -= count;
    let offset = this.#headOffset + count;
    let chunk = this.#chunks[this.#headIndex];
    while (chunk !== undefined && offset >= chunk.length) {
      offset -= chunk.length;
      this.#headIndex++;
      chunk = this.#chunks[this.#headIndex];
    }
    this.#headOffset = offset;
    if (chunk === undefined) {
      this.#forgetChunks();
    } else if (this.#headIndex > 64 && this.#headIndex * 2 > this.#chunks.length) {
      this.#chunks.splice(0, this.#headIndex);
      this.#headIndex = 0;
    }
  }

  /** In place where it lies in one piece, else copied together; what is not whole becomes `#inPlace`. */
  #read(length: number): Uint8Array | undefined {
    let chunk = this.#chunks[this.#headIndex];
    if (length === 0) return new Uint8Array(0);
    if (chunk !== undefined && this.#headOffset + length <= chunk.length) {
      const message = keepBytes(chunk, this.#headOffset, this.#headOffset + length);
      this.#skip(length);
      return message;
    }
    const message = new MessageInPlace(this.#isLending ? lentBytes(length) : ownBytes(length));
    for (; chunk !== undefined && message.whole === undefined; chunk = this.#chunks[this.#headIndex]) {
      this.#skip(message.fill(chunk, this.#headOffset, chunk.length) - this.#headOffset);
    }
    if (message.whole === undefined) this.#inPlace = message;
    return message.whole;
  }
}

function ownBytes(length: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

/** Of `frameMemory`, where it keeps memory of this size: whoever takes the message may give it back there. */
function lentBytes(length: number): Uint8Array {
  if (length < LENT_BYTES_MIN || length > LENT_BYTES_MAX) return ownBytes(length);
  return frameMemory.lend(length);
}

/** One message that goes to its place while it arrives. */
class MessageInPlace {
  readonly #bytes: Uint8Array;
  #filled = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get whole(): Uint8Array | undefined {
    return this.#filled === this.#bytes.length ? this.#bytes : undefined;
  }

  /** Takes what belongs to it; returns where the rest begins. */
  fill(bytes: Uint8Array, start: number, end: number): number {
    const taken = Math.min(end - start, this.#bytes.length - this.#filled);
    this.#bytes.set(new Uint8Array(bytes.buffer, bytes.byteOffset + start, taken), this.#filled);
    this.#filled += taken;
    return start + taken;
  }
}
