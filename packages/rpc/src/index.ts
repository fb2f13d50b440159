// @sluice/rpc: gRPC for Node on an HTTP/2 of its own.
export { createServer, type RpcServer, type ServerOptions } from "./grpc/server.ts";
export { serve, type ServedService } from "./grpc/routes.ts";
export { listen, type DrainOptions, type Listener, type ListenOptions } from "./listener.ts";
export { ListenError, type ListenAddress } from "./listening/bind.ts";
export { createWebClient, type WebCallOptions } from "./web/web-client.ts";
export type { WebOptions } from "./web/front.ts";
export type { HttpHandler, HttpHandlers, HttpRequest, HttpResponse } from "./web/http.ts";
export type { OriginOptions } from "./web/origins.ts";
export {
  Code,
  codeName,
  errorDetail,
  retryAfter,
  retryDelayMs,
  RpcError,
  type ErrorDetail,
  type RpcErrorOptions,
} from "./grpc/status.ts";
export { Frames, FRAME_HEADER_BYTES, frameOf } from "./grpc/frames.ts";
export { Metadata } from "./grpc/metadata.ts";
export { openChannel, type Backoff, type Channel, type ChannelOptions, type ChannelState } from "./grpc/channel.ts";
export {
  createClient,
  type Client,
  type RawCallOptions,
  type Request,
  type Requests,
  type Responses,
} from "./grpc/client.ts";
export type { CallOptions } from "./grpc/client-call.ts";
export { codecOf, type Codec } from "./grpc/codec.ts";
export { processClock, type Clock, type ClockTimer } from "./clock.ts";
export type { CallObserver, Interceptor, Observe } from "./grpc/observe.ts";
export type {
  BidiHandler,
  Call,
  ClientStreamingHandler,
  FrameSource,
  FrameStream,
  Handler,
  RawHandler,
  Reply,
  ServerStreamingHandler,
  ServiceHandlers,
  UnaryHandler,
} from "./grpc/handlers.ts";
export {
  DEFAULT_GRPC_LIMITS,
  DEFAULT_HTTP1_LIMITS,
  DEFAULT_HTTP2_LIMITS,
  type GrpcLimits,
  type Http1Limits,
  type Http2Limits,
} from "./limits.ts";
export type { Peer } from "./transport.ts";
export * from "./gen/google/rpc/error_details_pb.ts";
export { healthHandlers, HealthRegistry, serveHealth } from "./health.ts";
export { serveReflection } from "./reflection.ts";
export type { ConnectionLife } from "./connection-watch.ts";
export type { Http2Options, SocketTransport } from "./socket-transport.ts";
