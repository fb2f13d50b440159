// gzip, the one encoding that all gRPC implementations share. Done in the thread pool: no message holds up the loop.
import { gunzip, gzip } from "node:zlib";
import { bytesOf, FLAG_COMPRESSED, FRAME_HEADER_BYTES, frameOf } from "./frames.ts";
import { Code, RpcError } from "./status.ts";

/** Value of `grpc-encoding` for compressed streams. */
export const GZIP = "gzip";
export const IDENTITY = "identity";
/** Value of `grpc-accept-encoding`. */
export const ACCEPTED_ENCODINGS = "identity,gzip";

/** Below this, compressing costs more than it saves. */
const COMPRESS_BYTES_MIN = 1024;

/** @throws RpcError RESOURCE_EXHAUSTED when the message would grow past `limit` bytes; INTERNAL when it is damaged. */
export function decompress(bytes: Uint8Array, limit: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gunzip(bytes, { maxOutputLength: Math.max(1, limit) }, (error, message) => {
      if (error === null) resolve(bytesOf(message, 0, message.length));
      else if ("code" in error && error.code === "ERR_BUFFER_TOO_LARGE") {
        const text = `Cannot receive a message: decompressed it exceeds the limit of ${limit} bytes`;
        reject(new RpcError(Code.RESOURCE_EXHAUSTED, text, { cause: error }));
      } else reject(new RpcError(Code.INTERNAL, "Cannot decompress a message: it is no valid gzip", { cause: error }));
    });
  });
}

/** Whether the message of this frame is worth compressing. */
export function isWorthCompressing(frame: Uint8Array): boolean {
  return frame.length - FRAME_HEADER_BYTES >= COMPRESS_BYTES_MIN;
}

/** The frame with its message compressed. */
export function compressedFrame(frame: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gzip(frame.subarray(FRAME_HEADER_BYTES), (error, bytes) => {
      if (error === null) resolve(frameOf(bytes, FLAG_COMPRESSED));
      else reject(new RpcError(Code.INTERNAL, "Cannot compress a message", { cause: error }));
    });
  });
}
