// Puts changes of state into effect: seen, read, archived, snoozed; of some notifications, or of all up to a cursor.
//
// C1. What is read or archived was seen.
// C2. Up to a cursor: rows are changed one by one, what is shared by three marks for each priority, however much it is.
import { type DirectItems, ItemFlag } from "./direct-items.ts";
import { msOf, type KindOf, remember } from "./records.ts";
import { NONE } from "./rows.ts";
import type { InboxState } from "./state.ts";
import { type Marks, PRIORITIES, type SharedState } from "./user-table.ts";

const DAY_MS = 86_400_000;
const STATE_FLAGS = ItemFlag.SEEN | ItemFlag.READ | ItemFlag.ARCHIVED;
/** Beyond it ids are looked for in one walk. */
const FEW_IDS = 8;

/** What is to be set, and what is to be unset. */
interface Wish {
  readonly on: number;
  readonly off: number;
  /** Unix ms; 0: no longer; undefined: as it is. */
  readonly snoozedUntilMs: number | undefined;
}

/** Answers how many notifications have another state now. */
export function applyStates(state: InboxState, change: KindOf<"state">, place: number): number {
  const user = state.needUser(change.userId ?? "", place);
  const atMs = msOf(change.at);
  if (change.requestId) {
    remember(state, { key: requestKey(change.userId ?? "", change.requestId), id: place, untilMs: atMs + DAY_MS });
  }
  const wish = wishOf(change);
  const through = (change.through ?? []).map(Number);
  const changed =
    through.length > 0
      ? setThrough(state, { user, through, wish, place })
      : setIds(state, { user, ids: (change.ids ?? []).map(Number), wish, place, ifRevision: change.ifRevision });
  for (const reader of state.readers.of(user)) reader.changed();
  return changed;
}

/** Under which a request id is remembered: beside idempotency keys, which have no such prefix. */
export function requestKey(userId: string, requestId: string): string {
  return `\0${userId}\0${requestId}`;
}

function wishOf(change: KindOf<"state">): Wish {
  let on = 0;
  let off = 0;
  const want = (value: boolean | undefined, flag: number) => {
    if (value === true) on |= flag;
    if (value === false) off |= flag;
  };
  want(change.seen, ItemFlag.SEEN);
  want(change.read, ItemFlag.READ);
  want(change.archived, ItemFlag.ARCHIVED);
  // C1.
  if ((on & (ItemFlag.READ | ItemFlag.ARCHIVED)) !== 0) on |= ItemFlag.SEEN;
  const snoozedUntilMs = change.snoozedUntil === undefined ? undefined : msOf(change.snoozedUntil);
  return { on, off: off & ~on, snoozedUntilMs };
}

interface IdsChange {
  readonly user: number;
  readonly ids: readonly number[];
  readonly wish: Wish;
  readonly place: number;
  readonly ifRevision: bigint | undefined;
}

function setIds(state: InboxState, { user, ids, wish, place, ifRevision }: IdsChange): number {
  const rows = findRows(state, user, ids);
  let changed = 0;
  for (const id of new Set(ids)) {
    const row = rows.get(id) ?? NONE;
    if (row !== NONE) {
      if (ifRevision !== undefined && Number(ifRevision) !== state.items.revision(row)) continue;
      if (setRow(state, row, { wish, place })) changed++;
      continue;
    }
    const shared = state.findShared(user, id);
    if (shared === undefined) continue;
    const { channel, priority, entry } = shared;
    const known = state.needShared(user, { channel, priority, id, sequence: entry.sequence });
    if (ifRevision !== undefined && Number(ifRevision) !== known.revision) continue;
    const wasChanged = setShared(known, wish, place);
    if (wish.snoozedUntilMs) moveToRow(state, user, { id, known, wish, place });
    if (wasChanged || wish.snoozedUntilMs) changed++;
  }
  state.logEvent(user, { kind: "state", sequence: place, ids });
  return changed;
}

/** Rows of these ids that the user has by themselves. */
function findRows(state: InboxState, user: number, ids: readonly number[]): Map<number, number> {
  const found = new Map<number, number>();
  if (ids.length <= FEW_IDS) {
    for (const id of ids) found.set(id, state.users.findById(user, id));
    return found;
  }
  const wanted = new Set(ids);
  const least = Math.min(...ids);
  for (let priority = 0; priority < PRIORITIES; priority++) {
    for (let row = state.users.tail(user, priority); row !== NONE; row = state.items.previous(row)) {
      if (state.items.sequence(row) < least) break;
      const id = state.items.id(row);
      if (wanted.has(id)) found.set(id, row);
    }
  }
  return found;
}

function setRow(state: InboxState, row: number, { wish, place }: { wish: Wish; place: number }): boolean {
  const { items, users } = state;
  const before = flagsOf(items, row);
  const after = (before | wish.on) & ~wish.off;
  const wasSnoozed = state.snoozedUntil.get(row) ?? 0;
  const snoozed = wish.snoozedUntilMs ?? wasSnoozed;
  if (before === after && snoozed === wasSnoozed) return false;
  const wasUnread = items.isUnread(row);
  items.set(row, STATE_FLAGS, false);
  items.set(row, after, true);
  items.set(row, ItemFlag.SNOOZED, snoozed > 0);
  if (snoozed === 0) state.snoozedUntil.delete(row);
  else if (snoozed !== wasSnoozed) snooze(state, row, snoozed);
  items.setRevision(row, items.revision(row) + 1);
  items.setChanged(row, place);
  users.addUnread(items.user(row), items.priority(row), Number(items.isUnread(row)) - Number(wasUnread));
  return true;
}

export function snooze(state: InboxState, row: number, untilMs: number): void {
  state.snoozedUntil.set(row, untilMs);
  state.snoozedDue.push(untilMs, { user: state.items.user(row), id: state.items.id(row), untilMs });
}

function flagsOf(items: DirectItems, row: number): number {
  let flags = 0;
  for (const flag of [ItemFlag.SEEN, ItemFlag.READ, ItemFlag.ARCHIVED]) if (items.has(row, flag)) flags |= flag;
  return flags;
}

function setShared(known: SharedState, wish: Wish, place: number): boolean {
  const after = (known.flags | wish.on) & ~wish.off;
  if (after === known.flags) return false;
  known.flags = after;
  known.revision++;
  known.changed = place;
  return true;
}

/** An item of a channel that is snoozed has a delivery of its own: the user has it by itself from now on. */
function moveToRow(
  state: InboxState,
  user: number,
  { id, known, wish, place }: { id: number; known: SharedState; wish: Wish; place: number },
): void {
  const { channel, priority, sequence } = known;
  const line = channel.lines[priority]!;
  const { type, bytes, expiresAt, deliveredAt, place: bodyPlace } = line.lookUp(sequence)!;
  const flags = known.flags | ItemFlag.MOVED | ItemFlag.SNOOZED;
  const row = state.addDirect(
    { user, id, sequence, place: bodyPlace, priority, flags, type, bytes, expiresAt, deliveredAt },
    "",
  );
  state.items.setRevision(row, known.revision + 1);
  state.items.setChanged(row, place);
  noteMoved(state, row, channel);
  snooze(state, row, wish.snoozedUntilMs!);
  known.isHidden = true;
  known.changed = place;
}

export function noteMoved(state: InboxState, row: number, channel: SharedState["channel"]): void {
  const id = state.items.id(row);
  state.movedFrom.set(row, channel);
  const users = state.moved.get(id) ?? new Set<number>();
  users.add(state.items.user(row));
  state.moved.set(id, users);
}

interface ThroughChange {
  readonly user: number;
  readonly through: readonly number[];
  readonly wish: Wish;
  readonly place: number;
}

function setThrough(state: InboxState, { user, through: asked, wish, place }: ThroughChange): number {
  // Nobody can have read what comes later.
  const through = asked.map((sequence) => Math.min(sequence, place - 1));
  let changed = 0;
  for (let priority = 0; priority < PRIORITIES; priority++) {
    const until = through[priority] ?? 0;
    let row = state.users.head(user, priority);
    for (; row !== NONE && state.items.sequence(row) <= until; row = state.items.next(row)) {
      if (setRow(state, row, { wish: { ...wish, snoozedUntilMs: undefined }, place })) changed++;
    }
  }
  changed += setMarks(state, { user, through, wish, place });
  const has = (flag: number) => (wish.on & flag) !== 0;
  const set = { seen: has(ItemFlag.SEEN), read: has(ItemFlag.READ), archived: has(ItemFlag.ARCHIVED) };
  state.logEvent(user, { kind: "through", sequence: place, through, ...set });
  return changed;
}

/** C2. Answers how many shared notifications have another state now. */
function setMarks(state: InboxState, { user, through, wish, place }: ThroughChange): number {
  const extra = state.users.needExtra(user);
  const marks = (extra.marks ??= newMarks());
  let changed = countUnmarked(state, { user, through, wish, marks });
  for (const known of extra.states.values()) {
    if (known.sequence > through[known.priority]! || known.isHidden) continue;
    const line = known.channel.lines[known.priority];
    if (setShared(known, wish, place) && line !== undefined && line.find(known.sequence) !== NONE) changed++;
  }
  for (const [flag, mark] of markList(marks)) {
    if ((wish.on & flag) === 0) continue;
    for (let priority = 0; priority < PRIORITIES; priority++) {
      mark[priority] = Math.max(mark[priority]!, through[priority] ?? 0);
    }
  }
  marks.changed = place;
  return changed;
}

export function newMarks(): Marks {
  const mark = () => new Float64Array(PRIORITIES);
  return { read: mark(), seen: mark(), archived: mark(), changed: 0 };
}

function markList(marks: Marks): readonly (readonly [flag: number, mark: Float64Array])[] {
  return [
    [ItemFlag.SEEN, marks.seen],
    [ItemFlag.READ, marks.read],
    [ItemFlag.ARCHIVED, marks.archived],
  ];
}

/** What becomes covered by a mark that it was not covered by, and has no state by itself. */
function countUnmarked(
  state: InboxState,
  { user, through, wish, marks }: { user: number; through: readonly number[]; wish: Wish; marks: Marks },
): number {
  const from = Array.from({ length: PRIORITIES }, (_, priority) => {
    let least = through[priority] ?? 0;
    for (const [flag, mark] of markList(marks)) if ((wish.on & flag) !== 0) least = Math.min(least, mark[priority]!);
    return least;
  });
  let count = 0;
  const channels = state.visible(user);
  for (const { channel, stretches } of channels) {
    for (const [priority, line] of channel.lines.entries()) {
      if (line === undefined) continue;
      for (const { since, until } of stretches) {
        count += line.countBetween(Math.max(since, from[priority]!), Math.min(until, through[priority] ?? 0));
      }
    }
  }
  for (const { channel, priority, sequence } of state.users.extra(user)?.states.values() ?? []) {
    if (sequence <= from[priority]! || sequence > (through[priority] ?? 0)) continue;
    const line = channel.lines[priority];
    const visible = channels.find((each) => each.channel === channel);
    if (line === undefined || line.find(sequence) === NONE || visible === undefined) continue;
    if (visible.stretches.some(({ since, until }) => since < sequence && sequence <= until)) count--;
  }
  return count;
}
