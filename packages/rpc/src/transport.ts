// The narrow waist between gRPC and HTTP/2: what a stream can do, and what it tells.
//
// Two transports implement it: this package's own HTTP/2 (`http2/`) and, in the tests, one on `node:http2`, the
// differential oracle. Calls and callbacks are synchronous; nothing here allocates a promise.
//
// T1. `onClose` is called exactly once per stream, last of all callbacks, whatever ends it.
// T2. A handler may call any method of its stream from within any callback.
// T3. Methods called after the stream ended do nothing; a race with the peer is no error.
// T4. Bytes given to `write` belong to the transport until they are sent: the caller must not change them.

/** A decoded header list. A block that repeats on a connection is answered with the very same object. */
export interface HeaderList {
  /** name, value, name, value, …: lower-case names, pseudo-header fields first, one latin1 character per byte. */
  readonly fields: readonly string[];
  /** A place for the layer above to keep what it derived from this list, so that a repeated block costs one look-up. */
  memo: unknown;
  /** Of another protocol, translated: the body is one message in this form, without a frame. Absent: gRPC's frames. */
  readonly unframed?: "json" | "proto";
}

/** A header list to be sent. Made once for what is constant: the transport keeps its encoded form in `encoded`. */
export class HeaderBlock {
  readonly fields: readonly string[];
  /** The transport's own cache (HPACK bytes without any dynamic-table reference). */
  encoded: Uint8Array | undefined = undefined;

  /** @param fields name, value, name, value, …; names in lower case, pseudo-header fields first. */
  constructor(fields: readonly string[]) {
    this.fields = fields;
  }
}

/** One stream of a connection, for either role. */
export interface TransportStream {
  readonly connection: TransportConnection;
  /** Sends the header block (server: the response's). At most once, before any `write`. */
  sendHeaders(block: HeaderBlock, options: { endStream: boolean }): void;
  /**
   * Takes all of `bytes`: small ones are copied at once, large ones are kept by reference until sent.
   * Returns false when more than the stream's write mark waits; `onWritable` then follows, once.
   * @param owner hears when nothing refers to these bytes any more; a transport may never say so. The same for all
   * writes of a stream.
   */
  write(bytes: Uint8Array, owner?: BytesOwner): boolean;
  /** Half-closes after all that was written: with a trailer block, or with an empty DATA frame when there is none. */
  end(trailers?: HeaderBlock): void;
  /**
   * Hands the body over to a source that the transport pulls whenever the stream may send (window, fairness and
   * socket permitting). Replaces `write`/`onWritable` for the rest of the stream; the source ends it by `end`.
   */
  setSource(source: ByteSource): void;
  /** Says that the source has something again after a pull answered `undefined`. Cheap, idempotent. */
  wake(): void;
  /** Returns flow-control credit for received bytes that were consumed. Without it the peer stalls. */
  consume(byteCount: number): void;
  /** Ends the stream at once with RST_STREAM; what was not yet sent is dropped. `code` is of RFC 9113 §7. */
  reset(code: number): void;
}

/** Whose the memory of written bytes is. */
export interface BytesOwner {
  /** These very bytes, as they were given to `write`, have left the process or were copied. */
  free(bytes: Uint8Array): void;
}

/** A body that is pulled, never pushed. */
export interface ByteSource {
  /**
   * The next bytes to send, or undefined when there is none now (then `wake` tells when). Should not exceed
   * `maxBytes` by much: the rest of what is returned waits at the stream. May call `stream.end` and return undefined.
   */
  pull(maxBytes: number): Uint8Array | undefined;
  /**
   * Everything pulled so far was copied or has left the process: its memory may be used again. Called after a flush of
   * which this is true; a source that has no use for it leaves it out, and a transport may never call it.
   */
  sent?(): void;
}

/** Hears of one stream. */
export interface StreamHandler {
  /** Client only: the response's headers (also informational ones are filtered out by the transport). */
  onHeaders(headers: HeaderList, endStream: boolean): void;
  /**
   * Bytes `start..end` of `buffer` arrived (padding removed). What the handler keeps of them it keeps by `keepBytes` of
   * `reading/read-buffer.ts`. Every byte must be given back by `consume`, at once or later; on close the transport forgets the rest.
   */
  onData(buffer: Buffer, start: number, end: number, endStream: boolean): void;
  /** A trailer block arrived; the peer's side has ended. */
  onTrailers(trailers: HeaderList): void;
  /** What waited at the stream fell below the write mark. */
  onWritable(): void;
  /** The stream is over. */
  onClose(end: StreamEnd): void;
}

/** How a stream ended. `code` is an HTTP/2 error code; `by` says whose doing it was. */
export interface StreamEnd {
  readonly by: "both-sides" | "peer-reset" | "local-reset" | "stream-error" | "connection-lost" | "refused-by-goaway";
  readonly code: number;
  /** For logs and error messages; empty when there is nothing to add. */
  readonly reason: string;
}

/** What both roles of a connection share. */
export interface TransportConnection {
  readonly peer: Peer;
  /** Streams that are not closed yet. */
  readonly openStreams: number;
  /**
   * Server: streams that are gone while their handlers still run. The layer above counts them here, and they count as
   * open: else whoever opens streams and resets them had any number of handlers at work (CVE-2023-44487).
   */
  busyHandlers: number;
  /** Sends GOAWAY in two steps and closes when the last stream ended. Idempotent. */
  drain(): void;
  /** Closes the connection now: GOAWAY with `code`, every stream gets `onClose`. */
  destroy(code: number, reason: string): void;
}

/** The other end of a connection. */
export interface Peer {
  /** "127.0.0.1:5310", "unix:/run/s.sock". */
  readonly address: string;
  readonly isEncrypted: boolean;
}

/** The server role tells of a new stream when its header block is complete and valid. */
export interface ServerTransportHandler {
  /** Returns who will hear of the stream. With `endStream` no data follows. */
  onStream(stream: TransportStream, headers: HeaderList, endStream: boolean): StreamHandler;
  /** The connection was drained for its age and its grace is over: what is still open has a moment to get its status. */
  onExpired?(connection: TransportConnection): void;
  /** The connection has gone. */
  onConnectionClose(connection: TransportConnection): void;
}

/** A connection in the client role. */
export interface ClientTransportConnection extends TransportConnection {
  readonly state: "connecting" | "open" | "draining" | "closed";
  /** How many more streams may be opened now under the peer's MAX_CONCURRENT_STREAMS. */
  readonly streamsAvailable: number;
  /** Opens a stream. @throws when `streamsAvailable` is 0 or the connection is not open. */
  open(headers: HeaderBlock, handler: StreamHandler, options: { endStream: boolean }): TransportStream;
}

/** The client role tells of the connection's life. */
export interface ClientTransportHandler {
  /** The peer's SETTINGS arrived. */
  onOpen(): void;
  /** `streamsAvailable` rose from 0, or changed with the peer's SETTINGS. */
  onStreamsAvailable(): void;
  /** The peer sent GOAWAY, or this side drains: open no more streams here. */
  onDraining(): void;
  onConnectionClose(reason: string): void;
}
