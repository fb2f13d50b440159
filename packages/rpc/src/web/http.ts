// Plain HTTP, whatever its version: what a handler gets and what it answers with.
import type { Peer } from "../transport.ts";

/** A plain HTTP request, over HTTP/1.1 or HTTP/2. */
export interface HttpRequest {
  /** "GET", "POST", …; a HEAD request comes as GET, and its answer's body is dropped. */
  readonly method: string;
  /** Whether it was HEAD: the body of the answer is dropped, and a Range does not count. */
  readonly isHead: boolean;
  /** As the client sent it, without the query and not decoded: "/files/a%20b". */
  readonly path: string;
  readonly query: URLSearchParams;
  /** By lower-case name; fields that were repeated are joined by ", ". */
  readonly headers: ReadonlyMap<string, string>;
  readonly peer: Peer;
  /** The body, pulled: what is not read stays with the sender. Throws when the request breaks off. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Aborted when the request is over: answered, given up by the client, or cut off by a drain. */
  readonly signal: AbortSignal;
}

/** The answer to a plain HTTP request. */
export interface HttpResponse {
  readonly status: number;
  /** By lower-case name; a list repeats the field. `content-length` of text and bytes is set here. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** An iterable is pulled at the client's pace; its `return` is called when the client goes away. */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}

/** Answers a request. An RpcError it throws becomes the HTTP status of its code, anything else 500 without its text. */
export type HttpHandler = (request: HttpRequest) => HttpResponse | Promise<HttpResponse>;

/** Handlers by path. One that ends in "/" serves everything below it; the longest that fits wins. */
export type HttpHandlers = Readonly<Record<string, HttpHandler>>;

/** Finds who serves a path. */
export type HttpRoutes = (path: string) => HttpHandler | undefined;

/** @throws TypeError for a path that does not begin with "/". */
export function createHttpRoutes(handlers: HttpHandlers): HttpRoutes {
  const exact = new Map(Object.entries(handlers));
  for (const path of exact.keys()) {
    if (!path.startsWith("/")) throw new TypeError(`Cannot serve "${path}": a path begins with "/"`);
  }
  const folders = [...exact].filter(([path]) => path.endsWith("/")).sort(([a], [b]) => b.length - a.length);
  return (path) => exact.get(path) ?? folders.find(([folder]) => path.startsWith(folder))?.[1];
}
