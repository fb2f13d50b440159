// One stream of the oracle transport: `node:http2`'s stream behind the interface of packages/rpc/src/transport.ts.
// Plain and correct, not fast.
import { constants, type ClientHttp2Stream, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type {
  ByteSource,
  HeaderBlock,
  HeaderList,
  StreamEnd,
  StreamHandler,
  TransportConnection,
  TransportStream,
} from "../../packages/rpc/src/transport.ts";

/** Unconsumed bytes at which the stream stops reading, so that HTTP/2's flow control reaches the sender. */
const UNCONSUMED_BYTES_MAX = 64 * 1024;
const PULL_BYTES = 64 * 1024;
const NOTHING = Buffer.alloc(0);

export interface OracleStreamOwner extends TransportConnection {
  readonly isLost: boolean;
  onStreamClosed(stream: OracleStream): void;
}

export class OracleStream implements TransportStream {
  readonly connection: OracleStreamOwner;
  handler: StreamHandler;
  isRefusedByGoaway = false;
  /** Client: cancels at once; Node's own `close` ends the request in good order before it resets the stream. */
  canceller: AbortController | undefined;
  readonly #stream: ServerHttp2Stream | ClientHttp2Stream;
  #trailers: HeaderBlock | undefined;
  #receivedTrailers: HeaderList | undefined;
  #source: ByteSource | undefined;
  #isPumpDue = false;
  #unconsumed = 0;
  #hasPeerEnded: boolean;
  #hasEnded = false;
  #isReset = false;
  #isClosed = false;

  constructor(
    connection: OracleStreamOwner,
    stream: ServerHttp2Stream | ClientHttp2Stream,
    handler: StreamHandler,
    hasPeerEnded: boolean,
  ) {
    this.connection = connection;
    this.#stream = stream;
    this.handler = handler;
    this.#hasPeerEnded = hasPeerEnded;
    // What an error means is said by the code of the close that follows it.
    stream.on("error", () => {});
    stream.on("close", () => this.#onClose());
    stream.on("drain", () => this.#onDrain());
    stream.on("wantTrailers", () => this.#sendTrailers());
    stream.on("trailers", (_headers: unknown, _flags: number, raw: string[]) => {
      this.#receivedTrailers = headerList(raw);
    });
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.on("end", () => this.#onEnd());
  }

  get id(): number {
    return this.#stream.id ?? 0;
  }

  sendHeaders(block: HeaderBlock, options: { endStream: boolean }): void {
    if (this.#isOver || !("respond" in this.#stream)) return;
    this.#hasEnded = options.endStream;
    this.#stream.respond(headersObject(block), { endStream: options.endStream, waitForTrailers: !options.endStream });
    if (options.endStream) this.#stopPeer();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#isOver || this.#hasEnded) return true;
    return this.#stream.write(bytes);
  }

  end(trailers?: HeaderBlock): void {
    if (this.#isOver || this.#hasEnded) return;
    this.#hasEnded = true;
    this.#trailers = trailers;
    this.#stream.end();
  }

  setSource(source: ByteSource): void {
    this.#source = source;
    this.wake();
  }

  wake(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    setImmediate(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  consume(byteCount: number): void {
    this.#unconsumed -= byteCount;
    if (this.#unconsumed < UNCONSUMED_BYTES_MAX && this.#stream.isPaused() && !this.#isOver) this.#stream.resume();
  }

  reset(code: number): void {
    if (this.#isOver) return;
    this.#isReset = true;
    if (code === constants.NGHTTP2_CANCEL && this.canceller !== undefined) this.canceller.abort();
    else this.#stream.close(code);
  }

  get #isOver(): boolean {
    return this.#isClosed || this.#isReset || this.#stream.closed || this.#stream.destroyed;
  }

  /** All that was written has left. */
  #onDrain(): void {
    if (this.#source === undefined) this.handler.onWritable();
    else {
      this.#source.sent?.();
      this.#pump();
    }
  }

  #pump(): void {
    while (this.#source !== undefined && !this.#isOver && !this.#hasEnded && !this.#stream.writableNeedDrain) {
      const bytes = this.#source.pull(PULL_BYTES);
      if (bytes === undefined) return;
      this.#stream.write(bytes);
    }
  }

  #sendTrailers(): void {
    if (this.#isOver) return;
    // Node forgets the waiting trailers of a stream without any; an empty list ends it all the same.
    this.#stream.sendTrailers(this.#trailers === undefined ? {} : headersObject(this.#trailers));
    this.#stopPeer();
  }

  /** A server that has answered lets the client stop sending (RFC 9113 §8.1). */
  #stopPeer(): void {
    if (this.#hasPeerEnded) return;
    setImmediate(() => {
      if (!this.#isOver && !this.#hasPeerEnded) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  #onData(chunk: Buffer): void {
    if (this.#isReset) return;
    this.#unconsumed += chunk.length;
    this.handler.onData(chunk, 0, chunk.length, false);
    if (this.#unconsumed >= UNCONSUMED_BYTES_MAX && !this.#isOver) this.#stream.pause();
  }

  #onEnd(): void {
    if (this.#isReset || this.#hasPeerEnded) return;
    // Node also ends the readable side of a stream that was reset.
    if (this.#stream.aborted || this.#stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
    this.#hasPeerEnded = true;
    if (this.#receivedTrailers !== undefined) this.handler.onTrailers(this.#receivedTrailers);
    else this.handler.onData(NOTHING, 0, 0, true);
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#source = undefined;
    this.connection.onStreamClosed(this);
    this.handler.onClose({ by: this.#endedBy(), code: this.#stream.rstCode ?? 0, reason: "" });
  }

  #endedBy(): StreamEnd["by"] {
    if (this.isRefusedByGoaway) return "refused-by-goaway";
    if (this.#isReset) return "local-reset";
    if (this.#hasEnded && this.#hasPeerEnded) return "both-sides";
    if (this.connection.isLost) return "connection-lost";
    // A server's own NO_ERROR after its answer closes a stream in good order.
    if (this.#hasEnded && "respond" in this.#stream && this.#stream.rstCode === constants.NGHTTP2_NO_ERROR)
      return "both-sides";
    return "peer-reset";
  }
}

export function headerList(raw: readonly string[]): HeaderList {
  return { fields: raw, memo: undefined };
}

/** Repeated names become lists, as Node wants them. */
export function headersObject(block: HeaderBlock): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {};
  for (let at = 0; at < block.fields.length; at += 2) {
    const name = block.fields[at] ?? "";
    const value = block.fields[at + 1] ?? "";
    const known = headers[name];
    headers[name] = known === undefined ? value : [known, value].flat();
  }
  return headers;
}
