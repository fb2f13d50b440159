// What the records of notifications make of it: users, their inboxes, topics. apply.ts changes it, record by record; views.ts
// and reader.ts look at it; wanted.ts says which records it needs itself; snapshot.ts writes it down again.
//
// S1. A body is alive while somebody holds it: one row, several (`bodies` counts them), or a channel. `liveBytes` is about what
//     all that is alive takes in the journal.
// S2. A death noted too early does no harm: what is cleaned carries what is alive.
import type { Policy } from "@sluice/api";
import { Channel, covers, type Stretch, unite } from "./channel.ts";
import { CollapseKeys } from "./collapse-keys.ts";
import { DirectItems, ItemFlag, type NewDirectItem } from "./direct-items.ts";
import { DueHeap } from "./due-heap.ts";
import { EventLog, type LoggedEvent } from "./event-log.ts";
import { LiveReaders } from "./live-readers.ts";
import { NONE } from "./rows.ts";
import type { SharedEntry } from "./shared-line.ts";
import { TypeNames } from "./type-names.ts";
import { PRIORITIES, type SharedState, UserTable, type VisibleChannel } from "./user-table.ts";

/** What a record takes beside the notification: names, times, stamps. */
const RECORD_BYTES = 64;
const USER_BYTES = 48;
/** Events remembered of one user, and of all together: then those of whoever comes next are forgotten. */
const USER_EVENTS_MAX = 4096;
const EVENTS_MAX = 2_000_000;
const NO_DOOM = { count: 0, bytes: 0 };

/** A notification that is to be delivered, later or now. */
export interface Delivery {
  readonly id: number;
  readonly place: number;
  readonly bytes: number;
  readonly priority: number;
  readonly type: number;
  readonly collapseKey: string;
  readonly userIds: readonly string[];
  readonly topics: readonly string[];
  readonly everyone: boolean;
  readonly ttlMs: number;
  /** Of each of `userIds`; none: `ttlMs`. */
  readonly ttlMsByUser: readonly number[];
}

export interface Delayed extends Delivery {
  place: number;
  /** Unix ms. */
  readonly deliverAtMs: number;
}

export interface TopicState {
  members: number;
  /** Channels of sets that this topic is in. */
  readonly channels: Channel[];
}

export interface RememberedKey {
  readonly key: string;
  readonly id: number;
  readonly untilMs: number;
}

export class InboxState {
  readonly items = new DirectItems();
  readonly users = new UserTable(this.items);
  readonly types = new TypeNames();
  readonly topics = new Map<string, TopicState>();
  readonly everyone = new Channel([]);
  /** By their topics. */
  readonly channels = new Map<string, Channel>();
  /** One more with each new channel. */
  channelsVersion = 0;
  readonly delayed = new Map<number, Delayed>();
  readonly delayedDue = new DueHeap<number>();
  /** Delivery sequence of what is in a channel and was delayed, by id. */
  readonly delayedSequences = new Map<number, number>();
  /** Unix ms, by row. */
  readonly snoozedUntil = new Map<number, number>();
  readonly snoozedDue = new DueHeap<{ readonly user: number; readonly id: number; readonly untilMs: number }>();
  /** What expires of channels. */
  readonly sharedExpiring = new DueHeap<{
    readonly channel: Channel;
    readonly priority: number;
    readonly sequence: number;
  }>();
  readonly collapsing = new CollapseKeys();
  /** S1. Of bodies that several rows hold, by id. */
  readonly bodies = new Map<number, { holders: number; readonly bytes: number }>();
  /** Users who snoozed an item of a channel, by its id; the channel of their row. */
  readonly moved = new Map<number, Set<number>>();
  readonly movedFrom = new Map<number, Channel>();
  /** Who made something of an item of a channel, by its id: it is carried with it. */
  readonly sharedHolders = new Map<number, Set<number>>();
  /** Idempotency keys and request ids, oldest first. */
  readonly keys = new Map<string, RememberedKey>();
  defaultPolicy: Policy | undefined;
  /** Record that says the default policy, the era, and which topics there are. */
  serverAnchor = 0;
  era = 0;
  /** The last record that is in effect. */
  head = 0;
  /** While records are read that were there: older ones may come late, as they were carried. */
  isReplaying = true;
  liveBytes = 0;
  sharedCount = 0;
  /** Users that may be over their bounds, channels that may be, and what may be replaced: wanted.ts looks. */
  readonly crowded = new Set<number>();
  readonly crowdedChannels = new Set<Channel>();
  replaced: { readonly user: number; readonly priority: number; readonly sequence: number; readonly by: number }[] = [];
  replacedShared: {
    readonly channel: Channel;
    readonly priority: number;
    readonly sequence: number;
    readonly by: number;
  }[] = [];
  /** Users with a device that has a push service. */
  readonly pushing = new Set<number>();
  /** When bodies died that are still on disk: the last place of an hour. Ascending by time. */
  readonly deaths: { readonly hourMs: number; place: number }[] = [];
  readonly #doomed = new Map<number, { readonly count: number; readonly bytes: number }>();
  readonly readers = new LiveReaders((user) => this.visible(user));
  #eventCount = 0;

  /** The user of this name, made when it is not there. */
  needUser(name: string, place: number): number {
    const known = this.users.find(name);
    if (known !== NONE) return known;
    this.liveBytes += USER_BYTES + name.length;
    return this.users.add(name, place);
  }

  /** @param atMs Unix ms */
  removeUser(user: number, atMs: number): void {
    for (let priority = 0; priority < PRIORITIES; priority++) {
      for (let row = this.users.head(user, priority); row !== NONE; row = this.users.head(user, priority)) {
        this.removeDirect(row, atMs);
      }
    }
    const extra = this.users.extra(user);
    for (const name of extra?.memberships.keys() ?? []) this.countMember(name, this.isMember(user, name), false);
    this.forgetUser(user);
    this.liveBytes -= USER_BYTES + this.users.name(user).length;
    this.crowded.delete(user);
    this.#doomed.delete(user);
    for (const reader of this.readers.of(user)) reader.ended("user-deleted");
    this.users.remove(user);
  }

  /** All that is beside the direct items of a user. */
  forgetUser(user: number): void {
    this.#eventCount -= this.users.extra(user)?.log?.size ?? 0;
    for (const id of this.users.extra(user)?.states.keys() ?? []) this.#dropShared(user, id);
    this.users.dropExtra(user);
    this.pushing.delete(user);
  }

  /** Its devices are others now. */
  devicesChanged(user: number): void {
    const devices = this.users.extra(user)?.devices.values() ?? [];
    if ([...devices].some(({ webPush }) => webPush !== undefined)) this.pushing.add(user);
    else this.pushing.delete(user);
  }

  needTopic(name: string): TopicState {
    let topic = this.topics.get(name);
    if (topic === undefined) {
      topic = { members: 0, channels: [] };
      this.topics.set(name, topic);
    }
    return topic;
  }

  isMember(user: number, topic: string): boolean {
    return this.users.extra(user)?.memberships.get(topic)?.at(-1)?.until === Number.POSITIVE_INFINITY;
  }

  countMember(topic: string, was: boolean, is: boolean): void {
    this.needTopic(topic).members += Number(is) - Number(was);
  }

  /** The channel of a set of topics, made when it is not there; of none: everyone. */
  channelOf(topics: readonly string[]): Channel {
    if (topics.length === 0) return this.everyone;
    const sorted = [...new Set(topics)].sort();
    const key = sorted.join("\0");
    let channel = this.channels.get(key);
    if (channel === undefined) {
      channel = new Channel(sorted);
      this.channels.set(key, channel);
      for (const topic of sorted) this.needTopic(topic).channels.push(channel);
      this.channelsVersion++;
      for (const user of this.readers.users()) {
        const memberships = this.users.extra(user)?.memberships;
        if (sorted.some((topic) => memberships?.has(topic))) this.readers.watchAgain(user);
      }
    }
    return channel;
  }

  /** What of channels a user sees. */
  visible(user: number): readonly VisibleChannel[] {
    const everyone = { since: this.users.since(user), until: Number.POSITIVE_INFINITY };
    const extra = this.users.extra(user);
    if (extra === undefined || extra.memberships.size === 0) return [{ channel: this.everyone, stretches: [everyone] }];
    if (extra.visible !== undefined && extra.visibleVersion === this.channelsVersion) return extra.visible;
    const stretches = new Map<Channel, Stretch[]>([[this.everyone, [everyone]]]);
    for (const [name, memberships] of extra.memberships) {
      for (const channel of this.topics.get(name)?.channels ?? []) {
        const known = stretches.get(channel);
        if (known === undefined) stretches.set(channel, [...memberships]);
        else known.push(...memberships);
      }
    }
    extra.visibleVersion = this.channelsVersion;
    return (extra.visible = [...stretches].map(([channel, each]) => ({ channel, stretches: unite(each) })));
  }

  /** Its memberships are others now. */
  membershipsChanged(user: number): void {
    const extra = this.users.extra(user);
    if (extra !== undefined) extra.visible = undefined;
    this.readers.watchAgain(user);
  }

  /** Where an item of a channel that this user sees is; undefined: there is no such id for them. */
  findShared(
    user: number,
    id: number,
  ): { channel: Channel; priority: number; index: number; entry: SharedEntry } | undefined {
    const sequence = this.delayedSequences.get(id) ?? id;
    if (this.users.extra(user)?.states.get(id)?.isHidden === true) return undefined;
    for (const { channel, stretches } of this.visible(user)) {
      if (!covers(stretches, sequence)) continue;
      for (let priority = 0; priority < PRIORITIES; priority++) {
        const line = channel.lines[priority];
        const entry = line?.lookUp(sequence);
        if (entry !== undefined) return { channel, priority, index: line!.find(sequence), entry };
      }
    }
    return undefined;
  }

  /** The state of an item of a channel, to be changed. */
  needShared(user: number, at: { channel: Channel; priority: number; id: number; sequence: number }): SharedState {
    const extra = this.users.needExtra(user);
    const known = extra.states.get(at.id);
    if (known !== undefined) return known;
    const { channel, priority, sequence } = at;
    const flags = this.markedFlags(user, priority, sequence);
    const state = { channel, priority, sequence, flags, isHidden: false, revision: revisionOf(flags), changed: 0 };
    if (!this.isReplaying && extra.states.size >= 2 * extra.statesKept + 64) this.#forgetDead(user, extra);
    this.putShared(user, at.id, state);
    return state;
  }

  putShared(user: number, id: number, state: SharedState): void {
    this.users.needExtra(user).states.set(id, state);
    const holders = this.sharedHolders.get(id);
    if (holders === undefined) this.sharedHolders.set(id, new Set([user]));
    else holders.add(user);
  }

  #dropShared(user: number, id: number): void {
    const holders = this.sharedHolders.get(id);
    holders?.delete(user);
    if (holders?.size === 0) this.sharedHolders.delete(id);
  }

  /** What the marks of a user say of an item of a channel. */
  markedFlags(user: number, priority: number, sequence: number): number {
    const marks = this.users.extra(user)?.marks;
    if (marks === undefined) return 0;
    let flags = 0;
    if (sequence <= marks.seen[priority]!) flags |= ItemFlag.SEEN;
    if (sequence <= marks.read[priority]!) flags |= ItemFlag.READ;
    if (sequence <= marks.archived[priority]!) flags |= ItemFlag.ARCHIVED;
    return flags;
  }

  addDirect(item: NewDirectItem, collapseKey: string): number {
    const row = this.items.add(item);
    this.users.link(row);
    if ((item.flags & ItemFlag.MULTIPLE) !== 0) {
      const body = this.bodies.get(item.id);
      if (body !== undefined) body.holders++;
      else this.#addBody(item);
    } else if ((item.flags & ItemFlag.MOVED) === 0) this.liveBytes += item.bytes + RECORD_BYTES;
    if (collapseKey !== "") this.collapsing.add(row, item.user, collapseKey);
    return row;
  }

  /** @param atMs when it was decided, Unix ms; 0: nobody needs to know */
  removeDirect(row: number, atMs: number): void {
    const { items } = this;
    const id = items.id(row);
    const bytes = items.bytes(row);
    const place = items.place(row);
    if (items.has(row, ItemFlag.DOOMED)) this.#countDoomed(row, -1);
    this.users.unlink(row);
    this.snoozedUntil.delete(row);
    this.collapsing.drop(row);
    if (items.has(row, ItemFlag.MOVED)) {
      this.movedFrom.delete(row);
      const users = this.moved.get(id);
      users?.delete(items.user(row));
      if (users?.size === 0) this.moved.delete(id);
      this.noteDeath(place, atMs);
    } else if (items.has(row, ItemFlag.MULTIPLE)) this.#dropBody(id, place, atMs);
    else {
      this.liveBytes -= bytes + RECORD_BYTES;
      this.noteDeath(place, atMs);
    }
    items.remove(row);
  }

  /** Its removal is on the way to the disk: nobody removes it again. */
  doom(row: number): void {
    const { items } = this;
    const index = items.expiryIndex(row);
    if (index !== NONE) items.expiring.remove(index);
    items.set(row, ItemFlag.DOOMED, true);
    this.#countDoomed(row, 1);
  }

  /** It did not get there. */
  spare(row: number): void {
    const { items } = this;
    if (items.expiresAt(row) > 0) items.expiring.push(row);
    items.set(row, ItemFlag.DOOMED, false);
    this.#countDoomed(row, -1);
  }

  /** Of the direct items of a user, those that are doomed. */
  doomed(user: number): { readonly count: number; readonly bytes: number } {
    return this.#doomed.get(user) ?? NO_DOOM;
  }

  #countDoomed(row: number, sign: number): void {
    const { items } = this;
    if (items.has(row, ItemFlag.MOVED)) return;
    const user = items.user(row);
    const { count, bytes } = this.doomed(user);
    if (count + sign === 0) this.#doomed.delete(user);
    else this.#doomed.set(user, { count: count + sign, bytes: bytes + sign * items.bytes(row) });
  }

  addShared(channel: Channel, added: { priority: number; entry: SharedEntry; collapseKey: string }): boolean {
    const { priority, entry, collapseKey } = added;
    if (!channel.add(priority, entry, collapseKey)) return false;
    this.sharedCount++;
    this.liveBytes += entry.bytes + RECORD_BYTES;
    if (entry.sequence !== entry.id) this.delayedSequences.set(entry.id, entry.sequence);
    if (entry.expiresAt > 0) {
      this.sharedExpiring.push(entry.expiresAt * 1000, { channel, priority, sequence: entry.sequence });
    }
    return true;
  }

  removeShared(
    channel: Channel,
    removed: { priority: number; sequence: number; atMs: number },
  ): SharedEntry | undefined {
    const entry = channel.remove(removed.priority, removed.sequence);
    if (entry === undefined) return undefined;
    this.sharedCount--;
    this.delayedSequences.delete(entry.id);
    this.liveBytes -= entry.bytes + RECORD_BYTES;
    this.noteDeath(entry.place, removed.atMs);
    return entry;
  }

  /** A body is on disk that nobody holds any more. */
  noteDeath(place: number, atMs: number): void {
    if (atMs === 0) return;
    const hourMs = Math.floor(atMs / 3_600_000) * 3_600_000;
    const last = this.deaths.at(-1);
    if (last !== undefined && last.hourMs >= hourMs) last.place = Math.max(last.place, place);
    else this.deaths.push({ hourMs, place });
  }

  /** Something of this inbox happened that its devices hear of. */
  logEvent(user: number, event: LoggedEvent): void {
    const extra = this.users.needExtra(user);
    const log = (extra.log ??= new EventLog(this.users.anchor(user)));
    if (log.size >= USER_EVENTS_MAX || (this.#eventCount >= EVENTS_MAX && log.size > 0)) this.forgetEvents(user);
    log.add(event);
    this.#eventCount++;
    this.users.setLastEvent(user, event.sequence);
  }

  /** The log of a user as a checkpoint has it. */
  putLog(user: number, log: EventLog): void {
    this.users.needExtra(user).log = log;
    this.#eventCount += log.size;
  }

  /** The older events of a user; who has not read them keeps their count. */
  forgetEvents(user: number): void {
    const extra = this.users.needExtra(user);
    const forgotten = extra.log?.forgetOld() ?? [];
    this.#eventCount -= forgotten.length;
    for (const device of extra.devices.values()) countMissed(forgotten, device.ack?.[7] ?? 0, device.missed);
    for (const reader of this.readers.of(user)) {
      const missed = forgotten.filter(({ sequence }) => sequence > reader.eventsAfter);
      if (missed.length > 0) reader.missed(missed);
    }
  }

  #addBody({ id, bytes }: NewDirectItem): void {
    this.bodies.set(id, { holders: 1, bytes });
    this.liveBytes += bytes + RECORD_BYTES;
  }

  #dropBody(id: number, place: number, atMs: number): void {
    const body = this.bodies.get(id);
    if (body === undefined || --body.holders > 0) return;
    this.bodies.delete(id);
    this.liveBytes -= body.bytes + RECORD_BYTES;
    this.noteDeath(place, atMs);
  }

  /** States of items that are gone from their channel: nobody asks for them any more. */
  #forgetDead(user: number, extra: { readonly states: Map<number, SharedState>; statesKept: number }): void {
    for (const [id, { channel, priority, sequence }] of extra.states) {
      const line = channel.lines[priority];
      if (line !== undefined && line.find(sequence) !== NONE) continue;
      extra.states.delete(id);
      this.#dropShared(user, id);
    }
    extra.statesKept = extra.states.size;
  }
}

/** Of an item whose state marks alone have made: as many changes as there are flags. */
export function revisionOf(flags: number): number {
  return (
    Number((flags & ItemFlag.SEEN) !== 0) +
    Number((flags & ItemFlag.READ) !== 0) +
    Number((flags & ItemFlag.ARCHIVED) !== 0)
  );
}

const REASONS = ["evicted", "expired", "replaced", "deleted"] as const;

/** Number of a reason, as the protocol has it. */
function reasonNumber(reason: (typeof REASONS)[number]): number {
  return REASONS.indexOf(reason) + 1;
}
export function reasonName(reason: number): (typeof REASONS)[number] {
  return REASONS[reason - 1] ?? "deleted";
}

/** Adds up, by reason, what these events removed behind a sequence. */
export function countMissed(events: readonly LoggedEvent[], after: number, missed: number[]): void {
  for (const event of events) {
    if (event.kind !== "removal" || event.sequence <= after) continue;
    missed[reasonNumber(event.reason)]! += event.ids.length;
  }
}
