// A server on a port or a Unix socket: accepts, looks at the first bytes, drains.
//
// L1. Every connection is in `#connections` from its first HTTP/2 byte until it has closed, and so reached by a drain.
// L2. After `drain` or disposal nothing of the listener is left: no socket, no timer, no open call.
import { createServer as createNetServer, type AddressInfo, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { processClock, type Clock, type ClockTimer } from "./clock.ts";
import { drainingError, type RpcServer } from "./grpc/server.ts";
import { DEFAULT_HTTP2_LIMITS } from "./limits.ts";
import { ownHttp2, type Http2Options, type SocketTransport } from "./socket-transport.ts";
import type { TransportConnection } from "./transport.ts";

export interface ListenOptions {
  /** Default 127.0.0.1: a server without authentication must not be reachable by accident. */
  readonly host?: string;
  /** 0 (the default) picks a free one: see `Listener.address`. */
  readonly port?: number;
  /** A Unix socket instead of host and port. */
  readonly path?: string;
  /** With it the port speaks TLS only; ALPN is set here. */
  readonly tls?: TlsOptions;
  /** Limits and keepalive of the package's own HTTP/2. */
  readonly http2?: Http2Options;
  /** Sockets open at once; further ones are closed at once. Default 10,000: a few GiB at most, below usual limits of files. */
  readonly connectionsMax?: number;
  readonly clock?: Clock;
  readonly transport?: SocketTransport;
}

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
  /** HTTP/2 connections that are open. */
  readonly connections: number;
  /**
   * Takes no new connection, sends GOAWAY, lets open calls come to their end for `graceMs`, ends the rest with
   * UNAVAILABLE and RetryInfo, and closes. Resolves when everything is closed. May be called again to shorten the grace.
   */
  drain(options?: DrainOptions): Promise<void>;
}

/** The address cannot be listened on. To recover: choose another, or stop who has it. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  /** Node's code: EADDRINUSE, EACCES, EADDRNOTAVAIL, …. */
  readonly code: string;

  constructor(message: string, code: string, options: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const PREFACE_START = Buffer.from("PRI ");
const HTTP1_METHOD = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE) /;
const HTTP1_TEXT = "This port speaks gRPC, which needs HTTP/2 (with curl: --http2-prior-knowledge).\n";
const HTTP1_ANSWER = [
  "HTTP/1.1 426 Upgrade Required",
  "content-type: text/plain",
  `content-length: ${HTTP1_TEXT.length}`,
  "upgrade: h2c",
  "connection: close, upgrade",
  "",
  HTTP1_TEXT,
].join("\r\n");
const DEFAULT_CONNECTIONS_MAX = 10_000;
const RETRY_AFTER_DRAIN_MS = 1000;

/** @throws ListenError */
export async function listen(server: RpcServer, options: ListenOptions = {}): Promise<Listener> {
  const listener = new SocketListener(server, options);
  await listener.start();
  return listener;
}

class SocketListener implements Listener {
  address = "";
  port = 0;
  readonly #server: RpcServer;
  readonly #options: ListenOptions;
  readonly #clock: Clock;
  readonly #transport: SocketTransport;
  readonly #net: NetServer;
  /** Sockets that have not shown yet what they speak, with their time limit. */
  readonly #unknown = new Map<Socket, ClockTimer>();
  readonly #connections = new Set<TransportConnection>();
  #isClosed: Promise<void>;
  #resolveEmpty: (() => void) | undefined;
  #graceTimer: ClockTimer | undefined;
  #isDraining = false;

  constructor(server: RpcServer, options: ListenOptions) {
    this.#server = server;
    this.#options = options;
    this.#clock = options.clock ?? processClock;
    this.#transport = options.transport ?? ownHttp2(options.http2);
    const { tls } = options;
    const accept = (socket: Socket): void => this.#onSocket(socket);
    this.#net =
      tls === undefined
        ? createNetServer({ noDelay: true }, accept)
        : createTlsServer(
            { handshakeTimeout: this.#handshakeTimeoutMs, ...tls, ALPNProtocols: ["h2", "http/1.1"] },
            accept,
          );
    this.#net.maxConnections = options.connectionsMax ?? DEFAULT_CONNECTIONS_MAX;
    // A handshake that failed: its socket is closed, and there is nobody to tell.
    this.#net.on("tlsClientError", () => {});
    this.#isClosed = new Promise((resolve) => this.#net.once("close", resolve));
  }

  get connections(): number {
    return this.#connections.size;
  }

  get #handshakeTimeoutMs(): number {
    return this.#options.http2?.limits?.handshakeTimeoutMs ?? DEFAULT_HTTP2_LIMITS.handshakeTimeoutMs;
  }

  start(): Promise<void> {
    const { host = "127.0.0.1", port = 0, path } = this.#options;
    const wanted = path === undefined ? `${host}:${port}` : `unix:${path}`;
    return new Promise((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException): void => reject(listenError(wanted, error));
      this.#net.once("error", onError);
      this.#net.listen(path === undefined ? { host, port } : { path }, () => {
        this.#net.off("error", onError);
        const bound = this.#net.address();
        if (bound !== null && typeof bound === "object") {
          this.port = bound.port;
          this.address = hostAndPort(bound);
        } else this.address = wanted;
        resolve();
      });
    });
  }

  async drain(options: DrainOptions = {}): Promise<void> {
    const graceMs = options.graceMs ?? 10_000;
    if (!this.#isDraining) {
      this.#isDraining = true;
      this.#net.close();
      for (const [socket, timer] of this.#unknown) {
        timer.cancel();
        socket.destroy();
      }
      this.#unknown.clear();
      for (const connection of this.#connections) connection.drain();
    }
    this.#graceTimer?.cancel();
    if (this.#connections.size > 0) {
      const empty = this.#whenEmpty();
      this.#graceTimer = this.#clock.setTimer(() => this.#cutOff(), graceMs);
      await empty;
      this.#graceTimer.cancel();
    }
    await this.#isClosed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain({ graceMs: 0 });
  }

  /** The grace is over: every call gets its status, then a moment to fetch it. */
  #cutOff(): void {
    this.#server.terminateCalls(drainingError(RETRY_AFTER_DRAIN_MS), this.#connections);
    const lingerMs = this.#options.http2?.limits?.lingerMs ?? DEFAULT_HTTP2_LIMITS.lingerMs;
    this.#graceTimer = this.#clock.setTimer(() => {
      for (const connection of this.#connections) connection.destroy(0, "the server has shut down");
    }, lingerMs);
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

  /** Waits for the first bytes: HTTP/2's preface, an HTTP/1.1 request that deserves an answer, or neither. */
  #onSocket(socket: Socket): void {
    const forget = (): void => {
      this.#unknown.get(socket)?.cancel();
      this.#unknown.delete(socket);
    };
    this.#unknown.set(
      socket,
      this.#clock.setTimer(() => socket.destroy(), this.#handshakeTimeoutMs),
    );
    socket.on("error", () => socket.destroy());
    socket.once("close", forget);
    let first: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      first = first.length === 0 ? chunk : Buffer.concat([first, chunk]);
      const known = first.subarray(0, PREFACE_START.length);
      if (known.equals(PREFACE_START.subarray(0, known.length))) {
        if (known.length < PREFACE_START.length) return;
        socket.off("data", onData);
        forget();
        this.#serve(socket, first);
      } else {
        socket.off("data", onData);
        if (HTTP1_METHOD.test(first.toString("latin1", 0, 16))) socket.end(HTTP1_ANSWER, () => socket.destroySoon());
        else socket.destroy();
      }
    };
    socket.on("data", onData);
  }

  #serve(socket: Socket, firstBytes: Buffer): void {
    const server = this.#server;
    const connection = this.#transport.serveSocket(
      socket,
      {
        onStream: (stream, headers, endStream) => server.onStream(stream, headers, endStream),
        onConnectionClose: (closed) => this.#onConnectionClose(closed),
      },
      { firstBytes },
    );
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

function hostAndPort({ address, family, port }: AddressInfo): string {
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}

function listenError(address: string, error: NodeJS.ErrnoException): ListenError {
  const code = error.code ?? "";
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: "another program listens there; stop it or choose another address",
    EACCES: "this user may not; choose a port above 1023 or a folder of its own",
    EADDRNOTAVAIL: "this machine has no such address",
    ENOTFOUND: "no such host",
  };
  return new ListenError(`Cannot listen on ${address}: ${reasons[code] ?? error.message}`, code, { cause: error });
}
