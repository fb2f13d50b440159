// The least that any server on Node must do to echo a large message: read the socket, find the frames, put the message
// together, write it back. No streams, no windows, no header decoding, no protobuf, no errors: it answers h2load, whose
// windows are wide, and nobody else. What is left to its figure is what Node can reach at all.

import { createServer, type Socket } from "node:net";
import { announce, parseServerOptions } from "./server-options.ts";

const DATA = 0;
const HEADERS = 1;
const SETTINGS = 4;
const WINDOW_UPDATE = 8;
const END_STREAM = 1;
const END_HEADERS = 4;
const prefaceBytes = 24;
const headerBytes = 9;
const prefixBytes = 5;
const frameBytesMax = 16_384;
/** Of our windows, which are as wide as they can be: told again after so many bytes. */
const refillBytes = 2 ** 29;

function frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(headerBytes + payload.length);
  writeHeader(bytes, payload.length, type, flags, streamId);
  bytes.set(payload, headerBytes);
  return bytes;
}

function writeHeader(bytes: Buffer, length: number, type: number, flags: number, streamId: number): void {
  bytes.writeUIntBE(length, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(streamId, 5);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** `:status: 200` by its index, `content-type` by its index and a literal. */
const responseBlock = Buffer.concat([Buffer.of(0x88, 0x5f, 16), Buffer.from("application/grpc")]);
const trailerBlock = Buffer.concat([Buffer.of(0, 11), Buffer.from("grpc-status"), Buffer.of(1), Buffer.from("0")]);
/** INITIAL_WINDOW_SIZE 2³¹-1, MAX_CONCURRENT_STREAMS 1,000; and as much for the connection. */
const greeting = Buffer.concat([
  frame(SETTINGS, 0, 0, Buffer.of(0, 4, 0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0, 0x03, 0xe8)),
  frame(WINDOW_UPDATE, 0, 0, uint32(0x7fffffff - 65_535)),
]);

interface Message {
  /** At first only what is in front of the message. */
  bytes: Buffer;
  filled: number;
}

class Echo {
  readonly #socket: Socket;
  readonly #messages = new Map<number, Message>();
  #skip = prefaceBytes;
  readonly #header = Buffer.alloc(headerBytes);
  #headerFilled = 0;
  #payloadLeft = 0;
  #received = 0;
  #out: Uint8Array[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.write(greeting);
    socket.on("data", (bytes: Buffer) => this.#read(bytes));
    socket.on("error", () => socket.destroy());
  }

  #read(bytes: Buffer): void {
    let at = Math.min(this.#skip, bytes.length);
    this.#skip -= at;
    while (at < bytes.length) {
      if (this.#headerFilled < headerBytes) {
        const taken = bytes.copy(this.#header, this.#headerFilled, at);
        this.#headerFilled += taken;
        at += taken;
        if (this.#headerFilled < headerBytes) break;
        this.#payloadLeft = this.#header.readUIntBE(0, 3);
      }
      const length = Math.min(this.#payloadLeft, bytes.length - at);
      if (this.#header[3] === DATA) this.#take(bytes, at, at + length);
      at += length;
      this.#payloadLeft -= length;
      if (this.#payloadLeft === 0) this.#endFrame();
    }
    if (this.#out.length > 0) this.#write();
  }

  /** One copy, into the place that the length in front of the message asks for. */
  #take(bytes: Buffer, start: number, end: number): void {
    const streamId = this.#header.readUInt32BE(5);
    this.#received += end - start;
    let message = this.#messages.get(streamId);
    if (message === undefined)
      this.#messages.set(streamId, (message = { bytes: Buffer.alloc(prefixBytes), filled: 0 }));
    let at = start;
    if (message.filled < prefixBytes) {
      const taken = bytes.copy(message.bytes, message.filled, at, end);
      message.filled += taken;
      at += taken;
      if (message.filled < prefixBytes) return;
      const whole = Buffer.allocUnsafeSlow(prefixBytes + message.bytes.readUInt32BE(1));
      message.bytes.copy(whole);
      message.bytes = whole;
    }
    message.filled += bytes.copy(message.bytes, message.filled, at, end);
  }

  #endFrame(): void {
    this.#headerFilled = 0;
    const flags = this.#header.readUInt8(4);
    const streamId = this.#header.readUInt32BE(5);
    if (this.#header[3] === SETTINGS && (flags & 1) === 0) this.#out.push(frame(SETTINGS, 1, 0, Buffer.alloc(0)));
    if (this.#header[3] !== DATA || (flags & END_STREAM) === 0) return;
    const message = this.#messages.get(streamId)?.bytes ?? Buffer.alloc(0);
    this.#messages.delete(streamId);
    this.#out.push(frame(HEADERS, END_HEADERS, streamId, responseBlock));
    for (let at = 0; at < message.length; at += frameBytesMax) {
      const piece = message.subarray(at, at + frameBytesMax);
      const header = Buffer.allocUnsafe(headerBytes);
      writeHeader(header, piece.length, DATA, 0, streamId);
      this.#out.push(header, piece);
    }
    this.#out.push(frame(HEADERS, END_HEADERS | END_STREAM, streamId, trailerBlock));
  }

  #write(): void {
    if (this.#received > refillBytes) {
      this.#out.push(frame(WINDOW_UPDATE, 0, 0, uint32(this.#received)));
      this.#received = 0;
    }
    this.#socket.cork();
    for (const bytes of this.#out) this.#socket.write(bytes);
    this.#socket.uncork();
    this.#out = [];
  }
}

const server = createServer((socket) => new Echo(socket));
server.listen(parseServerOptions().port, "127.0.0.1", () => announce(`Node ${process.version}`, server.address()));
