// Puts records into effect, one after the other: when they have become durable, and again when a journal is opened.
//
// A1. The effect depends on nothing that may have been removed before the record (contract.ts, N2): what is not known yet may
//     come later, carried; what says how a user is (UserSnapshot) replaces what was made up until then.
// A2. Nothing is made or read here but the state: no time, no chance, no I/O.
import type { Policy } from "@sluice/api";
import { applyCarried, applyServer, applyUser } from "./apply-carried.ts";
import { type ChannelRemoval } from "./channel.ts";
import { ItemFlag } from "./direct-items.ts";
import { NONE } from "./rows.ts";
import { type Delivery, type InboxState, reasonName } from "./state.ts";
import { applyStates } from "./apply-states.ts";
import {
  type AppliedRecord,
  delay,
  deliveryOf,
  expiryOf,
  type KindOf,
  msOf,
  remember,
  type StoredAt,
} from "./records.ts";

const DAY_MS = 86_400_000;

/** Answers how many notifications have another state now (of StateSet). */
export function applyRecord(state: InboxState, record: AppliedRecord, place: number): number {
  state.head = Math.max(state.head, place);
  const { kind } = record;
  switch (kind?.case) {
    case "published":
      applyPublished(state, kind.value, { id: place, place, bytes: record.bodyBytes });
      return 0;
    case "due":
      applyDue(state, kind.value, place);
      return 0;
    case "state":
      return applyStates(state, kind.value, place);
    case "removed":
      applyRemoved(state, kind.value, place);
      return 0;
    case "touched":
      state.needUser(kind.value.userId ?? "", place);
      return 0;
    case "topics":
      applyTopics(state, kind.value, place);
      return 0;
    case "device":
      applyDevice(state, kind.value, place);
      return 0;
    case "policy":
      applyPolicy(state, kind.value, place);
      return 0;
    case "deleted": {
      const user = state.users.find(kind.value.userId ?? "");
      if (user !== NONE) state.removeUser(user, msOf(kind.value.at));
      return 0;
    }
    case "item":
      applyCarried(state, kind.value, { place, bytes: record.bodyBytes });
      return 0;
    case "user":
      applyUser(state, kind.value, place);
      return 0;
    case "server":
      applyServer(state, kind.value, place);
      return 0;
    default:
      throw new TypeError(`Cannot apply record ${place}: it is of no kind`);
  }
}

function applyPublished(state: InboxState, published: KindOf<"published">, at: StoredAt): void {
  const { place } = at;
  const atMs = msOf(published.at);
  const delivery = deliveryOf(state, published, at);
  if (published.idempotencyKey) remember(state, { key: published.idempotencyKey, id: place, untilMs: atMs + DAY_MS });
  for (const name of delivery.userIds) state.needUser(name, place);
  const deliverAtMs = msOf(published.deliverAt);
  if (deliverAtMs > atMs) delay(state, { ...delivery, deliverAtMs });
  else deliver(state, delivery, { sequence: place, atMs });
}

function deliver(
  state: InboxState,
  delivery: Delivery,
  at: { readonly sequence: number; readonly atMs: number },
): void {
  const { userIds, topics, everyone } = delivery;
  if (everyone || topics.length > 0) deliverShared(state, delivery, at);
  if (everyone) return;
  const isMultiple = userIds.length > 1;
  const seen = isMultiple ? new Set<string>() : undefined;
  for (let i = 0; i < userIds.length; i++) {
    const name = userIds[i]!;
    if (seen?.has(name) === true) continue;
    seen?.add(name);
    const user = state.needUser(name, at.sequence);
    deliverDirect(state, delivery, { user, ...at, ttlMs: delivery.ttlMsByUser[i] ?? delivery.ttlMs, isMultiple });
    if (topics.length > 0) hideShared(state, delivery, { user, sequence: at.sequence });
  }
}

function deliverDirect(
  state: InboxState,
  delivery: Delivery,
  to: { user: number; sequence: number; atMs: number; ttlMs: number; isMultiple: boolean },
): void {
  const { user, sequence } = to;
  const old = delivery.collapseKey === "" ? NONE : state.collapsing.find(user, delivery.collapseKey);
  if (old !== NONE) noteReplaced(state, old, delivery.id);
  const { id, place, priority, type, bytes, collapseKey } = delivery;
  const flags = to.isMultiple ? ItemFlag.MULTIPLE : 0;
  const expiresAt = expiryOf(to.atMs, to.ttlMs);
  const deliveredAt = Math.floor(to.atMs / 1000);
  state.addDirect({ user, id, sequence, place, priority, flags, type, bytes, expiresAt, deliveredAt }, collapseKey);
  state.users.setLastEvent(user, sequence);
  state.crowded.add(user);
  for (const reader of state.readers.of(user)) reader.changed();
}

/** Whether it is replaced depends on its state when somebody looks (wanted.ts). */
function noteReplaced(state: InboxState, old: number, by: number): void {
  const { items } = state;
  const [user, priority, sequence] = [items.user(old), items.priority(old), items.sequence(old)];
  state.replaced.push({ user, priority, sequence, by });
}

/** A user who has an item of a topic by itself does not see it in the topic. */
function hideShared(
  state: InboxState,
  { id, topics, priority }: Delivery,
  of: { user: number; sequence: number },
): void {
  const channel = state.channelOf(topics);
  const hidden = state.needShared(of.user, { channel, priority, id, sequence: of.sequence });
  hidden.isHidden = true;
  hidden.changed = of.sequence;
}

function deliverShared(state: InboxState, delivery: Delivery, at: { sequence: number; atMs: number }): void {
  const channel = state.channelOf(delivery.everyone ? [] : delivery.topics);
  const { id, place, bytes, type, priority, collapseKey, ttlMs } = delivery;
  const { sequence, atMs } = at;
  const expiresAt = expiryOf(atMs, ttlMs);
  const entry = { id, sequence, place, bytes, type, expiresAt, deliveredAt: Math.floor(atMs / 1000) };
  if (!state.addShared(channel, { priority, entry, collapseKey })) return;
  if (collapseKey !== "") {
    const old = channel.collapsing.get(collapseKey);
    if (old !== undefined)
      state.replacedShared.push({ channel, priority: old.priority, sequence: old.sequence, by: id });
    channel.collapsing.set(collapseKey, { id, priority, sequence });
  }
  channel.lastEvent = sequence;
  state.crowdedChannels.add(channel);
  if (channel === state.everyone) return state.readers.announce(channel, { priority, sequence });
  for (const reader of state.readers.ofChannel(channel)) reader.changed();
}

function applyDue(state: InboxState, due: KindOf<"due">, place: number): void {
  const id = Number(due.id ?? 0n);
  const atMs = msOf(due.at);
  if (!due.userId) {
    const delayed = state.delayed.get(id);
    if (delayed === undefined) return;
    state.delayed.delete(id);
    state.liveBytes -= delayed.bytes;
    deliver(state, delayed, { sequence: place, atMs });
    return;
  }
  const user = state.users.find(due.userId);
  const row = user === NONE ? NONE : state.users.findById(user, id);
  if (row === NONE) return;
  const { items, users } = state;
  users.unlink(row);
  items.set(row, ItemFlag.SNOOZED | ItemFlag.READ | ItemFlag.ARCHIVED, false);
  state.snoozedUntil.delete(row);
  items.deliverAgain(row, { sequence: place, at: Math.floor(atMs / 1000) });
  items.setRevision(row, items.revision(row) + 1);
  users.link(row);
  users.setLastEvent(user, place);
  for (const reader of state.readers.of(user)) reader.changed();
}

function applyRemoved(state: InboxState, removed: KindOf<"removed">, place: number): void {
  const reason = reasonName(removed.reason ?? 0);
  const ids = (removed.ids ?? []).map(Number);
  const sequences = (removed.sequences ?? []).map(Number);
  const priorities = removed.priorities ?? [];
  const replacedBy = Number(removed.replacedBy ?? 0n);
  const atMs = msOf(removed.at);
  if (!removed.userId) {
    const channel = state.channelOf(removed.topics ?? []);
    const priority = priorities[0] ?? 0;
    for (const sequence of sequences) state.removeShared(channel, { priority, sequence, atMs });
    const removal: ChannelRemoval = { sequence: place, reason, priority, ids, sequences, replacedBy };
    channel.noteRemoval(removal);
    channel.lastEvent = place;
    for (const reader of state.readers.ofChannel(channel)) reader.changed();
    return;
  }
  const user = state.needUser(removed.userId, place);
  for (const [i, id] of ids.entries()) {
    let row = state.users.findBySequence(user, priorities[i]!, sequences[i]!);
    // It was delivered again while this was on its way.
    if (row === NONE) row = state.users.findById(user, id);
    if (row !== NONE) {
      state.removeDirect(row, atMs);
      continue;
    }
    const shared = state.findShared(user, id);
    if (shared === undefined) continue;
    const { channel, priority, entry } = shared;
    const hidden = state.needShared(user, { channel, priority, id, sequence: entry.sequence });
    hidden.isHidden = true;
    hidden.changed = place;
  }
  state.logEvent(user, { kind: "removal", sequence: place, reason, ids, priorities, replacedBy });
  for (const reader of state.readers.of(user)) reader.changed();
}

function applyTopics(state: InboxState, change: KindOf<"topics">, place: number): void {
  const user = state.needUser(change.userId ?? "", place);
  const { memberships } = state.users.needExtra(user);
  for (const name of change.joined ?? []) {
    state.needTopic(name);
    if (state.isMember(user, name)) continue;
    const stretches = memberships.get(name) ?? [];
    stretches.push({ since: place, until: Number.POSITIVE_INFINITY });
    memberships.set(name, stretches);
    state.countMember(name, false, true);
  }
  for (const name of change.left ?? []) {
    if (!state.isMember(user, name)) continue;
    const stretches = memberships.get(name)!;
    stretches.push({ since: stretches.pop()!.since, until: place });
    state.countMember(name, true, false);
  }
  state.membershipsChanged(user);
}

function applyDevice(state: InboxState, change: KindOf<"device">, place: number): void {
  const user = state.needUser(change.userId ?? "", place);
  const { devices } = state.users.needExtra(user);
  const deviceId = change.deviceId ?? "";
  if (change.removed === true) {
    devices.delete(deviceId);
    state.devicesChanged(user);
    for (const reader of state.readers.of(user)) {
      if (reader.deviceId === deviceId) reader.ended("device-removed");
    }
    return;
  }
  const device = devices.get(deviceId) ?? {
    ack: undefined,
    webPush: undefined,
    lastSeenMs: 0,
    missed: [0, 0, 0, 0, 0],
  };
  devices.set(deviceId, device);
  device.lastSeenMs = Math.max(device.lastSeenMs, msOf(change.at));
  const ack = (change.ack ?? []).map(Number);
  if (ack.length > 0) {
    const before = device.ack;
    device.ack = before === undefined ? ack : ack.map((sequence, i) => Math.max(sequence, before[i]!));
    if (before === undefined || device.ack[7]! > before[7]!) device.missed = [0, 0, 0, 0, 0];
  }
  if (change.webPush !== undefined) {
    const { endpoint = "", p256dh = "", auth = "" } = change.webPush;
    device.webPush = endpoint === "" ? undefined : { endpoint, p256dh, auth };
    state.devicesChanged(user);
  }
}

function applyPolicy(state: InboxState, change: KindOf<"policy">, place: number): void {
  const policy = change.policy as Policy | undefined;
  if (!change.userId) {
    state.defaultPolicy = policy;
    for (const user of state.users.users()) state.crowded.add(user);
    return;
  }
  const user = state.needUser(change.userId, place);
  state.users.needExtra(user).policy = policy;
  state.crowded.add(user);
}
