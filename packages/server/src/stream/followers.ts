// Everybody who follows a log: one subscription to the log's head, however many there are.
//
// L1. A follower that waits at the head costs its own object and a place in an array: no listener, timer or promise.
// L2. They are told in a turn of the event loop of their own: the writer's acknowledgement, and the next group's way to
//     disk, do not wait until thousands have the entry.
import { LimitExceeded } from "../errors.ts";
import type { Clock, LogReader } from "../store/contract.ts";
import { Heartbeats } from "./heartbeat.ts";
import { TurnShares } from "./turn-shares.ts";

/** One who waits for the head of a log to move. `place` belongs to Followers. */
export interface Follower {
  readonly reader: LogReader;
  /** Place among the followers of the same log; -1: none. */
  place: number;
  /** The head has moved. May leave, or make others leave. */
  onHead(): void;
  /** The server stops: ends with an error that says how to go on, and leaves. */
  interrupt(): void;
}

interface Hub {
  readonly followers: Follower[];
  readonly unsubscribe: () => void;
}

export class Followers {
  readonly clock: Clock;
  readonly heartbeats: Heartbeats;
  /** Of all that search, followers or not. */
  readonly shares = new TurnShares();
  /** What has left for readers since the start, of all logs. */
  readonly delivered = { entries: 0, gaps: 0 };
  readonly #max: number;
  readonly #hubs = new Map<LogReader, Hub>();
  #count = 0;

  /** @param options `max`: open follows that are allowed at a time */
  constructor(options: { readonly clock: Clock; readonly max: number }) {
    this.clock = options.clock;
    this.heartbeats = new Heartbeats(options.clock);
    this.#max = options.max;
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** @throws LimitExceeded */
  join(follower: Follower): void {
    if (this.#count >= this.#max) {
      const text = `Cannot follow the log "${follower.reader.name}": the limit of ${this.#max} open follows is reached`;
      throw new LimitExceeded(text, "open follows", { retryAfterMs: 5_000 });
    }
    const hub = this.#hubs.get(follower.reader) ?? this.#openHub(follower.reader);
    follower.place = hub.followers.push(follower) - 1;
    this.#count++;
  }

  /** Idempotent. */
  leave(follower: Follower): void {
    const { place, reader } = follower;
    const hub = this.#hubs.get(reader);
    if (place < 0 || hub === undefined) return;
    const last = hub.followers.pop()!;
    if (last !== follower) {
      hub.followers[place] = last;
      last.place = place;
    }
    follower.place = -1;
    this.#count--;
    if (hub.followers.length === 0) {
      hub.unsubscribe();
      this.#hubs.delete(reader);
    }
  }

  /** Ends all follows. */
  interruptAll(): void {
    for (const { followers } of this.#hubs.values()) {
      for (let last = followers.at(-1); last !== undefined; last = followers.at(-1)) last.interrupt();
    }
  }

  #openHub(reader: LogReader): Hub {
    const followers: Follower[] = [];
    let isToldSoon = false;
    const tell = (): void => {
      isToldSoon = false;
      // From the end: who leaves is replaced by the last one, who was told already.
      for (let i = followers.length - 1; i >= 0; i--) followers[i]?.onHead();
    };
    const unsubscribe = reader.onHead(() => {
      if (isToldSoon) return;
      isToldSoon = true;
      setImmediate(tell);
    });
    const hub = { followers, unsubscribe };
    this.#hubs.set(reader, hub);
    return hub;
  }
}
