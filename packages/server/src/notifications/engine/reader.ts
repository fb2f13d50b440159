// One reader of an inbox: a position for each priority, and what comes behind it.
//
// R1. Of each priority events are handed out in the order of their sequences, each once; changes and removals are among those of
//     priority 7. `position` is behind what was handed out, always.
// R2. Of the backlog (up to `liveAfter`) the oldest comes first, or the most urgent; what is live and more urgent than it goes
//     ahead of it, behind what there is of its own priority.
// R3. While nothing has overtaken anything all priorities have the same position.
// R4. A broadcast that comes while there is nothing else is the next event without a search, and behind it there is nothing but
//     those that came since, as urgent as it is: whatever else happens before it is handed out calls `changed`, and it is
//     searched for. So a device that is late is not late for being late (bench `notify-broadcast`).
// R5. It holds positions, nothing of what it will hand out: what is forgotten of the log meanwhile is counted (`missed`).
import type { InboxEvent, InboxReader, ReaderListener, ReaderOptions, RemovalName } from "../contract.ts";
import type { ChannelRemoval } from "./channel.ts";
import { covers } from "./channel.ts";
import { ItemFlag } from "./direct-items.ts";
import type { LoggedEvent } from "./event-log.ts";
import { NONE } from "./rows.ts";
import type { LiveBroadcast, StateReader } from "./live-readers.ts";
import { countMissed, type InboxState, reasonName } from "./state.ts";
import { PRIORITIES, type VisibleChannel } from "./user-table.ts";
import type { InboxViews } from "./views.ts";

const URGENT = PRIORITIES - 1;
const IDS_MAX = 100;
/** R4. */
const ALONE_MAX = 64;
const READ = ItemFlag.READ | ItemFlag.ARCHIVED;

/** The next event of one priority. */
interface Candidate {
  readonly sequence: number;
  /** undefined: nobody needs to see it. */
  readonly make: () => InboxEvent | undefined;
}

export class StateInboxReader implements InboxReader, StateReader {
  readonly user: number;
  readonly liveAfter: number;
  readonly deviceId: string | undefined;
  readonly #state: InboxState;
  readonly #views: InboxViews;
  readonly #listener: ReaderListener;
  readonly #minPriority: number;
  readonly #byPriority: boolean;
  readonly #unreadOnly: boolean;
  #position: readonly number[];
  /** By priority; null: nothing; undefined: not looked for yet. */
  readonly #candidates: (Candidate | null | undefined)[] = Array.from({ length: PRIORITIES }, () => undefined);
  /** Whether there is something live of each priority; undefined: not looked for yet. */
  readonly #live: (boolean | undefined)[] = Array.from({ length: PRIORITIES }, () => undefined);
  /** The row of each priority that was handed out last, and its sequence: its list goes on there. */
  readonly #rows = new Int32Array(PRIORITIES).fill(NONE);
  /** To be handed out before all else: what is told of the time whose events are forgotten. */
  #prelude: InboxEvent[] = [];
  #missed = [0, 0, 0, 0, 0];
  #hasMissed = false;
  /** R4. */
  #alone: LiveBroadcast | undefined;
  /** R4: nothing has happened since what was handed out last. */
  #isSettled = false;
  #isLive = false;
  #isAwake = true;
  #isOpen = true;

  constructor(
    parts: { readonly state: InboxState; readonly views: InboxViews; readonly user: number },
    options: ReaderOptions,
    listener: ReaderListener,
  ) {
    const { state, user } = parts;
    this.#state = state;
    this.#views = parts.views;
    this.user = user;
    this.#listener = listener;
    this.liveAfter = state.head;
    this.deviceId = options.deviceId;
    this.#minPriority = options.minPriority ?? 0;
    this.#byPriority = options.byPriority ?? false;
    this.#unreadOnly = options.from === "unread";
    if (options.from === "new") this.#position = evenly(state.head);
    else if (options.from === "unread") this.#position = this.#beforeUnread();
    else this.#position = options.from.map((sequence) => Math.min(sequence, state.head));
    this.#recall();
    state.readers.add(this);
  }

  get position(): readonly number[] {
    return this.#position;
  }

  get eventsAfter(): number {
    return this.#position[URGENT]!;
  }

  next(): InboxEvent | undefined {
    if (!this.#isOpen) return undefined;
    if (this.#hasMissed) this.#tellMissed();
    for (;;) {
      const told = this.#prelude.shift();
      if (told !== undefined) return told;
      if (this.#alone !== undefined) return this.#nextAlone(this.#alone);
      if (this.#isSettled) return this.#rest();
      const priority = this.#choose();
      const candidate = priority === NONE ? undefined : this.#candidates[priority];
      if (!this.#isLive && (candidate === undefined || candidate === null || this.#oldest() > this.liveAfter)) {
        this.#isLive = true;
        this.#position = this.#position.map((sequence) => Math.max(sequence, this.liveAfter));
        return { kind: "live" };
      }
      if (candidate === undefined || candidate === null) return this.#rest();
      this.#pass(priority, candidate.sequence);
      const event = candidate.make();
      if (event !== undefined) return event;
    }
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#state.readers.remove(this);
  }

  missed(events: readonly LoggedEvent[]): void {
    countMissed(events, this.eventsAfter, this.#missed);
    this.#hasMissed = true;
  }

  arrived(live: LiveBroadcast): void {
    if (!this.#isLive || live.priority < this.#minPriority) return this.changed();
    if (this.#alone !== undefined) {
      // It is behind that one, unless it goes ahead. Whoever does not come for them keeps few of them alive.
      const { priority, number } = this.#alone;
      if (live.priority !== priority || live.number - number >= ALONE_MAX) this.changed();
      return;
    }
    if (this.#isAwake && !this.#isSettled) return this.changed();
    this.#alone = live;
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.#listener.changed();
  }

  changed(): void {
    this.#alone = undefined;
    this.#isSettled = false;
    this.#candidates.fill(undefined);
    this.#live.fill(undefined);
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.#listener.changed();
  }

  ended(why: "user-deleted" | "device-removed"): void {
    this.close();
    this.#listener.ended(why);
  }

  /** R4. */
  #nextAlone({ priority, sequence, position, next }: LiveBroadcast): InboxEvent {
    this.#alone = next;
    this.#isSettled = true;
    this.#position = position;
    const { everyone: channel } = this.#state;
    const index = channel.lines[priority]!.find(sequence);
    return { kind: "item", item: this.#views.shared(this.user, { channel, priority, index }) };
  }

  /** R3. There is nothing: so it has read up to the head. */
  #rest(): undefined {
    this.#isAwake = false;
    const { head } = this.#state;
    if (this.#position.some((sequence) => sequence !== head)) {
      this.#position = evenly(head);
    }
    return undefined;
  }

  #pass(priority: number, sequence: number): void {
    this.#candidates[priority] = undefined;
    if (sequence > this.liveAfter) this.#live[priority] = undefined;
    const position = [...this.#position];
    position[priority] = sequence;
    // What has nothing up to here was read up to here (R3).
    for (let other = 0; other < PRIORITIES; other++) {
      if (other === priority || position[other]! >= sequence) continue;
      const candidate = other < this.#minPriority ? null : this.#candidates[other];
      if (candidate === null || (candidate !== undefined && candidate.sequence > sequence)) position[other] = sequence;
    }
    this.#position = position;
  }

  /** R2. The priority whose event is next; NONE: there is nothing. */
  #choose(): number {
    let oldest = NONE;
    let urgent = NONE;
    let live = NONE;
    for (let priority = PRIORITIES - 1; priority >= this.#minPriority; priority--) {
      const candidate = this.#candidate(priority);
      if (candidate === null) continue;
      if (urgent === NONE) urgent = priority;
      if (live === NONE && this.#hasLive(priority)) live = priority;
      if (oldest === NONE || candidate.sequence < this.#candidates[oldest]!.sequence) oldest = priority;
    }
    if (oldest === NONE) return NONE;
    if (this.#byPriority && this.#candidates[urgent]!.sequence <= this.liveAfter) return urgent;
    return live > oldest ? live : oldest;
  }

  /** Whether there is anything of this priority behind the backlog. */
  #hasLive(priority: number): boolean {
    const after = Math.max(this.liveAfter, this.#position[priority]!);
    return (this.#live[priority] ??= this.#find(priority, after) !== undefined);
  }

  #oldest(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (let priority = this.#minPriority; priority < PRIORITIES; priority++) {
      oldest = Math.min(oldest, this.#candidate(priority)?.sequence ?? Number.POSITIVE_INFINITY);
    }
    return oldest;
  }

  #candidate(priority: number): Candidate | null {
    const known = this.#candidates[priority];
    if (known !== undefined) return known;
    return (this.#candidates[priority] = this.#find(priority, this.#position[priority]!) ?? null);
  }

  /** The first event of a priority behind a sequence. */
  #find(priority: number, after: number): Candidate | undefined {
    let found = this.#findRow(priority, after);
    const visible = this.#state.visible(this.user);
    for (const each of visible) {
      const shared = this.#findShared(each, { priority, after });
      if (shared !== undefined && shared.sequence < (found?.sequence ?? Number.POSITIVE_INFINITY)) found = shared;
    }
    if (priority !== URGENT) return found;
    const logged = this.#state.users.extra(this.user)?.log?.firstAfter(after);
    if (logged !== undefined && logged.sequence < (found?.sequence ?? Number.POSITIVE_INFINITY)) {
      found = { sequence: logged.sequence, make: () => this.#eventOf(logged) };
    }
    for (const each of visible) {
      const removal = each.channel.removals[each.channel.firstRemovalAfter(after)];
      if (removal === undefined || removal.sequence >= (found?.sequence ?? Number.POSITIVE_INFINITY)) continue;
      found = { sequence: removal.sequence, make: () => this.#removalOf(each, removal) };
    }
    return found;
  }

  #findRow(priority: number, after: number): Candidate | undefined {
    const { items, users } = this.#state;
    const last = this.#rows[priority]!;
    // It may be another's by now, or have been delivered again: sequences of a user are not used twice.
    const isThere = last !== NONE && items.sequence(last) === after && items.user(last) === this.user;
    let row = isThere ? items.next(last) : users.firstAfter(this.user, priority, after);
    while (row !== NONE && this.#isPassedOver(items.sequence(row)) && !items.isUnread(row)) row = items.next(row);
    if (row === NONE) return undefined;
    const sequence = items.sequence(row);
    const make = (): InboxEvent => {
      this.#rows[priority] = row;
      return { kind: "item", item: this.#views.direct(row) };
    };
    return { sequence, make };
  }

  /** Of the backlog of a reader that wants only what is unread. */
  #isPassedOver(sequence: number): boolean {
    return this.#unreadOnly && sequence <= this.liveAfter;
  }

  #findShared(
    { channel, stretches }: VisibleChannel,
    { priority, after }: { priority: number; after: number },
  ): Candidate | undefined {
    const line = channel.lines[priority];
    if (line === undefined) return undefined;
    const states = this.#state.users.extra(this.user)?.states;
    for (const { since, until } of stretches) {
      if (until <= after) continue;
      for (let from = Math.max(since, after); ;) {
        const index = line.nextAlive(from);
        if (index === NONE || line.sequence(index) > until) break;
        const sequence = line.sequence(index);
        from = sequence;
        const { id } = line.entry(index);
        if (states?.get(id)?.isHidden === true) continue;
        if (this.#isPassedOver(sequence)) {
          const { state } = this.#views.shared(this.user, { channel, priority, index });
          if (state.read || state.archived) continue;
        }
        const make = (): InboxEvent => ({
          kind: "item",
          item: this.#views.shared(this.user, { channel, priority, index }),
        });
        return { sequence, make };
      }
    }
    return undefined;
  }

  #eventOf(logged: LoggedEvent): InboxEvent | undefined {
    if (logged.kind === "through") {
      const { through, seen, read, archived } = logged;
      return { kind: "through", through, seen, read, archived };
    }
    if (logged.kind === "state") return this.#stateEvent(logged.ids);
    const wanted = logged.ids.filter((_, i) => logged.priorities[i]! >= this.#minPriority);
    return removalEvent(logged.reason, wanted, logged.replacedBy);
  }

  #stateEvent(ids: readonly number[]): InboxEvent | undefined {
    const changes = [];
    for (const id of ids) {
      const item = this.#views.find(this.user, id);
      if (item !== undefined && item.priority >= this.#minPriority) changes.push({ id, state: item.state });
    }
    return changes.length === 0 ? undefined : { kind: "state", changes };
  }

  #removalOf({ stretches }: VisibleChannel, removal: ChannelRemoval): InboxEvent | undefined {
    if (removal.priority < this.#minPriority) return undefined;
    const states = this.#state.users.extra(this.user)?.states;
    const ids = removal.ids.filter(
      (id, i) => covers(stretches, removal.sequences[i]!) && states?.get(id)?.isHidden !== true,
    );
    return removalEvent(removal.reason, ids, removal.replacedBy);
  }

  /** Where what is unread begins: the more was read by marks, the less has to be passed over. */
  #beforeUnread(): number[] {
    const { users, items } = this.#state;
    const extra = users.extra(this.user);
    const marks = extra?.marks;
    const hasUnread = [...(extra?.states.values() ?? [])].some(({ flags }) => (flags & READ) === 0);
    return Array.from({ length: PRIORITIES }, (_, priority) => {
      if (marks === undefined || hasUnread) return 0;
      const head = users.head(this.user, priority);
      const first = head === NONE ? Number.POSITIVE_INFINITY : items.sequence(head) - 1;
      return Math.min(first, marks.read[priority]!);
    });
  }

  /** What is told of the time before the log of events begins, if the position lies there. */
  #recall(): void {
    const extra = this.#state.users.extra(this.user);
    const lostThrough = extra?.log?.lostThrough ?? 0;
    const after = this.eventsAfter;
    if (extra === undefined || this.#unreadOnly || after >= lostThrough) return;
    const device = this.deviceId === undefined ? undefined : extra.devices.get(this.deviceId);
    for (const [reason, count] of (device?.missed ?? []).entries()) this.#missed[reason]! += count;
    this.#tellMissed();
  }

  #tellMissed(): void {
    const { users, items } = this.#state;
    this.#hasMissed = false;
    for (const [reason, count] of this.#missed.entries()) {
      if (count === 0) continue;
      this.#prelude.push({ kind: "removal", reason: reasonName(reason), ids: [], count, replacedBy: 0 });
    }
    this.#missed = [0, 0, 0, 0, 0];
    const after = this.eventsAfter;
    const ids: number[] = [];
    for (let priority = this.#minPriority; priority < PRIORITIES; priority++) {
      for (let row = users.head(this.user, priority); row !== NONE; row = items.next(row)) {
        if (items.sequence(row) > this.#position[priority]!) break;
        if (items.changed(row) > after) ids.push(items.id(row));
      }
    }
    const extra = users.extra(this.user);
    for (const [id, { changed }] of extra?.states ?? []) if (changed > after) ids.push(id);
    const marks = extra?.marks;
    if (marks !== undefined && marks.changed > after) {
      for (const [key, mark] of [
        ["seen", marks.seen],
        ["read", marks.read],
        ["archived", marks.archived],
      ] as const) {
        if (!mark.some((sequence) => sequence > 0)) continue;
        const set = { seen: key === "seen", read: key === "read", archived: key === "archived" };
        this.#prelude.push({ kind: "through", through: [...mark], ...set });
      }
    }
    const event = this.#stateEvent(ids);
    if (event !== undefined) this.#prelude.push(event);
  }
}

/** The same sequence for all priorities. */
function evenly(sequence: number): number[] {
  return Array.from({ length: PRIORITIES }, () => sequence);
}

function removalEvent(reason: RemovalName, ids: readonly number[], replacedBy: number): InboxEvent | undefined {
  if (ids.length === 0) return undefined;
  return { kind: "removal", reason, ids: ids.slice(-IDS_MAX), count: ids.length, replacedBy };
}
