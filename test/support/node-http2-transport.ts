// The differential oracle: both roles of packages/rpc/src/transport.ts on `node:http2`. The suite of the RPC core runs
// over this and over the package's own HTTP/2; where they differ, one of the two is wrong.
import {
  connect,
  constants,
  performServerHandshake,
  type ClientHttp2Session,
  type Http2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { SocketTransport } from "../../packages/rpc/src/socket-transport.ts";
import type {
  ClientTransportConnection,
  ClientTransportHandler,
  HeaderBlock,
  Peer,
  ServerTransportHandler,
  StreamHandler,
  TransportConnection,
  TransportStream,
} from "../../packages/rpc/src/transport.ts";
import { headerList, headersObject, OracleStream, type OracleStreamOwner } from "./node-http2-stream.ts";

export const nodeHttp2Transport: SocketTransport = {
  serveSocket(socket, handler, options = {}) {
    // Node takes over what is buffered, as long as nobody reads it away.
    socket.pause();
    if (options.firstBytes !== undefined) socket.unshift(options.firstBytes);
    return new OracleServerConnection(socket, handler);
  },
  connectSocket(socket, handler) {
    return new OracleClientConnection(socket, handler);
  },
};

/** MB; Node's default of 10 ends a session with what a test may have waiting. */
const maxSessionMemory = 256;
const SETTINGS = { initialWindowSize: 64 * 1024, maxConcurrentStreams: 1000 };
/** Of the connection: what streams leave unread must not use it up for the others. */
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
const END_STREAM = constants.NGHTTP2_FLAG_END_STREAM;

/** Hears of a stream before its handler is known. */
const NOBODY: StreamHandler = { onHeaders() {}, onData() {}, onTrailers() {}, onWritable() {}, onClose() {} };

abstract class OracleConnection implements OracleStreamOwner {
  readonly peer: Peer;
  isLost = false;
  busyHandlers = 0;
  protected readonly session: Http2Session;
  protected readonly streams = new Set<OracleStream>();

  constructor(socket: Socket, session: Http2Session) {
    this.session = session;
    this.peer = peerOf(socket);
    // Its cause is told by the close that follows.
    session.on("error", () => {});
    session.on("close", () => this.onSessionClose());
    socket.on("close", () => {
      this.isLost = true;
    });
  }

  get openStreams(): number {
    return this.streams.size;
  }

  onStreamClosed(stream: OracleStream): void {
    this.streams.delete(stream);
  }

  drain(): void {
    if (!this.session.closed) this.session.close();
  }

  destroy(code: number): void {
    this.isLost = true;
    this.session.destroy(undefined, code);
  }

  protected abstract onSessionClose(): void;
}

class OracleServerConnection extends OracleConnection implements TransportConnection {
  readonly #handler: ServerTransportHandler;

  constructor(socket: Socket, handler: ServerTransportHandler) {
    const session = performServerHandshake(socket, { settings: SETTINGS, maxSessionMemory });
    super(socket, session);
    this.#handler = handler;
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    session.on("stream", (stream: ServerHttp2Stream, _headers: unknown, flags: number, raw: string[]) => {
      const endStream = (flags & END_STREAM) !== 0;
      const ours = new OracleStream(this, stream, NOBODY, endStream);
      this.streams.add(ours);
      ours.handler = handler.onStream(ours, headerList(raw), endStream);
    });
  }

  protected onSessionClose(): void {
    this.isLost = true;
    this.#handler.onConnectionClose(this);
  }
}

class OracleClientConnection extends OracleConnection implements ClientTransportConnection {
  state: ClientTransportConnection["state"] = "connecting";
  readonly #handler: ClientTransportHandler;
  readonly #client: ClientHttp2Session;
  #wasFull = false;

  constructor(socket: Socket, handler: ClientTransportHandler) {
    const client = connect("http://oracle", {
      createConnection: (): Duplex => socket,
      settings: { enablePush: false },
      maxSessionMemory,
    });
    super(socket, client);
    this.#client = client;
    this.#handler = handler;
    client.once("connect", () => client.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
    client.on("remoteSettings", () => {
      if (this.state === "connecting") {
        this.state = "open";
        handler.onOpen();
      } else handler.onStreamsAvailable();
    });
    client.on("goaway", (_code: number, lastStreamId: number) => this.#onGoaway(lastStreamId));
  }

  get streamsAvailable(): number {
    const max = this.#client.remoteSettings?.maxConcurrentStreams ?? 100;
    return this.state === "open" ? Math.max(0, max - this.streams.size) : 0;
  }

  open(headers: HeaderBlock, handler: StreamHandler, options: { endStream: boolean }): TransportStream {
    if (this.streamsAvailable === 0) throw new Error("no stream available");
    const canceller = new AbortController();
    const requestOptions = { endStream: options.endStream, signal: canceller.signal };
    const stream = this.#client.request(headersObject(headers), requestOptions);
    const ours = new OracleStream(this, stream, handler, false);
    ours.canceller = canceller;
    if (options.endStream) ours.end();
    this.streams.add(ours);
    this.#wasFull = this.streamsAvailable === 0;
    stream.on("response", (_headers: unknown, flags: number, raw: string[]) => {
      handler.onHeaders(headerList(raw), (flags & END_STREAM) !== 0);
    });
    return ours;
  }

  override drain(): void {
    this.#startDraining();
    super.drain();
  }

  override onStreamClosed(stream: OracleStream): void {
    super.onStreamClosed(stream);
    if (this.#wasFull && this.streamsAvailable > 0) {
      this.#wasFull = false;
      this.#handler.onStreamsAvailable();
    }
  }

  protected onSessionClose(): void {
    this.isLost = true;
    this.state = "closed";
    this.#handler.onConnectionClose("the connection was closed");
  }

  #startDraining(): void {
    if (this.state !== "open") return;
    this.state = "draining";
    this.#handler.onDraining();
  }

  #onGoaway(lastStreamId: number): void {
    this.#startDraining();
    for (const stream of this.streams) {
      if (stream.id <= lastStreamId) continue;
      stream.isRefusedByGoaway = true;
      stream.reset(constants.NGHTTP2_REFUSED_STREAM);
    }
  }
}

function peerOf(socket: Socket): Peer {
  const address = socket.remoteAddress === undefined ? "unix:" : `${socket.remoteAddress}:${socket.remotePort}`;
  return { address, isEncrypted: "encrypted" in socket };
}
