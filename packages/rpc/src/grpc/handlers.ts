// What a program that serves or calls gRPC sees: the shapes of handlers, and the call.
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { ByteSource, Peer } from "../transport.ts";
import type { Frames } from "./frames.ts";
import type { Metadata } from "./metadata.ts";
import type { Code, RpcError } from "./status.ts";

/** One call on the server, from its headers to its trailers. */
export interface Call {
  /** The method that was dispatched, never what a client's path looked like. */
  readonly method: DescMethod;
  readonly peer: Peer;
  /** What the client sent beside the message; made on first use. */
  readonly requestMetadata: Metadata;
  /** Sent with the headers, which leave before the handler's first wait for data. */
  readonly responseMetadata: Metadata;
  /** Sent with the status. */
  readonly responseTrailers: Metadata;
  /** When the client gives up, in the clock's monotonic ms; undefined: never. */
  readonly deadlineMs: number | undefined;
  /** Aborted on cancel, deadline, disconnect, drain's end and the call's normal end. Made on first use: it costs 1 KB. */
  readonly signal: AbortSignal;
  /** True as soon as the call has ended for whatever reason. */
  readonly isEnded: boolean;
  /** Calls back once when the call ends, for whatever reason, in the same turn; at once when it has ended. Cheap. */
  onEnd(listener: (code: Code) => void): void;
  /** Lets the response headers go now, so that an idle subscription shows as open. Idempotent. */
  sendHeaders(): void;
  /**
   * Keeps the response headers back until the first answer, the end or `sendHeaders`; said before the first wait. For
   * handlers whose metadata depends on what a stream of requests brings. A client that waits for headers waits with them.
   */
  holdHeaders(): void;
}

/** A body of ready-made frames that the transport pulls; the cheapest form of a streaming answer. See `Call.stream`. */
export interface FrameSource {
  /** Attached once, before the first pull. */
  attach(stream: FrameStream): void;
  /** See ByteSource.pull: whole frames, up to about `maxBytes`. */
  pull: ByteSource["pull"];
  /** See ByteSource.sent: the memory of what was pulled so far may be used again. */
  sent?(): void;
  /**
   * The server ends the call with this error although it could go on: its grace is over, or the connection is too old.
   * Returns what to end it with instead: an error that also says how to go on.
   */
  farewell?(error: RpcError): unknown;
}

/** What a FrameSource does to its stream. */
export interface FrameStream {
  /** There is something to pull again. */
  wake(): void;
  /** The stream ends well after what was pulled. */
  end(): void;
  /** The stream ends with this error's status after what was pulled. */
  fail(error: unknown): void;
}

/** What a handler may answer with: a message, or frames that are sent as they are. */
export type Reply<O extends DescMessage> = MessageInitShape<O> | Frames;

/** One request, one answer. Answering synchronously costs no promise. */
export type UnaryHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  call: Call,
) => Reply<O> | Promise<Reply<O>>;
/** One request, answers at the client's pace: from a generator, or pulled from a `FrameSource`. */
export type ServerStreamingHandler<I extends DescMessage, O extends DescMessage> = (
  request: MessageShape<I>,
  call: Call,
) => AsyncIterable<Reply<O>> | FrameSource | Promise<FrameSource>;
/** A stream of requests, one answer. Requests that are not read stay with the client. */
export type ClientStreamingHandler<I extends DescMessage, O extends DescMessage> = (
  requests: AsyncIterable<MessageShape<I>>,
  call: Call,
) => Promise<Reply<O>>;
/** A stream of requests and a stream of answers, each at its own pace: from a generator, or pulled from a `FrameSource`. */
export type BidiHandler<I extends DescMessage, O extends DescMessage> = (
  requests: AsyncIterable<MessageShape<I>>,
  call: Call,
) => AsyncIterable<Reply<O>> | FrameSource | Promise<FrameSource>;

/** A unary or streaming handler that takes the request's bytes undecoded (decompressed, within the limits). */
export interface RawHandler<O extends DescMessage> {
  readonly raw: true;
  /**
   * Each request of a stream is looked at only until the next one is asked for: then the memory of large ones is used again. For
   * streams of bytes that go on to somewhere else; one `next` at a time.
   */
  readonly lends?: true;
  readonly unary?: (request: Uint8Array, call: Call) => Reply<O> | Promise<Reply<O>>;
  readonly serverStreaming?: (
    request: Uint8Array,
    call: Call,
  ) => AsyncIterable<Reply<O>> | FrameSource | Promise<FrameSource>;
  readonly clientStreaming?: (requests: AsyncIterable<Uint8Array>, call: Call) => Promise<Reply<O>>;
  readonly bidi?: (
    requests: AsyncIterable<Uint8Array>,
    call: Call,
  ) => AsyncIterable<Reply<O>> | FrameSource | Promise<FrameSource>;
}

/** The handler of a method, by its kind. */
export type Handler<M extends DescMethod> =
  | (M["methodKind"] extends "unary"
      ? UnaryHandler<M["input"], M["output"]>
      : M["methodKind"] extends "server_streaming"
        ? ServerStreamingHandler<M["input"], M["output"]>
        : M["methodKind"] extends "client_streaming"
          ? ClientStreamingHandler<M["input"], M["output"]>
          : BidiHandler<M["input"], M["output"]>)
  | RawHandler<M["output"]>;

/** A handler whose types were checked where it was given. */
export type AnyHandler = ((requests: never, call: Call) => unknown) | RawHandler<DescMessage>;

/** Handlers of a service by the method's local name; a missing one answers UNIMPLEMENTED. */
export type ServiceHandlers<S extends DescService> = {
  readonly [K in keyof S["method"]]?: Handler<S["method"][K]>;
};
