// The glue between an HTTP/2 connection, which does no I/O, and a Node socket (TCP, TLS or Unix).
//
// G1. Frames leave once per turn of the event loop, after everything that had arrived was handled: one write for all.
// G2. When the connection is over, its socket is closed within `lingerMs`, and no timer is left.
import type { Socket } from "node:net";
import { processClock, type Clock, type ClockTimer } from "./clock.ts";
import { ClientConnection } from "./http2/client-connection.ts";
import type { Connection, ConnectionOptions, ConnectionResources } from "./http2/connection.ts";
import { ReceiveBudget } from "./http2/flow.ts";
import { ErrorCode } from "./http2/frame.ts";
import { SlabPool } from "./http2/output.ts";
import type { Carrier, HandOver } from "./http2/sender.ts";
import { ServerConnection } from "./http2/server-connection.ts";
import { http2Limits, type Http2Limits } from "./limits.ts";
import type {
  ClientTransportConnection,
  ClientTransportHandler,
  HeaderBlock,
  Peer,
  ServerTransportHandler,
  TransportConnection,
} from "./transport.ts";

export interface SocketOptions {
  /** Overrides of the defaults. */
  readonly limits?: Partial<Http2Limits> | undefined;
  /** What this connection shares with others: one per server, one per client. Its own when absent. */
  readonly resources?: ConnectionResources | undefined;
  readonly clock?: Clock | undefined;
  /** How the peer is called in logs; the socket's remote address when absent. */
  readonly peerAddress?: string | undefined;
  /** PING a peer that was silent for `intervalMs`, and close when it still is `timeoutMs` later. Off when absent. */
  readonly keepalive?: { readonly intervalMs: number; readonly timeoutMs: number } | undefined;
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
  return { slabs: new SlabPool(), receiveBudget: new ReceiveBudget(http2Limits(limits).receiveBudgetBytes) };
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
  carrier.attach(connection);
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
  carrier.attach(connection);
  return connection;
}

class SocketCarrier implements Carrier {
  readonly connectionOptions: ConnectionOptions;
  readonly #socket: Socket;
  readonly #limits: Http2Limits;
  readonly #clock: Clock;
  readonly #keepalive: SocketOptions["keepalive"];
  readonly #flush = (): void => this.#connection?.flush();
  #connection: Connection | undefined = undefined;
  /** Waits for the peer's SETTINGS, then for its silence, at last for the socket's end. */
  #timer: ClockTimer | undefined = undefined;
  #isSilent = true;

  constructor(socket: Socket, options: SocketOptions) {
    const { resources, clock = processClock, peerAddress, keepalive } = options;
    this.#socket = socket;
    this.#limits = http2Limits(options.limits);
    this.#clock = clock;
    this.#keepalive = keepalive;
    this.connectionOptions = {
      limits: this.#limits,
      resources: resources ?? createConnectionResources(this.#limits),
      peer: new SocketPeer(socket, peerAddress),
    };
  }

  /** From here on the socket's events go to the connection. */
  attach(connection: Connection): void {
    const socket = this.#socket;
    this.#connection = connection;
    this.#timer = this.#clock.setTimer(() => this.#onHandshakeTimeout(), this.#limits.handshakeTimeoutMs);
    socket.setNoDelay(true);
    socket.on("data", (bytes: Buffer) => this.receive(bytes));
    socket.on("drain", () => connection.resume());
    socket.on("end", () => connection.disconnected("the peer closed the connection"));
    socket.on("error", (error) => connection.disconnected(error.message));
    socket.on("close", () => {
      this.#timer?.cancel();
      connection.disconnected("the connection was closed");
    });
  }

  receive(bytes: Buffer): void {
    this.#isSilent = false;
    this.#connection?.receive(bytes, this.#clock.monotonicMs());
  }

  requestFlush(): void {
    setImmediate(this.#flush);
  }

  send(chunks: readonly Uint8Array[]): HandOver {
    const socket = this.#socket;
    if (socket.destroyed) return "sent";
    let hasRoom = true;
    if (chunks.length === 1) {
      hasRoom = socket.write(chunks[0]!);
    } else {
      socket.cork();
      for (const chunk of chunks) hasRoom = socket.write(chunk);
      socket.uncork();
    }
    // The kernel mostly takes all at once; then `write` says false for a large chunk all the same.
    if (socket.writableLength === 0) return "sent";
    return hasRoom ? "kept" : "full";
  }

  /** Our last frame has to arrive: a socket closed with unread bytes in it would take it back. So the rest is read, for a while. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(() => this.#socket.destroy(), this.#limits.lingerMs);
    this.#socket.end();
    this.#socket.resume();
  }

  #onHandshakeTimeout(): void {
    if (this.#connection?.isSettled !== true) {
      this.#connection?.destroy(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS arrived in time");
    } else if (this.#keepalive !== undefined) {
      this.#watch(this.#keepalive);
    }
  }

  /** Looks every `intervalMs` whether anything arrived, and asks when nothing did. */
  #watch(keepalive: { readonly intervalMs: number; readonly timeoutMs: number }): void {
    this.#isSilent = true;
    this.#timer = this.#clock.setTimer(() => {
      if (!this.#isSilent) return this.#watch(keepalive);
      this.#connection?.ping(() => {});
      this.#timer = this.#clock.setTimer(() => {
        if (!this.#isSilent) return this.#watch(keepalive);
        this.#connection?.destroy(ErrorCode.NO_ERROR, "the peer did not answer a PING in time");
      }, keepalive.timeoutMs);
    }, keepalive.intervalMs);
  }
}

/** Looks at the socket when asked: before it is connected there is nothing to see, after its end no longer. */
class SocketPeer implements Peer {
  readonly isEncrypted: boolean;
  readonly #socket: Socket;
  #address: string | undefined;

  constructor(socket: Socket, address: string | undefined) {
    this.#socket = socket;
    this.#address = address;
    this.isEncrypted = "encrypted" in socket && socket.encrypted === true;
  }

  get address(): string {
    if (this.#address !== undefined) return this.#address;
    const { remoteAddress, remotePort, remoteFamily, connecting } = this.#socket;
    if (connecting) return "not connected";
    if (remoteAddress === undefined) return "unix:";
    const host = remoteFamily === "IPv6" ? `[${remoteAddress}]` : remoteAddress;
    return (this.#address = `${host}:${remotePort}`);
  }
}
