// Bare `node:http2` as a peer: no gRPC library, no protobuf; ready-made frames, written in blocks where there are many.
// The least that a server on Node's own HTTP/2 must do, and so the most that it can reach.

import { once } from "node:events";
import { open } from "node:fs/promises";
import { createSecureServer, createServer, type ServerHttp2Stream } from "node:http2";
import { join } from "node:path";
import { entryFrameBytes } from "../entries.ts";
import { announce, parseServerOptions } from "./server-options.ts";

const CHUNK_BYTES = 256 * 1024;

const options = parseServerOptions();
const followers = new Set<ServerHttp2Stream>();
const answer = { ":status": 200, "content-type": "application/grpc" };
const trailers = { "grpc-status": "0" };

function openStream(stream: ServerHttp2Stream): void {
  stream.respond(answer, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.on("error", () => stream.close());
}

/** The same block again and again, as fast as the client takes it, and the rest at the end. */
function sendHistory(stream: ServerHttp2Stream): void {
  let left = options.count * entryFrameBytes;
  const pump = (): void => {
    while (left > 0) {
      const block = options.frames.subarray(0, Math.min(left, options.frames.length));
      left -= block.length;
      if (left === 0) stream.end(block);
      else if (!stream.write(block)) return;
    }
  };
  stream.on("drain", pump);
  pump();
}

function follow(stream: ServerHttp2Stream): void {
  followers.add(stream);
  stream.on("close", () => followers.delete(stream));
}

/** The file's bytes in frames of a message with nothing but `data` (field 3): one read ahead, each into its frame. */
async function download(stream: ServerHttp2Stream, path: string): Promise<void> {
  await using file = await open(join(options.files, path));
  const { size } = await file.stat();
  const read = async (offset: number): Promise<Buffer> => {
    const length = Math.min(CHUNK_BYTES, size - offset);
    const tag = [0x1a, (length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14];
    const frame = Buffer.allocUnsafe(5 + tag.length + length);
    frame[0] = 0;
    frame.writeUInt32BE(tag.length + length, 1);
    frame.set(tag, 5);
    await file.read(frame, 5 + tag.length, length, offset);
    return frame;
  };
  let next = read(0);
  for (let offset = 0; offset < size && !stream.destroyed; offset += CHUNK_BYTES) {
    const frame = await next;
    if (offset + CHUNK_BYTES < size) next = read(offset + CHUNK_BYTES);
    if (!stream.write(frame)) await once(stream, "drain");
  }
  stream.end();
}

/** A message with nothing but `acknowledged`, a varint in field 1. */
function acknowledgement(count: number): Buffer {
  const bytes = [0x08];
  let rest = count;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from([0, 0, 0, 0, bytes.length, ...bytes]);
}

/** Each message is a WriteLogStreamRequest of one entry (field 4, a length of two bytes): its bytes are published. */
function takeAppends(stream: ServerHttp2Stream): void {
  let pending: Buffer = Buffer.alloc(0);
  let appended = 0;
  stream.on("data", (bytes: Buffer) => {
    pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes]);
    while (pending.length >= 5) {
      const end = 5 + pending.readUInt32BE(1);
      if (pending.length < end) break;
      const entry = pending.subarray(5 + 3, end);
      const frame = Buffer.alloc(5 + entry.length);
      frame.writeUInt32BE(entry.length, 1);
      frame.set(entry, 5);
      for (const follower of followers) follower.write(frame);
      stream.write(acknowledgement(++appended));
      pending = pending.subarray(end);
    }
  });
  stream.on("end", () => stream.end());
}

function onBody(stream: ServerHttp2Stream, take: (body: Buffer) => void): void {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => take(Buffer.concat(chunks)));
}

const settings = { maxConcurrentStreams: 1000 };
const server =
  options.tls === undefined ? createServer({ settings }) : createSecureServer({ settings, ...options.tls });
server.on("stream", (stream: ServerHttp2Stream, headers) => {
  openStream(stream);
  switch (headers[":path"]) {
    case "/bench.v1.EchoService/Echo":
      onBody(stream, (body) => stream.end(body));
      break;
    case "/LogService/StreamLogs":
      // An empty request is one for history.
      onBody(stream, (body) => (body.length <= 5 ? sendHistory(stream) : follow(stream)));
      break;
    case "/FileService/DownloadFile":
      // A message with nothing but `file_path`, shorter than 128 bytes.
      onBody(stream, (body) => {
        download(stream, body.toString("utf8", 7)).catch(() => stream.close());
      });
      break;
    case "/sluice.logs.v1.LogService/WriteLogStream":
      takeAppends(stream);
      break;
    default:
      stream.close();
  }
});
server.listen(options.port, "127.0.0.1", () => announce(`Node ${process.version}`, server.address()));
