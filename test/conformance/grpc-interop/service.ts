// The server's side of gRPC's interop tests, after grpc/grpc doc/interop-test-descriptions.md, "Server".
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Call, Code, RpcError, serve, type ServedService } from "@sluice/rpc";
import {
  type EchoStatus,
  type PayloadSchema,
  PayloadType,
  type SimpleRequest,
  type SimpleResponseSchema,
  type StreamingOutputCallRequest,
  type StreamingOutputCallResponseSchema,
} from "../gen/grpc/testing/messages_pb.ts";
import { TestService } from "../gen/grpc/testing/test_pb.ts";

const INITIAL = "x-grpc-test-echo-initial";
const TRAILING = "x-grpc-test-echo-trailing-bin";

/** `unimplementedCall` has no handler, as the tests ask. */
export const interopService: ServedService = serve(TestService, {
  emptyCall: () => ({}),
  unaryCall,
  cacheableUnaryCall: unaryCall,
  streamingOutputCall: answers,
  async streamingInputCall(requests) {
    let aggregatedPayloadSize = 0;
    for await (const { payload } of requests) aggregatedPayloadSize += payload?.body.length ?? 0;
    return { aggregatedPayloadSize };
  },
  async *fullDuplexCall(requests, call) {
    echoMetadata(call);
    for await (const request of requests) yield* answers(request, call);
  },
  async *halfDuplexCall(requests, call) {
    for (const request of await Array.fromAsync(requests)) yield* answers(request, call);
  },
});

function unaryCall(request: SimpleRequest, call: Call): MessageInitShape<typeof SimpleResponseSchema> {
  echoMetadata(call);
  checkStatus(request.responseStatus);
  return {
    payload: payloadOf(request.responseType, request.responseSize),
    ...(request.fillServerId ? { serverId: `sluice ${process.pid}` } : {}),
  };
}

async function* answers(
  request: StreamingOutputCallRequest,
  call: Call,
): AsyncGenerator<MessageInitShape<typeof StreamingOutputCallResponseSchema>> {
  checkStatus(request.responseStatus);
  for (const { size, intervalUs } of request.responseParameters) {
    if (intervalUs > 0) await sleep(intervalUs / 1000, undefined, { signal: call.signal });
    yield { payload: payloadOf(request.responseType, size) };
  }
}

function echoMetadata(call: Call): void {
  const initial = call.requestMetadata.get(INITIAL);
  if (initial !== undefined) call.responseMetadata.set(INITIAL, initial);
  const trailing = call.requestMetadata.getBinary(TRAILING);
  if (trailing !== undefined) call.responseTrailers.set(TRAILING, trailing);
}

function checkStatus(status: EchoStatus | undefined): void {
  if (status === undefined || status.code === Code.OK) return;
  throw new RpcError(status.code as Code, status.message);
}

function payloadOf(type: PayloadType, size: number): MessageInitShape<typeof PayloadSchema> {
  if (size < 0)
    throw new RpcError(Code.INVALID_ARGUMENT, `Cannot answer with ${size} bytes: the size must not be negative`);
  if (type !== PayloadType.COMPRESSABLE)
    throw new RpcError(Code.INVALID_ARGUMENT, `Cannot answer with payloads of type ${type}`);
  return { type, body: new Uint8Array(size) };
}
