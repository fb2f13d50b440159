// The server role of a connection: the peer opens streams, the handler hears of each.
import { HeaderBlock, type ServerTransportHandler, type StreamHandler } from "../transport.ts";
import { Connection } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { ConnectionError, ErrorCode, PREFACE, STREAM_ID_MAX } from "./frame.ts";
import { type DecodedHeaders, requestFault } from "./header-list.ts";
import { ConstantEncoder } from "./hpack-encoder.ts";
import type { Carrier } from "./sender.ts";
import { Setting } from "./settings.ts";
import { Stream } from "./stream.ts";
import { lastIdOf } from "./stream-table.ts";

export interface ServerConnectionOptions extends ConnectionOptions {
  /** Answers a request whose header list is over the limit; `:status` 431 by default. */
  readonly headersTooLarge?: HeaderBlock | undefined;
}

const HEADERS_TOO_LARGE = new HeaderBlock([":status", "431", "content-length", "0"]);

/** Of a stream that nobody but the client hears of. */
const DEAF: StreamHandler = {
  onHeaders() {},
  onData() {},
  onTrailers() {},
  onWritable() {},
  onClose() {},
};

/** "none" → drain() → "announced": GOAWAY with no limit and a PING → its answer → "final": GOAWAY with the last stream. */
type DrainStep = "none" | "announced" | "final";

export class ServerConnection extends Connection {
  readonly #handler: ServerTransportHandler;
  readonly #headersTooLarge: HeaderBlock;
  /** From this stream on the client is asked to change its connection. */
  readonly #lastId: number;
  /** How much of the client's preface is still to come. */
  #prefaceLeft = PREFACE.length;
  #drainStep: DrainStep = "none";

  constructor(carrier: Carrier, handler: ServerTransportHandler, options: ServerConnectionOptions) {
    super(carrier, { peerParity: 1, encoder: new ConstantEncoder() }, options);
    this.#handler = handler;
    this.#headersTooLarge = options.headersTooLarge ?? HEADERS_TOO_LARGE;
    this.#lastId = lastIdOf(this.limits.streamsPerConnectionMax);
    this.announce([Setting.MAX_CONCURRENT_STREAMS, this.limits.concurrentStreamsMax]);
  }

  /** Two steps, so that a stream that was opened before the client heard of the drain is still served (RFC 9113 §6.8). */
  override drain(): void {
    if (this.#drainStep !== "none" || this.isClosed) return;
    this.#drainStep = "announced";
    this.control.goaway(STREAM_ID_MAX, ErrorCode.NO_ERROR, "");
    this.ping(() => {
      this.#drainStep = "final";
      this.control.goaway(this.streams.lastPeerId, ErrorCode.NO_ERROR, "");
      this.isDraining = true;
      this.closeIfDrained();
    });
  }

  protected override read(bytes: Buffer): void {
    if (this.#prefaceLeft === 0) return super.read(bytes);
    const from = PREFACE.length - this.#prefaceLeft;
    const length = Math.min(this.#prefaceLeft, bytes.length);
    if (PREFACE.compare(bytes, 0, length, from, from + length) !== 0) {
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, "the connection does not begin with HTTP/2's preface");
    }
    this.#prefaceLeft -= length;
    if (length < bytes.length) super.read(bytes.subarray(length));
  }

  protected override onFirstHeaders(
    streamId: number,
    _stream: Stream | undefined,
    headers: DecodedHeaders,
    endStream: boolean,
  ): void {
    if (!this.streams.isPeersId(streamId)) {
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `the client opened stream ${streamId}, an even number`);
    }
    this.streams.use(streamId);
    const fault = endStream && headers.contentLength > 0 ? "content-length without a body" : requestFault(headers);
    if (streamId >= this.#lastId) this.drain();
    const open = this.streams.count + this.busyHandlers;
    if (this.#drainStep === "final" || open >= this.limits.concurrentStreamsMax) {
      return this.#refuse(streamId, ErrorCode.REFUSED_STREAM, "");
    }
    if (fault !== "" && !headers.isTooLarge) return this.#refuse(streamId, ErrorCode.PROTOCOL_ERROR, fault);
    const stream = new Stream(streamId, this, this.settings.initialWindowBytes);
    stream.hasHeaders = true;
    stream.isRemoteEnded = endStream;
    this.streams.add(stream);
    if (headers.isTooLarge) return this.#answerTooLarge(stream);
    if (headers.contentLength >= 0) stream.expectedBytes = headers.contentLength;
    const handler = this.#handler.onStream(stream, headers, endStream);
    stream.handler = handler;
    if (stream.endedAs !== undefined) handler.onClose(stream.endedAs);
  }

  #refuse(streamId: number, code: number, reason: string): void {
    this.failStream(streamId, undefined, code, reason);
  }

  #answerTooLarge(stream: Stream): void {
    this.countAbuse();
    stream.handler = DEAF;
    stream.sendHeaders(this.#headersTooLarge, { endStream: true });
  }

  /** RFC 9113 §8.1: a response that is complete before its request is followed by RST_STREAM with NO_ERROR. */
  override onLocalEnd(stream: Stream): void {
    stream.isLocalEnded = true;
    if (stream.isRemoteEnded) this.closeIfEnded(stream);
    else this.resetAndClose(stream, ErrorCode.NO_ERROR, { by: "both-sides", code: ErrorCode.NO_ERROR, reason: "" });
  }

  protected override onSettingsApplied(): void {}

  /** A client that says GOAWAY opens no more streams; what runs is finished. */
  override onGoaway(): void {
    this.isDraining = true;
    this.closeIfDrained();
  }

  protected override onStreamClosed(): void {}

  protected override onConnectionClosed(): void {
    this.#handler.onConnectionClose(this);
  }
}
