// Typed calls on a channel, from a protobuf-es service descriptor.
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { CallableChannel, Channel } from "./channel.ts";
import { ClientCall, type CallOptions, type ClientRoute } from "./client-call.ts";
import { findCodec, type Decode, type Encode } from "./codec.ts";
import { compressedFrame, isWorthCompressing } from "./compression.ts";
import { Frames } from "./frames.ts";
import { Code, RpcError } from "./status.ts";
import { spendTurn } from "./turns.ts";

/** What a client sends: a message, or frames that are sent as they are. */
export type Request<I extends DescMessage> = MessageInitShape<I> | Frames;
/** A stream of requests, pulled at the server's pace; what it throws cancels the call. */
export type Requests<I extends DescMessage> = AsyncIterable<Request<I>>;
/** Responses are handed out as bytes, undecoded (decompressed, within the limit). */
export interface RawCallOptions extends CallOptions {
  readonly raw: true;
}

/**
 * Messages of a response, while they come. Leaving the loop cancels the call. A reader that does not pull holds back the
 * server: at most one flow-control window is kept.
 */
export type Responses<T> = AsyncIterableIterator<T, undefined, unknown>;

export interface UnaryMethod<I extends DescMessage, O extends DescMessage> {
  (request: Request<I>, options: RawCallOptions): Promise<Uint8Array>;
  (request: Request<I>, options?: CallOptions): Promise<MessageShape<O>>;
}
export interface ServerStreamingMethod<I extends DescMessage, O extends DescMessage> {
  (request: Request<I>, options: RawCallOptions): Responses<Uint8Array>;
  (request: Request<I>, options?: CallOptions): Responses<MessageShape<O>>;
}
export interface ClientStreamingMethod<I extends DescMessage, O extends DescMessage> {
  (requests: Requests<I>, options: RawCallOptions): Promise<Uint8Array>;
  (requests: Requests<I>, options?: CallOptions): Promise<MessageShape<O>>;
}
export interface BidiMethod<I extends DescMessage, O extends DescMessage> {
  (requests: Requests<I>, options: RawCallOptions): Responses<Uint8Array>;
  (requests: Requests<I>, options?: CallOptions): Responses<MessageShape<O>>;
}

export type ClientMethod<M extends DescMethod> = M["methodKind"] extends "unary"
  ? UnaryMethod<M["input"], M["output"]>
  : M["methodKind"] extends "server_streaming"
    ? ServerStreamingMethod<M["input"], M["output"]>
    : M["methodKind"] extends "client_streaming"
      ? ClientStreamingMethod<M["input"], M["output"]>
      : BidiMethod<M["input"], M["output"]>;

/** A function for each method, by its local name. */
export type Client<S extends DescService> = { readonly [K in keyof S["method"]]: ClientMethod<S["method"][K]> };

/** A call starts when its function is called. Errors are RpcErrors. */
export function createClient<S extends DescService>(desc: S, channel: Channel): Client<S> {
  const methods: Record<string, unknown> = {};
  for (const method of desc.methods) methods[method.localName] = clientMethod(method, channel as CallableChannel);
  // Built from the same descriptor that the type is derived from.
  return methods as Client<S>;
}

type AnyOptions = CallOptions & { readonly raw?: boolean };

function clientMethod(method: DescMethod, channel: CallableChannel): unknown {
  const { encode } = findCodec(channel.codecs, method.input);
  const { decode } = findCodec(channel.codecs, method.output);
  const isRequestStream = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const isResponseStream = method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
  const route: ClientRoute = {
    path: `/${method.parent.typeName}/${method.name}`,
    isResponseStream,
    lastHeaders: undefined,
  };
  const begin = (requests: unknown, options: AnyOptions, onResult: ResultListener): ClientCall => {
    const call = new ClientCall(channel, route, options, options.raw === true ? keep : decode, onResult);
    if (isRequestStream) void sendAll(call, requests as AsyncIterable<unknown>, encode, options);
    else sendOnly(call, requests, encode, options);
    channel.begin(call);
    return call;
  };
  if (isResponseStream) {
    return (requests: unknown, options: AnyOptions = {}) => begin(requests, options, () => {}).responses;
  }
  return (requests: unknown, options: AnyOptions = {}) =>
    new Promise((resolve, reject) => {
      begin(requests, options, (error, response) => (error === undefined ? resolve(response) : reject(error)));
    });
}

type ResultListener = (error: RpcError | undefined, response: unknown) => void;

const keep: Decode = (bytes) => bytes;

function framesOf(request: unknown, encode: Encode, options: CallOptions): Uint8Array | Promise<Uint8Array> {
  if (request instanceof Frames) return request.bytes;
  const frame = encode(request);
  return options.compress !== undefined && isWorthCompressing(frame) ? compressedFrame(frame) : frame;
}

function sendOnly(call: ClientCall, request: unknown, encode: Encode, options: CallOptions): void {
  let frames: Uint8Array | Promise<Uint8Array>;
  try {
    frames = framesOf(request, encode, options);
  } catch (error) {
    call.fail(requestError(error));
    return;
  }
  if (frames instanceof Promise) {
    frames.then(
      (bytes) => {
        call.send(bytes);
        call.endRequests();
      },
      (error: unknown) => call.fail(requestError(error)),
    );
  } else {
    call.send(frames);
    call.endRequests();
  }
}

/** Sends a stream of requests at the pace of the server. Never rejects. */
async function sendAll(
  call: ClientCall,
  requests: AsyncIterable<unknown>,
  encode: Encode,
  options: CallOptions,
): Promise<void> {
  try {
    const iterator = requests[Symbol.asyncIterator]();
    call.leaveRequests = () => void iterator.return?.().then(undefined, () => {});
    for (let step = await iterator.next(); !call.isEnded; step = await iterator.next()) {
      if (step.done === true) {
        call.endRequests();
        return;
      }
      let frames = framesOf(step.value, encode, options);
      if (frames instanceof Promise) frames = await frames;
      if (!call.send(frames) && !call.isEnded) await call.writable();
      const turn = spendTurn(frames.length);
      if (turn !== undefined) await turn;
    }
  } catch (error) {
    call.fail(requestError(error));
  }
}

function requestError(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new RpcError(Code.CANCELLED, `The call was cancelled: its requests failed: ${text}`, { cause: error });
}
