// The records that the state itself asks for, as what they say depends on nothing that may have been removed before (N2): what is
// due, what has expired, what must go for want of room, what was replaced.
//
// W1. What a record was made for is not asked for again while it is on its way; if it does not get there, `withdraw` says so.
import { RemovalReason } from "@sluice/api";
import type { NewNotificationRecord } from "../contract.ts";
import type { Channel } from "./channel.ts";
import { ItemFlag } from "./direct-items.ts";
import { bytesMaxOf, type InboxBounds, itemsMaxOf, OVERFLOW_REJECT, policyOf } from "./policies.ts";
import { NONE } from "./rows.ts";
import type { InboxState } from "./state.ts";
import { PRIORITIES } from "./user-table.ts";

export interface WantedRecord {
  readonly record: NewNotificationRecord;
  /** It could not be appended. */
  readonly withdraw: () => void;
}

/** Of one record. */
const IDS_MAX = 1000;
const REPLACED_KEPT = 10_000;
/** In one turn. */
const STEPS_MAX = 10_000;
const nsOf = (ms: number): bigint => BigInt(Math.floor(ms)) * 1_000_000n;

/** While a journal is read nothing is replaced anew: most of what was replaced is gone by a record of its own. */
export function pruneReplaced(state: InboxState): void {
  if (state.replaced.length < REPLACED_KEPT && state.replacedShared.length < REPLACED_KEPT) return;
  const { items, users } = state;
  state.replaced = state.replaced.filter(({ user, priority, sequence }) => {
    const row = users.hasUser(user) ? users.findBySequence(user, priority, sequence) : NONE;
    return row !== NONE && items.isUnread(row);
  });
  state.replacedShared = state.replacedShared.filter(
    ({ channel, priority, sequence }) => channel.lines[priority]!.find(sequence) !== NONE,
  );
}

/** Unix ms at which `wantedRecords` has something to say that depends on time; undefined: never. */
export function nextDueMs(state: InboxState): number | undefined {
  const row = state.items.expiring.first;
  const times = [
    row === NONE ? undefined : state.items.expiresAt(row) * 1000,
    state.sharedExpiring.firstMs,
    state.delayedDue.firstMs,
    state.snoozedDue.firstMs,
  ].filter((each) => each !== undefined);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** A bounded piece of what is to be written now: ask again when it is in effect. @param nowMs Unix ms */
export function wantedRecords(state: InboxState, bounds: InboxBounds, nowMs: number): WantedRecord[] {
  const wanted: WantedRecord[] = [];
  expireDirect(state, wanted, nowMs);
  expireShared(state, wanted, nowMs);
  deliverDelayed(state, wanted, nowMs);
  wakeSnoozed(state, wanted, nowMs);
  replace(state, wanted, nowMs);
  evictDirect(state, wanted, { bounds, nowMs });
  evictShared(state, wanted, { bounds, nowMs });
  forgetKeys(state, nowMs);
  return wanted;
}

/** What of channels is removed from one inbox. */
export interface HiddenItem {
  readonly id: number;
  readonly priority: number;
  readonly sequence: number;
}

/** The record that removes rows of one user; they are doomed. */
function removeRows(
  state: InboxState,
  rows: readonly number[],
  how: { readonly reason: RemovalReason; readonly nowMs: number; readonly replacedBy?: number },
): WantedRecord {
  return removeFrom(state, state.items.user(rows[0]!), { ...how, rows, hidden: [] });
}

/** The record that removes rows of a user, and hides what is shared. */
export function removeFrom(
  state: InboxState,
  user: number,
  how: {
    readonly rows: readonly number[];
    readonly hidden: readonly HiddenItem[];
    readonly reason: RemovalReason;
    readonly nowMs: number;
    readonly replacedBy?: number;
  },
): WantedRecord {
  const { items } = state;
  const { rows, hidden } = how;
  for (const row of rows) state.doom(row);
  const sequences = rows.map((row) => items.sequence(row));
  const priorities = rows.map((row) => items.priority(row));
  const value = {
    reason: how.reason,
    ids: [...rows.map((row) => items.id(row)), ...hidden.map(({ id }) => id)].map(BigInt),
    userId: state.users.name(user),
    at: nsOf(how.nowMs),
    priorities: [...priorities, ...hidden.map(({ priority }) => priority)],
    sequences: [...sequences, ...hidden.map(({ sequence }) => sequence)].map(BigInt),
    replacedBy: BigInt(how.replacedBy ?? 0),
  };
  const withdraw = () => {
    for (const [i, row] of rows.entries()) {
      if (items.sequence(row) === sequences[i] && items.user(row) === user) state.spare(row);
    }
    state.crowded.add(user);
  };
  return { record: { kind: { case: "removed", value } }, withdraw };
}

function expireDirect(state: InboxState, wanted: WantedRecord[], nowMs: number): void {
  const { items } = state;
  const byUser = new Map<number, number[]>();
  for (let step = 0; step < STEPS_MAX; step++) {
    const row = items.expiring.first;
    if (row === NONE || items.expiresAt(row) * 1000 > nowMs) break;
    items.expiring.remove(0);
    const rows = byUser.get(items.user(row));
    if (rows === undefined) byUser.set(items.user(row), [row]);
    else rows.push(row);
  }
  for (const rows of byUser.values()) {
    for (let i = 0; i < rows.length; i += IDS_MAX) {
      wanted.push(removeRows(state, rows.slice(i, i + IDS_MAX), { reason: RemovalReason.EXPIRED, nowMs }));
    }
  }
}

function removeShared(
  channel: Channel,
  of: { priority: number; ids: readonly number[]; sequences: readonly number[] },
  how: { reason: RemovalReason; nowMs: number; replacedBy?: number; withdraw: () => void },
): WantedRecord {
  const { priority, ids, sequences } = of;
  const line = channel.lines[priority]!;
  for (const sequence of sequences) channel.doom(sequence, line.entry(line.find(sequence)).bytes);
  const value = {
    reason: how.reason,
    ids: ids.map(BigInt),
    at: nsOf(how.nowMs),
    priorities: ids.map(() => priority),
    sequences: sequences.map(BigInt),
    replacedBy: BigInt(how.replacedBy ?? 0),
    topics: [...channel.topics],
  };
  const withdraw = () => {
    for (const sequence of sequences) channel.spare(sequence);
    how.withdraw();
  };
  return { record: { kind: { case: "removed", value } }, withdraw };
}

function expireShared(state: InboxState, wanted: WantedRecord[], nowMs: number): void {
  for (let step = 0; step < STEPS_MAX && (state.sharedExpiring.firstMs ?? Infinity) <= nowMs; step++) {
    const expired = state.sharedExpiring.pop()!;
    const { channel, priority, sequence } = expired;
    const line = channel.lines[priority]!;
    const index = line.find(sequence);
    if (index === NONE || channel.doomed.has(sequence)) continue;
    const of = { priority, ids: [line.entry(index).id], sequences: [sequence] };
    const withdraw = () => state.sharedExpiring.push(nowMs, expired);
    wanted.push(removeShared(channel, of, { reason: RemovalReason.EXPIRED, nowMs, withdraw }));
  }
}

function deliverDelayed(state: InboxState, wanted: WantedRecord[], nowMs: number): void {
  for (let step = 0; step < STEPS_MAX && (state.delayedDue.firstMs ?? Infinity) <= nowMs; step++) {
    const id = state.delayedDue.pop()!;
    if (!state.delayed.has(id)) continue;
    const record: NewNotificationRecord = { kind: { case: "due", value: { id: BigInt(id), at: nsOf(nowMs) } } };
    wanted.push({ record, withdraw: () => state.delayedDue.push(nowMs, id) });
  }
}

function wakeSnoozed(state: InboxState, wanted: WantedRecord[], nowMs: number): void {
  const { users } = state;
  for (let step = 0; step < STEPS_MAX && (state.snoozedDue.firstMs ?? Infinity) <= nowMs; step++) {
    const snoozed = state.snoozedDue.pop()!;
    const row = users.hasUser(snoozed.user) ? users.findById(snoozed.user, snoozed.id) : NONE;
    if (row === NONE || state.snoozedUntil.get(row) !== snoozed.untilMs) continue;
    const userId = users.name(snoozed.user);
    const value = { id: BigInt(snoozed.id), userId, at: nsOf(nowMs) };
    wanted.push({ record: { kind: { case: "due", value } }, withdraw: () => state.snoozedDue.push(nowMs, snoozed) });
  }
}

function replace(state: InboxState, wanted: WantedRecord[], nowMs: number): void {
  const { items, users } = state;
  const replaced = state.replaced;
  state.replaced = [];
  for (const each of replaced) {
    const row = users.hasUser(each.user) ? users.findBySequence(each.user, each.priority, each.sequence) : NONE;
    if (row === NONE || !items.isUnread(row) || items.has(row, ItemFlag.DOOMED)) continue;
    if (policyOf(state, each.user)?.keepCollapsed === true) continue;
    const removal = removeRows(state, [row], { reason: RemovalReason.REPLACED, nowMs, replacedBy: each.by });
    wanted.push({ record: removal.record, withdraw: () => (removal.withdraw(), state.replaced.push(each)) });
  }
  const shared = state.replacedShared;
  state.replacedShared = [];
  for (const each of shared) {
    const { channel, priority, sequence, by } = each;
    const line = channel.lines[priority]!;
    const index = line.find(sequence);
    if (index === NONE || channel.doomed.has(sequence)) continue;
    const of = { priority, ids: [line.entry(index).id], sequences: [sequence] };
    const withdraw = () => state.replacedShared.push(each);
    wanted.push(removeShared(channel, of, { reason: RemovalReason.REPLACED, nowMs, replacedBy: by, withdraw }));
  }
}

interface Room {
  readonly bounds: InboxBounds;
  readonly nowMs: number;
}

function evictDirect(state: InboxState, wanted: WantedRecord[], { bounds, nowMs }: Room): void {
  const { users, items } = state;
  for (const user of state.crowded) {
    state.crowded.delete(user);
    if (!users.hasUser(user)) continue;
    const policy = policyOf(state, user);
    // What was taken under this policy stays.
    if (policy?.overflow === OVERFLOW_REJECT) continue;
    const doomed = state.doomed(user);
    let tooMany = users.count(user) - doomed.count - itemsMaxOf(policy, bounds);
    let tooLarge = users.bytes(user) - doomed.bytes - bytesMaxOf(policy, bounds);
    const rows: number[] = [];
    for (let priority = 0; priority < PRIORITIES && (tooMany > 0 || tooLarge > 0); priority++) {
      for (let row = users.head(user, priority); row !== NONE && (tooMany > 0 || tooLarge > 0); row = items.next(row)) {
        if (items.has(row, ItemFlag.DOOMED | ItemFlag.MOVED)) continue;
        rows.push(row);
        tooMany--;
        tooLarge -= items.bytes(row);
      }
    }
    for (let i = 0; i < rows.length; i += IDS_MAX) {
      wanted.push(removeRows(state, rows.slice(i, i + IDS_MAX), { reason: RemovalReason.EVICTED, nowMs }));
    }
  }
}

function evictShared(state: InboxState, wanted: WantedRecord[], { bounds, nowMs }: Room): void {
  for (const channel of state.crowdedChannels) {
    state.crowdedChannels.delete(channel);
    let size = channel.size - channel.doomed.size;
    let bytes = channel.bytes - channel.doomedBytes;
    const withdraw = () => state.crowdedChannels.add(channel);
    for (let step = 0; step < STEPS_MAX && (size > bounds.sharedItemsMax || bytes > bounds.sharedBytesMax); step++) {
      const oldest = channel.oldest();
      if (oldest === undefined) break;
      size--;
      bytes -= oldest.entry.bytes;
      const of = { priority: oldest.priority, ids: [oldest.entry.id], sequences: [oldest.entry.sequence] };
      wanted.push(removeShared(channel, of, { reason: RemovalReason.EVICTED, nowMs, withdraw }));
    }
  }
}

/** They are in the order of their time. */
function forgetKeys(state: InboxState, nowMs: number): void {
  for (const [key, { untilMs }] of state.keys) {
    if (untilMs > nowMs) return;
    state.keys.delete(key);
  }
}
