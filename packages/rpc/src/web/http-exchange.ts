// One plain HTTP request over a stream of either HTTP version: runs the handler, sends what it answers.
//
// X1. The handler's signal fires, and what is left of its body is released, in the turn in which the stream closes.
// X2. What the handler has not pulled of the request's body is not credited.
import { HeaderBlock, type StreamEnd, type StreamHandler, type TransportStream } from "../transport.ts";
import { Code, Http2Error, retryDelayMs, RpcError } from "../grpc/status.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "./http.ts";
import { RequestBody } from "./request-body.ts";

/** What an exchange needs to know beside the stream. */
export interface ExchangeHead {
  readonly method: string;
  /** With the query. */
  readonly target: string;
  readonly headers: ReadonlyMap<string, string>;
  /** Adds what lets a page read an answer that has fields of these names. */
  expose(names: readonly string[]): readonly string[];
}

/** What an exchange needs of its surroundings. */
export interface ExchangeHost {
  /** The status for whatever a handler threw; undefined: it is not foreseen. */
  mapError(error: unknown, request: HttpRequest): RpcError | undefined;
  onError(error: unknown, request: HttpRequest): void;
}

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** About the connection, which is not the handler's (RFC 9113 §8.2.2). */
const CONNECTION_NAMES = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

export class HttpExchange implements StreamHandler {
  readonly #stream: TransportStream;
  readonly #head: ExchangeHead;
  readonly #host: ExchangeHost;
  readonly #controller = new AbortController();
  readonly #body: RequestBody;
  #hasSentHeaders = false;
  #isClosed = false;
  #reply: AsyncIterator<Uint8Array> | undefined = undefined;
  #onWritable: (() => void) | undefined = undefined;

  constructor(stream: TransportStream, head: ExchangeHead, host: ExchangeHost) {
    this.#stream = stream;
    this.#head = head;
    this.#host = host;
    this.#body = new RequestBody((byteCount) => stream.consume(byteCount));
  }

  /** Runs the handler. Never rejects. */
  async run(handler: HttpHandler, endStream: boolean): Promise<void> {
    if (endStream) this.#body.finish();
    const request = this.#request();
    try {
      await this.#send(await handler(request));
    } catch (error) {
      await this.#fail(error, request).catch((failure: unknown) => this.#host.onError(failure, request));
    }
  }

  #request(): HttpRequest {
    const { method, target, headers } = this.#head;
    const question = target.indexOf("?");
    return {
      method: method === "HEAD" ? "GET" : method,
      isHead: method === "HEAD",
      path: question < 0 ? target : target.slice(0, question),
      query: new URLSearchParams(question < 0 ? "" : target.slice(question)),
      headers,
      peer: this.#stream.connection.peer,
      body: this.#body,
      signal: this.#controller.signal,
    };
  }

  async #fail(error: unknown, request: HttpRequest): Promise<void> {
    if (this.#isClosed) {
      const isEcho = error instanceof Error && error.name === "AbortError";
      if (!isEcho) this.#host.onError(error, request);
      return;
    }
    const known = error instanceof RpcError ? error : this.#host.mapError(error, request);
    if (known === undefined) this.#host.onError(error, request);
    if (this.#hasSentHeaders) this.#stream.reset(Http2Error.INTERNAL_ERROR);
    else await this.#send(errorResponse(known));
  }

  async #send(response: HttpResponse): Promise<void> {
    const { status, body } = response;
    const isPulled = typeof body === "object" && !(body instanceof Uint8Array);
    const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : isPulled ? undefined : body;
    const fields = responseFields(response, isPulled ? undefined : (bytes?.length ?? 0));
    const names = fields.filter((name, at) => at % 2 === 0 && name !== ":status");
    const block = new HeaderBlock([...fields, ...this.#head.expose(names)]);
    const iterator = isPulled ? body[Symbol.asyncIterator]() : undefined;
    if (this.#isClosed || this.#head.method === "HEAD" || status === 204 || status === 304) {
      this.#sendHeaders(block, true);
      await iterator?.return?.();
    } else if (iterator === undefined) {
      this.#sendHeaders(block, bytes === undefined || bytes.length === 0);
      if (bytes === undefined || bytes.length === 0) return;
      this.#stream.write(bytes);
      this.#stream.end();
    } else {
      this.#sendHeaders(block, false);
      await this.#pump(iterator);
    }
  }

  #sendHeaders(block: HeaderBlock, endStream: boolean): void {
    this.#hasSentHeaders = true;
    this.#stream.sendHeaders(block, { endStream });
  }

  async #pump(iterator: AsyncIterator<Uint8Array>): Promise<void> {
    this.#reply = iterator;
    for (let step = await iterator.next(); !this.#isClosed; step = await iterator.next()) {
      if (step.done === true) {
        this.#reply = undefined;
        this.#stream.end();
        return;
      }
      if (!this.#stream.write(step.value) && !this.#isClosed) {
        await new Promise<void>((resolve) => {
          this.#onWritable = resolve;
        });
      }
    }
  }

  onData(buffer: Buffer, start: number, end: number, endStream: boolean): void {
    this.#body.push(buffer, start, end);
    if (endStream) this.#body.finish();
  }

  onHeaders(): void {
    // Of the client role only.
  }

  onTrailers(): void {
    this.#body.finish();
  }

  onWritable(): void {
    const resume = this.#onWritable;
    this.#onWritable = undefined;
    resume?.();
  }

  onClose(end: StreamEnd): void {
    this.#isClosed = true;
    const gone = new DOMException(`The request is over: ${end.by}`, "AbortError");
    this.#controller.abort(gone); // X1
    this.#body.abort(gone);
    this.onWritable();
    const reply = this.#reply;
    this.#reply = undefined;
    reply?.return?.().then(undefined, () => {});
  }
}

/** @throws TypeError for fields that cannot be sent. */
function responseFields({ status, headers = {} }: HttpResponse, length: number | undefined): string[] {
  const fields = [":status", String(status)];
  for (const [name, given] of Object.entries(headers)) {
    if (!NAME.test(name) || CONNECTION_NAMES.has(name)) throw new TypeError(`Cannot send the header "${name}"`);
    for (const value of typeof given === "string" ? [given] : given) {
      if (!VALUE.test(value)) throw new TypeError(`Cannot send the header "${name}": its value has other characters`);
      fields.push(name, value.trim());
    }
  }
  const isBodiless = status === 204 || status === 304;
  if (length !== undefined && !isBodiless && headers["content-length"] === undefined) {
    fields.push("content-length", String(length));
  }
  return fields;
}

function errorResponse(error: RpcError | undefined): HttpResponse {
  const delayMs = retryDelayMs(error);
  return {
    status: httpStatusOf(error?.code ?? Code.INTERNAL),
    headers: {
      "content-type": "text/plain; charset=utf-8",
      ...(delayMs === undefined ? {} : { "retry-after": String(Math.ceil(delayMs / 1000)) }),
    },
    body: `${error?.message ?? "The server failed to answer; its log says why"}\n`,
  };
}

/** As the Connect protocol maps them (connectrpc.com/docs/protocol, "Error codes"). */
const HTTP_STATUSES: Readonly<Record<Code, number>> = {
  [Code.OK]: 200,
  [Code.CANCELLED]: 499,
  [Code.UNKNOWN]: 500,
  [Code.INVALID_ARGUMENT]: 400,
  [Code.DEADLINE_EXCEEDED]: 504,
  [Code.NOT_FOUND]: 404,
  [Code.ALREADY_EXISTS]: 409,
  [Code.PERMISSION_DENIED]: 403,
  [Code.RESOURCE_EXHAUSTED]: 429,
  [Code.FAILED_PRECONDITION]: 400,
  [Code.ABORTED]: 409,
  [Code.OUT_OF_RANGE]: 400,
  [Code.UNIMPLEMENTED]: 501,
  [Code.INTERNAL]: 500,
  [Code.UNAVAILABLE]: 503,
  [Code.DATA_LOSS]: 500,
  [Code.UNAUTHENTICATED]: 401,
};

/** The HTTP status that stands for a code outside of gRPC. */
export function httpStatusOf(code: Code): number {
  return HTTP_STATUSES[code];
}
