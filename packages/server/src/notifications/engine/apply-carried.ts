// Puts into effect what was carried forward when a journal was cleaned: only when a journal is opened. What is there already, as
// its first record has not gone yet, only gets its new place.
import type { NotificationState, Policy } from "@sluice/api";
import { delay, deliveryOf, expiryOf, type KindOf, msOf, remember } from "./records.ts";
import { newMarks, noteMoved, snooze } from "./apply-states.ts";
import type { Channel, Stretch } from "./channel.ts";
import { ItemFlag } from "./direct-items.ts";
import { EventLog } from "./event-log.ts";
import { NONE } from "./rows.ts";
import { type Delivery, type InboxState } from "./state.ts";
import { PRIORITIES } from "./user-table.ts";

type Holder = NonNullable<KindOf<"item">["holders"]>[number];

export function applyCarried(
  state: InboxState,
  carried: KindOf<"item">,
  at: { readonly place: number; readonly bytes: number },
): void {
  const published = carried.published ?? {};
  const id = Number(carried.id ?? 0n);
  const sequence = Number(carried.sequence ?? 0n);
  const delivery = deliveryOf(state, published, { id, ...at });
  if (published.idempotencyKey) {
    const untilMs = msOf(published.at) + 86_400_000;
    if (!state.keys.has(published.idempotencyKey)) remember(state, { key: published.idempotencyKey, id, untilMs });
  }
  if (sequence === 0) {
    const known = state.delayed.get(id);
    if (known === undefined) delay(state, { ...delivery, deliverAtMs: msOf(published.deliverAt) });
    else known.place = at.place;
    return;
  }
  const deliveredMs = msOf(carried.deliveredAt);
  const isShared = delivery.everyone || delivery.topics.length > 0;
  const channel = isShared ? state.channelOf(delivery.everyone ? [] : delivery.topics) : undefined;
  if (channel !== undefined) carryShared(state, { delivery, channel, sequence, deliveredMs });
  for (const holder of carried.holders ?? []) {
    carryHolder(state, { delivery, holder, channel, sequence, deliveredMs });
  }
}

interface CarriedShared {
  readonly delivery: Delivery;
  readonly channel: Channel;
  readonly sequence: number;
  readonly deliveredMs: number;
}

function carryShared(state: InboxState, { delivery, channel, sequence, deliveredMs }: CarriedShared): void {
  const { id, place, bytes, type, priority, collapseKey, ttlMs } = delivery;
  const expiresAt = expiryOf(deliveredMs, ttlMs);
  const entry = { id, sequence, place, bytes, type, expiresAt, deliveredAt: Math.floor(deliveredMs / 1000) };
  if (!state.addShared(channel, { priority, entry, collapseKey })) {
    channel.lines[priority]!.setPlace(sequence, place);
    return;
  }
  if (collapseKey !== "" && (channel.collapsing.get(collapseKey)?.id ?? 0) < id) {
    channel.collapsing.set(collapseKey, { id, priority, sequence });
  }
}

interface CarriedHolder {
  readonly delivery: Delivery;
  readonly holder: Holder;
  /** undefined: it was for users only. */
  readonly channel: Channel | undefined;
  readonly sequence: number;
  readonly deliveredMs: number;
}

function carryHolder(state: InboxState, carried: CarriedHolder): void {
  const { delivery, holder, channel, deliveredMs } = carried;
  const { id, place, priority, bytes, type, collapseKey } = delivery;
  const name = holder.userId ?? "";
  const user = state.needUser(name, place);
  const sequence = Number(holder.sequence ?? 0n) || carried.sequence;
  if (holder.isShared === true) {
    if (channel !== undefined) putHolder(state, { user, id, priority, channel, sequence: carried.sequence, holder });
    return;
  }
  const known = state.users.findById(user, id);
  if (known !== NONE) {
    state.items.setPlace(known, place);
    return;
  }
  const index = delivery.userIds.indexOf(name);
  const isMoved = index < 0;
  const isMultiple = !isMoved && delivery.userIds.length > 1;
  const holderState = holder.state ?? {};
  const flags = flagsOf(holderState) | (isMoved ? ItemFlag.MOVED : 0) | (isMultiple ? ItemFlag.MULTIPLE : 0);
  const expiresAt = expiryOf(deliveredMs, delivery.ttlMsByUser[index] ?? delivery.ttlMs);
  const deliveredAt = Math.floor(deliveredMs / 1000);
  const key = isMoved ? "" : collapseKey;
  const before = key === "" ? NONE : state.collapsing.find(user, key);
  const row = state.addDirect({ user, id, sequence, place, priority, flags, type, bytes, expiresAt, deliveredAt }, key);
  if (before !== NONE && state.items.id(before) > id) state.collapsing.giveBack(user, key, before);
  state.items.setRevision(row, Number(holderState.revision ?? 0n));
  state.items.setChanged(row, Number(holder.changed ?? 0n));
  const snoozedUntilMs = msOf(holderState.snoozedUntil);
  if (snoozedUntilMs > 0) snooze(state, row, snoozedUntilMs);
  if (isMoved) noteMoved(state, row, channel ?? state.everyone);
}

/** What a user made of what is shared, as it was when the item was carried. */
function putHolder(
  state: InboxState,
  to: { user: number; id: number; priority: number; channel: Channel; sequence: number; holder: Holder },
): void {
  const { user, id, priority, channel, sequence, holder } = to;
  state.putShared(user, id, {
    channel,
    priority,
    sequence,
    flags: flagsOf(holder.state ?? {}),
    isHidden: holder.hidden ?? false,
    revision: Number(holder.state?.revision ?? 0n),
    changed: Number(holder.changed ?? 0n),
  });
}

function flagsOf(state: Partial<NotificationState>): number {
  let flags = 0;
  if (state.seen === true) flags |= ItemFlag.SEEN;
  if (state.read === true) flags |= ItemFlag.READ;
  if (state.archived === true) flags |= ItemFlag.ARCHIVED;
  if (msOf(state.snoozedUntil) > 0) flags |= ItemFlag.SNOOZED;
  return flags;
}

/** What was made up of this user until here is replaced: the snapshot knows what was before. */
export function applyUser(state: InboxState, snapshot: KindOf<"user">, place: number): void {
  const name = snapshot.userId ?? "";
  const user = state.needUser(name, place);
  state.users.setSince(user, Number(snapshot.since ?? 0n));
  state.users.setAnchor(user, place);
  const extra = state.users.extra(user);
  const topics = new Set([
    ...(extra?.memberships.keys() ?? []),
    ...(snapshot.memberships ?? []).map((each) => each.topic ?? ""),
  ]);
  const was = new Map([...topics].map((topic) => [topic, state.isMember(user, topic)]));
  state.forgetUser(user);
  if (!isPlain(snapshot)) fillExtra(state, user, snapshot, place);
  for (const topic of topics) state.countMember(topic, was.get(topic)!, state.isMember(user, topic));
  state.users.setLastEvent(user, place);
  state.crowded.add(user);
}

function isPlain({ memberships, devices, policy, readThrough, states }: KindOf<"user">): boolean {
  const lists = [memberships, devices, readThrough, states];
  return policy === undefined && lists.every((list) => (list?.length ?? 0) === 0);
}

function fillExtra(state: InboxState, user: number, snapshot: KindOf<"user">, place: number): void {
  const extra = state.users.needExtra(user);
  for (const { topic = "", since, until } of snapshot.memberships ?? []) {
    const stretches: Stretch[] = extra.memberships.get(topic) ?? [];
    stretches.push({ since: Number(since ?? 0n), until: Number(until ?? 0n) || Number.POSITIVE_INFINITY });
    extra.memberships.set(topic, stretches);
  }
  for (const { deviceId = "", ack, webPush, lastSeen, missed } of snapshot.devices ?? []) {
    const counts = (missed ?? []).map(Number);
    extra.devices.set(deviceId, {
      ack: ack === undefined || ack.length === 0 ? undefined : ack.map(Number),
      webPush:
        webPush === undefined
          ? undefined
          : { endpoint: webPush.endpoint ?? "", p256dh: webPush.p256dh ?? "", auth: webPush.auth ?? "" },
      lastSeenMs: msOf(lastSeen),
      missed: [0, counts[0] ?? 0, counts[1] ?? 0, counts[2] ?? 0, counts[3] ?? 0],
    });
  }
  state.devicesChanged(user);
  extra.policy = snapshot.policy as Policy | undefined;
  if ((snapshot.readThrough?.length ?? 0) > 0) {
    extra.marks = newMarks();
    for (let priority = 0; priority < PRIORITIES; priority++) {
      extra.marks.read[priority] = Number(snapshot.readThrough?.[priority] ?? 0n);
      extra.marks.seen[priority] = Number(snapshot.seenThrough?.[priority] ?? 0n);
      extra.marks.archived[priority] = Number(snapshot.archivedThrough?.[priority] ?? 0n);
    }
    extra.marks.changed = place;
  }
  for (const each of snapshot.states ?? []) {
    state.putShared(user, Number(each.id ?? 0n), {
      channel: state.channelOf(each.topics ?? []),
      priority: each.priority ?? 0,
      sequence: Number(each.sequence ?? 0n),
      flags: flagsOf(each.state ?? {}),
      isHidden: each.hidden ?? false,
      revision: Number(each.state?.revision ?? 0n),
      changed: Number(each.changed ?? 0n),
    });
  }
  extra.log = new EventLog(place);
}

export function applyServer(state: InboxState, snapshot: KindOf<"server">, place: number): void {
  for (const topic of snapshot.topics ?? []) state.needTopic(topic);
  for (const { key = "", id, until } of snapshot.keys ?? []) {
    if (!state.keys.has(key)) remember(state, { key, id: Number(id ?? 0n), untilMs: msOf(until) });
  }
  // One of keys alone says nothing of the rest.
  if (!snapshot.era) return;
  state.era = snapshot.era;
  state.defaultPolicy = snapshot.policy as Policy | undefined;
  state.serverAnchor = place;
}
