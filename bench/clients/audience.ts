// Devices that hear a broadcast, and who sends one: of our server, of a WebSocket server, of NATS. On raw sockets, each by
// what its protocol needs and no more; what arrives is counted, not kept.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { PublishRequestSchema, PublishResponseSchema, SubscriptionRequestSchema } from "@sluice/api";
import { MessageCounters, MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

export type Protocol = "sluice" | "ws" | "nats";

/** A device has the messages from..to, counted from 0. */
export type OnDelivery = (from: number, to: number) => void;

/** What one connection of devices or of a publisher is. */
export interface Line {
  close(): void;
  readonly failure: Promise<never>;
}

export interface Publisher extends Line {
  /** Resolves when the server has answered that it is out; one at a time. */
  publish(): Promise<void>;
}

export interface AudienceTask {
  readonly address: string;
  readonly protocol: Protocol;
  readonly connections: number;
  readonly devicesPerConnection: number;
  /** Of a message, where the protocol leaves that to us. */
  readonly payloadBytes: number;
}

/** Resolves when all devices are ready to hear. */
export async function openAudience(task: AudienceTask, onDelivery: OnDelivery): Promise<Line[]> {
  const open = { sluice: openSluice, ws: openWebSocket, nats: openNats }[task.protocol];
  const lines: Line[] = [];
  for (let first = 0; first < task.connections; first += OPENED_AT_ONCE) {
    const count = Math.min(OPENED_AT_ONCE, task.connections - first);
    const some = Array.from({ length: count }, (_, i) => open(task, first + i, onDelivery));
    lines.push(...(await Promise.all(some)));
  }
  return lines;
}

export async function openPublisher(task: AudienceTask): Promise<Publisher> {
  return await { sluice: publishSluice, ws: publishWebSocket, nats: publishNats }[task.protocol](task);
}

/** Less than what a server lets wait to be accepted. */
const OPENED_AT_ONCE = 200;
const SUBSCRIBE_PATH = "/notification.NotificationService/SubscribeToNotifications";
export const PUBLISH_PATH = "/sluice.notifications.v1.NotificationService/Publish";

/** Users, one device each, as streams of one connection. */
async function openSluice(task: AudienceTask, index: number, onDelivery: OnDelivery): Promise<Line> {
  const { address, devicesPerConnection } = task;
  const counters = new MessageCounters(devicesPerConnection);
  const ready = Promise.withResolvers<void>();
  let openStreams = 0;
  const handler: WireHandler = {
    onData(streamId, buffer, start, end) {
      const device = streamId >> 1;
      const before = counters.messages[device] ?? 0;
      const came = counters.take(device, buffer, start, end);
      if (came > 0) onDelivery(before, before + came);
    },
    onHeaders() {
      if (++openStreams === devicesPerConnection) ready.resolve();
    },
    onEnd(streamId) {
      ready.reject(new Error(`The server ended the subscription on stream ${streamId}`));
    },
    onReadEnd() {},
  };
  const connection = await WireConnection.open(address, handler);
  const encoder = new HeaderEncoder();
  for (let device = 0; device < devicesPerConnection; device++) {
    const streamId = device * 2 + 1;
    const userId = userName(index * devicesPerConnection + device);
    subscribe(connection, encoder, { address, streamId, userId, onlyNew: true });
  }
  await Promise.race([ready.promise, connection.failure]);
  return connection;
}

/** Of a number, always as long. */
export function userName(number: number): string {
  return `user-${String(number).padStart(7, "0")}`;
}

/** Begins a subscription, on a stream of its own. */
export function subscribe(
  connection: WireConnection,
  encoder: HeaderEncoder,
  of: { readonly address: string; readonly streamId: number; readonly userId: string; readonly onlyNew: boolean },
): void {
  const { address, streamId, userId, onlyNew } = of;
  const request = create(SubscriptionRequestSchema, { userId, onlyNew, heartbeatMs: 0 });
  const body = grpcFrame(toBinary(SubscriptionRequestSchema, request));
  const block = encoder.encode(requestFields(SUBSCRIBE_PATH, address, "plain", 0));
  connection.write(frame(frameType.headers, flag.endHeaders, streamId, block));
  connection.send(streamId, dataFrames(streamId, body, { endStream: true }));
}

async function publishSluice({ address, payloadBytes }: AudienceTask): Promise<Publisher> {
  let answered = Promise.withResolvers<void>();
  const reader = new MessageReader();
  const handler: WireHandler = {
    onData(_streamId, buffer, start, end) {
      for (const message of reader.take(buffer.subarray(start, end))) {
        const [outcome] = fromBinary(PublishResponseSchema, message).outcomes;
        if (outcome?.id === "" || outcome === undefined) answered.reject(new Error(`Refused: ${outcome?.error}`));
      }
    },
    onHeaders() {},
    onEnd: () => answered.resolve(),
    onReadEnd() {},
  };
  const connection = await WireConnection.open(address, handler);
  const encoder = new HeaderEncoder();
  const notifications = [{ everyone: true, type: "bench", title: "Broadcast", message: "x".repeat(payloadBytes) }];
  const body = grpcFrame(toBinary(PublishRequestSchema, create(PublishRequestSchema, { notifications })));
  let streamId = -1;
  return {
    failure: connection.failure,
    close: () => connection.close(),
    async publish() {
      streamId += 2;
      answered = Promise.withResolvers();
      const block = encoder.encode(requestFields(PUBLISH_PATH, address, "plain", 0));
      connection.write(frame(frameType.headers, flag.endHeaders, streamId, block));
      connection.send(streamId, dataFrames(streamId, body, { endStream: true }));
      await answered.promise;
    },
  };
}

/** A WebSocket is one device's. */
async function openWebSocket({ address }: AudienceTask, _index: number, onDelivery: OnDelivery): Promise<Line> {
  const counter = new WebSocketCounter();
  let seen = 0;
  return await shakeHands(address, "/device", (bytes) => {
    const came = counter.take(bytes);
    if (came > 0) onDelivery(seen, (seen += came));
  });
}

async function publishWebSocket({ address, payloadBytes }: AudienceTask): Promise<Publisher> {
  let answered = Promise.withResolvers<void>();
  const counter = new WebSocketCounter();
  const line = await shakeHands(address, "/publisher", (bytes) => {
    if (counter.take(bytes) > 0) answered.resolve();
  });
  // Binary, whole, masked by zero; of 126 to 65,535 bytes.
  const head = Buffer.from([0x82, 0x80 | 126, 0, 0, 0, 0, 0, 0]);
  head.writeUInt16BE(payloadBytes, 2);
  const message = Buffer.concat([head, Buffer.alloc(payloadBytes, "x")]);
  return {
    ...line,
    async publish() {
      answered = Promise.withResolvers();
      line.socket.write(message);
      await answered.promise;
    },
  };
}

/** Whole frames of a server (RFC 6455, 5.2), wherever the pieces end. */
class WebSocketCounter {
  readonly #head = Buffer.alloc(10);
  #headBytes = 0;
  #bodyLeft = 0;

  take(bytes: Buffer): number {
    let came = 0;
    for (let at = 0; at < bytes.length;) {
      if (this.#bodyLeft > 0) {
        const step = Math.min(this.#bodyLeft, bytes.length - at);
        at += step;
        this.#bodyLeft -= step;
        if (this.#bodyLeft === 0) came++;
        continue;
      }
      this.#head[this.#headBytes++] = bytes[at++]!;
      if (this.#headBytes < 2) continue;
      const short = this.#head[1]! & 127;
      const wanted = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (this.#headBytes < wanted) continue;
      this.#headBytes = 0;
      this.#bodyLeft = short === 126 ? this.#head.readUInt16BE(2) : short === 127 ? this.#head.readUInt32BE(6) : short;
      if (this.#bodyLeft === 0) came++;
    }
    return came;
  }
}

/** RFC 6455, 4.1. */
async function shakeHands(
  address: string,
  path: string,
  onBytes: (bytes: Buffer) => void,
): Promise<Line & { readonly socket: Socket }> {
  const fields = [
    `Host: ${address}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    "Sec-WebSocket-Version: 13",
  ];
  const line = await openLine(address);
  line.socket.write([`GET ${path} HTTP/1.1`, ...fields, "", ""].join("\r\n"));
  const [answer] = (await Promise.race([once(line.socket, "data"), line.failure])) as [Buffer];
  const end = answer.indexOf("\r\n\r\n") + 4;
  if (!answer.toString("latin1").startsWith("HTTP/1.1 101") || end < 4)
    throw new Error(`No WebSocket: ${String(answer)}`);
  if (end < answer.length) onBytes(answer.subarray(end));
  line.socket.on("data", onBytes);
  return line;
}

/** Subscriptions of one connection, as many as there are devices: NATS sends a message for each of them. */
async function openNats(task: AudienceTask, _index: number, onDelivery: OnDelivery): Promise<Line> {
  const { address, devicesPerConnection } = task;
  const seen = new Float64Array(devicesPerConnection);
  const ready = Promise.withResolvers<void>();
  const line = await openLine(address);
  const reader = new NatsReader({
    onMessage(device) {
      const before = seen[device]!++;
      onDelivery(before, before + 1);
    },
    onPing: () => line.socket.write("PONG\r\n"),
    onPong: () => ready.resolve(),
  });
  line.socket.on("data", (bytes: Buffer) => reader.take(bytes));
  const subscriptions = Array.from({ length: devicesPerConnection }, (_, i) => `SUB broadcast ${i}\r\n`);
  line.socket.write(`${NATS_HELLO}${subscriptions.join("")}PING\r\n`);
  await Promise.race([ready.promise, line.failure]);
  return line;
}

/** It is answered when the server has answered the PING behind it. */
async function publishNats({ address, payloadBytes }: AudienceTask): Promise<Publisher> {
  let answered = Promise.withResolvers<void>();
  const line = await openLine(address);
  const reader = new NatsReader({
    onMessage: () => {},
    onPing: () => line.socket.write("PONG\r\n"),
    onPong: () => answered.resolve(),
  });
  line.socket.on("data", (bytes: Buffer) => reader.take(bytes));
  line.socket.write(NATS_HELLO);
  const message = Buffer.from(`PUB broadcast ${payloadBytes}\r\n${"x".repeat(payloadBytes)}\r\nPING\r\n`);
  return {
    ...line,
    async publish() {
      answered = Promise.withResolvers();
      line.socket.write(message);
      await answered.promise;
    },
  };
}

const NATS_HELLO = 'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1","protocol":1}\r\n';
const LF = 10;

interface NatsHandler {
  /** @param id of the subscription */
  readonly onMessage: (id: number) => void;
  readonly onPing: () => void;
  readonly onPong: () => void;
}

/** What a NATS server says: lines, and behind those of MSG a body. */
class NatsReader {
  readonly #handler: NatsHandler;
  #line = "";
  #bodyLeft = 0;

  constructor(handler: NatsHandler) {
    this.#handler = handler;
  }

  take(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#bodyLeft > 0) {
        const step = Math.min(this.#bodyLeft, bytes.length - at);
        at += step;
        this.#bodyLeft -= step;
        continue;
      }
      const end = bytes.indexOf(LF, at);
      this.#line += bytes.toString("latin1", at, end < 0 ? bytes.length : end);
      if (end < 0) return;
      at = end + 1;
      this.#onLine(this.#line);
      this.#line = "";
    }
  }

  #onLine(line: string): void {
    if (line.startsWith("MSG ")) {
      const [, , id = "", bytes = ""] = line.split(" ");
      this.#bodyLeft = Number.parseInt(bytes, 10) + 2;
      this.#handler.onMessage(Number(id));
    } else if (line.startsWith("PING")) this.#handler.onPing();
    else if (line.startsWith("PONG")) this.#handler.onPong();
    else if (line.startsWith("-ERR")) throw new Error(`NATS says ${line}`);
  }
}

/** A connection of raw bytes. */
export async function openLine(address: string): Promise<Line & { readonly socket: Socket }> {
  const colon = address.lastIndexOf(":");
  const socket = connect({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)), noDelay: true });
  const { promise: failure, reject } = Promise.withResolvers<never>();
  failure.catch(() => {});
  let isClosing = false;
  socket.on("error", reject);
  socket.on("close", () => isClosing || reject(new Error(`${address} closed a connection`)));
  await Promise.race([once(socket, "connect"), failure]);
  const close = (): void => {
    isClosing = true;
    socket.destroy();
  };
  return { socket, failure, close };
}
