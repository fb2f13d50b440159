// A server on a port or a Unix socket: accepts, finds out what each connection speaks, drains.
//
// L1. Every connection is in `#connections` from its first bytes until it has closed, and so reached by a drain.
// L2. After `drain` or disposal nothing of the listener is left: no socket, no timer, no open call.
import type { Server as NetServer, Socket } from "node:net";
import type { Server as TlsServer, TlsOptions } from "node:tls";
import { processClock, type Clock, type ClockTimer } from "./clock.ts";
import { drainingError, type RpcServer } from "./grpc/server.ts";
import { Http1Server } from "./http1/http1-server.ts";
import { bind, type Binding, type ListenAddress } from "./listening/bind.ts";
import { acceptTls } from "./listening/accept-tls.ts";
import { sniff } from "./listening/sniff.ts";
import { DEFAULT_HTTP1_LIMITS, http2Limits, type Http1Limits, type Http2Limits } from "./limits.ts";
import { createConnectionResources } from "./socket.ts";
import { ownHttp2, type Http2Options, type SocketTransport } from "./socket-transport.ts";
import { SocketPeer } from "./socket-peer.ts";
import type { ServerTransportHandler, TransportConnection } from "./transport.ts";
import { createFront, type WebOptions } from "./web/front.ts";

/** Where a server listens, and how it speaks there. */
export interface ListenOptions extends ListenAddress {
  /** With it the port speaks TLS; ALPN is set here. */
  readonly tls?: TlsOptions;
  /** Whether a port with TLS also serves who comes without. Default: false; then it says so and closes. */
  readonly allowPlaintext?: boolean;
  /** gRPC-Web for pages of other origins, and plain HTTP by path. */
  readonly web?: WebOptions;
  /** Limits and keepalive of the package's own HTTP/2. The limits that HTTP/1.1 has too hold for it as well. */
  readonly http2?: Http2Options;
  /** Bounds that only HTTP/1.1 has: overrides of the defaults. */
  readonly http1?: Partial<Http1Limits>;
  /** Sockets open at once; further ones are closed at once. Default 10,000: a few GiB at most, below usual limits of files. */
  readonly connectionsMax?: number;
  readonly clock?: Clock;
  readonly transport?: SocketTransport;
}

/** How a server says goodbye. */
export interface DrainOptions {
  /** How long open calls may go on; default 10 s. */
  readonly graceMs?: number;
}

/** A server that listens. Disposing of it drains without grace. */
export interface Listener extends AsyncDisposable {
  /** "127.0.0.1:8080", "[::1]:8080" or "unix:/run/sluice.sock". */
  readonly address: string;
  /** The port; 0 for a Unix socket. */
  readonly port: number;
  /** Connections that are open and have said what they speak. */
  readonly connections: number;
  /**
   * Uses another certificate for connections that come from now on; those that are open stay as they are.
   * @throws Error of the TLS library for a pair that cannot be used, and when there is no TLS; the old one stays in use.
   */
  setTls(tls: TlsOptions): void;
  /**
   * Takes no new connection, sends GOAWAY, lets open calls come to their end for `graceMs`, ends the rest with
   * UNAVAILABLE and RetryInfo, and closes. Resolves when everything is closed. May be called again to shorten the grace.
   */
  drain(options?: DrainOptions): Promise<void>;
}

const DEFAULT_CONNECTIONS_MAX = 10_000;
const RETRY_AFTER_DRAIN_MS = 1000;

/**
 * Serves gRPC, gRPC-Web and plain HTTP on one address, told apart by the first bytes.
 * @throws ListenError; TypeError for an origin or a handler's path that cannot be one
 */
export async function listen(server: RpcServer, options: ListenOptions = {}): Promise<Listener> {
  const listener = new SocketListener(server, options);
  await listener.start();
  return listener;
}

class SocketListener implements Listener {
  address = "";
  port = 0;
  readonly #server: RpcServer;
  readonly #handler: ServerTransportHandler;
  readonly #options: ListenOptions;
  readonly #limits: Http2Limits;
  readonly #clock: Clock;
  readonly #transport: SocketTransport;
  readonly #http1: Http1Server;
  readonly #tls: TlsServer | undefined;
  #net: NetServer | undefined = undefined;
  #isClosed: Promise<void> = Promise.resolve();
  /** Sockets that have not shown yet what they speak, with what ends the wait. */
  readonly #unknown = new Map<Socket, () => void>();
  readonly #connections = new Set<TransportConnection>();
  #resolveEmpty: (() => void) | undefined;
  #graceTimer: ClockTimer | undefined;
  #isDraining = false;

  constructor(server: RpcServer, options: ListenOptions) {
    const front = createFront(server, options.web ?? {});
    this.#server = server;
    this.#handler = {
      onStream: (stream, headers, endStream) => front.onStream(stream, headers, endStream),
      onConnectionClose: (closed) => this.#onConnectionClose(closed),
      onExpired: (connection) => server.onExpired?.(connection),
    };
    this.#options = options;
    this.#limits = http2Limits(options.http2?.limits);
    this.#clock = options.clock ?? processClock;
    const resources = createConnectionResources(options.http2?.limits);
    this.#transport = options.transport ?? ownHttp2(options.http2, resources);
    const { handshakeTimeoutMs } = this.#limits;
    this.#tls =
      options.tls &&
      acceptTls({ handshakeTimeout: handshakeTimeoutMs, ...options.tls }, (socket) => this.#onSocket(socket));
    this.#http1 = new Http1Server({
      limits: { ...this.#limits, ...DEFAULT_HTTP1_LIMITS, ...options.http1 },
      resources,
      clock: this.#clock,
      peerOf: (socket) => new SocketPeer(socket),
    });
  }

  get connections(): number {
    return this.#connections.size;
  }

  async start(): Promise<void> {
    let binding: Binding;
    try {
      binding = await bind((socket) => this.#onSocket(socket), this.#options);
    } catch (error) {
      this.#http1.close();
      throw error;
    }
    this.#net = binding.net;
    this.address = binding.address;
    this.port = binding.port;
    binding.net.maxConnections = this.#options.connectionsMax ?? DEFAULT_CONNECTIONS_MAX;
    this.#isClosed = new Promise((resolve) => binding.net.once("close", resolve));
  }

  setTls(tls: TlsOptions): void {
    if (this.#tls === undefined)
      throw new Error(`Cannot set a certificate for ${this.address}: it was opened without TLS`);
    this.#tls.setSecureContext(tls);
  }

  async drain(options: DrainOptions = {}): Promise<void> {
    const graceMs = options.graceMs ?? 10_000;
    if (!this.#isDraining) {
      this.#isDraining = true;
      this.#net?.close();
      for (const [socket, forget] of this.#unknown) {
        forget();
        socket.destroy();
      }
      for (const connection of this.#connections) connection.drain();
    }
    this.#graceTimer?.cancel();
    if (this.#connections.size > 0) {
      const empty = this.#whenEmpty();
      this.#graceTimer = this.#clock.setTimer(() => this.#cutOff(), graceMs);
      await empty;
      this.#graceTimer.cancel();
    }
    this.#http1.close();
    await this.#isClosed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain({ graceMs: 0 });
  }

  /** The grace is over: every call gets its status, then a moment to fetch it. */
  #cutOff(): void {
    this.#server.terminateCalls(drainingError(RETRY_AFTER_DRAIN_MS), this.#connections);
    this.#graceTimer = this.#clock.setTimer(() => {
      for (const connection of this.#connections) connection.destroy(0, "the server has shut down");
    }, this.#limits.lingerMs);
  }

  #whenEmpty(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#resolveEmpty;
      this.#resolveEmpty = () => {
        before?.();
        resolve();
      };
    });
  }

  /** Waits for the first bytes, of the connection or of what is inside its TLS. */
  #onSocket(socket: Socket): void {
    if (this.#isDraining) {
      socket.destroy();
      return;
    }
    const timer = this.#clock.setTimer(() => socket.destroy(), this.#limits.handshakeTimeoutMs);
    const forget = (): void => {
      timer.cancel();
      this.#unknown.delete(socket);
    };
    this.#unknown.set(socket, forget);
    socket.on("error", () => socket.destroy());
    socket.once("close", forget);
    sniff(socket, (protocol, firstBytes) => {
      timer.cancel();
      const isOutside = this.#tls !== undefined && !("encrypted" in socket);
      if (protocol === "tls" && isOutside) {
        // It stays among the unknown: what is inside will show what it speaks, or the handshake's time limit ends it.
        this.#acceptTls(socket, firstBytes);
        return;
      }
      forget();
      if (protocol !== "tls" && isOutside && this.#options.allowPlaintext !== true) refusePlaintext(socket, protocol);
      else if (protocol === "http2" || protocol === "http1") this.#serve(socket, protocol, firstBytes);
      else socket.destroy();
    });
  }

  #acceptTls(socket: Socket, firstBytes: Buffer): void {
    socket.pause();
    socket.unshift(firstBytes);
    this.#tls?.emit("connection", socket);
  }

  #serve(socket: Socket, protocol: "http2" | "http1", firstBytes: Buffer): void {
    const connection =
      protocol === "http2"
        ? this.#transport.serveSocket(socket, this.#handler, { firstBytes })
        : this.#http1.serveSocket(socket, this.#handler, firstBytes);
    this.#connections.add(connection);
  }

  #onConnectionClose(connection: TransportConnection): void {
    this.#connections.delete(connection);
    this.#server.onConnectionClose(connection);
    if (this.#connections.size > 0) return;
    this.#resolveEmpty?.();
    this.#resolveEmpty = undefined;
  }
}

const PLAINTEXT_TEXT = "This port speaks TLS: use https.\n";
const PLAINTEXT_ANSWER = [
  "HTTP/1.1 400 Bad Request",
  "content-type: text/plain",
  `content-length: ${PLAINTEXT_TEXT.length}`,
  "connection: close",
  "",
  PLAINTEXT_TEXT,
].join("\r\n");

function refusePlaintext(socket: Socket, protocol: "http2" | "http1" | "unknown"): void {
  if (protocol === "http1") socket.end(PLAINTEXT_ANSWER, () => socket.destroySoon());
  else socket.destroy();
}
