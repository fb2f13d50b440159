// The service that connectconformance calls: it answers as the first request tells it to, and says what it got. What
// each method does is written in proto/connectrpc/conformance/v1/service.proto.
import { setTimeout as sleep } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Call, processClock, RpcError, serve, type ServedService } from "@sluice/rpc";
import {
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  type ConformancePayload_RequestInfo,
  ConformancePayload_RequestInfoSchema,
  type ConformancePayloadSchema,
  ConformanceService,
  type Error as ConformanceError,
  ServerStreamRequestSchema,
  type StreamResponseDefinition,
  UnaryRequestSchema,
  type UnaryResponseDefinition,
} from "../gen/connectrpc/conformance/v1/service_pb.ts";
import { addHeaders, headersOf, rpcErrorOf } from "./values.ts";

type Payload = MessageInitShape<typeof ConformancePayloadSchema>;

/** `unimplemented` has no handler, as the suite asks; neither has `idempotentUnary`, which is Connect's alone. */
export const conformanceService: ServedService = serve(ConformanceService, {
  async unary(request, call) {
    return { payload: await answerOnce(request.responseDefinition, [anyPack(UnaryRequestSchema, request)], call) };
  },

  async clientStream(requests, call) {
    call.holdHeaders(); // The first request says what they are.
    const received: Any[] = [];
    let definition: UnaryResponseDefinition | undefined;
    for await (const request of requests) {
      if (received.length === 0) definition = request.responseDefinition;
      received.push(anyPack(ClientStreamRequestSchema, request));
    }
    return { payload: await answerOnce(definition, received, call) };
  },

  async *serverStream(request, call) {
    const answers = answerMany(request.responseDefinition, call);
    yield* answers.rest([anyPack(ServerStreamRequestSchema, request)]);
  },

  async *bidiStream(requests, call) {
    call.holdHeaders(); // The first request says what they are.
    let received: Any[] = [];
    let answers: Answers | undefined;
    let isFullDuplex = false;
    for await (const request of requests) {
      received.push(anyPack(BidiStreamRequestSchema, request));
      if (answers === undefined) {
        answers = answerMany(request.responseDefinition, call);
        isFullDuplex = request.fullDuplex;
      }
      if (!isFullDuplex) continue;
      if (!answers.hasNext) break;
      yield await answers.next(received, { inTurn: true });
      received = [];
    }
    if (answers !== undefined) yield* answers.rest(received);
  },
});

async function answerOnce(
  definition: UnaryResponseDefinition | undefined,
  received: readonly Any[],
  call: Call,
): Promise<Payload> {
  const info = requestInfo(received, call);
  if (definition === undefined) return { requestInfo: info };
  begin(definition, call);
  await pause(definition.responseDelayMs, call);
  switch (definition.response.case) {
    case "error":
      throw errorWith(definition.response.value, info);
    case "responseData":
      return { data: definition.response.value, requestInfo: info };
    case undefined:
      return { requestInfo: info };
  }
}

/** The answers of one stream, in their order. */
interface Answers {
  readonly hasNext: boolean;
  /** @param options.inTurn answers and requests alternate, so that each answer says what came since the last one */
  next(received: readonly Any[], options: { inTurn: boolean }): Promise<{ payload: Payload }>;
  /** All that are left, then the error, if there is one. */
  rest(received: readonly Any[]): AsyncGenerator<{ payload: Payload }>;
}

function answerMany(definition: StreamResponseDefinition | undefined, call: Call): Answers {
  const { responseData = [], responseDelayMs = 0, error } = definition ?? {};
  if (definition !== undefined) begin(definition, call);
  // At once: the client waits for them while the first answer is delayed.
  call.sendHeaders();
  let sent = 0;
  const answers: Answers = {
    get hasNext() {
      return sent < responseData.length;
    },
    async next(received, { inTurn }) {
      const data = responseData[sent] ?? new Uint8Array();
      const isFirst = sent === 0;
      sent++;
      const info = isFirst ? requestInfo(received, call) : inTurn ? { requests: [...received] } : undefined;
      await pause(responseDelayMs, call);
      return { payload: info === undefined ? { data } : { data, requestInfo: info } };
    },
    async *rest(received) {
      while (answers.hasNext) yield await answers.next(received, { inTurn: false });
      if (error !== undefined) throw sent === 0 ? errorWith(error, requestInfo(received, call)) : rpcErrorOf(error);
    },
  };
  return answers;
}

/** Headers leave before the delay, so that a client which waits for them goes on. */
function begin(definition: UnaryResponseDefinition | StreamResponseDefinition, call: Call): void {
  addHeaders(call.responseMetadata, definition.responseHeaders);
  addHeaders(call.responseTrailers, definition.responseTrailers);
  if (definition.responseHeaders.length > 0) call.sendHeaders();
}

async function pause(delayMs: number, call: Call): Promise<void> {
  if (delayMs > 0) await sleep(delayMs, undefined, { signal: call.signal });
}

function requestInfo(received: readonly Any[], call: Call): ConformancePayload_RequestInfo {
  const { deadlineMs } = call;
  return create(ConformancePayload_RequestInfoSchema, {
    requestHeaders: headersOf(call.requestMetadata),
    requests: [...received],
    ...(deadlineMs === undefined
      ? {}
      : { timeoutMs: BigInt(Math.max(0, Math.round(deadlineMs - processClock.monotonicMs()))) }),
  });
}

/** An error that is the first answer carries what the answer would have carried. */
function errorWith(error: ConformanceError, info: ConformancePayload_RequestInfo): RpcError {
  return rpcErrorOf({ ...error, details: [...error.details, anyPack(ConformancePayload_RequestInfoSchema, info)] });
}
