// Memory for large frames, used again once a frame has left the process, and for requests that a handler only passes on.
//
// A frame of 64 KiB lives for some microseconds outside V8's heap, and V8 pays for such memory with collections of the whole
// heap (a third of the server's time in benchmark `unary`, 64 KiB).
//
// M1. A room is handed out again only after `free` of the frame that lies in it, or `give` by who took it. A frame whose end
//     nobody tells is left to the garbage collector, and its room with it.
// M2. At most `FREE_BYTES_MAX` lie free.
import type { BytesOwner } from "../transport.ts";

const ROOM_BYTES_MIN = 32 * 1024;
/** Larger rooms are not kept. */
const ROOM_BYTES_MAX = 1024 * 1024;
/** Answers of 64 KiB to 100 calls at once fit, that is all of a client whose calls end in the same moment. */
const FREE_BYTES_MAX = 16 * 1024 * 1024;

export class FrameMemory implements BytesOwner {
  /** By size. */
  readonly #free = new Map<number, Buffer[]>();
  #freeBytes = 0;
  readonly #rooms = new WeakMap<Uint8Array, Buffer>();

  /** A room of at least so many bytes, and of half as many more at most, or the least there is. */
  take(bytes: number): Buffer {
    let size = ROOM_BYTES_MIN;
    while (size < bytes) size *= 2;
    if (0.75 * size >= bytes) size *= 0.75;
    const room = this.#free.get(size)?.pop();
    if (room === undefined) return Buffer.allocUnsafeSlow(size);
    this.#freeBytes -= size;
    return room;
  }

  /** Gives back a room that holds nothing any more. */
  give(room: Buffer): void {
    const size = room.length;
    if (size > ROOM_BYTES_MAX || this.#freeBytes + size > FREE_BYTES_MAX) return;
    this.#freeBytes += size;
    const rooms = this.#free.get(size);
    if (rooms === undefined) this.#free.set(size, [room]);
    else rooms.push(room);
  }

  /** The frame that begins the room; `free` gives back both. */
  frameIn(room: Buffer, length: number): Uint8Array {
    const frame = room.subarray(0, length);
    this.#rooms.set(frame, room);
    return frame;
  }

  /** Room for so many bytes, as a plain Uint8Array; `free` gives it back. */
  lend(length: number): Uint8Array {
    const room = this.take(length);
    const bytes = new Uint8Array(room.buffer, room.byteOffset, length);
    this.#rooms.set(bytes, room);
    return bytes;
  }

  /** Nobody looks at these bytes any more. They may be of any memory: only its own counts. */
  free(bytes: Uint8Array): void {
    const room = this.#rooms.get(bytes);
    if (room === undefined) return;
    this.#rooms.delete(bytes);
    this.give(room);
  }
}

/** Of this process. */
export const frameMemory = new FrameMemory();
