// One buffer that all sockets of the process are read into, one read after the other.
//
// Node gives every read 64 KiB of new memory outside V8's heap, and V8 answers such memory with collections of the whole heap,
// which cost more than the copy of what is kept. Node's own way out is `onread`, but only for sockets that a program opens
// itself; what `onread` sets is set here for any socket, accepted ones too (decision 0011).
//
// R1. What was read is there until the callback returns. Whoever keeps bytes keeps what `keepBytes` gives.
// R2. Where Node's fields are not as expected nothing is touched, and the socket's reads are as ever, in memory of their own.

/** What is asked of a Node socket by names that are documented. */
interface ReadableSocket {
  readonly readableLength: number;
  resume(): unknown;
}

/** What libuv reads at once. */
const READ_BYTES = 64 * 1024;
/** Copies up to this size share a page, larger ones have their own memory. */
const SHARED_COPY_BYTES_MAX = 2 * 1024;
const PAGE_BYTES = 16 * 1024;

const shared = Buffer.allocUnsafeSlow(READ_BYTES);
let page = Buffer.allocUnsafeSlow(0);
let pageUsed = 0;

/** Whether these bytes are gone when the callback that got them returns (R1). */
export function isLent(bytes: Uint8Array): boolean {
  return bytes.buffer === shared.buffer;
}

/** Bytes `start..end` to be kept, as a plain Uint8Array: a view of memory that stays as it is, or a copy. */
export function keepBytes(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start;
  const at = bytes.byteOffset + start;
  if (!isLent(bytes)) return new Uint8Array(bytes.buffer, at, length);
  if (length > SHARED_COPY_BYTES_MAX) return new Uint8Array(shared.buffer, at, length).slice();
  if (pageUsed + length > page.length) {
    page = Buffer.allocUnsafeSlow(PAGE_BYTES);
    pageUsed = 0;
  }
  shared.copy(page, pageUsed, at - shared.byteOffset, at - shared.byteOffset + length);
  pageUsed += length;
  return new Uint8Array(page.buffer, page.byteOffset + pageUsed - length, length);
}

/**
 * Calls back with what the socket reads from now on, in place of its event "data"; all other events come as ever. False when
 * that is not possible (R2).
 */
export function readShared(socket: ReadableSocket, onBytes: (bytes: Buffer) => void): boolean {
  const fields = Object.getOwnPropertySymbols(socket);
  const buffer = fields.find(({ description }) => description === "kBuffer");
  const callback = fields.find(({ description }) => description === "kBufferCb");
  const handle: unknown = Reflect.get(socket, "_handle");
  if (buffer === undefined || callback === undefined || !hasUserBuffer(handle)) return false;
  if (socket.readableLength > 0 || Reflect.get(socket, buffer) !== null) return false;
  Reflect.set(socket, buffer, shared);
  Reflect.set(socket, callback, (length: number) => onBytes(shared.subarray(0, length)));
  handle.useUserBuffer(shared);
  socket.resume();
  return true;
}

function hasUserBuffer(handle: unknown): handle is { useUserBuffer(buffer: Uint8Array): void } {
  return typeof handle === "object" && handle !== null && typeof Reflect.get(handle, "useUserBuffer") === "function";
}
