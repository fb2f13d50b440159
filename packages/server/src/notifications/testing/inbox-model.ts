// What inboxes should be: one list for each user, nothing clever. A Publish puts an entry into the list of everybody it reaches;
// all else walks the lists.
import type { RemovalName } from "../contract.ts";

export interface ModelEntry {
  readonly id: number;
  readonly priority: number;
  /** By which it came: the key of a channel; undefined: it was for this user. */
  channel: string | undefined;
  readonly key: string;
  readonly expiresAtMs: number;
  /** It came by a channel, and was snoozed: this user has it alone, and bounds do not count it. */
  isMoved: boolean;
  /** Position among the deliveries. */
  order: number;
  seen: boolean;
  read: boolean;
  archived: boolean;
  snoozedUntilMs: number;
}

export interface ModelUser {
  readonly name: string;
  readonly maxItems: number;
  readonly rejects: boolean;
  readonly topics: Set<string>;
  entries: ModelEntry[];
  /** By collapse key, the newest that was for this user. */
  readonly keys: Map<string, number>;
  readonly removals: RemovalName[];
}

export interface ModelPublish {
  readonly users: readonly string[];
  readonly topics: readonly string[];
  readonly everyone: boolean;
  readonly priority: number;
  readonly ttlMs: number;
  readonly collapseKey: string;
  /** Unix ms; 0: at once. */
  readonly deliverAtMs: number;
}

interface Delayed {
  readonly id: number;
  readonly atMs: number;
  readonly publish: ModelPublish;
}

export class InboxModel {
  readonly users = new Map<string, ModelUser>();
  readonly #sharedMax: number;
  /** Ids in each channel, oldest first; expiry and collapse key of each. */
  readonly #channels = new Map<string, { id: number; key: string; expiresAtMs: number }[]>();
  readonly #channelKeys = new Map<string, Map<string, number>>();
  #delayed: Delayed[] = [];
  #order = 0;

  constructor(sharedMax: number, users: readonly { name: string; maxItems: number; rejects: boolean }[]) {
    this.#sharedMax = sharedMax;
    for (const user of users) {
      this.users.set(user.name, { ...user, topics: new Set(), entries: [], keys: new Map(), removals: [] });
    }
  }

  user(name: string): ModelUser {
    return this.users.get(name)!;
  }

  /** Whether it is refused. */
  refuses(publish: ModelPublish): boolean {
    if (publish.everyone) return false;
    return publish.users.some((name) => {
      const { rejects, maxItems, entries } = this.user(name);
      return rejects && entries.filter(({ channel, isMoved }) => channel === undefined && !isMoved).length >= maxItems;
    });
  }

  publish(id: number, publish: ModelPublish, nowMs: number): void {
    if (publish.deliverAtMs > nowMs) this.#delayed.push({ id, atMs: publish.deliverAtMs, publish });
    else this.#deliver(id, publish, nowMs);
  }

  /** Unix ms of what is due first; undefined: nothing is. */
  get nextDueMs(): number | undefined {
    return this.#firstDue()?.atMs;
  }

  /** What is due up to now has happened, in the order of its time. */
  advance(nowMs: number): void {
    for (let first = this.#firstDue(); first !== undefined && first.atMs <= nowMs; first = this.#firstDue())
      first.run();
  }

  #firstDue(): { readonly atMs: number; readonly run: () => void } | undefined {
    const due: { atMs: number; run: () => void }[] = [];
    for (const each of this.#delayed) due.push({ atMs: each.atMs, run: () => this.#deliverDelayed(each) });
    for (const user of this.users.values()) {
      for (const entry of user.entries) {
        if (entry.snoozedUntilMs > 0) due.push({ atMs: entry.snoozedUntilMs, run: () => this.#wake(entry) });
        if (entry.channel === undefined && entry.expiresAtMs > 0) {
          due.push({ atMs: entry.expiresAtMs, run: () => this.#remove(user, entry.id, "expired") });
        }
      }
    }
    for (const [channel, ids] of this.#channels) {
      for (const { id, expiresAtMs } of ids) {
        if (expiresAtMs > 0) due.push({ atMs: expiresAtMs, run: () => this.#removeShared(channel, id, "expired") });
      }
    }
    return due.toSorted((a, b) => a.atMs - b.atMs)[0];
  }

  /** Answers how many have another state now. */
  set(
    entries: readonly ModelEntry[],
    wish: Partial<Pick<ModelEntry, "seen" | "read" | "archived" | "snoozedUntilMs">>,
  ): number {
    let changed = 0;
    for (const entry of entries) {
      const before = JSON.stringify(entry);
      Object.assign(entry, wish);
      if (wish.read === true || wish.archived === true) entry.seen = true;
      // It comes again for this user alone.
      if ((wish.snoozedUntilMs ?? 0) > 0 && entry.channel !== undefined) {
        entry.isMoved = true;
        entry.channel = undefined;
      }
      if (JSON.stringify(entry) !== before) changed++;
    }
    return changed;
  }

  delete(name: string, id: number): void {
    this.#remove(this.user(name), id, "deleted");
  }

  counts(name: string): number[] {
    const counts = [0, 0, 0, 0, 0, 0, 0, 0];
    for (const { priority, read, archived, snoozedUntilMs } of this.user(name).entries) {
      if (!read && !archived && snoozedUntilMs === 0) counts[priority]!++;
    }
    return counts;
  }

  #deliverDelayed(delayed: Delayed): void {
    this.#delayed = this.#delayed.filter((each) => each !== delayed);
    this.#deliver(delayed.id, delayed.publish, delayed.atMs);
  }

  #deliver(id: number, publish: ModelPublish, atMs: number): void {
    const { topics, everyone, priority, collapseKey } = publish;
    const expiresAtMs = publish.ttlMs === 0 ? 0 : (Math.floor(atMs / 1000) + publish.ttlMs / 1000 + 1) * 1000;
    const channel = everyone ? "" : topics.toSorted().join(" ");
    const order = ++this.#order;
    const isShared = everyone || topics.length > 0;
    for (const user of this.users.values()) {
      const isDirect = !everyone && publish.users.includes(user.name);
      if (!isDirect && !everyone && !topics.some((topic) => user.topics.has(topic))) continue;
      const state = { isMoved: false, seen: false, read: false, archived: false, snoozedUntilMs: 0 };
      const from = isDirect ? undefined : channel;
      user.entries.push({ id, priority, key: collapseKey, expiresAtMs, order, channel: from, ...state });
      if (isDirect) this.#replace(user, id, collapseKey);
    }
    if (isShared) this.#share(channel, { id, key: collapseKey, expiresAtMs });
    for (const user of this.users.values()) this.#evict(user);
  }

  #replace(user: ModelUser, id: number, key: string): void {
    if (key === "") return;
    const old = user.entries.find((entry) => entry.id === user.keys.get(key));
    user.keys.set(key, id);
    if (old !== undefined && !old.read && !old.archived && old.snoozedUntilMs === 0)
      this.#remove(user, old.id, "replaced");
  }

  #share(channel: string, shared: { id: number; key: string; expiresAtMs: number }): void {
    const ids = this.#channels.get(channel) ?? [];
    this.#channels.set(channel, ids);
    ids.push(shared);
    if (shared.key !== "") {
      const keys = this.#channelKeys.get(channel) ?? new Map<string, number>();
      this.#channelKeys.set(channel, keys);
      const old = keys.get(shared.key);
      keys.set(shared.key, shared.id);
      if (old !== undefined && ids.some(({ id }) => id === old)) this.#removeShared(channel, old, "replaced");
    }
    while (ids.length > this.#sharedMax) this.#removeShared(channel, ids[0]!.id, "evicted");
  }

  #removeShared(channel: string, id: number, reason: RemovalName): void {
    const ids = this.#channels.get(channel)!;
    ids.splice(
      ids.findIndex((each) => each.id === id),
      1,
    );
    for (const user of this.users.values()) {
      if (user.entries.some((entry) => entry.id === id && entry.channel === channel)) this.#remove(user, id, reason);
    }
  }

  #evict(user: ModelUser): void {
    if (user.rejects) return;
    for (;;) {
      const direct = user.entries.filter(({ channel, isMoved }) => channel === undefined && !isMoved);
      if (direct.length <= user.maxItems) return;
      const [victim] = direct.toSorted((a, b) => a.priority - b.priority || a.order - b.order);
      this.#remove(user, victim!.id, "evicted");
    }
  }

  #wake(entry: ModelEntry): void {
    Object.assign(entry, { snoozedUntilMs: 0, read: false, archived: false, order: ++this.#order });
  }

  #remove(user: ModelUser, id: number, reason: RemovalName): void {
    const entry = user.entries.find((each) => each.id === id)!;
    user.entries = user.entries.filter((each) => each !== entry);
    if (user.keys.get(entry.key) === id) user.keys.delete(entry.key);
    user.removals.push(reason);
  }
}
