// The streams of a connection by id, and what is still known of those that are gone.
import { StreamState } from "./states.ts";
import type { Stream } from "./stream.ts";

/** Streams reset here whose peer may still be sending: so many are told apart from other closed ones. */
const REMEMBERED_RESETS_MAX = 1000;

export class StreamTable {
  /** The largest id that the peer used for a stream of its own. */
  lastPeerId = 0;
  /** The largest id that this side used. */
  lastOwnId = 0;
  readonly #peerParity: 0 | 1;
  readonly #streams = new Map<number, Stream>();
  readonly #resetHere = new Set<number>();
  /** Most frames are for the stream that the one before was for. */
  #latest: Stream | undefined = undefined;

  /** @param peerParity 1 when the peer is the client, whose ids are odd. */
  constructor(peerParity: 0 | 1) {
    this.#peerParity = peerParity;
  }

  get count(): number {
    return this.#streams.size;
  }

  find(id: number): Stream | undefined {
    if (this.#latest !== undefined && this.#latest.id === id) return this.#latest;
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#latest = stream;
    return stream;
  }

  add(stream: Stream): void {
    this.#streams.set(stream.id, stream);
    this.#latest = stream;
  }

  remove(stream: Stream): void {
    this.#streams.delete(stream.id);
    if (this.#latest === stream) this.#latest = undefined;
  }

  isPeersId(id: number): boolean {
    return (id & 1) === this.#peerParity;
  }

  /** All open streams, as they are now. */
  snapshot(): Stream[] {
    return [...this.#streams.values()];
  }

  /** The state (`StreamState`) of an id that `find` does not know. */
  stateOfMissing(id: number): number {
    if (id === 0) return StreamState.CONNECTION;
    if (this.#resetHere.has(id)) return StreamState.CLOSED_HERE;
    return id <= (this.isPeersId(id) ? this.lastPeerId : this.lastOwnId) ? StreamState.CLOSED : StreamState.IDLE;
  }

  /** What the peer sent before it heard of the reset is no error. */
  rememberReset(id: number): void {
    this.#resetHere.add(id);
    if (this.#resetHere.size <= REMEMBERED_RESETS_MAX) return;
    for (const oldest of this.#resetHere) {
      this.#resetHere.delete(oldest);
      break;
    }
  }

  /** The peer has ended the stream too: whatever it sends now is an error. */
  forgetReset(id: number): void {
    this.#resetHere.delete(id);
  }
}
