// A channel: one address, one connection at a time, reopened when it is needed.
//
// N1. A call waits in `#waiting` or has a stream, never both; who waits is dispatched in order.
// N2. A connection is opened only for calls that wait for it; a failure is followed by a growing pause, during which
//     calls fail at once, unless they said `waitForReady`.
import { connect as connectNet, type Socket } from "node:net";
import { connect as connectTls, TLSSocket, type ConnectionOptions } from "node:tls";
import { DEFAULT_GRPC_LIMITS, type GrpcLimits } from "../limits.ts";
import { ownHttp2, type Http2Options, type SocketTransport } from "../socket-transport.ts";
import type { ClientTransportConnection } from "../transport.ts";
import type { CallChannel, ClientCall } from "./client-call.ts";
import type { Codec } from "./codec.ts";
import { processClock, type Clock, type ClockTimer } from "../clock.ts";
import { DeadlineWheel } from "./deadline.ts";
import { Code, RpcError } from "./status.ts";

/** How a channel reaches its server. */
export interface ChannelOptions {
  /** TLS with these options; ALPN is set here. Without it: plaintext. */
  readonly tls?: ConnectionOptions;
  /** What the server is called in `:authority`; default: the address. */
  readonly authority?: string;
  readonly limits?: Partial<GrpcLimits>;
  /** Limits and keepalive of the package's own HTTP/2. */
  readonly http2?: Http2Options;
  readonly backoff?: Partial<Backoff>;
  /** From the first try to the peer's SETTINGS; default 20 s. */
  readonly connectTimeoutMs?: number;
  readonly clock?: Clock;
  /** Of [0, 1): for the jitter of pauses. */
  readonly random?: () => number;
  readonly codecs?: readonly Codec[];
  readonly transport?: SocketTransport;
}

/** Pauses between tries to connect, after gRPC's connection-backoff.md. */
export interface Backoff {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly multiplier: number;
  /** Each pause is longer or shorter by up to this part of it. */
  readonly jitter: number;
}

const DEFAULT_BACKOFF: Backoff = { initialMs: 250, maxMs: 30_000, multiplier: 1.6, jitter: 0.2 };
const DEFAULT_CONNECT_TIMEOUT_MS = 20_000;

/** As gRPC's connectivity states; "backoff" (TRANSIENT_FAILURE there) waits before the next try. */
export type ChannelState = "idle" | "connecting" | "ready" | "backoff" | "closed";

/** The client's end. Disposing of it cancels what is open. */
export interface Channel extends AsyncDisposable {
  readonly address: string;
  readonly state: ChannelState;
  /** Calls that have not ended. */
  readonly openCalls: number;
  readonly codecs: readonly Codec[] | undefined;
  /** Cancels open calls, closes the connection, resolves when its socket has gone. Idempotent. */
  close(): Promise<void>;
}

/** A channel that calls can be made on. */
export interface CallableChannel extends Channel, CallChannel {
  begin(call: ClientCall): void;
}

/** @param address "host:port", "[::1]:port" or "unix:/path". Connects when the first call is made. */
export function openChannel(address: string, options: ChannelOptions = {}): Channel {
  return new SocketChannel(address, options);
}

type State =
  | { readonly kind: "idle" }
  | {
      readonly kind: "connecting";
      readonly socket: Socket;
      readonly timer: ClockTimer;
      connection: ClientTransportConnection | undefined;
    }
  | { readonly kind: "ready"; readonly connection: ClientTransportConnection }
  | { readonly kind: "backoff"; readonly timer: ClockTimer; readonly error: RpcError }
  | { readonly kind: "closed" };

const IDLE: State = { kind: "idle" };

class SocketChannel implements CallableChannel {
  readonly address: string;
  readonly limits: GrpcLimits;
  readonly wheel: DeadlineWheel;
  readonly codecs: readonly Codec[] | undefined;
  readonly #options: ChannelOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  readonly #transport: SocketTransport;
  readonly #target: { readonly path: string } | { readonly host: string; readonly port: number };
  readonly #calls = new Set<ClientCall>();
  readonly #waiting = new Set<ClientCall>();
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Set<ClientTransportConnection>();
  #state: State = IDLE;
  #failures = 0;
  #resolveClosed: (() => void) | undefined;

  constructor(address: string, options: ChannelOptions) {
    this.address = address;
    this.#target = parseAddress(address);
    this.#options = options;
    this.codecs = options.codecs;
    this.limits = { ...DEFAULT_GRPC_LIMITS, ...options.limits };
    this.#clock = options.clock ?? processClock;
    this.wheel = new DeadlineWheel(this.#clock);
    this.#random = options.random ?? Math.random;
    this.#backoff = { ...DEFAULT_BACKOFF, ...options.backoff };
    this.#transport = options.transport ?? ownHttp2(options.http2);
  }

  get state(): ChannelState {
    return this.#state.kind;
  }

  get openCalls(): number {
    return this.#calls.size;
  }

  headerFields(path: string): readonly string[] {
    const { tls, authority } = this.#options;
    const fallback = "path" in this.#target ? "localhost" : this.address;
    return [
      ":method",
      "POST",
      ":scheme",
      tls === undefined ? "http" : "https",
      ":path",
      path,
      ":authority",
      authority ?? fallback,
      "te",
      "trailers",
      "content-type",
      "application/grpc",
      "user-agent",
      "grpc-node-sluice",
    ];
  }

  /** A new call; one whose request could not be encoded has ended already. */
  begin(call: ClientCall): void {
    if (call.isEnded) return;
    this.#calls.add(call);
    call.start();
  }

  dispatch(call: ClientCall): void {
    const state = this.#state;
    if (state.kind === "closed") {
      call.fail(new RpcError(Code.CANCELLED, `The channel to ${this.address} is closed`));
    } else if (state.kind === "ready" && this.#waiting.size === 0 && state.connection.streamsAvailable > 0) {
      call.attach(state.connection);
    } else if (state.kind === "backoff" && !call.waitForReady) {
      call.fail(state.error);
    } else if (this.#waiting.size >= this.limits.waitingCallsMax) {
      call.fail(
        new RpcError(
          Code.RESOURCE_EXHAUSTED,
          `Cannot call ${this.address}: ${this.#waiting.size} calls wait for a stream, and that is the limit`,
        ),
      );
    } else {
      this.#waiting.add(call);
      if (state.kind === "idle") this.#connect();
      if (state.kind === "backoff") state.timer.hold?.();
    }
  }

  onSettled(call: ClientCall): void {
    this.#calls.delete(call);
    this.#waiting.delete(call);
  }

  async close(): Promise<void> {
    const before = this.#state;
    if (before.kind === "connecting" || before.kind === "backoff") before.timer.cancel();
    this.#state = { kind: "closed" };
    for (const call of this.#calls)
      call.fail(new RpcError(Code.CANCELLED, `The channel to ${this.address} was closed`));
    for (const connection of this.#connections) connection.destroy(0, "the client has closed its channel");
    if (before.kind === "connecting" && before.connection === undefined) before.socket.destroy();
    if (this.#sockets.size === 0) return;
    await new Promise<void>((resolve) => {
      const earlier = this.#resolveClosed;
      this.#resolveClosed = () => {
        earlier?.();
        resolve();
      };
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // Connecting.

  #connect(): void {
    const { tls, connectTimeoutMs = DEFAULT_CONNECT_TIMEOUT_MS } = this.#options;
    const socket =
      tls === undefined
        ? connectNet({ ...this.#target, noDelay: true })
        : connectTls({ ...this.#serverName(), ...tls, ...this.#target, ALPNProtocols: ["h2"] });
    this.#sockets.add(socket);
    const timer = this.#clock.setTimer(() => {
      this.#onFailure(socket, `no answer within ${connectTimeoutMs} ms`);
    }, connectTimeoutMs);
    this.#state = { kind: "connecting", socket, timer, connection: undefined };
    socket.on("error", (error: Error) => this.#onFailure(socket, textOf(error)));
    socket.once("close", () => this.#onSocketClosed(socket));
    socket.once(tls === undefined ? "connect" : "secureConnect", () => this.#onConnected(socket));
  }

  /** A certificate is checked against the host's name; an address has none. */
  #serverName(): ConnectionOptions {
    return "host" in this.#target && /[a-z]/i.test(this.#target.host) && !this.#target.host.includes(":")
      ? { servername: this.#target.host }
      : {};
  }

  #onConnected(socket: Socket): void {
    const state = this.#state;
    if (state.kind !== "connecting" || state.socket !== socket) return;
    if (socket instanceof TLSSocket && socket.alpnProtocol !== "h2") {
      this.#onFailure(socket, "the server does not offer HTTP/2 (ALPN h2)");
      return;
    }
    socket.setNoDelay(true);
    const connection = this.#transport.connectSocket(socket, {
      onOpen: () => this.#onOpen(socket, connection),
      onStreamsAvailable: () => this.#flush(),
      onDraining: () => this.#leave(connection),
      onConnectionClose: (reason) => {
        this.#connections.delete(connection);
        this.#leave(connection);
        this.#onFailure(socket, reason);
      },
    });
    this.#connections.add(connection);
    state.connection = connection;
  }

  #onOpen(socket: Socket, connection: ClientTransportConnection): void {
    const state = this.#state;
    if (state.kind !== "connecting" || state.socket !== socket) return;
    state.timer.cancel();
    this.#failures = 0;
    this.#state = { kind: "ready", connection };
    this.#flush();
  }

  /** No more streams on this connection; what is open there goes on. */
  #leave(connection: ClientTransportConnection): void {
    if (this.#state.kind !== "ready" || this.#state.connection !== connection) return;
    this.#state = IDLE;
    if (this.#waiting.size > 0) this.#connect();
  }

  /** A try to connect has failed. */
  #onFailure(socket: Socket, reason: string): void {
    const state = this.#state;
    if (state.kind !== "connecting" || state.socket !== socket) return;
    state.timer.cancel();
    const error = new RpcError(Code.UNAVAILABLE, `Cannot connect to ${this.address}: ${reason}`);
    const timer = this.#clock.setTimer(() => this.#onPauseOver(), this.#nextPauseMs());
    this.#state = { kind: "backoff", timer, error };
    socket.destroy();
    for (const call of this.#waiting) if (!call.waitForReady) call.fail(error);
    // No socket keeps the process alive now, and those who are left wait.
    if (this.#waiting.size > 0) timer.hold?.();
  }

  #nextPauseMs(): number {
    const { initialMs, maxMs, multiplier, jitter } = this.#backoff;
    const pauseMs = Math.min(initialMs * multiplier ** this.#failures, maxMs);
    this.#failures++;
    return pauseMs * (1 + jitter * (2 * this.#random() - 1));
  }

  #onPauseOver(): void {
    if (this.#state.kind !== "backoff") return;
    this.#state = IDLE;
    if (this.#waiting.size > 0) this.#connect();
  }

  #onSocketClosed(socket: Socket): void {
    this.#sockets.delete(socket);
    this.#onFailure(socket, "the server closed the connection");
    if (this.#sockets.size > 0) return;
    this.#resolveClosed?.();
    this.#resolveClosed = undefined;
  }

  #flush(): void {
    for (const call of this.#waiting) {
      if (this.#state.kind !== "ready" || this.#state.connection.streamsAvailable === 0) return;
      this.#waiting.delete(call);
      call.attach(this.#state.connection);
    }
  }
}

function parseAddress(address: string): { path: string } | { host: string; port: number } {
  if (address.startsWith("unix:")) return { path: address.slice("unix:".length) };
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new TypeError(`Cannot use "${address}" as an address: give host:port, [ipv6]:port or unix:/path`);
  }
  return { host: match[1] ?? match[2] ?? "", port };
}

/** Node answers a name with several addresses by an AggregateError without a text. */
function textOf(error: Error): string {
  if (error instanceof AggregateError)
    return error.errors.map((each) => (each instanceof Error ? each.message : String(each))).join("; ");
  return error.message;
}
