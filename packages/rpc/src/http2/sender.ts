// Everything that one connection sends: which stream next, how much of it, and when the socket gets it.
//
// What may leave at once is written straight into the output; everything else waits at its stream, and the streams take
// turns. So what waits is bounded per stream, and nothing of one stream is ever behind another stream's megabytes.
//
// S1. DATA never exceeds the stream's window nor the connection's (RFC 9113 §5.2); nothing else is flow-controlled.
// S2. A stream is in `ready` or `parked` exactly when it has something to send that its own window allows; in `parked`
//     when only the connection's window is missing.
// S3. While the socket is full no stream sends anything: answers stay at their streams, which the peer's own limit counts.
// S4. A stream's turn ends after `sliceBytes` when others wait; no more than that overtakes those that are in line.
import type { ByteSource, HeaderBlock } from "../transport.ts";
import { DEFAULT_WINDOW_BYTES, FrameType, Flag } from "./frame.ts";
import type { BlockEncoder } from "./hpack-encoder.ts";
import type { HandOver, Output } from "./output.ts";
import { type Stream, StreamList } from "./stream.ts";

/** Of what a source gave, so much may be copied for its memory to be free again. */
const RESCUED_BYTES_MAX = 32 * 1024;
/** A stream that is alone is asked for so many flushes at once: who reads from a disk does it in larger pieces than a socket. */
const FLUSHES_OF_A_TURN = 4;

/** Takes a connection's bytes to its socket. */
export interface Carrier {
  /** Something waits to be sent: call `flush` of the connection soon, once. */
  requestFlush(): void;
  /** Sends the chunks in order. When it has taken all that it kept, `resume` of the connection follows: always after "full". */
  send(chunks: readonly Uint8Array[]): HandOver;
  /** The connection is over: send what was handed over, then close. Called once; nothing follows it. */
  close(): void;
}

/** What the sender tells its connection. */
export interface SenderOwner {
  /** END_STREAM was written. May close the stream. */
  onLocalEnd(stream: Stream): void;
}

export interface SenderLimits {
  readonly writeMarkBytes: number;
  readonly sliceBytes: number;
  readonly flushBytes: number;
  readonly turnBytes: number;
}

export class Sender {
  readonly output: Output;
  /** The connection's send window. */
  window = DEFAULT_WINDOW_BYTES;
  /** SETTINGS_MAX_FRAME_SIZE of the peer. */
  frameBytesMax = 16_384;
  /** The socket has enough (S3). */
  isFull = false;
  readonly #owner: SenderOwner;
  readonly #carrier: Carrier;
  readonly #encoder: BlockEncoder;
  readonly #limits: SenderLimits;
  readonly #ready = new StreamList();
  readonly #parked = new StreamList();
  /** Whose turn it is: what is asked for it meanwhile is seen at the turn's end. */
  #current: Stream | undefined = undefined;
  #isFlushRequested = false;
  /** Bytes that could not leave at once, since the last flush. */
  #queuedSince = 0;
  /** What may still leave in this turn of the event loop. */
  #turnLeft = 0;
  /** Sent past the streams in line since these last had a turn (S4). */
  #overtakenBytes = 0;
  /** Streams whose source was pulled since the socket last had taken everything, and who want to hear of that. */
  #lenders: Stream[] = [];

  constructor(owner: SenderOwner, carrier: Carrier, encoder: BlockEncoder, output: Output, limits: SenderLimits) {
    this.#owner = owner;
    this.#carrier = carrier;
    this.#encoder = encoder;
    this.#limits = limits;
    this.output = output;
  }

  /** The peer's decoder keeps a table of this size, at most. */
  limitTable(bytesMax: number): void {
    this.#encoder.limitTable(bytesMax);
  }

  /** Something was written into `output` by the connection itself. */
  requestFlush(): void {
    if (this.#isFlushRequested || this.isFull) return;
    this.#isFlushRequested = true;
    this.#carrier.requestFlush();
  }

  /** Sends what waits, in turns, until nothing does, the socket is full or this turn of the event loop was long enough. */
  flush(): void {
    this.#isFlushRequested = false;
    this.#send(1);
    if (!this.#ready.isEmpty) this.requestFlush();
  }

  /** Sends large answers while they are in the processor's caches, before more requests become answers; not their rest. */
  flushBulk(): void {
    if (this.#queuedSince < this.#limits.flushBytes || this.isFull) return;
    this.#send(this.#limits.flushBytes);
    this.requestFlush();
  }

  /** @param bytesMin fewer are not handed over */
  #send(bytesMin: number): void {
    this.#queuedSince = 0;
    this.#turnLeft = this.#limits.turnBytes;
    while (!this.isFull && this.#turnLeft > 0) {
      this.#pump();
      if (this.output.pendingBytes < bytesMin) return;
      this.handOver();
    }
  }

  /** The socket has taken all that it kept. */
  resume(): void {
    this.output.free();
    this.#tellLenders();
    if (!this.isFull) return;
    this.isFull = false;
    this.flush();
  }

  /** Gives all that is pending to the socket, full or not. */
  handOver(): void {
    if (this.output.pendingBytes === 0) return;
    this.#turnLeft -= this.output.pendingBytes;
    const outcome = this.#carrier.send(this.output.takeChunks());
    this.output.settle(outcome);
    if (outcome === "full") this.isFull = true;
    if (outcome === "sent") this.#tellLenders();
  }

  /** The socket has taken everything: sources may use their memory again. A short rest that waits here is copied. */
  #tellLenders(): void {
    const lenders = this.#lenders;
    if (lenders.length === 0) return;
    this.#lenders = [];
    for (const stream of lenders) {
      if (stream === this.#current || stream.queuedBytes > RESCUED_BYTES_MAX) {
        this.#lenders.push(stream);
        continue;
      }
      const rest = stream.queue?.[0]?.subarray(stream.queueOffset);
      if (rest !== undefined) {
        stream.queue = [Uint8Array.from(rest)];
        stream.queueOffset = 0;
      }
      stream.isLent = false;
      stream.source?.sent?.();
    }
  }

  // -- One stream's side -----------------------------------------------------------------------------------------------

  /** Writes a header block at once, whatever the socket's state: how a client opens a stream. */
  openWith(stream: Stream, block: HeaderBlock, endStream: boolean): void {
    this.#writeHeaders(stream.id, block, endStream);
    this.requestFlush();
  }

  sendHeaders(stream: Stream, block: HeaderBlock, endStream: boolean): void {
    if (this.#hasRoom()) {
      this.#writeHeaders(stream.id, block, endStream);
      this.requestFlush();
      if (endStream) this.#owner.onLocalEnd(stream);
    } else {
      stream.headers = block;
      stream.isEnding = endStream;
      this.offer(stream);
    }
  }

  write(stream: Stream, bytes: Uint8Array): boolean {
    const length = bytes.length;
    if (length === 0) return !stream.isWritableOwed;
    if (length <= stream.sendWindow && length <= this.window && this.#mayOvertake(length)) {
      if (this.#isNext(stream) && this.#hasRoom()) {
        this.#writeData(stream, bytes, 0, length, 0);
        this.output.lend(bytes, stream.bytesOwner);
        this.requestFlush();
        return true;
      }
    }
    if (stream.queue === undefined) stream.queue = [bytes];
    else stream.queue.push(bytes);
    stream.queuedBytes += length;
    this.#queuedSince += length;
    this.offer(stream);
    if (stream.queuedBytes <= this.#limits.writeMarkBytes) return true;
    stream.isWritableOwed = true;
    return false;
  }

  end(stream: Stream, trailers: HeaderBlock | undefined): void {
    stream.trailers = trailers;
    stream.isEnding = true;
    if (stream !== this.#current && this.#isNext(stream) && this.#hasRoom()) {
      this.#writeEnd(stream);
      this.requestFlush();
    } else {
      this.offer(stream);
    }
  }

  setSource(stream: Stream, source: ByteSource): void {
    stream.source = source;
    stream.isSourceIdle = true;
    this.wake(stream);
  }

  wake(stream: Stream): void {
    if (!stream.isSourceIdle) return;
    stream.isSourceIdle = false;
    if (stream.list === undefined && stream.sendWindow > 0 && stream !== this.#current) this.#enqueue(stream);
  }

  /** Puts the stream in line if it has something that it may send (S2); called when either may have changed. */
  offer(stream: Stream): void {
    if (stream.list !== undefined || stream === this.#current || stream.isClosed || stream.isLocalEnded) return;
    if (stream.headers !== undefined || (stream.queuedBytes === 0 && stream.isEnding)) {
      this.#enqueue(stream);
    } else if (
      stream.sendWindow > 0 &&
      (stream.queuedBytes > 0 || (stream.source !== undefined && !stream.isSourceIdle))
    ) {
      this.#enqueue(stream);
    }
  }

  /** The connection's window grew. */
  widen(increment: number): void {
    this.window += increment;
    if (this.window <= 0) return;
    for (let stream = this.#parked.shift(); stream !== undefined; stream = this.#parked.shift()) this.#enqueue(stream);
  }

  /** Forgets what the stream still had to send. */
  drop(stream: Stream): void {
    stream.list?.remove(stream);
    stream.headers = undefined;
    stream.queue = undefined;
    stream.queuedBytes = 0;
    stream.source = undefined;
    stream.trailers = undefined;
  }

  // -- Turns -----------------------------------------------------------------------------------------------------------

  #enqueue(stream: Stream): void {
    this.#ready.push(stream);
    this.requestFlush();
  }

  /** Whether what is written to the stream now comes right after what it has sent. */
  #isNext(stream: Stream): boolean {
    return stream.queuedBytes === 0 && stream.headers === undefined;
  }

  /** Whether more may be put into the output now (S3). */
  #hasRoom(): boolean {
    if (this.isFull) return false;
    if (this.output.pendingBytes >= this.#limits.flushBytes) this.handOver();
    return !this.isFull;
  }

  /** Whether a payload is small enough to leave at once, past the streams that are in line (S4). */
  #mayOvertake(length: number): boolean {
    if (length > this.#limits.sliceBytes || length > this.frameBytesMax) return false;
    if (this.#ready.isEmpty) return true;
    this.#overtakenBytes += length;
    return this.#overtakenBytes <= this.#limits.sliceBytes;
  }

  #pump(): void {
    this.#overtakenBytes = 0;
    const { flushBytes, sliceBytes } = this.#limits;
    while (!this.isFull && this.#turnLeft > 0 && this.output.pendingBytes < flushBytes) {
      const stream = this.#ready.shift();
      if (stream === undefined) return;
      const turnBytes = this.#ready.isEmpty
        ? Math.max(sliceBytes, FLUSHES_OF_A_TURN * flushBytes - this.output.pendingBytes)
        : sliceBytes;
      this.#current = stream;
      this.#takeTurn(stream, turnBytes);
      this.#current = undefined;
      if (stream.isWritableOwed && stream.queuedBytes <= this.#limits.writeMarkBytes && !stream.isClosed) {
        stream.isWritableOwed = false;
        stream.handler?.onWritable();
      }
    }
  }

  /** Sends up to `turnBytes` of one stream and puts it where it then belongs (S2). */
  #takeTurn(stream: Stream, turnBytes: number): void {
    if (stream.headers !== undefined) {
      const isOnly = stream.isEnding && stream.queuedBytes === 0 && stream.trailers === undefined;
      this.#writeHeaders(stream.id, stream.headers, isOnly);
      stream.headers = undefined;
      if (isOnly) return this.#owner.onLocalEnd(stream);
    }
    let rest = turnBytes;
    while (!stream.isClosed) {
      if (stream.queuedBytes === 0) {
        if (stream.isEnding) return this.#writeEnd(stream);
        if (stream.source === undefined) return;
      }
      if (stream.sendWindow <= 0) return;
      if (this.window <= 0) return this.#parked.push(stream);
      if (rest <= 0 || !this.#hasRoom()) return this.#ready.push(stream);
      const sendable = Math.min(rest, stream.sendWindow, this.window);
      const sent = stream.queuedBytes > 0 ? this.#sendQueued(stream, sendable) : this.#sendPulled(stream, sendable);
      if (sent === 0) return;
      rest -= sent;
    }
  }

  /** Sends of the queue's first entry; returns how much. */
  #sendQueued(stream: Stream, sendable: number): number {
    const queue = stream.queue!;
    const bytes = queue[0]!;
    const start = stream.queueOffset;
    const length = Math.min(bytes.length - start, sendable, this.frameBytesMax);
    stream.queuedBytes -= length;
    if (start + length === bytes.length) {
      if (stream.queuedBytes === 0) stream.queue = undefined;
      else queue.shift();
      stream.queueOffset = 0;
    } else {
      stream.queueOffset = start + length;
    }
    this.#writeData(stream, bytes, start, start + length, 0);
    if (start + length === bytes.length) this.output.lend(bytes, stream.bytesOwner);
    return length;
  }

  /** Asks the source; returns how much was sent, 0 when it has nothing. What does not fit is queued. */
  #sendPulled(stream: Stream, sendable: number): number {
    const source = stream.source!;
    for (;;) {
      stream.isSourceIdle = true;
      const bytes = source.pull(sendable);
      if (stream.isClosed) return 0;
      if (bytes === undefined || bytes.length === 0) {
        if (stream.isEnding) this.#writeEnd(stream);
        if (stream.isEnding || stream.isSourceIdle) return 0;
        continue;
      }
      stream.isSourceIdle = false;
      if (source.sent !== undefined && !stream.isLent) {
        stream.isLent = true;
        this.#lenders.push(stream);
      }
      const length = Math.min(bytes.length, sendable, this.frameBytesMax);
      if (length < bytes.length) {
        stream.queue = [bytes];
        stream.queueOffset = length;
        stream.queuedBytes = bytes.length - length;
      }
      this.#writeData(stream, bytes, 0, length, 0);
      return length;
    }
  }

  // -- Frames ----------------------------------------------------------------------------------------------------------

  #writeData(stream: Stream, bytes: Uint8Array, start: number, end: number, flags: number): void {
    const length = end - start;
    this.window -= length;
    stream.sendWindow -= length;
    this.output.frame(length, FrameType.DATA, flags, stream.id);
    this.output.payload(bytes, start, end);
  }

  #writeEnd(stream: Stream): void {
    if (stream.trailers === undefined) this.output.frame(0, FrameType.DATA, Flag.END_STREAM, stream.id);
    else this.#writeHeaders(stream.id, stream.trailers, true);
    this.#owner.onLocalEnd(stream);
  }

  #writeHeaders(streamId: number, block: HeaderBlock, endStream: boolean): void {
    const bytes = this.#encoder.encode(block);
    const flags = endStream ? Flag.END_STREAM : 0;
    if (bytes.length <= this.frameBytesMax) {
      this.output.frame(bytes.length, FrameType.HEADERS, flags | Flag.END_HEADERS, streamId);
      this.output.payload(bytes, 0, bytes.length);
      return;
    }
    let type: number = FrameType.HEADERS;
    for (let start = 0; start < bytes.length; start += this.frameBytesMax) {
      const end = Math.min(start + this.frameBytesMax, bytes.length);
      const endHeaders = end === bytes.length ? Flag.END_HEADERS : 0;
      this.output.frame(end - start, type, (type === FrameType.HEADERS ? flags : 0) | endHeaders, streamId);
      this.output.payload(bytes, start, end);
      type = FrameType.CONTINUATION;
    }
  }
}
