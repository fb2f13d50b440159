// The client role of a connection: this side opens streams, each with a handler of its own.
import type {
  ClientTransportConnection,
  ClientTransportHandler,
  HeaderBlock,
  StreamHandler,
  TransportStream,
} from "../transport.ts";
import { Connection } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { ConnectionError, ErrorCode, PREFACE } from "./frame.ts";
import { type DecodedHeaders, responseFault } from "./header-list.ts";
import { IndexingEncoder } from "./hpack-encoder.ts";
import type { Carrier } from "./sender.ts";
import { Setting } from "./settings.ts";
import { Stream } from "./stream.ts";
import { lastIdOf } from "./stream-table.ts";

export class ClientConnection extends Connection implements ClientTransportConnection {
  readonly #handler: ClientTransportHandler;
  #isOpen = false;
  /** `streamsAvailable` when the handler was last told, or asked. */
  #wasUnavailable = false;

  constructor(carrier: Carrier, handler: ClientTransportHandler, options: ConnectionOptions) {
    super(carrier, { peerParity: 0, encoder: new IndexingEncoder() }, options);
    this.#handler = handler;
    this.sender.output.payload(PREFACE, 0, PREFACE.length);
    this.announce([Setting.ENABLE_PUSH, 0]);
  }

  get state(): "connecting" | "open" | "draining" | "closed" {
    if (this.isClosed) return "closed";
    if (this.isDraining) return "draining";
    return this.#isOpen ? "open" : "connecting";
  }

  /** 0 also while the socket is full: a peer that does not read gets no more requests piled up. */
  get streamsAvailable(): number {
    if (this.state !== "open" || this.sender.isFull) return this.#unavailable();
    const limit = Math.min(this.settings.concurrentStreamsMax, this.limits.concurrentStreamsMax);
    const available = limit - this.streams.count;
    return available > 0 ? available : this.#unavailable();
  }

  open(block: HeaderBlock, handler: StreamHandler, options: { endStream: boolean }): TransportStream {
    if (this.streamsAvailable === 0) {
      throw new Error(
        `Cannot open a stream: the connection to ${this.peer.address} is ${this.state}, with none available`,
      );
    }
    const id = this.streams.lastOwnId === 0 ? 1 : this.streams.lastOwnId + 2;
    const stream = new Stream(id, this, this.settings.initialWindowBytes);
    stream.handler = handler;
    stream.isAnswered = true;
    this.streams.use(id);
    this.streams.add(stream);
    this.sender.openWith(stream, block, options.endStream);
    if (options.endStream) stream.isLocalEnded = true;
    if (id >= lastIdOf(this.limits.streamsPerConnectionMax)) this.#startDraining();
    return stream;
  }

  override drain(): void {
    if (this.isDraining || this.isClosed) return;
    this.control.goaway(0, ErrorCode.NO_ERROR, "");
    this.#startDraining();
  }

  protected override onFirstHeaders(
    streamId: number,
    stream: Stream | undefined,
    headers: DecodedHeaders,
    endStream: boolean,
  ): void {
    if (stream === undefined) {
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, `the server opened stream ${streamId}`);
    }
    if (headers.isTooLarge) {
      return this.failStream(streamId, stream, ErrorCode.ENHANCE_YOUR_CALM, "response headers over the size limit");
    }
    const fault = responseFault(headers);
    if (fault !== "") return this.failStream(streamId, stream, ErrorCode.PROTOCOL_ERROR, fault);
    if (headers.status < 200) {
      if (endStream) this.failStream(streamId, stream, ErrorCode.PROTOCOL_ERROR, "informational response that ends");
      return;
    }
    stream.hasHeaders = true;
    stream.isRemoteEnded = endStream;
    // Without a body the length is that of another answer: to HEAD, or 304 (RFC 9110 §8.6).
    if (!endStream) stream.expectedBytes = headers.contentLength;
    stream.handler!.onHeaders(headers, endStream);
    this.closeIfEnded(stream);
  }

  override onLocalEnd(stream: Stream): void {
    stream.isLocalEnded = true;
    this.closeIfEnded(stream);
  }

  protected override onSettingsApplied(isFirst: boolean): void {
    if (isFirst) {
      this.#isOpen = true;
      this.#handler.onOpen();
    }
    this.#handler.onStreamsAvailable();
  }

  /** Streams above `lastStreamId` were not and will not be handled: safe to retry elsewhere (RFC 9113 §6.8). */
  override onGoaway(lastStreamId: number, code: number, reason: string): void {
    // First of all no more streams here: who hears that its stream was refused may open another at once.
    this.#startDraining();
    for (const stream of this.streams.snapshot()) {
      if (stream.id > lastStreamId) this.closeStream(stream, { by: "refused-by-goaway", code, reason });
    }
  }

  override resume(): void {
    super.resume();
    this.#tellAvailable();
  }

  protected override onStreamClosed(): void {
    this.#tellAvailable();
  }

  protected override onConnectionClosed(reason: string): void {
    this.#handler.onConnectionClose(reason);
  }

  #startDraining(): void {
    if (!this.isDraining) {
      this.isDraining = true;
      this.#handler.onDraining();
    }
    this.closeIfDrained();
  }

  #unavailable(): 0 {
    this.#wasUnavailable = true;
    return 0;
  }

  #tellAvailable(): void {
    if (!this.#wasUnavailable || this.streamsAvailable === 0) return;
    this.#wasUnavailable = false;
    this.#handler.onStreamsAvailable();
  }
}
