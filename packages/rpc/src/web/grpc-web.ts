// gRPC-Web at the transport's edge: a stream that looks like gRPC's own to whoever serves it, and like gRPC-Web on the wire.
// Source: github.com/grpc/grpc doc/PROTOCOL-WEB.md.
//
// Only three things differ. The content type; the trailers, which are the body's last frame, with bit 7 set in its flag,
// since a page cannot see HTTP's; and in the text form the whole body is base64. So calls, deadlines, limits and
// compression are those of gRPC, the very same code.
//
// W1. The status is always in the body's last frame, also when nothing precedes it: one place to look for it.
// W2. Every received byte of text is credited once, at the latest when all that was decoded of it was consumed.
import {
  HeaderBlock,
  type ByteSource,
  type HeaderList,
  type StreamEnd,
  type StreamHandler,
  type TransportConnection,
  type TransportStream,
} from "../transport.ts";
import { frameOf } from "../grpc/frames.ts";
import { Http2Error } from "../grpc/status.ts";
import { Base64Stream, base64Of } from "./base64-stream.ts";

/** What a content type says of a gRPC-Web request. */
export interface WebFormat {
  readonly isText: boolean;
  /** "" or "+proto", given back as it came. */
  readonly suffix: string;
}

const CONTENT_TYPE = /^application\/grpc-web(-text)?(\+proto)?\s*(?:;.*)?$/i;
const FLAG_TRAILERS = 0x80;
/** Status fields that a page's script must be allowed to see wherever they stand. */
const STATUS_NAMES = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/** Undefined for any other content type. */
export function parseWebFormat(contentType: string): WebFormat | undefined {
  const match = CONTENT_TYPE.exec(contentType);
  return match === null ? undefined : { isText: match[1] !== undefined, suffix: match[2] ?? "" };
}

/** The request's header list as gRPC would have sent it. */
export function grpcHeaders(headers: HeaderList, format: WebFormat): HeaderList {
  const fields = headers.fields.map((value, at) =>
    at % 2 === 1 && headers.fields[at - 1] === "content-type" ? `application/grpc${format.suffix}` : value,
  );
  return { fields, memo: undefined };
}

/** The fields that let a page read an answer with these names; empty where the browser asks for none. */
export type ExposeFields = (names: readonly string[]) => readonly string[];

/** Between a call and its real stream: what the call sends becomes gRPC-Web. */
export class GrpcWebStream implements TransportStream, ByteSource {
  readonly #stream: TransportStream;
  readonly #format: WebFormat;
  readonly #expose: ExposeFields;
  #source: ByteSource | undefined = undefined;
  /** Of a source: the last frame, to be sent when the source has given all; and whether it was. */
  #trailers: Uint8Array | undefined = undefined;
  #isEnding = false;
  /** Of text: received and not credited, as it came and decoded. */
  #encodedBytes = 0;
  #decodedBytes = 0;

  constructor(stream: TransportStream, format: WebFormat, expose: ExposeFields) {
    this.#stream = stream;
    this.#format = format;
    this.#expose = expose;
  }

  get connection(): TransportConnection {
    return this.#stream.connection;
  }

  sendHeaders({ fields }: HeaderBlock, { endStream }: { endStream: boolean }): void {
    const head: string[] = [];
    const trailers: string[] = [];
    for (let at = 0; at < fields.length; at += 2) {
      const name = fields[at] ?? "";
      const value = fields[at + 1] ?? "";
      const isHead = !endStream || name === ":status" || name === "grpc-accept-encoding";
      if (name === "content-type") head.push(name, this.#contentType());
      else (isHead ? head : trailers).push(name, value);
    }
    const names = head.filter((name, at) => at % 2 === 0 && name !== ":status" && name !== "content-type");
    head.push(...this.#expose([...names, ...STATUS_NAMES]));
    this.#stream.sendHeaders(new HeaderBlock(head), { endStream: false });
    if (!endStream) return;
    this.#stream.write(this.#encode(trailersFrame(trailers)));
    this.#stream.end();
  }

  write(bytes: Uint8Array): boolean {
    return this.#stream.write(this.#encode(bytes));
  }

  end(trailers?: HeaderBlock): void {
    const frame = this.#encode(trailersFrame(trailers?.fields ?? []));
    if (this.#source === undefined) {
      this.#stream.write(frame);
      this.#stream.end();
    } else {
      this.#trailers = frame;
      this.#isEnding = true;
      this.#stream.wake();
    }
  }

  setSource(source: ByteSource): void {
    this.#source = source;
    this.#stream.setSource(this);
  }

  pull(maxBytes: number): Uint8Array | undefined {
    // Base64 makes four bytes of three.
    const bytes = this.#source?.pull(this.#format.isText ? Math.max(1, Math.floor((maxBytes * 3) / 4)) : maxBytes);
    if (bytes !== undefined && bytes.length > 0) return this.#encode(bytes);
    if (!this.#isEnding) return undefined;
    const trailers = this.#trailers;
    this.#trailers = undefined;
    if (trailers === undefined) this.#stream.end();
    return trailers;
  }

  sent(): void {
    this.#source?.sent?.();
  }

  wake(): void {
    this.#stream.wake();
  }

  consume(byteCount: number): void {
    if (!this.#format.isText) {
      this.#stream.consume(byteCount);
      return;
    }
    this.#decodedBytes -= byteCount;
    const isAll = this.#decodedBytes <= 0;
    const credit = isAll ? this.#encodedBytes : Math.min(this.#encodedBytes, Math.floor((byteCount * 4) / 3)); // W2
    this.#encodedBytes -= credit;
    this.#stream.consume(credit);
  }

  reset(code: number): void {
    this.#stream.reset(code);
  }

  /** Who hears of the real stream on the call's behalf. */
  handlerFor(call: StreamHandler): StreamHandler {
    return this.#format.isText ? new TextRequest(this, call) : call;
  }

  /** Bytes of text arrived, so many decoded ones are in them. */
  received(encodedBytes: number, decodedBytes: number): void {
    this.#encodedBytes += encodedBytes;
    this.#decodedBytes += decodedBytes;
    if (this.#decodedBytes === 0) this.consume(0);
  }

  #contentType(): string {
    return `application/grpc-web${this.#format.isText ? "-text" : ""}${this.#format.suffix}`;
  }

  #encode(bytes: Uint8Array): Uint8Array {
    return this.#format.isText ? base64Of(bytes) : bytes;
  }
}

/** Decodes a request's text. What is no base64 ends the stream, as broken framing does. */
class TextRequest implements StreamHandler {
  readonly #stream: GrpcWebStream;
  readonly #call: StreamHandler;
  readonly #text = new Base64Stream();

  constructor(stream: GrpcWebStream, call: StreamHandler) {
    this.#stream = stream;
    this.#call = call;
  }

  onData(buffer: Buffer, start: number, end: number, endStream: boolean): void {
    let bytes: Buffer;
    try {
      bytes = this.#text.push(buffer, start, end);
      if (endStream) this.#text.finish();
    } catch {
      this.#stream.reset(Http2Error.PROTOCOL_ERROR);
      return;
    }
    this.#stream.received(end - start, bytes.length);
    if (bytes.length > 0 || endStream) this.#call.onData(bytes, 0, bytes.length, endStream);
  }

  onHeaders(): void {
    // Of the client role only.
  }

  onTrailers(trailers: HeaderList): void {
    this.#call.onTrailers(trailers);
  }

  onWritable(): void {
    this.#call.onWritable();
  }

  onClose(end: StreamEnd): void {
    this.#call.onClose(end);
  }
}

/** Trailers as HTTP/1.1 header lines in a frame of their own. */
function trailersFrame(fields: readonly string[]): Uint8Array {
  let lines = "";
  for (let at = 0; at < fields.length; at += 2) lines += `${fields[at]}: ${fields[at + 1]}\r\n`;
  return frameOf(Buffer.from(lines, "latin1"), FLAG_TRAILERS);
}
