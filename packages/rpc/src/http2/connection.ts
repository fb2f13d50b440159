// One HTTP/2 connection (RFC 9113) without I/O: bytes in by `receive`, callbacks out, bytes to send to a `Carrier`.
//
// What both roles share is here; `server-connection.ts` and `client-connection.ts` add who opens streams and who hears of them.
//
// C1. Every DATA byte counts against the connection's window, also of streams that are gone, and its credit returns.
// C2. What is wrong with one stream resets that stream; what is wrong with the connection ends it with GOAWAY.
// C3. A stream's `onClose` comes exactly once and last, also when a callback resets the stream or destroys the connection.
import type { Http2Limits } from "../limits.ts";
import type { ByteSource, HeaderBlock, Peer, StreamEnd } from "../transport.ts";
import type { ConnectionOptions, ConnectionResources, Role } from "./connection-options.ts";
import { ControlWriter } from "./control-writer.ts";
import { ConnectionWindow, GAVE_WAY, isWindowTooLarge, mostBy, StreamWindow } from "./flow.ts";
import { ConnectionError, DEFAULT_WINDOW_BYTES, ErrorCode } from "./frame.ts";
import { type DecodedHeaders, trailersFault } from "./header-list.ts";
import { Inbound, type InboundOwner } from "./inbound.ts";
import { Output } from "./output.ts";
import { type Carrier, Sender, type SenderOwner } from "./sender.ts";
import { SendQueues } from "./send-queues.ts";
import { PeerSettings, sharedSettings } from "./settings.ts";
import type { Stream, StreamOwner } from "./stream.ts";
import { StreamTable } from "./stream-table.ts";
import { TokenBucket } from "./token-bucket.ts";

const WELL_ENDED: StreamEnd = { by: "both-sides", code: ErrorCode.NO_ERROR, reason: "" };

export abstract class Connection implements StreamOwner, SenderOwner, InboundOwner {
  readonly peer: Peer;
  isClosed = false;
  busyHandlers = 0;
  /** The peer's first SETTINGS has arrived. */
  isSettled = false;
  protected readonly limits: Http2Limits;
  protected readonly sender: Sender;
  protected readonly control: ControlWriter;
  protected readonly settings = new PeerSettings();
  protected readonly streams: StreamTable;
  /** The connection ends with its last stream. */
  protected isDraining = false;
  readonly #resources: ConnectionResources;
  readonly #carrier: Carrier;
  readonly #inbound: Inbound;
  readonly #window: ConnectionWindow;
  readonly #queues: SendQueues;
  readonly #abuse: TokenBucket;
  #nowMs = 0;

  constructor(carrier: Carrier, role: Role, options: ConnectionOptions) {
    const { limits, resources } = options;
    this.peer = options.peer;
    this.limits = limits;
    this.streams = new StreamTable(role.peerParity);
    this.#resources = resources;
    this.#carrier = carrier;
    this.sender = new Sender(this, carrier, role.encoder, new Output(resources.slabs, this.peer), limits);
    this.control = new ControlWriter(this.sender, limits);
    this.#inbound = new Inbound(this, this.streams, limits);
    this.#window = new ConnectionWindow(limits, resources.unread, () => this.#giveWay((stream) => stream.unread));
    this.#queues = new SendQueues(this.streams, resources.queued, () => this.#giveWay((stream) => stream.queuedBytes));
    this.#abuse = new TokenBucket(limits.resetBurst, limits.resetsPerSecond);
  }

  // -- The role's part -------------------------------------------------------------------------------------------------

  /** The header block that begins a message: a request on an idle stream, a response on an open one. */
  protected abstract onFirstHeaders(
    streamId: number,
    stream: Stream | undefined,
    headers: DecodedHeaders,
    endStream: boolean,
  ): void;
  /** The peer's SETTINGS were applied. */
  protected abstract onSettingsApplied(isFirst: boolean): void;
  protected abstract onStreamClosed(): void;
  protected abstract onConnectionClosed(reason: string): void;
  abstract onGoaway(lastStreamId: number, code: number, reason: string): void;
  abstract onLocalEnd(stream: Stream): void;
  abstract drain(): void;

  // -- The socket's side -----------------------------------------------------------------------------------------------

  /**
   * Takes what the socket received. Handlers may keep parts of it, but of the shared read buffer only copies.
   * @param nowMs of any monotonic clock, for limits per second.
   */
  receive(bytes: Buffer, nowMs: number): void {
    if (this.isClosed) return;
    this.#nowMs = nowMs;
    try {
      this.read(bytes);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.destroy(error.code, error.message);
    }
  }

  /** @throws ConnectionError */
  protected read(bytes: Buffer): void {
    this.#inbound.read(bytes);
  }

  /** Sends what waits; what `Carrier.requestFlush` asks for. */
  flush(): void {
    if (this.isClosed) return;
    this.sender.flush();
    this.#queues.settle();
  }

  /** Sends large answers at once; to be called when what the socket received was handled. */
  flushBulk(): void {
    if (!this.isClosed) this.sender.flushBulk();
  }

  /** The socket has taken all that it kept. */
  resume(): void {
    if (!this.isClosed) this.sender.resume();
  }

  /** The socket is gone; the carrier is not told to close. */
  disconnected(reason: string): void {
    this.#close(ErrorCode.NO_ERROR, reason);
  }

  // -- Life ------------------------------------------------------------------------------------------------------------

  get openStreams(): number {
    return this.streams.count;
  }

  /** The largest stream id used on this connection: it changes with every new stream. */
  get lastStreamId(): number {
    return Math.max(this.streams.lastPeerId, this.streams.lastOwnId);
  }

  /** What has begun to arrive and has to be whole before anything else can: the same object as long as it is the same. */
  get unfinished(): object | undefined {
    return this.#inbound.unfinished;
  }

  /** Asks the peer for a sign of life. */
  ping(onAcknowledged: () => void): void {
    if (!this.isClosed) this.control.ping(onAcknowledged);
  }

  destroy(code: number, reason: string): void {
    if (this.isClosed) return;
    this.control.goaway(this.streams.lastPeerId, code, reason);
    this.#end(code, reason);
  }

  /** SETTINGS, and the connection's window where it is larger than the default. */
  protected announce(settings: readonly number[]): void {
    this.control.settings([...settings, ...sharedSettings(this.limits)]);
    const increment = this.limits.connectionWindowBytes - DEFAULT_WINDOW_BYTES;
    if (increment > 0) this.control.windowUpdate(0, increment);
  }

  /** Ends the connection if it drains and its last stream is over. */
  protected closeIfDrained(): void {
    if (this.isDraining && this.streams.count === 0 && !this.isClosed) this.#end(ErrorCode.NO_ERROR, "drained");
  }

  #end(code: number, reason: string): void {
    this.sender.handOver();
    this.#carrier.close();
    this.#close(code, reason);
  }

  #close(code: number, reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.control.forgetPings();
    for (const stream of this.streams.snapshot()) this.closeStream(stream, { by: "connection-lost", code, reason });
    this.#window.close();
    this.#queues.close();
    this.onConnectionClosed(reason);
  }

  // -- Streams: what their handlers ask for ----------------------------------------------------------------------------

  sendHeaders(stream: Stream, block: HeaderBlock, endStream: boolean): void {
    if (!stream.canSend) return;
    stream.isAnswered = true;
    this.sender.sendHeaders(stream, block, endStream);
  }

  write(stream: Stream, bytes: Uint8Array): boolean {
    if (!stream.canSend) return true;
    const isWritable = this.sender.write(stream, bytes);
    if (stream.queuedBytes > 0) this.#queues.add(bytes.length);
    return isWritable || stream.isClosed;
  }

  end(stream: Stream, trailers: HeaderBlock | undefined): void {
    if (stream.canSend) this.sender.end(stream, trailers);
  }

  setSource(stream: Stream, source: ByteSource): void {
    if (stream.canSend) this.sender.setSource(stream, source);
  }

  wake(stream: Stream): void {
    this.sender.wake(stream);
  }

  consume(stream: Stream, byteCount: number): void {
    if (stream.isClosed) return;
    const bytes = Math.min(byteCount, stream.unread);
    stream.unread -= bytes;
    this.#window.removeUnread(bytes);
    if (!stream.isRemoteEnded) this.#returnStreamCredit(stream, bytes);
    this.#returnCredit();
  }

  reset(stream: Stream, code: number): void {
    if (stream.isClosed) return;
    this.resetAndClose(stream, code, { by: "local-reset", code, reason: "" });
  }

  // -- Streams: their ends ---------------------------------------------------------------------------------------------

  /** The server holds too much, and this connection most of it: resets the stream that holds most. */
  #giveWay(heldBy: (stream: Stream) => number): void {
    const stream = mostBy(this.streams.all(), heldBy);
    if (stream !== undefined) this.resetAndClose(stream, ErrorCode.ENHANCE_YOUR_CALM, GAVE_WAY);
  }

  /** Closes the stream if both sides have ended. */
  protected closeIfEnded(stream: Stream): void {
    if (stream.isRemoteEnded && stream.isLocalEnded) this.closeStream(stream, WELL_ENDED);
  }

  failStream(streamId: number, stream: Stream | undefined, code: number, reason: string): void {
    // Also what the peer makes this side reset counts as a reset: else bad frames were the way round the limit.
    this.countAbuse();
    if (stream === undefined) {
      this.control.reset(streamId, code);
      this.streams.rememberReset(streamId);
    } else {
      this.resetAndClose(stream, code, { by: "stream-error", code, reason });
    }
    this.control.checkWaiting();
  }

  protected resetAndClose(stream: Stream, code: number, end: StreamEnd): void {
    this.control.reset(stream.id, code);
    if (!stream.isRemoteEnded) this.streams.rememberReset(stream.id);
    this.closeStream(stream, end);
  }

  protected closeStream(stream: Stream, end: StreamEnd): void {
    if (stream.isClosed) return;
    stream.isClosed = true;
    this.streams.remove(stream);
    this.sender.drop(stream);
    stream.receiveWindow?.release();
    if (stream.unread > 0) {
      this.#window.removeUnread(stream.unread);
      this.#returnCredit();
    }
    if (stream.handler === undefined) stream.endedAs = end;
    else stream.handler.onClose(end);
    this.onStreamClosed();
    this.closeIfDrained();
  }

  /** Counts what costs this side more than the peer. @throws ConnectionError when it comes faster than the limit */
  protected countAbuse(): void {
    if (this.#abuse.take(this.#nowMs)) return;
    throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many resets or changes of settings");
  }

  // -- Frames in -------------------------------------------------------------------------------------------------------

  onHeaders(streamId: number, stream: Stream | undefined, headers: DecodedHeaders, endStream: boolean): void {
    if (stream === undefined || !stream.hasHeaders) this.onFirstHeaders(streamId, stream, headers, endStream);
    else this.#onTrailers(stream, headers, endStream);
  }

  #onTrailers(stream: Stream, headers: DecodedHeaders, endStream: boolean): void {
    const fault = endStream ? trailersFault(headers) : "second header block without END_STREAM";
    if (fault !== "") return this.failStream(stream.id, stream, ErrorCode.PROTOCOL_ERROR, fault);
    if (headers.isTooLarge) return this.failStream(stream.id, stream, ErrorCode.ENHANCE_YOUR_CALM, "large trailers");
    if (!this.#isContentRight(stream, 0, true)) return;
    stream.isRemoteEnded = true;
    stream.handler!.onTrailers(headers);
    this.closeIfEnded(stream);
  }

  onDataFrame(stream: Stream | undefined, frameBytes: number, contentBytes: number, endStream: boolean): boolean {
    if (!this.#window.receive(frameBytes)) {
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window");
    }
    this.#returnCredit();
    if (stream === undefined) return false;
    if (!stream.hasHeaders) {
      this.failStream(stream.id, stream, ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS");
      return false;
    }
    if (!this.#isInWindow(stream, frameBytes, endStream)) {
      this.failStream(stream.id, stream, ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the stream's window");
      return false;
    }
    const padding = frameBytes - contentBytes;
    if (padding > 0 && !endStream) this.#returnStreamCredit(stream, padding);
    return this.#isContentRight(stream, contentBytes, endStream);
  }

  onDataBytes(stream: Stream, bytes: Buffer, start: number, end: number, endStream: boolean): void {
    if (start === end && !endStream) return;
    stream.unread += end - start;
    this.#window.addUnread(end - start);
    if (endStream) stream.isRemoteEnded = true;
    stream.handler!.onData(bytes, start, end, endStream);
    if (endStream) this.closeIfEnded(stream);
    if (stream.unread > 0) this.#resources.unread.relieve();
  }

  /** Counts a body against its `content-length` (RFC 9113 §8.1.1); a mismatch fails the stream. */
  #isContentRight(stream: Stream, bytes: number, endStream: boolean): boolean {
    if (stream.expectedBytes < 0) return true;
    stream.expectedBytes -= bytes;
    if (endStream ? stream.expectedBytes === 0 : stream.expectedBytes >= 0) return true;
    this.failStream(stream.id, stream, ErrorCode.PROTOCOL_ERROR, "the body is not as long as content-length says");
    return false;
  }

  #isInWindow(stream: Stream, bytes: number, endStream: boolean): boolean {
    if (stream.receiveWindow !== undefined) return stream.receiveWindow.receive(bytes);
    const { streamWindowBytes, streamWindowBytesMax } = this.limits;
    // A body in one frame, as most requests have, needs no window to count with.
    if (endStream) return bytes <= streamWindowBytes;
    stream.receiveWindow = new StreamWindow(streamWindowBytes, streamWindowBytesMax, this.#resources.receiveBudget);
    return stream.receiveWindow.receive(bytes);
  }

  #returnStreamCredit(stream: Stream, bytes: number): void {
    const increment = stream.receiveWindow?.consume(bytes) ?? 0;
    if (increment > 0) this.control.windowUpdate(stream.id, increment);
  }

  #returnCredit(): void {
    const increment = this.#window.takeIncrement();
    if (increment > 0 && !this.isClosed) this.control.windowUpdate(0, increment);
  }

  onReset(stream: Stream, code: number): void {
    // Who was given the headers has waited for them: an ordinary cancel, as many as there are calls.
    if (!stream.isAnswered) this.countAbuse();
    this.closeStream(stream, { by: "peer-reset", code, reason: "" });
  }

  onSettings(bytes: Buffer, start: number, end: number, isFirst: boolean): void {
    if (!isFirst) this.countAbuse();
    const { settings, sender } = this;
    const before = settings.initialWindowBytes;
    settings.read(bytes, start, end, !this.streams.isPeersId(1));
    sender.frameBytesMax = settings.frameBytesMax;
    sender.limitTable(settings.leastTableBytes);
    this.#shiftWindows(settings.initialWindowBytes - before);
    this.control.settingsAcknowledgement();
    this.control.checkWaiting();
    this.isSettled = true;
    this.onSettingsApplied(isFirst);
  }

  /** SETTINGS_INITIAL_WINDOW_SIZE changes the windows of open streams too, below zero if need be (RFC 9113 §6.9.2). */
  #shiftWindows(delta: number): void {
    if (delta === 0) return;
    for (const stream of this.streams.all()) {
      if (isWindowTooLarge(stream.sendWindow, delta)) {
        throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS push a stream's window over 2^31-1");
      }
      stream.sendWindow += delta;
      this.sender.offer(stream);
    }
  }

  onPing(bytes: Buffer, start: number, isAcknowledgement: boolean): void {
    if (isAcknowledgement) return this.control.onPingAcknowledged(bytes, start);
    this.control.pingAcknowledgement(bytes, start);
    this.control.checkWaiting();
  }

  onWindowUpdate(stream: Stream | undefined, increment: number): void {
    const window = stream === undefined ? this.sender.window : stream.sendWindow;
    const isWrong = increment === 0 || isWindowTooLarge(window, increment);
    const code = increment === 0 ? ErrorCode.PROTOCOL_ERROR : ErrorCode.FLOW_CONTROL_ERROR;
    if (isWrong && stream === undefined) {
      throw new ConnectionError(code, `WINDOW_UPDATE of ${increment} at a window of ${window}`);
    }
    if (stream === undefined) {
      this.sender.widen(increment);
    } else if (isWrong) {
      this.failStream(stream.id, stream, code, `WINDOW_UPDATE of ${increment} at a window of ${window}`);
    } else {
      stream.sendWindow += increment;
      this.sender.offer(stream);
    }
  }
}
