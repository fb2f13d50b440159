// The streams of a connection by id, and what is still known of those that are gone.
import { STREAM_ID_MAX } from "./frame.ts";
import { StreamState } from "./states.ts";
import type { Stream } from "./stream.ts";

/** Of how many of the latest ids it is known whether this side reset them: one bit each, 2 KiB once there was a reset. */
const REMEMBERED_IDS = 16_384;

export class StreamTable {
  readonly #peerParity: 0 | 1;
  readonly #streams = new Map<number, Stream>();
  /** Most frames are for the stream that the one before was for. */
  #latest: Stream | undefined = undefined;
  #lastPeerId = 0;
  #lastOwnId = 0;
  /** A ring of bits: reset here, and the peer, who may not know yet, has not ended the stream. */
  #resets: Uint8Array | undefined = undefined;

  /** @param peerParity 1 when the peer is the client, whose ids are odd. */
  constructor(peerParity: 0 | 1) {
    this.#peerParity = peerParity;
  }

  get count(): number {
    return this.#streams.size;
  }

  /** The largest id that the peer has used for a stream of its own. */
  get lastPeerId(): number {
    return this.#lastPeerId;
  }

  /** The largest id that this side has used. */
  get lastOwnId(): number {
    return this.#lastOwnId;
  }

  find(id: number): Stream | undefined {
    if (this.#latest !== undefined && this.#latest.id === id) return this.#latest;
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#latest = stream;
    return stream;
  }

  /** An id larger than all before it on its side is used; those left out are closed with it (RFC 9113 §5.1.1). */
  use(id: number): void {
    const before = this.#lastUsed(id);
    if (this.isPeersId(id)) this.#lastPeerId = id;
    else this.#lastOwnId = id;
    if (this.#resets === undefined) return;
    if (id - before >= 2 * REMEMBERED_IDS) this.#resets.fill(0);
    else for (let used = id; used > before; used -= 2) this.forgetReset(used);
  }

  add(stream: Stream): void {
    this.#streams.set(stream.id, stream);
    this.#latest = stream;
  }

  remove(stream: Stream): void {
    this.#streams.delete(stream.id);
    if (this.#latest === stream) this.#latest = undefined;
  }

  /** All open streams; none may be opened or closed meanwhile. */
  all(): Iterable<Stream> {
    return this.#streams.values();
  }

  /** All open streams, as they are now. */
  snapshot(): Stream[] {
    return [...this.#streams.values()];
  }

  isPeersId(id: number): boolean {
    return (id & 1) === this.#peerParity;
  }

  /** The state (`StreamState`) of an id that `find` does not know. */
  stateOfMissing(id: number): number {
    if (id === 0) return StreamState.CONNECTION;
    const last = this.#lastUsed(id);
    if (id > last) return StreamState.IDLE;
    // Too old to tell: what is late, not what is wrong, must not end a connection.
    if (last - id >= 2 * REMEMBERED_IDS) return StreamState.CLOSED_HERE;
    const slot = slotOf(id);
    const isReset = this.#resets !== undefined && (this.#resets[slot >> 3]! & (1 << (slot & 7))) !== 0;
    return isReset ? StreamState.CLOSED_HERE : StreamState.CLOSED;
  }

  /** What the peer sends before it hears of the reset is no error. */
  rememberReset(id: number): void {
    if (this.#lastUsed(id) - id >= 2 * REMEMBERED_IDS) return;
    this.#resets ??= new Uint8Array(REMEMBERED_IDS / 8);
    const slot = slotOf(id);
    this.#resets[slot >> 3]! |= 1 << (slot & 7);
  }

  /** The peer has ended the stream too: whatever it sends now is an error. */
  forgetReset(id: number): void {
    if (this.#resets === undefined || this.#lastUsed(id) - id >= 2 * REMEMBERED_IDS) return;
    const slot = slotOf(id);
    this.#resets[slot >> 3]! &= ~(1 << (slot & 7));
  }

  #lastUsed(id: number): number {
    return this.isPeersId(id) ? this.#lastPeerId : this.#lastOwnId;
  }
}

/** The id of a client's stream with this number, from 1; ids end at 2³¹-1. */
export function lastIdOf(streams: number): number {
  return Math.min(2 * streams - 1, STREAM_ID_MAX);
}

/** Only one side's ids are ever used: there is no push. */
function slotOf(id: number): number {
  return (id >>> 1) & (REMEMBERED_IDS - 1);
}
