// HTTP/1.1 for a listener: Node's own server (llhttp), which never listens and is fed with sockets, behind the same
// interface as HTTP/2. Each request is a stream; those of a connection come one after the other.
//
// P1. Node's time limits for headers and idle connections hold although its server does not listen: see `startChecks`.
// P2. A connection's streams are closed before the connection is.
// P3. A socket that is destroyed while its client still sends answers that with a reset, and the client may never see
//     what was answered (RFC 9112, section 9.6). So behind the last answer it is ended, and read on (H3) until the request ends.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Clock } from "../clock.ts";
import type { ConnectionResources } from "../http2/connection-options.ts";
import { Holding } from "../http2/flow.ts";
import type { Http1Limits, Http2Limits } from "../limits.ts";
import type { HeaderList, Peer, ServerTransportHandler, TransportConnection } from "../transport.ts";
import { Http1Stream, type Http1StreamOwner } from "./http1-stream.ts";

/** Of the connection, which HTTP/2 has no place for; the others have one of their own. */
const CONNECTION_NAMES = new Set([
  "connection",
  "expect",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** A gRPC call needs trailers, which reach no client over HTTP/1.1. */
const GRPC = /^application\/grpc(?:\+|\s*;|\s*$)/i;
const GRPC_TEXT = "gRPC needs HTTP/2 (with curl: --http2-prior-knowledge); over HTTP/1.1 there is gRPC-Web.\n";

export interface Http1Options {
  readonly limits: Http1Limits & Pick<Http2Limits, "headerListBytesMax" | "headersTimeoutMs" | "concurrentStreamsMax">;
  /** What these connections share with those of HTTP/2. */
  readonly resources: Pick<ConnectionResources, "unread" | "queued">;
  readonly clock: Clock;
  /** The peer as handlers see it. */
  readonly peerOf: (socket: Socket) => Peer;
}

export class Http1Server {
  readonly #http: Server;
  readonly #options: Http1Options;
  readonly #connections = new WeakMap<Socket, Http1Connection>();

  constructor(options: Http1Options) {
    const { headerListBytesMax, headersTimeoutMs, idleTimeoutMs } = options.limits;
    this.#options = options;
    this.#http = createServer({
      maxHeaderSize: headerListBytesMax,
      headersTimeout: headersTimeoutMs,
      // A body may take as long as its call: deadlines are gRPC's.
      requestTimeout: 0,
      keepAliveTimeout: idleTimeoutMs,
      connectionsCheckingInterval: Math.max(10, Math.min(1000, headersTimeoutMs)),
    });
    this.#http.on("request", (request: IncomingMessage, response: ServerResponse) => {
      const connection = this.#connections.get(request.socket);
      if (connection === undefined) response.destroy();
      else connection.onRequest(request, response);
    });
    this.#startChecks();
  }

  /** Serves a socket from which `firstBytes` were read already. No callback comes before this returns. */
  serveSocket(socket: Socket, handler: ServerTransportHandler, firstBytes: Buffer): TransportConnection {
    const connection = new Http1Connection(socket, handler, this.#options);
    this.#connections.set(socket, connection);
    socket.destroySoon = () => connection.endSoon();
    socket.pause();
    socket.unshift(firstBytes);
    this.#http.emit("connection", socket);
    socket.resume();
    return connection;
  }

  /** Ends the checks of time limits. The connections are their listener's to close. */
  close(): void {
    this.#http.close();
  }

  /** Node looks after the time limits of a server from its "listening" on, and tells no other way to begin. */
  #startChecks(): void {
    this.#http.emit("listening");
  }
}

class Http1Connection implements Http1StreamOwner {
  readonly peer: Peer;
  readonly limits: Http1Options["limits"];
  readonly clock: Clock;
  busyHandlers = 0;
  isDraining = false;
  readonly #socket: Socket;
  readonly #handler: ServerTransportHandler;
  readonly #streams = new Set<Http1Stream>();
  readonly #unread: Holding;
  readonly #queued: Holding;
  #isGathering = false;
  /** The request that came last. */
  #reading: IncomingMessage | undefined;

  constructor(socket: Socket, handler: ServerTransportHandler, options: Http1Options) {
    const { resources, limits, clock } = options;
    const giveWay = (): void => {
      socket.destroy();
      // Not only when the socket says so: what is asked to give way must hold nothing afterwards.
      this.#closeStreams();
    };
    this.#socket = socket;
    this.#handler = handler;
    this.peer = options.peerOf(socket);
    this.limits = limits;
    this.clock = clock;
    this.#unread = new Holding(resources.unread, giveWay);
    this.#queued = new Holding(resources.queued, giveWay);
    socket.once("close", () => {
      this.#closeStreams(); // P2
      this.#unread.close();
      this.#queued.close();
      handler.onConnectionClose(this);
    });
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  onRequest(request: IncomingMessage, response: ServerResponse): void {
    this.#reading = request;
    if (GRPC.test(request.headers["content-type"] ?? "")) {
      response.writeHead(426, { "content-type": "text/plain", upgrade: "h2c", connection: "close, upgrade" });
      response.end(GRPC_TEXT);
      return;
    }
    // Requests that were sent ahead of their answers are work that waits: bounded like the streams of HTTP/2.
    if (this.#streams.size + this.busyHandlers >= this.limits.concurrentStreamsMax) {
      this.#socket.destroy();
      return;
    }
    const hasBody = request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"]) > 0;
    const stream = new Http1Stream(this, request, response);
    this.#streams.add(stream);
    const headers = headerListOf(request, this.peer.isEncrypted);
    stream.attach(this.#handler.onStream(stream, headers, !hasBody), hasBody);
  }

  gatherWrites(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    this.#socket.cork();
    setImmediate(() => {
      this.#isGathering = false;
      this.#socket.uncork();
    });
  }

  addUnread(bytes: number): void {
    this.#unread.set(this.#unread.heldBytes + bytes);
  }

  onQueued(): void {
    let bytes = 0;
    for (const stream of this.#streams) bytes += stream.queuedBytes;
    this.#queued.set(bytes);
  }

  onStreamClosed(stream: Http1Stream): void {
    this.#streams.delete(stream);
    this.onQueued();
    this.#closeIfDrained();
  }

  /** P3. Node calls it behind the last answer. */
  endSoon(): void {
    const request = this.#reading;
    const close = (): void => Socket.prototype.destroySoon.call(this.#socket);
    if (request === undefined || request.complete) return close();
    this.#socket.end();
    request.once("end", close);
  }

  drain(): void {
    this.isDraining = true;
    this.#closeIfDrained();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #closeStreams(): void {
    for (const stream of this.#streams) stream.close();
  }

  #closeIfDrained(): void {
    if (this.isDraining && this.#streams.size === 0) this.#socket.destroySoon();
  }
}

/** A request's head as HTTP/2 has it. */
function headerListOf(request: IncomingMessage, isEncrypted: boolean): HeaderList {
  const { rawHeaders, method = "", url = "", headers } = request;
  const scheme = isEncrypted ? "https" : "http";
  const path = url.startsWith("/") ? url : url.replace(/^https?:\/\/[^/?]*/i, "");
  const fields = [":method", method, ":scheme", scheme, ":path", path === "" ? "/" : path];
  if (headers.host !== undefined) fields.push(":authority", headers.host);
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? "").toLowerCase();
    if (!CONNECTION_NAMES.has(name)) fields.push(name, rawHeaders[at + 1] ?? "");
  }
  return { fields, memo: undefined };
}
