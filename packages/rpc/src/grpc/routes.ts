// From a request's header list to what is to be done with it. What is derived from a list is kept on it (`memo`): a
// client that repeats itself costs one look-up a call.
import type { DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import { HeaderBlock, type HeaderList } from "../transport.ts";
import { findCodec, type Codec } from "./codec.ts";
import { ACCEPTED_ENCODINGS, GZIP, IDENTITY } from "./compression.ts";
import { parseTimeout } from "./deadline.ts";
import type { AnyHandler, RawHandler, ServiceHandlers } from "./handlers.ts";
import { jsonRoute } from "./json-route.ts";
import { Metadata } from "./metadata.ts";
import type { Invoke, Route } from "./route.ts";
import { Code, RpcError } from "./status.ts";
import { errorFields, isGrpcContentType } from "./status-wire.ts";

/** A service with its handlers, their types checked by `serve`. */
export interface ServedService {
  readonly desc: DescService;
  readonly handlers: Readonly<Record<string, AnyHandler | undefined>>;
}

/** Ties handlers to a service. Handlers are named by the method's local name; a missing one answers UNIMPLEMENTED. */
export function serve<S extends DescService>(desc: S, handlers: ServiceHandlers<S>): ServedService {
  return { desc, handlers };
}

export type RouteTable = ReadonlyMap<string, Route>;

/** Routes by path ("/package.Service/Method"). @throws Error when a service is given twice. */
export function createRoutes(services: readonly ServedService[], codecs: readonly Codec[] | undefined): RouteTable {
  const routes = new Map<string, Route>();
  for (const { desc, handlers } of services) {
    for (const method of desc.methods) {
      const path = `/${desc.typeName}/${method.name}`;
      if (routes.has(path)) throw new Error(`Cannot serve ${desc.typeName} twice`);
      const handler = handlers[method.localName];
      const isRaw = typeof handler === "object";
      routes.set(path, {
        method,
        handler: findInvoke(method, handler),
        isRequestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
        isResponseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
        decode: isRaw ? (bytes) => bytes : findCodec(codecs, method.input).decode,
        encode: findCodec(codecs, method.output, { isFreed: true }).encode,
        isRaw,
        isLending: typeof handler === "object" && handler.lends === true,
        json: undefined,
      });
    }
  }
  return routes;
}

function findInvoke(method: DescMethod, handler: AnyHandler | undefined): Invoke | undefined {
  const typed = typeof handler === "object" ? rawFunction(method, handler) : handler;
  // `serve` has checked the types against the service; the table is where they are forgotten.
  return typed as Invoke | undefined;
}

function rawFunction(method: DescMethod, handler: RawHandler<DescMessage>): unknown {
  switch (method.methodKind) {
    case "unary":
      return handler.unary;
    case "server_streaming":
      return handler.serverStreaming;
    case "client_streaming":
      return handler.clientStreaming;
    case "bidi_streaming":
      return handler.bidi;
  }
}

/** What the headers of a request say. */
export interface RequestHead {
  readonly headers: HeaderList;
  readonly route: Route | undefined;
  /** The whole answer, when the headers alone decide it. */
  readonly refusal: HeaderBlock | undefined;
  readonly timeoutMs: number | undefined;
  /** Whether the request's body is one message without a frame. */
  readonly isUnframed: boolean;
  /** Whether the request's messages may be compressed. */
  readonly isCompressed: boolean;
  /** Whether answers are compressed: who sends gzip gets gzip, as grpc-go does. */
  readonly isCompressing: boolean;
  /** Response headers when there is no metadata. */
  readonly response: HeaderBlock;
  /** Made on first use. */
  metadata: Metadata | undefined;
}

interface ResponseBlocks {
  readonly plain: HeaderBlock;
  readonly compressed: HeaderBlock;
}

const CONTENT_TYPE = "application/grpc";
const RESPONSES = responseBlocks(CONTENT_TYPE);
const PROTO_RESPONSES = responseBlocks("application/grpc+proto");

function responseBlocks(contentType: string): ResponseBlocks {
  const fields = [":status", "200", "content-type", contentType];
  return { plain: new HeaderBlock(fields), compressed: new HeaderBlock([...fields, "grpc-encoding", GZIP]) };
}

/** The head of a request; the same object for the same list. A list belongs to one connection, and so to one server. */
export function requestHead(headers: HeaderList, routes: RouteTable): RequestHead {
  if (headers.memo === undefined) headers.memo = parseHead(headers, routes);
  return headers.memo as RequestHead;
}

function parseHead(headers: HeaderList, routes: RouteTable): RequestHead {
  const { fields } = headers;
  let method = "";
  let path = "";
  let contentType = "";
  let timeout: string | undefined;
  let encoding: string = IDENTITY;
  let accepted: string | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    const value = fields[at + 1] ?? "";
    switch (fields[at]) {
      case ":method":
        method = value;
        break;
      case ":path":
        path = value;
        break;
      case "content-type":
        contentType = value;
        break;
      case "grpc-timeout":
        timeout = value;
        break;
      case "grpc-encoding":
        encoding = value;
        break;
      case "grpc-accept-encoding":
        accepted = value;
        break;
      default:
    }
  }
  const found = routes.get(path);
  const route = headers.unframed === "json" && found !== undefined ? jsonRoute(found) : found;
  const timeoutMs = timeout === undefined ? undefined : parseTimeout(timeout);
  const isOrdinary =
    method === "POST" &&
    (contentType === "application/grpc" || contentType === "application/grpc+proto") &&
    (encoding === IDENTITY || encoding === GZIP) &&
    (timeout === undefined || timeoutMs !== undefined) &&
    route?.handler !== undefined;
  const isCompressing = encoding === GZIP && (accepted === undefined || accepted.includes(GZIP));
  const blocks = contentType === "application/grpc+proto" ? PROTO_RESPONSES : RESPONSES;
  return {
    headers,
    route,
    refusal: isOrdinary
      ? undefined
      : refuse({ method, path, contentType, timeout, timeoutMs, encoding, route }, routes),
    timeoutMs,
    isUnframed: headers.unframed !== undefined,
    isCompressed: encoding === GZIP,
    isCompressing,
    response: isCompressing ? blocks.compressed : blocks.plain,
    metadata: undefined,
  };
}

interface HeadFields {
  readonly method: string;
  readonly path: string;
  readonly contentType: string;
  readonly timeout: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly encoding: string;
  readonly route: Route | undefined;
}

/** `te` is not demanded: it is there to find proxies that drop trailers, and such a proxy hides from the server. */
function refuse(head: HeadFields, routes: RouteTable): HeaderBlock | undefined {
  if (!isGrpcContentType(head.contentType)) {
    // Not a gRPC client: it understands HTTP only.
    return new HeaderBlock([":status", "415", "accept", "application/grpc", "content-length", "0"]);
  }
  if (head.method !== "POST") return new HeaderBlock([":status", "405", "allow", "POST", "content-length", "0"]);
  if (head.route?.handler === undefined) return refusal(Code.UNIMPLEMENTED, `Cannot call ${unknownName(head, routes)}`);
  if (head.encoding !== GZIP && head.encoding !== IDENTITY) {
    const text = `Cannot read messages with the encoding "${head.encoding}": use one of ${ACCEPTED_ENCODINGS}`;
    return refusal(Code.UNIMPLEMENTED, text, ["grpc-accept-encoding", ACCEPTED_ENCODINGS]);
  }
  if (head.timeout !== undefined && head.timeoutMs === undefined) {
    // INTERNAL, as grpc-go: INVALID_ARGUMENT is never the library's, it belongs to handlers (doc/statuscodes.md).
    return refusal(Code.INTERNAL, `Cannot read grpc-timeout "${head.timeout}": up to 8 digits and one of H M S m u n`);
  }
  return undefined;
}

function unknownName(head: HeadFields, routes: RouteTable): string {
  const service = head.path.slice(1, head.path.lastIndexOf("/"));
  const isKnown = [...routes.keys()].some((path) => path.startsWith(`/${service}/`));
  if (head.route !== undefined) return `${head.path}: the method is not implemented`;
  return isKnown ? `${head.path}: unknown method of ${service}` : `${head.path}: unknown service`;
}

function refusal(code: Code, message: string, extra: readonly string[] = []): HeaderBlock {
  return trailersOnly(new RpcError(code, message), undefined, extra);
}

/** The one header block of a call that failed before its headers left. */
export function trailersOnly(
  error: RpcError,
  trailers: Metadata | undefined,
  extra: readonly string[] = [],
): HeaderBlock {
  const fields = [":status", "200", "content-type", CONTENT_TYPE, ...extra];
  return new HeaderBlock(fields.concat(errorFields(error, trailers)));
}
