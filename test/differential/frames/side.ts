// One of the two that are compared: an HTTP/2 server on either transport, and connections to it that speak in frames.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { SocketTransport } from "@sluice/rpc";
import { ErrorCode, Flag, FrameType, PREFACE } from "../../../packages/rpc/src/http2/frame.ts";
import { HpackDecoder } from "../../../packages/rpc/src/http2/hpack.ts";
import {
  frame,
  type ParsedFrame,
  parseFrames,
  SETTINGS_ACK,
  settingsFrame,
  uint32,
} from "../../../packages/rpc/src/http2/testing/frames.ts";
import {
  HeaderBlock,
  type HeaderList,
  type ServerTransportHandler,
  type StreamHandler,
  type TransportStream,
} from "../../../packages/rpc/src/transport.ts";

/** What a server did about the frames of one step. */
export interface Outcome {
  /** In words: "connection error PROTOCOL_ERROR", "request, response 200, response ends", "ignored". */
  readonly text: string;
  /** The connection is over. */
  readonly isOver: boolean;
}

/** A connection to one side, after the handshake unless it was opened raw. */
export interface Conversation extends Disposable {
  /** Sends the frames and waits until the server has dealt with them, or has ended the connection. */
  say(bytes: Uint8Array): Promise<Outcome>;
}

export interface Side extends AsyncDisposable {
  /** @param options.isRaw nothing was sent yet, not even the preface. */
  open(options?: { isRaw: boolean }): Promise<Conversation>;
}

/** What the server does with a request, by its path. */
export const Path = {
  /** Nothing: the stream stays open. */
  HOLD: "/hold",
  /** Answers when the request has ended. */
  ANSWER: "/answer",
  /** Answers at once, whatever is still to come of the request. */
  EARLY: "/early",
} as const;

const RESPONSE = new HeaderBlock([":status", "200"]);
const PLAIN_FIELDS: ReadonlySet<string> = new Set([":method", ":scheme", ":path", ":authority"]);
/** A server that answers nothing at all in this time, in ms, hangs; both take well below one. */
const SILENCE_MS = 10_000;

export async function startSide(transport: SocketTransport): Promise<Side> {
  const heard = new Map<number, string[]>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    const log: string[] = [];
    heard.set(socket.remotePort ?? 0, log);
    transport.serveSocket(socket, recordingHandler(log));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    async open({ isRaw } = { isRaw: false }) {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true });
      await once(socket, "connect");
      const ownPort = socket.localPort ?? 0;
      const conversation = new SocketConversation(socket, () => heard.get(ownPort)?.splice(0) ?? []);
      if (!isRaw) await conversation.say(Buffer.concat([PREFACE, settingsFrame(), SETTINGS_ACK]));
      return conversation;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

function nameOfError(code: number): string {
  return Object.entries(ErrorCode).find(([, value]) => value === code)?.[0] ?? `code ${code}`;
}

/** Writes down what a handler hears, and answers as the path says. */
function recordingHandler(log: string[]): ServerTransportHandler {
  return {
    onStream(stream: TransportStream, headers: HeaderList, endStream: boolean): StreamHandler {
      const path = headers.fields[headers.fields.indexOf(":path") + 1];
      log.push(["request", ...oddFields(headers)].join(" "));
      const answer = (isRightTime: boolean): void => {
        if (isRightTime) stream.sendHeaders(RESPONSE, { endStream: true });
      };
      if (endStream) log.push("end");
      answer(path === Path.EARLY || (endStream && path === Path.ANSWER));
      return {
        onHeaders() {},
        onData(_buffer, start, end, isLast) {
          stream.consume(end - start);
          if (end > start) log.push(`data ${end - start}`);
          if (isLast) log.push("end");
          answer(isLast && path === Path.ANSWER);
        },
        onTrailers(trailers) {
          log.push(["trailers", ...oddFields(trailers)].join(" "));
          answer(path === Path.ANSWER);
        },
        onWritable() {},
        onClose({ by, code }) {
          if (by === "peer-reset") log.push(`reset ${nameOfError(code)}`);
        },
      };
    },
    onConnectionClose() {},
  };
}

/** "name=value" of the fields that not every request has. */
function oddFields({ fields }: HeaderList): string[] {
  const odd: string[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    if (!PLAIN_FIELDS.has(fields[at]!)) odd.push(`${fields[at]}=${JSON.stringify(fields[at + 1])}`);
  }
  return odd;
}

class SocketConversation implements Conversation {
  readonly #socket: Socket;
  readonly #takeHeard: () => string[];
  readonly #decoder = new HpackDecoder(4096, 65_536);
  #rest: Buffer = Buffer.alloc(0);
  #frames: ParsedFrame[] = [];
  #isOver = false;
  #pings = 0;
  #acknowledged = 0;
  #onNews = Promise.withResolvers<void>();

  constructor(socket: Socket, takeHeard: () => string[]) {
    this.#socket = socket;
    this.#takeHeard = takeHeard;
    socket.on("data", (bytes: Buffer) => this.#read(bytes));
    // A reset of the TCP connection is an end like any other.
    socket.on("error", () => {});
    const end = (): void => {
      this.#isOver = true;
      this.#onNews.resolve();
    };
    socket.once("end", end);
    socket.once("close", end);
  }

  async say(bytes: Uint8Array): Promise<Outcome> {
    // Two round trips: a handler may hear of the frames only after the first answer has left.
    await this.#barrier(bytes);
    await this.#barrier(Buffer.alloc(0));
    return this.#outcome();
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  async #barrier(bytes: Uint8Array): Promise<void> {
    if (this.#isOver) return;
    this.#pings += 1;
    this.#socket.write(Buffer.concat([bytes, frame(FrameType.PING, 0, 0, uint32(BARRIER, this.#pings))]));
    const silence = setTimeout(() => this.#onNews.reject(new Error("The server does not answer.")), SILENCE_MS);
    try {
      while (!this.#isOver && this.#acknowledged < this.#pings) {
        await this.#onNews.promise;
        this.#onNews = Promise.withResolvers<void>();
      }
    } finally {
      clearTimeout(silence);
    }
  }

  #read(bytes: Buffer): void {
    const all = Buffer.concat([this.#rest, bytes]);
    let whole = 0;
    while (whole + 9 <= all.length && whole + 9 + all.readUIntBE(whole, 3) <= all.length) {
      whole += 9 + all.readUIntBE(whole, 3);
    }
    this.#rest = all.subarray(whole);
    for (const each of parseFrames(all.subarray(0, whole))) {
      const isBarrier = each.type === FrameType.PING && each.payload.readUInt32BE(0) === BARRIER;
      if (isBarrier) this.#acknowledged = each.payload.readUInt32BE(4);
      else this.#frames.push(each);
      if (each.type === FrameType.GOAWAY && each.payload.readUInt32BE(4) !== 0) this.#isOver = true;
    }
    this.#onNews.resolve();
  }

  #outcome(): Outcome {
    const frames = this.#frames;
    this.#frames = [];
    const heard = this.#takeHeard();
    const seen = frames.flatMap((each) => this.#describe(each));
    const goaway = seen.find((each) => each.startsWith("connection error"));
    if (this.#isOver) return { text: goaway ?? "closed without an error", isOver: true };
    // How a handler hears of the end of a stream that the server itself has reset is not to be compared.
    const isReset = seen.some((each) => each.startsWith("stream error"));
    const told = isReset ? heard.filter((each) => each !== "end" && !each.startsWith("reset")) : heard;
    return { text: [...told, ...seen].join(", ") || "ignored", isOver: false };
  }

  /** What is to be compared of a frame: how much window a server grants, and whether it announces its end, is its own affair. */
  #describe({ type, flags, streamId, payload }: ParsedFrame): string[] {
    const isEnd = (flags & Flag.END_STREAM) !== 0;
    switch (type) {
      case FrameType.HEADERS: {
        const { status } = this.#decoder.decode(payload, 0, payload.length);
        return [...(status === 0 ? [] : [`response ${status}`]), ...(isEnd ? ["response ends"] : [])];
      }
      case FrameType.DATA:
        return isEnd ? ["response ends"] : [];
      case FrameType.RST_STREAM:
        return [`stream error ${nameOfError(payload.readUInt32BE(0))} on ${streamId}`];
      case FrameType.GOAWAY: {
        const code = payload.readUInt32BE(4);
        return code === 0 ? [] : [`connection error ${nameOfError(code)}`];
      }
      case FrameType.PING:
        return ["PING acknowledged"];
      case FrameType.SETTINGS:
        return isEnd ? ["SETTINGS acknowledged"] : [];
      default:
        return [];
    }
  }
}

/** The first half of every PING that only asks whether all before it was read. */
const BARRIER = 0x5eed_0001;
