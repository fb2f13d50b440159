// The process's read buffer, as a socket gets to see it.
import { readShared } from "../read-buffer.ts";

/** Memory that is lent: what lies there when a callback got it may be anything afterwards. */
export function lentBuffer(): Buffer {
  let buffer: Uint8Array | undefined;
  const socket = {
    readableLength: 0,
    resume() {},
    [Symbol("kBuffer")]: null,
    [Symbol("kBufferCb")]: null,
    _handle: { useUserBuffer: (given: Uint8Array) => (buffer = given) },
  };
  readShared(socket, () => {});
  if (buffer === undefined) throw new Error("No buffer was given to the socket");
  return Buffer.from(buffer.buffer, buffer.byteOffset, buffer.length);
}
