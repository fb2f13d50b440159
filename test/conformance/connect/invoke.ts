// One call of a client under test, as connectconformance describes it, and what came of it.
import { setTimeout as sleep } from "node:timers/promises";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type CallOptions, type Channel, createClient, Metadata, RpcError } from "@sluice/rpc";
import type {
  ClientCompatRequest,
  ClientResponseResultSchema,
} from "../gen/connectrpc/conformance/v1/client_compat_pb.ts";
import { Compression, StreamType } from "../gen/connectrpc/conformance/v1/config_pb.ts";
import {
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  type ConformancePayload,
  ConformancePayloadSchema,
  ConformanceService,
  ServerStreamRequestSchema,
  UnaryRequestSchema,
  UnimplementedRequestSchema,
} from "../gen/connectrpc/conformance/v1/service_pb.ts";
import { addHeaders, conformanceErrorOf, headersOf } from "./values.ts";
import { create } from "@bufbuild/protobuf";

type Result = MessageInitShape<typeof ClientResponseResultSchema>;

/** @throws Error when the call cannot be made as described; an RpcError that it ended with is part of the result */
export async function invoke(request: ClientCompatRequest, channel: Channel): Promise<Result> {
  const run = new Run(request);
  const client = createClient(ConformanceService, channel);
  const { options } = run;
  try {
    switch (request.method) {
      case "Unary":
        run.receive((await client.unary(run.only(UnaryRequestSchema), options)).payload);
        break;
      case "Unimplemented":
        await client.unimplemented(run.only(UnimplementedRequestSchema), options);
        break;
      case "ClientStream":
        run.receive((await client.clientStream(run.all(ClientStreamRequestSchema), options)).payload);
        break;
      case "ServerStream":
        for await (const { payload } of client.serverStream(run.only(ServerStreamRequestSchema), options)) {
          run.receive(payload);
        }
        break;
      case "BidiStream":
        for await (const { payload } of client.bidiStream(run.all(BidiStreamRequestSchema), options)) {
          run.receive(payload);
        }
        break;
      default:
        throw new Error(`Cannot call ${request.method ?? "no method"}: the suite's service has no such method in gRPC`);
    }
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    run.fail(error);
  }
  return run.end();
}

class Run {
  readonly options: CallOptions;
  readonly #request: ClientCompatRequest;
  readonly #cancel = new AbortController();
  readonly #ended = new AbortController();
  readonly #payloads: ConformancePayload[] = [];
  #headers = new Metadata();
  #trailers = new Metadata();
  #error: RpcError | undefined;
  #sent = 0;
  /** Where requests and answers alternate: the answer to the last request. */
  #turn = Promise.withResolvers<void>();

  constructor(request: ClientCompatRequest) {
    this.#request = request;
    const metadata = new Metadata();
    addHeaders(metadata, request.requestHeaders);
    this.options = {
      metadata,
      signal: this.#cancel.signal,
      onHeaders: (headers) => (this.#headers = headers),
      onTrailers: (trailers) => (this.#trailers = trailers),
      ...(request.timeoutMs === undefined ? {} : { timeoutMs: request.timeoutMs }),
      ...(request.compression === Compression.GZIP ? { compress: "gzip" as const } : {}),
    };
  }

  /** The request of a call that takes one. */
  only<D extends DescMessage>(desc: D): MessageShape<D> {
    const [message, ...others] = this.#messages(desc);
    if (message === undefined || others.length > 0)
      throw new Error(`Exactly one request is needed, of ${desc.typeName}`);
    this.#sent = 1;
    this.#onRequestsEnd();
    return message;
  }

  /** The requests of a stream, at the pace that is asked for. */
  async *all<D extends DescMessage>(desc: D): AsyncGenerator<MessageShape<D>, undefined> {
    const isFullDuplex = this.#request.streamType === StreamType.FULL_DUPLEX_BIDI_STREAM;
    for (const message of this.#messages(desc)) {
      if (this.#request.requestDelayMs > 0)
        await sleep(this.#request.requestDelayMs, undefined, { signal: this.#ended.signal });
      this.#sent++;
      this.#turn = Promise.withResolvers();
      yield message;
      if (isFullDuplex) await this.#turn.promise;
    }
    if (this.#request.cancel?.cancelTiming.case === "beforeCloseSend") this.#cancel.abort();
    else this.#onRequestsEnd();
  }

  receive(payload: ConformancePayload | undefined): void {
    // An answer without a payload counts as one with an empty payload.
    this.#payloads.push(payload ?? create(ConformancePayloadSchema));
    this.#turn.resolve();
    const timing = this.#request.cancel?.cancelTiming;
    if (timing?.case === "afterNumResponses" && timing.value === this.#payloads.length) this.#cancel.abort();
  }

  fail(error: RpcError): void {
    this.#error = error;
  }

  end(): Result {
    this.#turn.resolve();
    this.#ended.abort();
    return {
      responseHeaders: headersOf(this.#headers),
      responseTrailers: headersOf(this.#trailers),
      payloads: this.#payloads,
      numUnsentRequests: this.#request.requestMessages.length - this.#sent,
      ...(this.#error === undefined ? {} : { error: conformanceErrorOf(this.#error) }),
    };
  }

  #messages<D extends DescMessage>(desc: D): MessageShape<D>[] {
    return this.#request.requestMessages.map((any) => {
      const message = anyUnpack(any, desc);
      if (message === undefined) throw new Error(`Cannot send ${any.typeUrl}: the method takes ${desc.typeName}`);
      return message;
    });
  }

  #onRequestsEnd(): void {
    const { cancel } = this.#request;
    if (cancel === undefined) return;
    const { cancelTiming: timing } = cancel;
    // Without a time: at once when the requests have ended.
    if (timing.case !== undefined && timing.case !== "afterCloseSendMs") return;
    setTimeout(() => this.#cancel.abort(), timing.value ?? 0);
  }
}
