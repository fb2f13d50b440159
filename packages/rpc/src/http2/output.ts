// What a connection has to send: frames copied into a slab, large payloads by reference between them.
//
// O1. Bytes that were handed out are written again only after the socket has taken them.
// O2. An idle connection holds no slab: connections borrow from one pool and give back what is left.
import type { BytesOwner } from "../transport.ts";
import { FRAME_HEADER_BYTES } from "./frame.ts";

/** What became of chunks: all gone (their memory is free), kept by the socket, or kept and it wants no more for now. */
export type HandOver = "sent" | "kept" | "full";

const SLAB_BYTES = 64 * 1024;
/** Smaller payloads are copied: a reference costs an entry in `writev` and two slices of a slab. */
const REFERENCED_FROM = 8 * 1024;
/** 1 MiB of free slabs. */
const FREE_SLABS_MAX = 16;

/** Slabs that connections share: one turn of the event loop uses few, however many connections there are. */
export class SlabPool {
  /** Whole slabs, and ends of slabs whose beginning is still with a socket. */
  #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
  }

  /** A slab with less room than the largest copy is left to the garbage collector. */
  give(slab: Buffer): void {
    if (slab.length >= REFERENCED_FROM && this.#free.length < FREE_SLABS_MAX) this.#free.push(slab);
  }
}

export class Output {
  /** Written and not yet handed out. */
  pendingBytes = 0;
  readonly #pool: SlabPool;
  #slab: Buffer | undefined = undefined;
  /** Within the slab: what is before `start` was handed out, `start..end` is pending. */
  #start = 0;
  #end = 0;
  #chunks: Uint8Array[] = [];
  /** Slabs that `chunks` fills up. */
  #full: Buffer[] = [];
  /** Handed out or pending, by reference. */
  #lent: { readonly bytes: Uint8Array; readonly owner: BytesOwner }[] = [];

  constructor(pool: SlabPool) {
    this.#pool = pool;
  }

  /** Writes a frame's header; its payload follows by `copy`, `reference` and the number writers. */
  frame(length: number, type: number, flags: number, streamId: number): void {
    const slab = this.#room(FRAME_HEADER_BYTES);
    let at = this.#end;
    slab[at++] = length >>> 16;
    slab[at++] = length >>> 8;
    slab[at++] = length;
    slab[at++] = type;
    slab[at++] = flags;
    slab[at++] = streamId >>> 24;
    slab[at++] = streamId >>> 16;
    slab[at++] = streamId >>> 8;
    slab[at++] = streamId;
    this.#end = at;
    this.pendingBytes += FRAME_HEADER_BYTES;
  }

  uint16(value: number): void {
    const slab = this.#room(2);
    this.#end = slab.writeUInt16BE(value, this.#end);
    this.pendingBytes += 2;
  }

  uint32(value: number): void {
    const slab = this.#room(4);
    this.#end = slab.writeUInt32BE(value >>> 0, this.#end);
    this.pendingBytes += 4;
  }

  /** Takes `bytes[start..end)`: small ones by copy, large ones by reference. */
  payload(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length < REFERENCED_FROM) {
      const slab = this.#room(length);
      slab.set(length === bytes.length ? bytes : bytes.subarray(start, end), this.#end);
      this.#end += length;
    } else {
      this.#seal();
      this.#chunks.push(bytes.subarray(start, end));
    }
    this.pendingBytes += length;
  }

  /** All that is pending, in order. `settle` must follow. */
  takeChunks(): Uint8Array[] {
    this.#seal();
    const chunks = this.#chunks;
    this.#chunks = [];
    this.pendingBytes = 0;
    return chunks;
  }

  /** These bytes are all in it: `owner` is to hear when nobody looks at them any more. */
  lend(bytes: Uint8Array, owner: BytesOwner | undefined): void {
    if (owner !== undefined && bytes.length >= REFERENCED_FROM) this.#lent.push({ bytes, owner });
  }

  /** The socket has taken everything (O1). */
  freeLent(): void {
    if (this.#lent.length === 0) return;
    for (const { bytes, owner } of this.#lent) owner.free(bytes);
    this.#lent = [];
  }

  /** Says what became of the chunks: of what was sent nobody looks at the memory any more (O1). */
  settle(outcome: HandOver): void {
    const areSent = outcome === "sent";
    if (areSent) this.freeLent();
    // Of what the socket keeps nobody hears when it is sent, unless it is full: then it says so.
    else if (outcome === "kept" && this.#lent.length > 0) this.#lent = [];
    if (areSent) for (const full of this.#full) this.#pool.give(full);
    if (this.#full.length > 0) this.#full = [];
    if (this.#slab === undefined) return;
    this.#pool.give(areSent ? this.#slab : this.#slab.subarray(this.#end));
    this.#slab = undefined;
  }

  /** A slab with room for `length` more bytes (fewer than `REFERENCED_FROM`) at `#end`. */
  #room(length: number): Buffer {
    const slab = this.#slab;
    if (slab !== undefined) {
      if (slab.length - this.#end >= length) return slab;
      this.#seal();
      this.#full.push(slab);
    }
    this.#start = 0;
    this.#end = 0;
    return (this.#slab = this.#pool.take());
  }

  #seal(): void {
    if (this.#slab === undefined || this.#start === this.#end) return;
    this.#chunks.push(this.#slab.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }
}
