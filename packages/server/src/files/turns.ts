// Whose block is read next: the turns of all who read files to send them.
//
// TU1. At most `READS_MAX` reads run at once. The others wait here, where they are in turn and can be cancelled, and not
//      in the queue of Node's threads for files, where a log's fdatasync would stand behind all of them.
// TU2. Of the peers that wait, that one is next which was served the fewest bytes (start-time fair queueing: Goyal, Vin and
//      Cheng, SIGCOMM 1996). Who reads fifty files at once gets as much as who reads one.
// TU3. Nothing is read beyond the rates, of a peer and of the server, but for the block that overdraws them.
// TU4. Who leaves its seat waits no longer. A peer that overdrew its rate is remembered until that is paid for, so coming
//      again is no way around it.
import type { Clock, Timer } from "../store/contract.ts";
import { Pace } from "./pace.ts";

/** How much may be read, in bytes a second; undefined: as much as there is. */
export interface Rates {
  readonly bytesPerSecond?: number | undefined;
  readonly bytesPerSecondPerPeer?: number | undefined;
}

/** One fewer than Node has threads for files, unless told otherwise. */
const READS_MAX = 3;
interface Waiting {
  readonly byteCount: number;
  readonly begin: () => void;
}

/** All downloads of one address. */
interface Peer {
  seats: number;
  readonly pace: Pace | undefined;
  /** In order. */
  readonly waiting: Set<Waiting>;
  /** Bytes, on the scale that all share. */
  served: number;
  /** Set while its rate lets nothing through. */
  timer: Timer | undefined;
}

/** The host of "host:port"; a peer whose address has no port is all of it. */
function hostOf(address: string): string {
  return address.replace(/:\d+$/u, "");
}

export class Turns {
  /** The least of the rates, for who plans how much to read at once; Infinity: none. */
  readonly bytesPerSecond: number;
  readonly #clock: Clock;
  readonly #perPeer: number | undefined;
  readonly #pace: Pace | undefined;
  readonly #peers = new Map<string, Peer>();
  /** Peers without a seat that have not paid yet (TU4), the one that left first in front. */
  readonly #indebted = new Map<string, Peer>();
  /** Peers that wait and whose rates let something through. */
  readonly #ready = new Set<Peer>();
  /** What the peer that was served last had been served before: how far all are that wait. */
  #virtual = 0;
  #running = 0;
  /** Set while the server's rate lets nothing through and somebody waits. */
  #timer: Timer | undefined;

  constructor(clock: Clock, { bytesPerSecond, bytesPerSecondPerPeer }: Rates = {}) {
    this.#clock = clock;
    this.#perPeer = bytesPerSecondPerPeer;
    this.#pace = bytesPerSecond === undefined ? undefined : new Pace(bytesPerSecond, clock);
    const none = Number.POSITIVE_INFINITY;
    this.bytesPerSecond = Math.min(bytesPerSecond ?? none, bytesPerSecondPerPeer ?? none);
  }

  /** Somebody reads files for who is at this address: "host:port". The seat is to be left. */
  join(address: string): Seat {
    this.#forgetPaid();
    const host = hostOf(address);
    const peer = this.#peers.get(host) ?? this.#indebted.get(host) ?? this.#newPeer();
    this.#indebted.delete(host);
    this.#peers.set(host, peer);
    peer.seats++;
    return new Seat({
      enter: (waiting) => this.#enter(peer, waiting),
      cancel: (waiting) => this.#cancel(peer, waiting),
      done: () => {
        this.#running--;
        this.#admit();
      },
      leave: () => this.#leave(host, peer),
    });
  }

  /** Peers that are remembered, whether they read now or not. */
  get peerCount(): number {
    return this.#peers.size + this.#indebted.size;
  }

  #newPeer(): Peer {
    const pace = this.#perPeer === undefined ? undefined : new Pace(this.#perPeer, this.#clock);
    return { seats: 0, pace, waiting: new Set(), served: this.#virtual, timer: undefined };
  }

  #enter(peer: Peer, waiting: Waiting): void {
    if (peer.waiting.size === 0) {
      peer.served = Math.max(peer.served, this.#virtual);
      this.#ready.add(peer);
    }
    peer.waiting.add(waiting);
    this.#admit();
  }

  #cancel(peer: Peer, waiting: Waiting): void {
    peer.waiting.delete(waiting);
    if (peer.waiting.size === 0) this.#rest(peer);
  }

  #leave(host: string, peer: Peer): void {
    if (--peer.seats > 0) return;
    this.#peers.delete(host);
    if (peer.pace?.isFull === false) this.#indebted.set(host, peer);
  }

  /** Two at most are looked at, so that joining costs the same whoever has been there; more than join cannot pile up. */
  #forgetPaid(): void {
    for (const [host, { pace }] of this.#indebted.entries().take(2)) {
      if (pace?.isFull === true) this.#indebted.delete(host);
    }
  }

  /** Lets through who may. */
  #admit(): void {
    while (this.#running < READS_MAX) {
      const peer = this.#next();
      if (peer === undefined) return;
      const waitMs = this.#pace?.waitMs() ?? 0;
      if (waitMs > 0) {
        this.#timer ??= this.#clock.setTimer(() => {
          this.#timer = undefined;
          this.#admit();
        }, waitMs);
        return;
      }
      if (!this.#isHeldBack(peer)) this.#begin(peer);
    }
  }

  /** TU2. One look at each that waits: they are fewer than the downloads that may run. */
  #next(): Peer | undefined {
    let least: Peer | undefined;
    for (const peer of this.#ready) if (least === undefined || peer.served < least.served) least = peer;
    return least;
  }

  /** TU3: whether its rate lets nothing through; then it stands aside until that does. */
  #isHeldBack(peer: Peer): boolean {
    const waitMs = peer.pace?.waitMs() ?? 0;
    if (waitMs === 0) return false;
    this.#ready.delete(peer);
    peer.timer = this.#clock.setTimer(() => {
      peer.timer = undefined;
      this.#ready.add(peer);
      this.#admit();
    }, waitMs);
    return true;
  }

  #begin(peer: Peer): void {
    const [next] = peer.waiting;
    peer.waiting.delete(next!);
    if (peer.waiting.size === 0) this.#rest(peer);
    this.#virtual = Math.max(this.#virtual, peer.served);
    peer.served += next!.byteCount;
    this.#pace?.take(next!.byteCount);
    peer.pace?.take(next!.byteCount);
    this.#running++;
    next!.begin();
  }

  /** Nobody of this peer waits any more. */
  #rest(peer: Peer): void {
    peer.timer?.cancel();
    peer.timer = undefined;
    this.#ready.delete(peer);
    if (this.#ready.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

/** What a seat asks of the turns. */
interface Table {
  enter(waiting: Waiting): void;
  cancel(waiting: Waiting): void;
  done(): void;
  leave(): void;
}

/** One reader's place: one read at a time. */
export class Seat {
  readonly #table: Table;
  #waiting: { readonly entry: Waiting; readonly refuse: (reason: DOMException) => void } | undefined;
  #isLeft = false;

  constructor(table: Table) {
    this.#table = table;
  }

  /**
   * Reads when it is its turn: before this returns, if that is now, so that a disk reads while its caller sends.
   * @throws DOMException AbortError when it left before that; what `work` throws
   */
  read<T>(byteCount: number, work: () => Promise<T>): Promise<T> {
    if (this.#isLeft) return Promise.reject(hasLeft());
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const begin = (): void => {
      this.#waiting = undefined;
      Promise.try(work)
        .finally(() => this.#table.done())
        .then(resolve, reject);
    };
    const entry = { byteCount, begin };
    this.#waiting = { entry, refuse: reject };
    this.#table.enter(entry);
    return promise;
  }

  /** TU4. A read that runs goes on. Idempotent. */
  leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    if (this.#waiting !== undefined) {
      const { entry, refuse } = this.#waiting;
      this.#table.cancel(entry);
      refuse(hasLeft());
    }
    this.#table.leave();
  }
}

function hasLeft(): DOMException {
  return new DOMException("The reader left before it was its turn", "AbortError");
}
