// One HTTP/2 connection of a load client, over a bare socket. It does only what measuring needs: it sends bytes that
// were prepared beforehand, and tells of what arrives without an object per frame.
//
// W1. What arrives is read into one buffer, again and again: a handler must not keep a subarray of it.
// W2. Nothing leaves beyond the server's windows: `sendWindow` is spent by `write`'s caller, queues by `send`.

import { connect, type Socket } from "node:net";

export const frameHeaderBytes = 9;
export const frameType = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 } as const;
export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

const windowMax = 2 ** 31 - 1;
const defaultWindow = 65_535;
const readBufferBytes = 2 ** 20;
/** Received bytes after which the connection's window is refilled. */
const refillBytes = 2 ** 29;
export const frameBytesMax = 16_384;

export interface WireHandler {
  /** Bytes of a stream's body; a DATA frame may come in several pieces. */
  onData(streamId: number, buffer: Buffer, start: number, end: number): void;
  /** A whole header block: headers or trailers. */
  onHeaders(streamId: number, block: Buffer): void;
  /** The server ended the stream, after all else of it. */
  onEnd(streamId: number): void;
  /** After all that one read brought: the place to send what comes next. */
  onReadEnd(): void;
}

interface OutgoingStream {
  window: number;
  /** DATA frames, header and all, that wait for the windows. */
  readonly queue: Buffer[];
}

export class WireConnection {
  /** What may still be sent on the connection, over all streams. */
  sendWindow = defaultWindow;
  /** The server's MAX_CONCURRENT_STREAMS, once its SETTINGS came. */
  streamsMax = Number.POSITIVE_INFINITY;
  readonly socket: Socket;
  readonly #handler: WireHandler;
  readonly #outgoing = new Map<number, OutgoingStream>();
  readonly #failed: (error: Error) => void;
  readonly failure: Promise<never>;
  #initialWindow = defaultWindow;
  #received = 0;
  // Of the frame under way: its header's bytes so far, then what is left of its payload.
  readonly #header = Buffer.alloc(frameHeaderBytes);
  #headerBytes = 0;
  #payloadLeft = -1;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  #gathered: Buffer[] = [];
  #isClosing = false;

  private constructor(socket: Socket, handler: WireHandler) {
    this.socket = socket;
    this.#handler = handler;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.failure = promise;
    this.#failed = reject;
  }

  /**
   * @param address "127.0.0.1:PORT"
   * @param streamWindowBytes what the server may send on a stream; who makes it narrower refills it, see `widen`
   * @param localAddress who it comes from; undefined: whoever the system says
   */
  static async open(
    address: string,
    handler: WireHandler,
    streamWindowBytes: number = windowMax,
    localAddress?: string,
  ): Promise<WireConnection> {
    const port = Number(address.slice(address.lastIndexOf(":") + 1));
    const host = address.slice(0, address.lastIndexOf(":"));
    const ready = Promise.withResolvers<void>();
    const socket = connect({
      host,
      port,
      ...(localAddress === undefined ? {} : { localAddress }),
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(readBufferBytes),
        callback: (length, buffer) => {
          connection.#receive(buffer as Buffer, length);
          return true;
        },
      },
    });
    const connection = new WireConnection(socket, handler);
    socket.once("connect", () => ready.resolve());
    socket.on("error", (error) => connection.#fail(error));
    socket.on("close", () => connection.#fail(new Error(`${address} closed the connection`)));
    await Promise.race([ready.promise, connection.failure]);
    socket.write(preface(streamWindowBytes));
    return connection;
  }

  /** Sends bytes as they are. The caller spends `sendWindow` for the DATA among them. */
  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  /** Sends DATA frames of a stream in order, each as soon as both windows admit it. */
  send(streamId: number, frames: readonly Buffer[]): void {
    let stream = this.#outgoing.get(streamId);
    if (stream === undefined) {
      stream = { window: this.#initialWindow, queue: [] };
      this.#outgoing.set(streamId, stream);
    }
    stream.queue.push(...frames);
    this.#pump(stream);
  }

  /** Lets the server send so much more on a stream. */
  widen(streamId: number, bytes: number): void {
    this.write(windowUpdate(streamId, bytes));
  }

  close(): void {
    this.#isClosing = true;
    this.socket.destroy();
  }

  #receive(buffer: Buffer, end: number): void {
    let at = 0;
    while (at < end) {
      if (this.#payloadLeft < 0) {
        at = this.#readHeader(buffer, at, end);
        if (this.#payloadLeft < 0) break;
      }
      const stop = Math.min(end, at + this.#payloadLeft);
      this.#payloadLeft -= stop - at;
      if (this.#type === frameType.data) {
        this.#received += stop - at;
        if (stop > at) this.#handler.onData(this.#streamId, buffer, at, stop);
        if (this.#payloadLeft === 0 && (this.#flags & flag.endStream) !== 0) this.#end();
      } else if (this.#payloadLeft > 0 || this.#gathered.length > 0) {
        this.#gathered.push(Buffer.from(buffer.subarray(at, stop)));
        if (this.#payloadLeft === 0) {
          const whole = Buffer.concat(this.#gathered);
          this.#gathered = [];
          this.#control(whole);
        }
      } else {
        this.#control(buffer.subarray(at, stop));
      }
      if (this.#payloadLeft === 0) this.#payloadLeft = -1;
      at = stop;
    }
    if (this.#received > refillBytes) {
      this.write(windowUpdate(0, this.#received));
      this.#received = 0;
    }
    this.#handler.onReadEnd();
  }

  /** Takes the nine bytes of a frame's header, whole or from several reads. Returns where the payload begins. */
  #readHeader(buffer: Buffer, at: number, end: number): number {
    let header = buffer;
    let from = at;
    let next = at + frameHeaderBytes;
    if (this.#headerBytes > 0 || next > end) {
      next = Math.min(end, at + frameHeaderBytes - this.#headerBytes);
      buffer.copy(this.#header, this.#headerBytes, at, next);
      this.#headerBytes += next - at;
      if (this.#headerBytes < frameHeaderBytes) return end;
      this.#headerBytes = 0;
      header = this.#header;
      from = 0;
    }
    const first = header.readUInt32BE(from);
    this.#payloadLeft = first >>> 8;
    this.#type = first & 0xff;
    this.#flags = header[from + 4] ?? 0;
    this.#streamId = header.readUInt32BE(from + 5) & windowMax;
    // An empty frame at the very end of a read must not wait for the next one.
    if (this.#payloadLeft === 0 && next === end) {
      if (this.#type === frameType.data) {
        if ((this.#flags & flag.endStream) !== 0) this.#end();
      } else {
        this.#control(buffer.subarray(next, next));
      }
      this.#payloadLeft = -1;
    }
    return next;
  }

  #control(payload: Buffer): void {
    switch (this.#type) {
      case frameType.headers:
        this.#headers(payload);
        break;
      case frameType.settings:
        if ((this.#flags & flag.ack) === 0) this.#settings(payload);
        break;
      case frameType.ping:
        if ((this.#flags & flag.ack) === 0) this.write(frame(frameType.ping, flag.ack, 0, Buffer.from(payload)));
        break;
      case frameType.windowUpdate:
        this.#admit(payload.readUInt32BE(0));
        break;
      case frameType.reset:
        this.#fail(new Error(`The server reset stream ${this.#streamId} with code ${payload.readUInt32BE(0)}`));
        break;
      case frameType.goaway:
        if (payload.readUInt32BE(4) !== 0) this.#fail(new Error(`GOAWAY: ${payload.toString("latin1", 8)}`));
        break;
      default:
    }
  }

  #headers(payload: Buffer): void {
    if ((this.#flags & flag.endHeaders) === 0) {
      this.#fail(new Error("A header block in several frames: this client does not read CONTINUATION"));
      return;
    }
    const padding = (this.#flags & flag.padded) === 0 ? 0 : (payload[0] ?? 0) + 1;
    const start = Math.min(padding, 1) + ((this.#flags & flag.priority) === 0 ? 0 : 5);
    this.#handler.onHeaders(this.#streamId, payload.subarray(start, payload.length - Math.max(0, padding - 1)));
    if ((this.#flags & flag.endStream) !== 0) this.#end();
  }

  #end(): void {
    this.#outgoing.delete(this.#streamId);
    this.#handler.onEnd(this.#streamId);
  }

  #settings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      const identifier = payload.readUInt16BE(at);
      if (identifier === 3) this.streamsMax = value;
      if (identifier !== 4) continue;
      for (const stream of this.#outgoing.values()) stream.window += value - this.#initialWindow;
      this.#initialWindow = value;
    }
    this.write(frame(frameType.settings, flag.ack, 0, Buffer.alloc(0)));
    for (const stream of this.#outgoing.values()) this.#pump(stream);
  }

  #admit(bytes: number): void {
    const stream = this.#outgoing.get(this.#streamId);
    if (stream !== undefined) {
      stream.window += bytes;
      this.#pump(stream);
    } else if (this.#streamId === 0) {
      this.sendWindow += bytes;
      for (const waiting of this.#outgoing.values()) this.#pump(waiting);
    }
  }

  #pump(stream: OutgoingStream): void {
    this.socket.cork();
    for (let next = stream.queue[0]; next !== undefined; next = stream.queue[0]) {
      const bytes = next.length - frameHeaderBytes;
      if (bytes > this.sendWindow || bytes > stream.window) break;
      stream.queue.shift();
      this.sendWindow -= bytes;
      stream.window -= bytes;
      this.socket.write(next);
    }
    this.socket.uncork();
  }

  #fail(error: Error): void {
    if (!this.#isClosing) this.#failed(error);
  }
}

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(frameHeaderBytes + payload.length);
  bytes.writeUInt32BE(payload.length * 256 + type, 0);
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId, 5);
  bytes.set(payload, frameHeaderBytes);
  return bytes;
}

/** A body as DATA frames of at most 16 KiB. */
export function dataFrames(streamId: number, body: Uint8Array, options: { endStream: boolean }): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < body.length; at += frameBytesMax) {
    const end = Math.min(body.length, at + frameBytesMax);
    const flags = options.endStream && end === body.length ? flag.endStream : 0;
    frames.push(frame(frameType.data, flags, streamId, body.subarray(at, end)));
  }
  return frames;
}

/** One message as a gRPC frame: no compression, four bytes of length, the bytes. */
export function grpcFrame(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + message.length);
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, 5);
  return bytes;
}

// No dynamic table for answers (so that equal trailers are equal bytes), no push, a connection's window that never holds
// a server up.
function preface(streamWindowBytes: number): Buffer {
  const settings = Buffer.alloc(18);
  settings.writeUInt16BE(1, 0);
  settings.writeUInt16BE(2, 6);
  settings.writeUInt16BE(4, 12);
  settings.writeUInt32BE(streamWindowBytes, 14);
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    frame(frameType.settings, 0, 0, settings),
    windowUpdate(0, windowMax - defaultWindow),
  ]);
}

function windowUpdate(streamId: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(frameType.windowUpdate, 0, streamId, payload);
}
