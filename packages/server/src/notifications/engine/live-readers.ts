// The readers of inboxes that are open: by user, and by the channels that they see, so that what is new finds them.
import type { Channel } from "./channel.ts";
import type { LoggedEvent } from "./event-log.ts";
import { PRIORITIES, type VisibleChannel } from "./user-table.ts";

/** An item for everyone that has just been delivered: the same object for all readers. */
export interface LiveBroadcast {
  readonly priority: number;
  readonly sequence: number;
  /** Behind it, for who has everything before it. */
  readonly position: readonly number[];
  /** From 1, by one more each time. */
  readonly number: number;
  /** What came for everyone next. */
  next: LiveBroadcast | undefined;
}

/** Somebody whose reader may have something new. */
export interface StateReader {
  readonly user: number;
  /** Behind which events it reads: those of its inbox are among what is of priority 7. */
  readonly eventsAfter: number;
  /** These events are forgotten, and it has not read them. */
  missed(events: readonly LoggedEvent[]): void;
  changed(): void;
  /** This has come for everyone. */
  arrived(live: LiveBroadcast): void;
  ended(why: "user-deleted" | "device-removed"): void;
  readonly deviceId: string | undefined;
}

export class LiveReaders {
  readonly #visible: (user: number) => readonly VisibleChannel[];
  readonly #byUser = new Map<number, Set<StateReader>>();
  readonly #byChannel = new Map<Channel, Set<StateReader>>();
  #last: LiveBroadcast | undefined;
  readonly #watched = new Map<StateReader, Set<Channel>>();

  /** @param visible what of channels a user sees */
  constructor(visible: (user: number) => readonly VisibleChannel[]) {
    this.#visible = visible;
  }

  add(reader: StateReader): void {
    let readers = this.#byUser.get(reader.user);
    if (readers === undefined) {
      readers = new Set();
      this.#byUser.set(reader.user, readers);
    }
    readers.add(reader);
    this.#watch(reader);
  }

  remove(reader: StateReader): void {
    const readers = this.#byUser.get(reader.user);
    readers?.delete(reader);
    if (readers?.size === 0) this.#byUser.delete(reader.user);
    for (const channel of this.#watched.get(reader) ?? []) {
      const watching = this.#byChannel.get(channel);
      watching?.delete(reader);
      if (watching?.size === 0) this.#byChannel.delete(channel);
    }
    this.#watched.delete(reader);
  }

  of(user: number): Iterable<StateReader> {
    return this.#byUser.get(user) ?? [];
  }

  /** This has come for everyone. */
  announce(everyone: Channel, { priority, sequence }: { readonly priority: number; readonly sequence: number }): void {
    const position = Array.from({ length: PRIORITIES }, () => sequence);
    const number = (this.#last?.number ?? 0) + 1;
    const live: LiveBroadcast = { priority, sequence, position, number, next: undefined };
    if (this.#last !== undefined) this.#last.next = live;
    this.#last = live;
    for (const reader of this.ofChannel(everyone)) reader.arrived(live);
  }

  ofChannel(channel: Channel): Iterable<StateReader> {
    return this.#byChannel.get(channel) ?? [];
  }

  /** A user sees other channels than before. */
  watchAgain(user: number): void {
    for (const reader of this.of(user)) this.#watch(reader);
  }

  /** Users who have a reader. */
  users(): Iterable<number> {
    return this.#byUser.keys();
  }

  #watch(reader: StateReader): void {
    const watched = this.#watched.get(reader) ?? new Set();
    this.#watched.set(reader, watched);
    for (const { channel } of this.#visible(reader.user)) {
      let watching = this.#byChannel.get(channel);
      if (watching === undefined) {
        watching = new Set();
        this.#byChannel.set(channel, watching);
      }
      watching.add(reader);
      watched.add(channel);
    }
  }
}
