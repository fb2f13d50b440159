// Connection machines without sockets: one with a peer played by hand, or two joined to each other.
import { http2Limits, type Http2Limits } from "../../limits.ts";
import { keepBytes } from "../../reading/read-buffer.ts";
import {
  type ClientTransportHandler,
  HeaderBlock,
  type HeaderList,
  type ServerTransportHandler,
  type StreamEnd,
  type StreamHandler,
  type TransportStream,
} from "../../transport.ts";
import { ClientConnection } from "../client-connection.ts";
import type { Connection } from "../connection.ts";
import type { ConnectionOptions, ConnectionResources } from "../connection-options.ts";
import { ReceiveBudget, SharedBytes } from "../flow.ts";
import { PREFACE } from "../frame.ts";
import { type HandOver, SlabPool } from "../output.ts";
import type { Carrier } from "../sender.ts";
import { ServerConnection } from "../server-connection.ts";
import { Setting } from "../settings.ts";
import {
  headersFrame,
  type ParsedFrame,
  parseFrames,
  REQUEST,
  RESPONSE,
  settingsFrame,
  summary,
  windowUpdate,
} from "./frames.ts";

/** A socket in memory. While it is told to keep what it gets, it looks at the bytes only when they are taken from it. */
export class MemoryCarrier implements Carrier {
  #outcome: HandOver = "sent";
  isFlushRequested = false;
  isClosed = false;
  sends = 0;
  #kept: Uint8Array[] = [];

  /** What `send` answers: "kept" and "full" mean that the machine must leave the memory alone. */
  get outcome(): HandOver {
    return this.#outcome;
  }

  /** Once it says "sent", it has looked at all that it kept before. */
  set outcome(outcome: HandOver) {
    this.#outcome = outcome;
    if (outcome === "sent") this.#kept = this.#kept.map((chunk) => Buffer.from(chunk));
  }

  requestFlush(): void {
    this.isFlushRequested = true;
  }

  send(chunks: readonly Uint8Array[]): HandOver {
    this.sends += 1;
    this.#kept.push(...(this.outcome === "sent" ? chunks.map((chunk) => Buffer.from(chunk)) : chunks));
    return this.outcome;
  }

  close(): void {
    this.isClosed = true;
  }

  take(): Buffer {
    const bytes = Buffer.concat(this.#kept);
    this.#kept = [];
    return bytes;
  }
}

/** Hears of a stream and writes down what it hears. */
export class RecordedStream implements StreamHandler {
  readonly events: string[] = [];
  readonly headers: HeaderList[] = [];
  end: StreamEnd | undefined = undefined;
  /** Gives credit back as soon as data arrives. */
  isReading = true;
  stream: TransportStream | undefined = undefined;
  onEvent: ((event: string) => void) | undefined = undefined;
  #parts: Uint8Array[] = [];

  get body(): Buffer {
    return Buffer.concat(this.#parts);
  }

  onHeaders(headers: HeaderList, endStream: boolean): void {
    this.headers.push(headers);
    this.#record(endStream ? "headers, end" : "headers");
  }

  onData(buffer: Buffer, start: number, end: number, endStream: boolean): void {
    this.#parts.push(keepBytes(buffer, start, end));
    if (this.isReading) this.stream?.consume(end - start);
    this.#record(`data ${end - start}${endStream ? ", end" : ""}`);
  }

  onTrailers(trailers: HeaderList): void {
    this.headers.push(trailers);
    this.#record("trailers");
  }

  onWritable(): void {
    this.#record("writable");
  }

  onClose(end: StreamEnd): void {
    this.end = end;
    this.#record(`close by ${end.by} ${end.code}`);
  }

  #record(event: string): void {
    this.events.push(event);
    this.onEvent?.(event);
  }
}

/** A server's handler that records every stream. */
export class RecordedServer implements ServerTransportHandler {
  readonly streams: RecordedStream[] = [];
  closes = 0;
  onNewStream: ((recorded: RecordedStream) => void) | undefined = undefined;

  onStream(stream: TransportStream, headers: HeaderList, endStream: boolean): StreamHandler {
    const recorded = new RecordedStream();
    recorded.stream = stream;
    this.streams.push(recorded);
    recorded.onHeaders(headers, endStream);
    this.onNewStream?.(recorded);
    return recorded;
  }

  onConnectionClose(): void {
    this.closes += 1;
  }
}

export class RecordedClient implements ClientTransportHandler {
  readonly events: string[] = [];
  onEvent: ((event: string) => void) | undefined = undefined;

  onOpen(): void {
    this.#record("open");
  }

  onStreamsAvailable(): void {
    this.#record("available");
  }

  onDraining(): void {
    this.#record("draining");
  }

  onConnectionClose(reason: string): void {
    this.#record(`close: ${reason}`);
  }

  #record(event: string): void {
    this.events.push(event);
    this.onEvent?.(event);
  }
}

/** @param shared what may be unread, and what may wait to be sent. */
export function testResources(
  budgetBytes = 256 * 1024 * 1024,
  shared: { readonly unread?: number; readonly queued?: number } = {},
): ConnectionResources {
  return {
    slabs: new SlabPool(),
    receiveBudget: new ReceiveBudget(budgetBytes),
    unread: new SharedBytes(shared.unread ?? Infinity),
    queued: new SharedBytes(shared.queued ?? Infinity),
  };
}

export interface MachineOptions {
  readonly limits?: Partial<Http2Limits>;
  readonly resources?: ConnectionResources;
  readonly isEncrypted?: boolean;
}

function connectionOptions(options: MachineOptions): ConnectionOptions {
  const { limits = {}, resources = testResources(), isEncrypted = false } = options;
  return { limits: http2Limits(limits), resources, peer: { address: "memory", isEncrypted } };
}

/** A connection machine whose peer is the test. */
export class Driven<C extends Connection> {
  readonly connection: C;
  readonly carrier: MemoryCarrier;
  nowMs = 0;

  constructor(connection: C, carrier: MemoryCarrier) {
    this.connection = connection;
    this.carrier = carrier;
  }

  /** The peer sends. */
  receive(...parts: readonly Uint8Array[]): void {
    this.connection.receive(Buffer.concat(parts), this.nowMs);
  }

  /** What the machine has sent since the last call, one flush included. */
  sent(): ParsedFrame[] {
    this.carrier.isFlushRequested = false;
    this.connection.flush();
    return parseFrames(this.carrier.take());
  }

  /** What it sends until it asks for no more flushes. */
  allSent(): ParsedFrame[] {
    const frames = this.sent();
    while (this.carrier.isFlushRequested) frames.push(...this.sent());
    return frames;
  }
}

export interface ServerMachineOptions extends MachineOptions {
  readonly peerSettings?: readonly number[];
  readonly headersTooLarge?: HeaderBlock;
}

/** A server machine whose client has said nothing yet. */
export function freshServer(options: ServerMachineOptions = {}): DrivenServer {
  const carrier = new MemoryCarrier();
  const server = new RecordedServer();
  const { headersTooLarge } = options;
  const connection = new ServerConnection(carrier, server, { ...connectionOptions(options), headersTooLarge });
  return Object.assign(new Driven(connection, carrier), { server });
}

/** A server machine after the handshake; `sent` starts after its SETTINGS. */
export function drivenServer(options: ServerMachineOptions = {}): DrivenServer {
  const driven = freshServer(options);
  driven.receive(PREFACE, settingsFrame(...(options.peerSettings ?? [])));
  driven.sent();
  return driven;
}

export type DrivenServer = Driven<ServerConnection> & { readonly server: RecordedServer };

/** Whether the connection is in order: a request on `streamId` is heard of as it was sent, and answered. */
export function isServing(driven: DrivenServer, streamId: number): boolean {
  const fields = [...REQUEST, "probe", String(streamId)];
  driven.receive(headersFrame(streamId, fields, { endStream: true }));
  const recorded = driven.server.streams.at(-1);
  if (recorded?.headers[0]?.fields.join() !== fields.join()) return false;
  recorded.stream?.sendHeaders(new HeaderBlock(RESPONSE), { endStream: true });
  return summary(driven.sent()).includes(`HEADERS ${streamId} end`);
}

/** A client that never holds anything up. */
const WIDE = [Setting.INITIAL_WINDOW_SIZE, 0x7fffffff];

/** A server with `count` open streams whose requests have ended and whose response headers were sent. */
export function serving(
  count: number,
  options: MachineOptions = {},
): DrivenServer & { readonly streams: TransportStream[] } {
  const driven = drivenServer({ ...options, peerSettings: WIDE });
  driven.receive(windowUpdate(0, 0x7fffffff - 65_535));
  for (let id = 1; id < 2 * count; id += 2) driven.receive(headersFrame(id, REQUEST, { endStream: true }));
  const streams = driven.server.streams.map((each) => each.stream!);
  for (const stream of streams) stream.sendHeaders(new HeaderBlock(RESPONSE), { endStream: false });
  driven.sent();
  return Object.assign(driven, { streams });
}

export type DrivenClient = Driven<ClientConnection> & { readonly client: RecordedClient };

/** A client machine whose server has said nothing yet. */
export function freshClient(options: MachineOptions = {}): DrivenClient {
  const carrier = new MemoryCarrier();
  const client = new RecordedClient();
  return Object.assign(new Driven(new ClientConnection(carrier, client, connectionOptions(options)), carrier), {
    client,
  });
}

/** A client machine after the handshake; `sent` starts after its SETTINGS. */
export function drivenClient(
  options: MachineOptions & { readonly peerSettings?: readonly number[] } = {},
): DrivenClient {
  const driven = freshClient(options);
  driven.receive(settingsFrame(...(options.peerSettings ?? [])));
  driven.connection.flush();
  driven.carrier.take();
  return driven;
}

/** A client and a server, joined. */
export class JoinedPair {
  readonly server = new RecordedServer();
  readonly client = new RecordedClient();
  readonly #serverCarrier = new MemoryCarrier();
  readonly #clientCarrier = new MemoryCarrier();
  readonly serverConnection: ServerConnection;
  readonly clientConnection: ClientConnection;
  /** Cuts what one side receives into pieces. */
  cut: (bytes: Buffer) => Buffer[] = (bytes) => [bytes];
  /** Every byte, by who sent it: for checks of what went over the wire. */
  readonly wire = { server: [] as Buffer[], client: [] as Buffer[] };

  constructor(serverOptions: MachineOptions = {}, clientOptions: MachineOptions = {}) {
    this.serverConnection = new ServerConnection(this.#serverCarrier, this.server, connectionOptions(serverOptions));
    this.clientConnection = new ClientConnection(this.#clientCarrier, this.client, connectionOptions(clientOptions));
    this.run();
  }

  /** Carries bytes both ways until nothing moves. */
  run(): void {
    for (let isMoving = true; isMoving;) {
      const fromClient = this.#step(
        this.clientConnection,
        this.#clientCarrier,
        this.serverConnection,
        this.wire.client,
      );
      const fromServer = this.#step(
        this.serverConnection,
        this.#serverCarrier,
        this.clientConnection,
        this.wire.server,
      );
      isMoving = fromClient || fromServer;
    }
  }

  open(fields: readonly string[], options = { endStream: false }): RecordedStream {
    const recorded = new RecordedStream();
    recorded.stream = this.clientConnection.open(new HeaderBlock(fields), recorded, options);
    return recorded;
  }

  #step(from: Connection, carrier: MemoryCarrier, to: Connection, wire: Buffer[]): boolean {
    from.flush();
    const bytes = carrier.take();
    if (bytes.length > 0) wire.push(bytes);
    for (const piece of this.cut(bytes)) to.receive(piece, 0);
    if (carrier.isClosed) to.disconnected("the other side closed");
    return bytes.length > 0;
  }
}
