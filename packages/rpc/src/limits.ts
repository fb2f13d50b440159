// Every bound of the RPC core, with its reason. All can be configured.

/** Bounds of one HTTP/2 connection, and of what the connections of a server share. Bytes unless the name says otherwise. */
export interface Http2Limits {
  /** A decoded header list, counted as RFC 9113 §6.5.2 does (name + value + 32 per field); a token of 8 KiB still fits. */
  readonly headerListBytesMax: number;
  /** A header block before decoding, over all its CONTINUATION frames; more is a flood and ends the connection. */
  readonly headerBlockBytesMax: number;
  /** CONTINUATION frames of one block: empty ones are bytes that the limit above does not see. */
  readonly continuationFramesMax: number;
  /** The peer's compression table as kept here; the RFC's default, one page per connection. */
  readonly headerTableBytes: number;
  /** Streams the peer may have open at once; one above is refused with REFUSED_STREAM, which is safe to retry. */
  readonly concurrentStreamsMax: number;
  /**
   * Streams after which a connection is drained, and the client opens another. Ids run out at 2³⁰ streams, in 1.7 hours at
   * 178,000 calls a second; the rest is for those that are under way meanwhile.
   */
  readonly streamsPerConnectionMax: number;
  /** The largest frame accepted; the RFC's least, so that no frame of one stream delays others for long. */
  readonly frameBytesMax: number;
  /** A stream's receive window at first: a small request needs no WINDOW_UPDATE, and 1,000 idle uploads cost 64 MiB at most. */
  readonly streamWindowBytes: number;
  /** A stream's receive window when it is being read fast: 175 MB/s at a round trip of 20 ms needs 3.5 MiB. */
  readonly streamWindowBytesMax: number;
  /** The connection's receive window. It returns on receipt, so it bounds what is on its way, not what is unread. */
  readonly connectionWindowBytes: number;
  /**
   * Bytes of one connection that were received and not consumed; above it the connection's credit is held back, and with
   * it all of its streams. All 1,000 streams with their first windows unread stay below, or eight with the widest.
   */
  readonly connectionUnreadBytesMax: number;
  /** What all streams of a server may have in windows beyond their first size. */
  readonly receiveBudgetBytes: number;
  /**
   * Bytes that all connections of a server hold received and not consumed; above it the connection that holds most loses
   * the stream that does. All wide windows and 4,000 first ones, unread, stay below.
   */
  readonly unreadBytesMax: number;
  /**
   * Bytes that wait at the streams of all connections of a server for windows and sockets; above it the connection with
   * most loses the stream with most. 8,000 streams at their write mark stay below.
   */
  readonly queuedBytesMax: number;
  /** Answers to PING, SETTINGS and bad frames that wait for a peer that does not read; above it the connection ends. */
  readonly controlBytesMax: number;
  /** Streams the peer may open and give up before their headers were sent (rapid reset), or SETTINGS it may send: so many at once … */
  readonly resetBurst: number;
  /** … and so many per second after that. Who cancels what has begun to answer is not counted, and thousands more are none. */
  readonly resetsPerSecond: number;
  /** What may wait at one stream before `write` says false. */
  readonly writeMarkBytes: number;
  /** One stream's turn while others wait: how long a bulk stream may delay a small one. */
  readonly sliceBytes: number;
  /**
   * Handed to the socket at once. More would wait there, where it can be neither recalled nor overtaken, and out of the
   * processor's caches: with 128 KiB benchmark `stream-frames` ran at little more than half the rate.
   */
  readonly flushBytes: number;
  /** Sent in one turn of the event loop before what has arrived is looked at. */
  readonly turnBytes: number;
  /** From the connection's start to the peer's first SETTINGS, in ms. */
  readonly handshakeTimeoutMs: number;
  /** From the first byte of a header block, or of any frame but DATA, to its last, in ms: until then up to 128 KiB are held for nothing. */
  readonly headersTimeoutMs: number;
  /** From our last frame to the socket's end: the peer's time to read it, in ms. */
  readonly lingerMs: number;
}

/** The limits of `Http2Limits` that hold unless others are given. */
export const DEFAULT_HTTP2_LIMITS: Http2Limits = {
  headerListBytesMax: 16 * 1024,
  headerBlockBytesMax: 128 * 1024,
  continuationFramesMax: 64,
  headerTableBytes: 4096,
  concurrentStreamsMax: 1000,
  streamsPerConnectionMax: 2 ** 30 - 2 ** 20,
  frameBytesMax: 16 * 1024,
  streamWindowBytes: 64 * 1024,
  streamWindowBytesMax: 8 * 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  connectionUnreadBytesMax: 64 * 1024 * 1024,
  receiveBudgetBytes: 256 * 1024 * 1024,
  unreadBytesMax: 512 * 1024 * 1024,
  queuedBytesMax: 512 * 1024 * 1024,
  controlBytesMax: 64 * 1024,
  resetBurst: 10_000,
  resetsPerSecond: 200,
  writeMarkBytes: 64 * 1024,
  sliceBytes: 16 * 1024,
  flushBytes: 32 * 1024,
  turnBytes: 1024 * 1024,
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  lingerMs: 1000,
};

/** The least that can be: mostly what RFC 9113 and RFC 7541 grant to every peer before it has heard of any limit. */
const LEAST: Partial<Http2Limits> = {
  headerTableBytes: 4096,
  streamsPerConnectionMax: 1,
  frameBytesMax: 16 * 1024,
  streamWindowBytes: 65_535,
  connectionWindowBytes: 65_535,
};

/**
 * The defaults with overrides.
 * @throws RangeError when one is below what the RFCs grant to every peer, or no number a limit can be.
 */
export function http2Limits(overrides: Partial<Http2Limits> = {}): Http2Limits {
  const limits = { ...DEFAULT_HTTP2_LIMITS, ...overrides };
  for (const key of Object.keys(DEFAULT_HTTP2_LIMITS) as (keyof Http2Limits)[]) {
    const least = LEAST[key] ?? 0;
    // 2^31-1 is the largest window, and the longest timer.
    if (!(limits[key] >= least && limits[key] <= 0x7fffffff)) {
      throw new RangeError(`Cannot use ${limits[key]} for ${key}: it must be between ${least} and 2147483647`);
    }
  }
  return limits;
}

/** Bounds of HTTP/1.1 connections besides those of HTTP/2, of which the ones for headers, streams and all connections hold here too. */
export interface Http1Limits {
  /** Received of one body and not consumed; above it the socket is not read. What a stream of HTTP/2 has at first. */
  readonly unconsumedBytesMax: number;
  /**
   * What is read, to be dropped, of a body whose request was answered; beyond it the connection ends. Four messages of the
   * largest size: who was refused for the size of one is told so.
   */
  readonly droppedBytesMax: number;
  /** From an answer to the end of its request's body, in ms: a byte now and then would hold the connection for ever. */
  readonly droppedTimeoutMs: number;
  /** How long a connection may stay open without a request, in ms: longer than most proxies keep theirs. */
  readonly idleTimeoutMs: number;
}

/** The limits of `Http1Limits` that hold unless others are given. */
export const DEFAULT_HTTP1_LIMITS: Http1Limits = {
  unconsumedBytesMax: 64 * 1024,
  droppedBytesMax: 16 * 1024 * 1024,
  droppedTimeoutMs: 30_000,
  idleTimeoutMs: 75_000,
};

/** Bounds of gRPC on top of it, for servers and clients. */
export interface GrpcLimits {
  /** A received message, as it lies on the wire and again when decompressed; the default of the other implementations. */
  readonly messageBytesMax: number;
  /** Server: bytes of unfinished messages of all calls; above it the one begun first fails with RESOURCE_EXHAUSTED. */
  readonly heldBytesMax: number;
  /** Client: calls that wait for a connection or a free stream; one above fails with RESOURCE_EXHAUSTED. */
  readonly waitingCallsMax: number;
  /** Client: what is kept of a request stream, so that a call the server never looked at can be sent again. */
  readonly replayBytesMax: number;
  /** Client: how often such a call is sent again, at once, before it fails with UNAVAILABLE. */
  readonly replaysMax: number;
  /** How long the peer may take to fetch the status of a call that was ended by its deadline or by a drain, in ms. */
  readonly statusLingerMs: number;
}

/** The limits of `GrpcLimits` that hold unless others are given. */
export const DEFAULT_GRPC_LIMITS: GrpcLimits = {
  messageBytesMax: 4 * 1024 * 1024,
  heldBytesMax: 256 * 1024 * 1024,
  waitingCallsMax: 10_000,
  replayBytesMax: 64 * 1024,
  replaysMax: 5,
  statusLingerMs: 2000,
};
