// What the suite of the RPC core stands on: an echo server and a client over a real socket, on either transport.
import { connect } from "node:net";
import {
  createClient,
  createServer,
  listen,
  openChannel,
  serve,
  type Channel,
  type ChannelOptions,
  type Client,
  type Listener,
  type RpcServer,
  type ServedService,
  type ServerOptions,
  type ServiceHandlers,
  type SocketTransport,
} from "@sluice/rpc";
import { describe, expect } from "vitest";
import { ownHttp2 } from "../../packages/rpc/src/socket-transport.ts";
import {
  HeaderBlock,
  type ClientTransportConnection,
  type HeaderList,
  type StreamEnd,
  type StreamHandler,
  type TransportStream,
} from "../../packages/rpc/src/transport.ts";
import { nodeHttp2Transport } from "../support/node-http2-transport.ts";
import { EchoService } from "./gen/echo_pb.ts";

/** Defines the same tests for the package's own HTTP/2 and for the oracle. */
export function overBothTransports(define: (transport: SocketTransport) => void): void {
  describe.each([
    ["our HTTP/2", ownHttp2()],
    ["node:http2", nodeHttp2Transport],
  ])("over %s", (_name, transport) => {
    define(transport);
  });
}

export const echoHandlers: ServiceHandlers<typeof EchoService> = {
  echo: ({ text, payload }) => ({ text, payload }),
  async *count({ count, payloadBytes }) {
    const payload = new Uint8Array(payloadBytes);
    for (let index = 0; index < count; index++) yield { index, payload };
  },
  async sum(requests) {
    let sum = 0n;
    let messages = 0;
    let bytes = 0n;
    for await (const { value, payload } of requests) {
      sum += value;
      messages++;
      bytes += BigInt(payload.length);
    }
    return { sum, messages, bytes };
  },
  async *chat(requests) {
    for await (const { text } of requests) yield { text };
  },
};

export interface Echo extends AsyncDisposable {
  readonly server: RpcServer;
  readonly listener: Listener;
  readonly channel: Channel;
  readonly client: Client<typeof EchoService>;
  /** What `onError` heard. */
  readonly errors: unknown[];
}

export interface EchoOptions extends Omit<ServerOptions, "services"> {
  /** Replace the usual ones. */
  readonly handlers?: ServiceHandlers<typeof EchoService>;
  readonly services?: readonly ServedService[];
  readonly channel?: ChannelOptions;
}

/** Starts server and client. Their end checks that no call, handler or deadline is left. */
export async function startEcho(transport: SocketTransport, options: EchoOptions = {}): Promise<Echo> {
  const { handlers, services = [], channel: channelOptions, ...serverOptions } = options;
  const errors: unknown[] = [];
  const server = createServer({
    onError: (error) => errors.push(error),
    ...serverOptions,
    services: [serve(EchoService, { ...echoHandlers, ...handlers }), ...services],
  });
  const listener = await listen(server, { transport });
  const channel = openChannel(listener.address, { transport, ...channelOptions });
  return {
    server,
    listener,
    channel,
    client: createClient(EchoService, channel),
    errors,
    async [Symbol.asyncDispose]() {
      await channel.close();
      await listener.drain({ graceMs: 0 });
      expect(channel.openCalls).toBe(0);
      await expectIdle(server);
    },
  };
}

export interface Plain extends AsyncDisposable {
  readonly listener: Listener;
  readonly channel: Channel;
  readonly client: Client<typeof EchoService>;
}

/** A server below gRPC, which answers as the test likes, and a client of the echo service on it. */
export async function startPlain(
  transport: SocketTransport,
  answer: (stream: TransportStream, headers: HeaderList) => Partial<StreamHandler> | void,
  options?: ChannelOptions,
): Promise<Plain> {
  const nothing: StreamHandler = { onHeaders() {}, onData() {}, onTrailers() {}, onWritable() {}, onClose() {} };
  const server: RpcServer = {
    services: [],
    openCalls: 0,
    runningHandlers: 0,
    heldBytes: 0,
    armedDeadlines: 0,
    terminateCalls() {},
    onConnectionClose() {},
    onStream: (stream, headers) => ({ ...nothing, ...answer(stream, headers) }),
  };
  const listener = await listen(server, { transport });
  const channel = openChannel(listener.address, { transport, ...options });
  return {
    listener,
    channel,
    client: createClient(EchoService, channel),
    async [Symbol.asyncDispose]() {
      await channel.close();
      await listener.drain({ graceMs: 0 });
      expect(channel.openCalls).toBe(0);
    },
  };
}

/** Waits until nothing of any call is left on the server. */
export async function expectIdle(server: RpcServer): Promise<void> {
  await expect
    .poll(() => ({
      calls: server.openCalls,
      handlers: server.runningHandlers,
      deadlines: server.armedDeadlines,
      heldBytes: server.heldBytes,
    }))
    .toEqual({ calls: 0, handlers: 0, deadlines: 0, heldBytes: 0 });
}

/** Many calls at once, with messages of 40 KB and more: each gets what it has sent. */
export async function expectOwnBytes(client: Client<typeof EchoService>, callers: number): Promise<void> {
  const callOf = async (caller: number): Promise<void> => {
    for (let round = 0; round < 10; round++) {
      const payload = new Uint8Array(40_000 + 1000 * caller).map((_, at) => at * caller + round);
      const { payload: answer } = await client.echo({ payload });
      if (Buffer.compare(answer, payload) !== 0) throw new Error(`caller ${caller}, round ${round}: other bytes`);
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => callOf(caller)));
}

/** What came back on a stream that was opened by hand. */
export interface Answer {
  headers: HeaderList | undefined;
  /** The headers were all of it. */
  isTrailersOnly: boolean;
  data: Buffer;
  trailers: HeaderList | undefined;
  end: StreamEnd;
}

export interface WireStream {
  readonly stream: TransportStream;
  /** What has come so far. */
  readonly soFar: Partial<Answer>;
  /** Resolves when the stream is closed. */
  readonly closed: Promise<Answer>;
}

/** A client below gRPC: header lists and bytes as the test likes them. */
export interface Wire extends AsyncDisposable {
  readonly connection: ClientTransportConnection;
  open(fields: readonly string[], options?: { endStream: boolean }): WireStream;
  /** Sends the pieces as they are and ends the stream. */
  request(fields: readonly string[], ...pieces: readonly Uint8Array[]): Promise<Answer>;
}

/** Header fields of a call of EchoService; `more` replaces and adds. */
export function callFields(method: string, more: Readonly<Record<string, string>> = {}): string[] {
  const fields = {
    ":method": "POST",
    ":scheme": "http",
    ":path": `/${EchoService.typeName}/${method}`,
    ":authority": "test",
    te: "trailers",
    "content-type": "application/grpc",
    ...more,
  };
  return Object.entries(fields).flat();
}

export function fieldOf(list: HeaderList | undefined, name: string): string | undefined {
  const at = list?.fields.findIndex((each, index) => index % 2 === 0 && each === name) ?? -1;
  return at < 0 ? undefined : list?.fields[at + 1];
}

export async function openWire(transport: SocketTransport, address: string): Promise<Wire> {
  const [host = "", port = ""] = address.split(":");
  const socket = connect({ host, port: Number(port) });
  const closed = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  socket.once("close", () => closed.resolve());
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  const connection = transport.connectSocket(socket, {
    onOpen: () => opened.resolve(),
    onStreamsAvailable() {},
    onDraining() {},
    onConnectionClose() {},
  });
  await opened.promise;
  const open = (fields: readonly string[], options = { endStream: false }): WireStream =>
    openStream(connection, fields, options);
  return {
    connection,
    open,
    async request(fields, ...pieces) {
      const { stream, closed: answer } = open(fields);
      for (const piece of pieces) stream.write(piece);
      stream.end();
      return answer;
    },
    async [Symbol.asyncDispose]() {
      connection.destroy(0, "the test is over");
      await closed.promise;
    },
  };
}

function openStream(
  connection: ClientTransportConnection,
  fields: readonly string[],
  options: { endStream: boolean },
): WireStream {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const soFar: Partial<Answer> & { data: Buffer; isTrailersOnly: boolean } = {
    data: Buffer.alloc(0),
    isTrailersOnly: false,
  };
  const stream = connection.open(
    new HeaderBlock(fields),
    {
      onHeaders(headers, endStream) {
        soFar.headers = headers;
        soFar.isTrailersOnly = endStream;
      },
      onData(buffer, start, end) {
        soFar.data = Buffer.concat([soFar.data, buffer.subarray(start, end)]);
        stream.consume(end - start);
      },
      onTrailers(trailers) {
        soFar.trailers = trailers;
      },
      onWritable() {},
      onClose(end) {
        resolve({
          headers: soFar.headers,
          trailers: soFar.trailers,
          isTrailersOnly: soFar.isTrailersOnly,
          data: soFar.data,
          end,
        });
      },
    },
    options,
  );
  return { stream, soFar, closed: promise };
}

const SERVICE = `/${EchoService.typeName}`;

/** Paths that somebody might take for that of Echo, which none of them is. */
export const otherSpellings: readonly string[] = [
  `/${SERVICE}/Echo`,
  `${SERVICE}//Echo`,
  `${SERVICE}/Echo/`,
  `${SERVICE}/echo`,
  `${SERVICE.toUpperCase()}/Echo`,
  `${SERVICE}%2FEcho`,
  `${SERVICE}/%45cho`,
  `${SERVICE}/./Echo`,
  `${SERVICE}/../${EchoService.typeName}/Echo`,
  `${SERVICE}/Echo?x=1`,
  `${SERVICE}/Echo#x`,
  `${SERVICE};/Echo`,
  `${SERVICE}/Echo%00`,
  `${SERVICE}\\Echo`,
  `http://test${SERVICE}/Echo`,
];
