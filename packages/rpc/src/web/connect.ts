// Connect's unary calls at the transport's edge, which are what people send with `curl`: JSON or protobuf by POST, without
// any framing. Source: connectrpc.com/docs/protocol, "Unary-Request". Streams are left to gRPC and gRPC-Web.
//
// A stream looks like gRPC's own to whoever serves it, but for the frame around its message; status, timeout and encodings
// have other names. So calls, deadlines, limits and compression are those of gRPC, the very same code.
//
// C1. Nothing of a request is held here: bytes go on as they come.
// C2. An answer waits for its status, since that decides HTTP's.
import { create, isMessage } from "@bufbuild/protobuf";
import { anyPack, AnySchema } from "@bufbuild/protobuf/wkt";
import { FLAG_COMPRESSED, FRAME_HEADER_BYTES } from "../grpc/frames.ts";
import { Metadata } from "../grpc/metadata.ts";
import { Code, codeName, type ErrorDetail, RpcError } from "../grpc/status.ts";
import { readStatus } from "../grpc/status-wire.ts";
import {
  HeaderBlock,
  type HeaderList,
  type ServerTransportHandler,
  type StreamHandler,
  type TransportConnection,
  type TransportStream,
} from "../transport.ts";
import type { ExposeFields } from "./grpc-web.ts";
import type { HttpResponse } from "./http.ts";
import { httpStatusOf } from "./http-exchange.ts";

const CONTENT_TYPE = /^application\/(json|proto)\s*(?:;\s*charset=utf-8\s*)?$/i;
const JSON_TYPE = "application/json";
/** What Connect says in its own words. */
const OWN_NAMES = new Set([
  "content-type",
  "content-length",
  "content-encoding",
  "accept-encoding",
  "connect-timeout-ms",
  "connect-protocol-version",
]);
/** "json" or "proto"; undefined for any other content type. */
export function parseConnectFormat(contentType: string): "json" | "proto" | undefined {
  return CONTENT_TYPE.exec(contentType)?.[1]?.toLowerCase() as "json" | "proto" | undefined;
}

/** A request for a unary call, as it came. */
export interface ConnectRequest {
  readonly stream: TransportStream;
  readonly headers: HeaderList;
  /** The same, by name. */
  readonly fields: ReadonlyMap<string, string>;
  readonly format: "json" | "proto";
  /** Whether there is no body. */
  readonly endStream: boolean;
  readonly expose: ExposeFields;
}

/** Why its headers cannot be understood, as an answer; undefined: `serveConnect` can. */
export function refuseConnect({ fields }: ConnectRequest): HttpResponse | undefined {
  const timeout = fields.get("connect-timeout-ms") ?? "0";
  const version = fields.get("connect-protocol-version") ?? "1";
  if (!/^\d{1,10}$/.test(timeout)) return refusal(`Cannot read connect-timeout-ms "${timeout}": up to 10 digits`);
  return version === "1" ? undefined : refusal(`Cannot speak version "${version}" of Connect: use 1`);
}

function refusal(text: string): HttpResponse {
  const error = new RpcError(Code.INVALID_ARGUMENT, text);
  return { status: httpStatusOf(error.code), headers: { "content-type": JSON_TYPE }, body: errorBody(error) };
}

/** Hands a call on to gRPC's server. Returns who hears of the stream. */
export function serveConnect(server: ServerTransportHandler, request: ConnectRequest): StreamHandler {
  return server.onStream(new ConnectStream(request), grpcHeaders(request), request.endStream);
}

/** The request's header list as gRPC would have sent it. */
function grpcHeaders({ headers, fields, format }: ConnectRequest): HeaderList {
  const translated = ["content-type", "application/grpc+proto"];
  translated.push("grpc-encoding", fields.get("content-encoding") ?? "identity");
  translated.push("grpc-accept-encoding", fields.get("accept-encoding") ?? "identity");
  const timeoutMs = fields.get("connect-timeout-ms");
  // gRPC has up to 8 digits; whole seconds are enough for more than a day.
  if (timeoutMs !== undefined) {
    translated.push(
      "grpc-timeout",
      timeoutMs.length <= 8 ? `${timeoutMs}m` : `${Math.ceil(Number(timeoutMs) / 1000)}S`,
    );
  }
  const kept = headers.fields.filter((_, at) => !OWN_NAMES.has(headers.fields[at - (at % 2)] ?? ""));
  return { fields: [...kept, ...translated], memo: undefined, unframed: format };
}

/** Between a call and its real stream: what the call sends becomes one HTTP answer. */
class ConnectStream implements TransportStream {
  readonly #stream: TransportStream;
  readonly #request: ConnectRequest;
  #head: readonly string[] = [];
  #frame: Uint8Array = new Uint8Array(FRAME_HEADER_BYTES);

  constructor(request: ConnectRequest) {
    this.#stream = request.stream;
    this.#request = request;
  }

  get connection(): TransportConnection {
    return this.#stream.connection;
  }

  sendHeaders({ fields }: HeaderBlock, { endStream }: { endStream: boolean }): void {
    if (endStream) this.#answer(fields);
    else this.#head = fields; // C2
  }

  write(frame: Uint8Array): boolean {
    this.#frame = frame;
    return true;
  }

  end(trailers?: HeaderBlock): void {
    this.#answer(trailers?.fields ?? []);
  }

  /** @throws Error always: an answer of many messages is no unary call's */
  setSource(): void {
    throw new Error("A unary call has no source of messages");
  }

  wake(): void {
    // Of sources only.
  }

  consume(byteCount: number): void {
    this.#stream.consume(byteCount);
  }

  reset(code: number): void {
    this.#stream.reset(code);
  }

  #answer(trailers: readonly string[]): void {
    const error = readStatus({ fields: trailers, memo: undefined })?.error;
    if (error === undefined) {
      const { format } = this.#request;
      const isCompressed = this.#frame[0] === FLAG_COMPRESSED;
      const fields = [":status", "200", "content-type", `application/${format}`];
      if (isCompressed) fields.push("content-encoding", "gzip");
      fields.push(...ownFields(this.#head), ...ownFields(trailers, "trailer-"));
      this.#send(fields, this.#frame.subarray(FRAME_HEADER_BYTES));
    } else {
      const fields = [":status", String(httpStatusOf(error.code)), "content-type", JSON_TYPE];
      fields.push(...ownFields(this.#head), ...ownFields(trailers, this.#head.length > 0 ? "trailer-" : ""));
      this.#send(fields, Buffer.from(errorBody(error), "utf8"));
    }
  }

  #send(fields: string[], body: Uint8Array): void {
    const names = fields.filter((name, at) => at % 2 === 0 && name !== ":status");
    fields.push("content-length", String(body.length), ...this.#request.expose(names));
    this.#stream.sendHeaders(new HeaderBlock(fields), { endStream: body.length === 0 });
    if (body.length === 0) return;
    this.#stream.write(body);
    this.#stream.end();
  }
}

/** The metadata among the fields of an answer. */
function ownFields(fields: readonly string[], prefix = ""): string[] {
  return Metadata.received(fields).fields.map((text, at) => (at % 2 === 0 ? `${prefix}${text}` : text));
}

function errorBody({ code, message, details }: RpcError): string {
  const name = code === Code.CANCELLED ? "canceled" : codeName(code).toLowerCase();
  return JSON.stringify({ code: name, message, details: details.map(detailJson) });
}

function detailJson({ desc, value }: ErrorDetail): { type: string; value: string } {
  const message = create(desc, value);
  const any = isMessage(message, AnySchema) ? message : anyPack(desc, message);
  const type = any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
  return { type, value: Buffer.from(any.value).toString("base64").replace(/=+$/, "") };
}
