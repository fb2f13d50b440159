// Looks at the state: items as their user sees them, counts, lists. What an answer costs depends on what it returns, and on how
// many states of its own the user gave to what is shared; never on how much there is.
import type { InboxCounts, InboxItem, ItemState, ListPage, ListQuery, TopicView } from "../contract.ts";
import { type Channel, covers, type Stretch } from "./channel.ts";
import { ItemFlag } from "./direct-items.ts";
import { policyOf, QuietHoursWatch } from "./policies.ts";
import { NONE } from "./rows.ts";
import { type InboxState, revisionOf } from "./state.ts";
import { PRIORITIES, type SharedState } from "./user-table.ts";

const NOT_UNREAD = ItemFlag.READ | ItemFlag.ARCHIVED;
/** Items that one page looks at. */
const STEPS_MAX = 10_000;
const UNTOUCHED: ItemState = { seen: false, read: false, archived: false, snoozedUntilMs: 0, revision: 0 };

/** Where a shared item stands. */
export interface SharedPlace {
  readonly channel: Channel;
  readonly priority: number;
  readonly index: number;
}

export class InboxViews {
  readonly #state: InboxState;
  readonly #quiet = new QuietHoursWatch();
  /** What was looked at last that all see alike: 10,000 devices look at the same one. */
  #last: { readonly channel: Channel; readonly item: InboxItem } | undefined;

  constructor(state: InboxState) {
    this.#state = state;
  }

  direct(row: number): InboxItem {
    const { items, types } = this.#state;
    const user = items.user(row);
    const priority = items.priority(row);
    const deliveredAtMs = items.deliveredAt(row) * 1000;
    const from = this.#state.movedFrom.get(row);
    const sequence = items.sequence(row);
    return {
      id: items.id(row),
      sequence,
      priority,
      type: types.name(items.type(row)),
      topic: from === undefined ? "" : this.#topicOf(user, from, sequence),
      isShared: false,
      deliveredAtMs,
      expiresAtMs: items.expiresAt(row) * 1000,
      state: this.#rowState(row),
      silent: this.#quiet.isSilent(policyOf(this.#state, user), priority, deliveredAtMs),
      place: items.place(row),
    };
  }

  shared(user: number, { channel, priority, index }: SharedPlace): InboxItem {
    const { users, types } = this.#state;
    const line = channel.lines[priority]!;
    const sequence = line.sequence(index);
    const extra = users.extra(user);
    const policy = policyOf(this.#state, user);
    const isPlain = channel.topics.length < 2 && policy?.quietHours === undefined;
    const mayBeLast = isPlain && (extra === undefined || (extra.marks === undefined && extra.states.size === 0));
    if (mayBeLast && this.#last?.channel === channel && this.#last.item.sequence === sequence) return this.#last.item;
    const entry = line.entry(index);
    const deliveredAtMs = entry.deliveredAt * 1000;
    const item: InboxItem = {
      id: entry.id,
      sequence,
      priority,
      type: types.name(entry.type),
      topic: this.#topicOf(user, channel, sequence),
      isShared: true,
      deliveredAtMs,
      expiresAtMs: entry.expiresAt * 1000,
      state: this.#sharedState(user, priority, { id: entry.id, sequence }),
      silent: this.#quiet.isSilent(policy, priority, deliveredAtMs),
      place: entry.place,
    };
    if (isPlain && item.state === UNTOUCHED) {
      if (this.#last?.channel === channel && this.#last.item.sequence === sequence) return this.#last.item;
      this.#last = { channel, item };
    }
    return item;
  }

  find(user: number, id: number): InboxItem | undefined {
    const row = this.#state.users.findById(user, id);
    if (row !== NONE) return this.direct(row);
    const shared = this.#state.findShared(user, id);
    return shared === undefined ? undefined : this.shared(user, shared);
  }

  counts(user: number): InboxCounts {
    const { users } = this.#state;
    const counts = Array.from({ length: PRIORITIES }, (_, priority) => users.unread(user, priority));
    const channels = this.#state.visible(user);
    for (const { channel, stretches } of channels) {
      for (let priority = 0; priority < PRIORITIES; priority++) {
        const line = channel.lines[priority];
        if (line === undefined) continue;
        const read = this.#readThrough(user, priority);
        for (const { since, until } of stretches) {
          counts[priority]! += line.countBetween(Math.max(since, read), until);
        }
      }
    }
    for (const known of users.extra(user)?.states.values() ?? []) {
      const { channel, priority, sequence } = known;
      const line = channel.lines[priority];
      if (line === undefined || line.find(sequence) === NONE) continue;
      const visible = channels.find((each) => each.channel === channel);
      if (visible === undefined || !covers(visible.stretches, sequence)) continue;
      counts[priority]! += Number(isUnread(known)) - Number(sequence > this.#readThrough(user, priority));
    }
    return { unread: counts.reduce((sum, each) => sum + each, 0), unreadByPriority: counts };
  }

  list(user: number, query: ListQuery): ListPage {
    const sources = this.#sources(user, query);
    const items: InboxItem[] = [];
    let before = query.before ?? Number.POSITIVE_INFINITY;
    for (let step = 0; items.length < query.max; step++) {
      let newest: Source | undefined;
      for (const source of sources) if (source.sequence > (newest?.sequence ?? 0)) newest = source;
      if (newest === undefined) return { items, before: 0 };
      if (step === STEPS_MAX) return { items, before };
      const item = newest.item();
      before = newest.sequence;
      if (item !== undefined && isWanted(item, query)) items.push(item);
      newest.back();
    }
    return { items, before: sources.some(({ sequence }) => sequence > 0) ? before : 0 };
  }

  topics(user: number | undefined, { after, max }: { readonly after: string; readonly max: number }): TopicView[] {
    const { topics, users } = this.#state;
    const names =
      user === undefined
        ? [...topics.keys()]
        : [...(users.extra(user)?.memberships.keys() ?? [])].filter((name) => this.#state.isMember(user, name));
    const page = names.filter((name) => name > after).sort();
    return page.slice(0, max).map((name) => ({ name, members: topics.get(name)?.members ?? 0 }));
  }

  /** Up to here what is shared is read or archived by marks. */
  #readThrough(user: number, priority: number): number {
    const marks = this.#state.users.extra(user)?.marks;
    return marks === undefined ? 0 : Math.max(marks.read[priority]!, marks.archived[priority]!);
  }

  #rowState(row: number): ItemState {
    const { items, snoozedUntil } = this.#state;
    const revision = items.revision(row);
    if (revision === 0) return UNTOUCHED;
    return {
      seen: items.has(row, ItemFlag.SEEN),
      read: items.has(row, ItemFlag.READ),
      archived: items.has(row, ItemFlag.ARCHIVED),
      snoozedUntilMs: snoozedUntil.get(row) ?? 0,
      revision,
    };
  }

  #sharedState(user: number, priority: number, { id, sequence }: { id: number; sequence: number }): ItemState {
    const known = this.#state.users.extra(user)?.states.get(id);
    const flags = known?.flags ?? this.#state.markedFlags(user, priority, sequence);
    const revision = known?.revision ?? revisionOf(flags);
    if (revision === 0) return UNTOUCHED;
    return {
      seen: (flags & ItemFlag.SEEN) !== 0,
      read: (flags & ItemFlag.READ) !== 0,
      archived: (flags & ItemFlag.ARCHIVED) !== 0,
      snoozedUntilMs: 0,
      revision,
    };
  }

  /** The first of its topics that this user was in when it came. */
  #topicOf(user: number, { topics }: Channel, sequence: number): string {
    if (topics.length < 2) return topics[0] ?? "";
    const memberships = this.#state.users.extra(user)?.memberships;
    return topics.find((topic) => covers(memberships?.get(topic) ?? [], sequence)) ?? "";
  }

  #sources(user: number, query: ListQuery): Source[] {
    const { users, items } = this.#state;
    const before = query.before ?? Number.POSITIVE_INFINITY;
    const sources: Source[] = [];
    for (let priority = query.minPriority ?? 0; priority < PRIORITIES; priority++) {
      let row = users.tail(user, priority);
      if (row !== NONE && items.sequence(row) >= before) row = previousOf(this.#state, { user, priority, before });
      if (row !== NONE) sources.push(new RowSource(this, this.#state, row));
      for (const { channel, stretches } of this.#state.visible(user)) {
        if (channel.lines[priority] === undefined) continue;
        sources.push(new LineSource(this, this.#state, { user, channel, priority, stretches, before }));
      }
    }
    return sources;
  }
}

/** The last row of the list before a sequence. */
function previousOf(
  state: InboxState,
  { user, priority, before }: { user: number; priority: number; before: number },
): number {
  const after = state.users.firstAfter(user, priority, before - 1);
  return after === NONE ? state.users.tail(user, priority) : state.items.previous(after);
}

function isUnread({ flags, isHidden }: SharedState): boolean {
  return !isHidden && (flags & NOT_UNREAD) === 0;
}

function isWanted({ state, topic }: InboxItem, query: ListQuery): boolean {
  if (query.unreadOnly === true && (state.read || state.archived || state.snoozedUntilMs > 0)) return false;
  if (query.includeArchived !== true && state.archived) return false;
  return query.topics === undefined || query.topics.length === 0 || query.topics.includes(topic);
}

/** One list of items, walked from the newest on. */
interface Source {
  /** Of the item at which it stands; 0: that was all. */
  readonly sequence: number;
  /** undefined: it is hidden. */
  item(): InboxItem | undefined;
  back(): void;
}

class RowSource implements Source {
  sequence: number;
  readonly #views: InboxViews;
  readonly #state: InboxState;
  #row: number;

  constructor(views: InboxViews, state: InboxState, row: number) {
    this.#views = views;
    this.#state = state;
    this.#row = row;
    this.sequence = state.items.sequence(row);
  }

  item(): InboxItem {
    return this.#views.direct(this.#row);
  }

  back(): void {
    this.#row = this.#state.items.previous(this.#row);
    this.sequence = this.#row === NONE ? 0 : this.#state.items.sequence(this.#row);
  }
}

interface LineWalk {
  readonly user: number;
  readonly channel: Channel;
  readonly priority: number;
  readonly stretches: readonly Stretch[];
  readonly before: number;
}

class LineSource implements Source {
  sequence = 0;
  readonly #views: InboxViews;
  readonly #state: InboxState;
  readonly #walk: LineWalk;
  #index = NONE;

  constructor(views: InboxViews, state: InboxState, walk: LineWalk) {
    this.#views = views;
    this.#state = state;
    this.#walk = walk;
    this.#to(walk.before);
  }

  item(): InboxItem | undefined {
    const { user, channel, priority } = this.#walk;
    const { id } = channel.lines[priority]!.entry(this.#index);
    if (this.#state.users.extra(user)?.states.get(id)?.isHidden === true) return undefined;
    return this.#views.shared(user, { channel, priority, index: this.#index });
  }

  back(): void {
    this.#to(this.sequence);
  }

  /** To the last one before this sequence. */
  #to(before: number): void {
    const { channel, priority, stretches } = this.#walk;
    const line = channel.lines[priority]!;
    this.sequence = 0;
    for (const { since, until } of stretches.toReversed()) {
      if (since >= before) continue;
      const index = line.previousAlive(Math.min(before, until + 1));
      if (index === NONE || line.sequence(index) <= since) continue;
      this.#index = index;
      this.sequence = line.sequence(index);
      return;
    }
  }
}
