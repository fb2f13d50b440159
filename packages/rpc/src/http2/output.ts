// What a connection has to send: frames copied into a slab, large payloads by reference between them.
//
// O1. Bytes that were handed out are written again only after the socket has taken them.
// O2. An idle connection holds no slab: connections borrow from one pool and give back what is left.
import type { BytesOwner, Peer } from "../transport.ts";
import { FRAME_HEADER_BYTES } from "./frame.ts";

/** What became of chunks: all gone (their memory is free), kept by the socket, or kept and it wants no more for now. */
export type HandOver = "sent" | "kept" | "full";

const SLAB_BYTES = 64 * 1024;
/** Smaller payloads are copied: a reference costs an entry in `writev` and two slices of a slab. */
const REFERENCED_FROM = 8 * 1024;
/** A slab with so much in it comes back whole. */
const KEPT_FROM = 16 * 1024;
/** 1 MiB of free slabs. */
const FREE_SLABS_MAX = 16;

/** Slabs that connections share: one turn of the event loop uses few, however many connections there are. */
export class SlabPool implements BytesOwner {
  /** Whole slabs, and ends of slabs whose beginning is still with a socket. */
  #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
  }

  /** A slab with less room than the largest copy is left to the garbage collector. */
  free(slab: Buffer): void {
    if (slab.length >= REFERENCED_FROM && this.#free.length < FREE_SLABS_MAX) this.#free.push(slab);
  }
}

interface Lent {
  readonly bytes: Uint8Array;
  readonly owner: BytesOwner;
}

export class Output {
  /** Written and not yet handed out. */
  pendingBytes = 0;
  readonly #pool: SlabPool;
  readonly #isCopying: boolean;
  #slab: Buffer | undefined = undefined;
  /** Within the slab: what is before `start` was handed out, `start..end` is pending. */
  #start = 0;
  #end = 0;
  #chunks: Uint8Array[] = [];
  /** What the chunks lie in, as far as somebody wants to hear when nobody looks there any more. */
  #used: Lent[] = [];
  /** The same of chunks that the socket keeps. */
  #kept: Lent[] = [];

  /** Over TLS all payloads are copied, once: Node joins the pieces of one write by itself, into memory that is new each time. */
  constructor(pool: SlabPool, { isEncrypted }: Peer) {
    this.#pool = pool;
    this.#isCopying = isEncrypted;
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

  /** Takes `bytes[start..end)`: small ones by copy, large ones by reference, unless all are to be copied. */
  payload(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.pendingBytes += length;
    if (length >= REFERENCED_FROM) {
      if (this.#isCopying) return this.#copyLarge(bytes, start, end);
      this.#seal();
      this.#chunks.push(bytes.subarray(start, end));
      return;
    }
    const slab = this.#room(length);
    slab.set(length === bytes.length ? bytes : bytes.subarray(start, end), this.#end);
    this.#end += length;
  }

  /** Over as many slabs as it needs. */
  #copyLarge(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end;) {
      const slab = this.#room(1);
      const length = Math.min(end - at, slab.length - this.#end);
      slab.set(bytes.subarray(at, at + length), this.#end);
      this.#end += length;
      at += length;
    }
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
    if (owner !== undefined && bytes.length >= REFERENCED_FROM) this.#used.push({ bytes, owner });
  }

  /** Says what became of the chunks: what the socket keeps is in use until `free`. */
  settle(outcome: HandOver): void {
    this.#kept.push(...this.#used);
    this.#used = [];
    const slab = this.#slab;
    this.#slab = undefined;
    if (outcome === "sent") {
      if (slab !== undefined) this.#pool.free(slab);
      this.free();
    } else if (slab !== undefined) {
      // Of a slab with little in it others may use the rest meanwhile.
      if (this.#end >= KEPT_FROM) this.#kept.push({ bytes: slab, owner: this.#pool });
      else this.#pool.free(slab.subarray(this.#end));
    }
  }

  /** The socket has taken all that it kept (O1). */
  free(): void {
    if (this.#kept.length === 0) return;
    for (const { bytes, owner } of this.#kept) owner.free(bytes);
    this.#kept = [];
  }

  /** A slab with room for `length` more bytes (fewer than `REFERENCED_FROM`) at `#end`. */
  #room(length: number): Buffer {
    const slab = this.#slab;
    if (slab !== undefined) {
      if (slab.length - this.#end >= length) return slab;
      this.#seal();
      this.#used.push({ bytes: slab, owner: this.#pool });
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
