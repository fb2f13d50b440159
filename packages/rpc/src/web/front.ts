// What becomes of a request, whatever its HTTP version: gRPC, gRPC-Web, Connect, a plain handler, or a sentence that says no.
//
// N1. A page's origin is judged before anything else is looked at (origins.ts).
// N2. gRPC costs next to nothing here: a header list that it has seen carries its mark (`memo`) and goes straight on, and
//     one that is gRPC's by its content-type, from no page, is not taken apart.
import type { DescMethod } from "@bufbuild/protobuf";
import type { RpcServer } from "../grpc/server.ts";
import type { RpcError } from "../grpc/status.ts";
import { isGrpcContentType } from "../grpc/status-wire.ts";
import type {
  HeaderList,
  ServerTransportHandler,
  StreamHandler,
  TransportConnection,
  TransportStream,
} from "../transport.ts";
import { parseConnectFormat, refuseConnect, serveConnect } from "./connect.ts";
import { createHttpRoutes, type HttpHandler, type HttpHandlers, type HttpRequest, type HttpRoutes } from "./http.ts";
import { HttpExchange, type ExchangeHost } from "./http-exchange.ts";
import { GrpcWebStream, grpcHeaders, parseWebFormat, type ExposeFields } from "./grpc-web.ts";
import { Origins, type OriginOptions } from "./origins.ts";

/** What a port serves besides gRPC. */
export interface WebOptions extends OriginOptions {
  /** Plain HTTP by path, for HTTP/1.1 and HTTP/2 alike. */
  readonly handlers?: HttpHandlers;
  /** What a plain handler threw as an RpcError; undefined: 500 without its text, and `onError` hears of it. */
  readonly mapError?: (error: unknown, request: HttpRequest) => RpcError | undefined;
  /** Hears of errors that no client may see. Default: the process's stderr. */
  readonly onError?: (error: unknown, request: HttpRequest) => void;
}

/** The fields of a request that decide who serves it. */
interface Head {
  readonly fields: ReadonlyMap<string, string>;
  readonly method: string;
  readonly target: string;
  readonly contentType: string;
  readonly origin: string | undefined;
}

/** A request that is not gRPC. */
interface WebRequest {
  readonly stream: TransportStream;
  readonly headers: HeaderList;
  readonly head: Head;
  readonly endStream: boolean;
  expose: ExposeFields;
}

/** What browsers ask with, and what may be sent back: names of RFC 9110, in a list. */
const TOKENS = /^[!#$%&'*+\-.^_`|~\w, \t]*$/;

const NO_FIELDS: ExposeFields = () => [];

/** @throws TypeError for an origin or a path that cannot be one. */
export function createFront(server: RpcServer, options: WebOptions): ServerTransportHandler {
  return new Front(server, options);
}

class Front implements ServerTransportHandler, ExchangeHost {
  readonly #server: RpcServer;
  /** By path. */
  readonly #methods: ReadonlyMap<string, DescMethod>;
  readonly #routes: HttpRoutes;
  readonly #origins: Origins;
  readonly #options: WebOptions;

  constructor(server: RpcServer, options: WebOptions) {
    this.#server = server;
    const methods = server.services.flatMap(({ desc }) => desc.methods);
    this.#methods = new Map(methods.map((method) => [`/${method.parent.typeName}/${method.name}`, method]));
    this.#routes = createHttpRoutes(options.handlers ?? {});
    this.#origins = new Origins(options);
    this.#options = options;
  }

  onStream(stream: TransportStream, headers: HeaderList, endStream: boolean): StreamHandler {
    if (headers.memo !== undefined || isPlainGrpc(headers)) return this.#server.onStream(stream, headers, endStream); // N2
    const head = readHead(headers);
    const { origin, method } = head;
    const request: WebRequest = { stream, headers, head, endStream, expose: NO_FIELDS };
    if (origin !== undefined) {
      const { isEncrypted } = stream.connection.peer;
      const verdict = this.#origins.judge(origin, head.fields.get(":authority") ?? "", isEncrypted);
      if (verdict === "refused") {
        return this.#answer(
          request,
          403,
          `Pages of ${origin} may not call this server: it does not list their origin.`,
        );
      }
      if (verdict === "listed") request.expose = (names) => this.#origins.answerFields(origin, names);
      const asked = head.fields.get("access-control-request-method");
      if (method === "OPTIONS" && asked !== undefined) return this.#answerPreflight(request, origin, asked);
    }
    if (isGrpcContentType(head.contentType)) return this.#server.onStream(stream, headers, endStream);
    const format = parseWebFormat(head.contentType);
    if (format !== undefined) {
      if (method !== "POST") return this.#answer(request, 405, "gRPC-Web calls are POST requests.", { allow: "POST" });
      const web = new GrpcWebStream(stream, format, request.expose);
      return web.handlerFor(this.#server.onStream(web, grpcHeaders(headers, format), endStream));
    }
    const called = this.#methods.get(pathOf(head.target));
    const connectFormat = parseConnectFormat(head.contentType);
    if (called !== undefined && connectFormat !== undefined) return this.#onConnect(request, called, connectFormat);
    const handler = this.#routes(pathOf(head.target));
    if (handler !== undefined) return this.#serve(request, handler);
    // What speaks another language of RPC is told which ones are spoken.
    if (head.contentType !== "" && connectFormat === undefined)
      return this.#server.onStream(stream, headers, endStream);
    return this.#answer(request, 404, `Nothing is served at ${pathOf(head.target)} over plain HTTP.`);
  }

  #onConnect(request: WebRequest, called: DescMethod, format: "json" | "proto"): StreamHandler {
    const { stream, head, headers, endStream, expose } = request;
    if (head.method !== "POST")
      return this.#answer(request, 405, "Connect calls are POST requests.", { allow: "POST" });
    if (called.methodKind !== "unary") {
      return this.#answer(request, 415, `${called.name} is a stream: call it by gRPC or gRPC-Web.`);
    }
    const connect = { stream, headers, fields: head.fields, format, endStream, expose };
    const refusal = refuseConnect(connect);
    return refusal === undefined ? serveConnect(this.#server, connect) : this.#serve(request, () => refusal);
  }

  onConnectionClose(connection: TransportConnection): void {
    this.#server.onConnectionClose(connection);
  }

  mapError(error: unknown, request: HttpRequest): RpcError | undefined {
    return this.#options.mapError?.(error, request);
  }

  onError(error: unknown, request: HttpRequest): void {
    if (this.#options.onError !== undefined) this.#options.onError(error, request);
    else process.stderr.write(`The handler of ${request.path} failed: ${String(error)}\n`);
  }

  #answerPreflight(request: WebRequest, origin: string, method: string): StreamHandler {
    const asked = request.head.fields.get("access-control-request-headers");
    if (!TOKENS.test(method) || !TOKENS.test(asked ?? "")) {
      return this.#answer(request, 400, "A preflight asks with the names of a method and of headers.");
    }
    const headers = this.#origins.preflightFields(origin, method, asked);
    request.expose = NO_FIELDS;
    return this.#serve(request, () => ({ status: 204, headers }));
  }

  #answer(
    request: WebRequest,
    status: number,
    sentence: string,
    more: Readonly<Record<string, string>> = {},
  ): StreamHandler {
    const headers = { "content-type": "text/plain; charset=utf-8", ...more };
    return this.#serve(request, () => ({ status, headers, body: `${sentence}\n` }));
  }

  #serve({ stream, head, endStream, expose }: WebRequest, handler: HttpHandler): StreamHandler {
    const { method, target, fields } = head;
    const exchange = new HttpExchange(stream, { method, target, headers: ordinaryFields(fields), expose }, this);
    void exchange.run(handler, endStream);
    return exchange;
  }
}

/** Whether a gRPC client asks that is no page (N1). */
function isPlainGrpc({ fields }: HeaderList): boolean {
  let isGrpc = false;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at];
    if (name === "origin") return false;
    if (name === "content-type") isGrpc = fields[at + 1] === "application/grpc";
  }
  return isGrpc;
}

function readHead({ fields }: HeaderList): Head {
  const map = new Map<string, string>();
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    const known = map.get(name);
    map.set(name, known === undefined ? value : `${known}${name === "cookie" ? "; " : ", "}${value}`);
  }
  return {
    fields: map,
    method: map.get(":method") ?? "",
    target: map.get(":path") ?? "",
    contentType: map.get("content-type") ?? "",
    origin: map.get("origin"),
  };
}

/** Without HTTP/2's own; `:authority` under the name that HTTP/1.1 has for it. */
function ordinaryFields(fields: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const ordinary = new Map([...fields].filter(([name]) => !name.startsWith(":")));
  const authority = fields.get(":authority");
  if (authority !== undefined) ordinary.set("host", authority);
  return ordinary;
}

function pathOf(target: string): string {
  const question = target.indexOf("?");
  return question < 0 ? target : target.slice(0, question);
}
