// The glue between an HTTP/2 connection, which does no I/O, and a Node socket (TCP, TLS or Unix).
//
// G1. Frames leave once per turn of the event loop, after everything that had arrived was handled: one write for all. Only
//     large answers leave after each read, or they would pile up (a third of the time in benchmark `unary`, 64 KiB).
// G2. When the connection is over, its socket is closed within `lingerMs`, and no timer is left.
import type { Socket } from "node:net";
import { processClock, type Clock, type ClockTimer } from "./clock.ts";
import { ConnectionWatch, type ConnectionLife, type WatchOptions } from "./connection-watch.ts";
import { ClientConnection } from "./http2/client-connection.ts";
import type { Connection } from "./http2/connection.ts";
import type { ConnectionOptions, ConnectionResources } from "./http2/connection-options.ts";
import { ReceiveBudget, SharedBytes } from "./http2/flow.ts";
import { type HandOver, SlabPool } from "./http2/output.ts";
import type { Carrier } from "./http2/sender.ts";
import { ServerConnection } from "./http2/server-connection.ts";
import { http2Limits, type Http2Limits } from "./limits.ts";
import { readShared } from "./reading/read-buffer.ts";
import { SocketPeer } from "./socket-peer.ts";
import type {
  ClientTransportConnection,
  ClientTransportHandler,
  HeaderBlock,
  ServerTransportHandler,
  TransportConnection,
} from "./transport.ts";

export interface SocketOptions extends ConnectionLife {
  /** Overrides of the defaults. */
  readonly limits?: Partial<Http2Limits> | undefined;
  /** What this connection shares with others: one per server, one per client. Its own when absent. */
  readonly resources?: ConnectionResources | undefined;
  readonly clock?: Clock | undefined;
  /** Of [0, 1); `Math.random` when absent. */
  readonly random?: (() => number) | undefined;
  /** How the peer is called in logs; the socket's remote address when absent. */
  readonly peerAddress?: string | undefined;
}

export interface ServeSocketOptions extends SocketOptions {
  /** What was read from the socket already, to find out what it speaks. */
  readonly firstBytes?: Buffer | undefined;
  /** Answers a request whose header list is over the limit; `:status` 431 by default. */
  readonly headersTooLarge?: HeaderBlock | undefined;
}

export type ConnectSocketOptions = SocketOptions;

/** Makes what the connections of one server or client share: send buffers, and the budget for receive windows. */
export function createConnectionResources(limits: Partial<Http2Limits> = {}): ConnectionResources {
  const { receiveBudgetBytes, unreadBytesMax, queuedBytesMax } = http2Limits(limits);
  return {
    slabs: new SlabPool(),
    receiveBudget: new ReceiveBudget(receiveBudgetBytes),
    unread: new SharedBytes(unreadBytesMax),
    queued: new SharedBytes(queuedBytesMax),
  };
}

/** Serves HTTP/2 on a connected socket, with prior knowledge or after ALPN. No callback comes before this returns. */
export function serveSocket(
  socket: Socket,
  handler: ServerTransportHandler,
  options: ServeSocketOptions = {},
): TransportConnection {
  const { firstBytes, headersTooLarge } = options;
  const carrier = new SocketCarrier(socket, options);
  const connection = new ServerConnection(carrier, handler, { ...carrier.connectionOptions, headersTooLarge });
  carrier.attach(connection, { role: "server", onExpired: () => handler.onExpired?.(connection) });
  if (firstBytes !== undefined) queueMicrotask(() => carrier.receive(firstBytes));
  return connection;
}

/** Speaks HTTP/2 as the client; the socket may still be connecting. No callback comes before this returns. */
export function connectSocket(
  socket: Socket,
  handler: ClientTransportHandler,
  options: ConnectSocketOptions = {},
): ClientTransportConnection {
  const carrier = new SocketCarrier(socket, options);
  const connection = new ClientConnection(carrier, handler, carrier.connectionOptions);
  carrier.attach(connection, { role: "client" });
  return connection;
}

class SocketCarrier implements Carrier {
  readonly connectionOptions: ConnectionOptions;
  readonly #socket: Socket;
  readonly #limits: Http2Limits;
  readonly #options: SocketOptions;
  readonly #clock: Clock;
  readonly #isEncrypted: boolean;
  readonly #onWritten = (): void => {
    if (this.#socket.writableLength === 0) this.#connection?.resume();
  };
  readonly #flush = (): void => this.#connection?.flush();
  #connection: Connection | undefined = undefined;
  #watch: ConnectionWatch | undefined = undefined;
  /** Waits for the socket's end. */
  #linger: ClockTimer | undefined = undefined;

  constructor(socket: Socket, options: SocketOptions) {
    const { resources, clock = processClock, peerAddress } = options;
    this.#options = options;
    this.#socket = socket;
    this.#limits = http2Limits(options.limits);
    this.#clock = clock;
    this.#isEncrypted = "encrypted" in socket;
    this.connectionOptions = {
      limits: this.#limits,
      resources: resources ?? createConnectionResources(this.#limits),
      peer: new SocketPeer(socket, peerAddress),
    };
  }

  /** From here on the socket's events go to the connection. */
  attach(connection: Connection, role: Pick<WatchOptions, "role" | "onExpired">): void {
    const socket = this.#socket;
    const { keepalive, idleMs, age, random = Math.random } = this.#options;
    const life = { keepalive, idleMs, age };
    this.#connection = connection;
    this.#watch = new ConnectionWatch(connection, {
      ...life,
      ...role,
      limits: this.#limits,
      clock: this.#clock,
      random,
    });
    socket.setNoDelay(true);
    const onBytes = (bytes: Buffer): void => this.receive(bytes);
    if (!readShared(socket, onBytes)) socket.on("data", onBytes);
    socket.on("drain", () => connection.resume());
    socket.on("end", () => connection.disconnected("the peer closed the connection"));
    socket.on("error", (error) => connection.disconnected(error.message));
    socket.on("close", () => {
      this.#watch?.stop();
      this.#linger?.cancel();
      connection.disconnected("the connection was closed");
    });
  }

  receive(bytes: Buffer): void {
    const connection = this.#connection;
    connection?.receive(bytes, this.#clock.monotonicMs());
    connection?.flushBulk();
    if (connection?.isClosed === false) this.#watch?.onReceived();
  }

  requestFlush(): void {
    setImmediate(this.#flush);
  }

  send(chunks: readonly Uint8Array[]): HandOver {
    const socket = this.#socket;
    if (socket.destroyed) return "sent";
    const last = chunks.length - 1;
    if (last > 0) socket.cork();
    for (let at = 0; at < last; at++) socket.write(chunks[at]!);
    const hasRoom = this.#isEncrypted ? socket.write(chunks[last]!, this.#onWritten) : socket.write(chunks[last]!);
    if (last > 0) socket.uncork();
    // The kernel mostly takes all at once; then `write` says false for a large chunk all the same.
    if (socket.writableLength === 0) return "sent";
    return hasRoom ? "kept" : "full";
  }

  /** Our last frame has to arrive: a socket closed with unread bytes in it would take it back. So the rest is read, for a while. */
  close(): void {
    this.#watch?.stop();
    this.#linger = this.#clock.setTimer(() => this.#socket.destroy(), this.#limits.lingerMs);
    this.#socket.end();
    this.#socket.resume();
  }
}
