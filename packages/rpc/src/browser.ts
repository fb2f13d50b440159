// What of @sluice/rpc runs in a browser: calls by gRPC-Web, with `fetch`, and statuses with their details.
export { createWebClient, type WebCallOptions } from "./web/web-client.ts";
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
export * from "./gen/google/rpc/error_details_pb.ts";
