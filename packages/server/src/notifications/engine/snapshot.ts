// Writes down again what would be lost with a record that is about to go: what of it is alive, in the state of now.
//
// W1. A user is written down with the record that they hang on (their first contact, or the last snapshot); so is the server.
//     What was said of them later lies behind it in the journal, and goes later.
// W2. With an item of a channel goes what users made of it: what they did lies before the record that makes it known again.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CarriedItemSchema, ItemHolderSchema, NotificationStateSchema, UserSnapshotSchema } from "@sluice/api";
import type { NewNotificationRecord } from "../contract.ts";
import { type AppliedRecord, type KindOf, msOf } from "./records.ts";
import { countMissed, type InboxState } from "./state.ts";
import { ItemFlag } from "./direct-items.ts";
import { NONE } from "./rows.ts";
import type { SharedState } from "./user-table.ts";

type NewState = MessageInitShape<typeof NotificationStateSchema>;
const nsOf = (ms: number): bigint => BigInt(Math.round(ms)) * 1_000_000n;
const DAY_MS = 86_400_000;

/** The records that must stand in the place of this one. @param nowMs Unix ms */
export function carryRecord(
  state: InboxState,
  { kind }: AppliedRecord,
  at: { readonly place: number; readonly nowMs: number },
): NewNotificationRecord[] {
  const { place, nowMs } = at;
  const records: NewNotificationRecord[] = [];
  switch (kind?.case) {
    case "published":
      carryItem(state, records, { published: kind.value, id: place, holders: kind.value.userIds ?? [], place, nowMs });
      break;
    case "item":
      carryItem(state, records, {
        published: kind.value.published ?? {},
        id: Number(kind.value.id ?? 0n),
        holders: usersOf({ kind }),
        place,
        nowMs,
        deliveredMs: msOf(kind.value.deliveredAt),
      });
      break;
    case "server":
      carryServer(state, records, { server: kind.value, place, nowMs });
      break;
    case "state":
      if (kind.value.requestId) carryKey(state, records, `\0${kind.value.userId}\0${kind.value.requestId}`, nowMs);
      break;
    default:
  }
  for (const name of usersOf({ kind })) {
    const user = state.users.find(name);
    if (user !== NONE && state.users.anchor(user) === place) records.push(snapshotOf(state, user));
  }
  return records;
}

/** What was carried stands here now. */
export function placeCarried(state: InboxState, { kind }: NewNotificationRecord, place: number): void {
  if (kind?.case === "user") {
    const user = state.users.find(kind.value.userId ?? "");
    if (user !== NONE) state.users.setAnchor(user, place);
  }
  if (kind?.case === "server" && kind.value.era) state.serverAnchor = place;
  if (kind?.case === "item") placeItem(state, kind.value, place);
}

function placeItem(state: InboxState, item: KindOf<"item">, place: number): void {
  const id = Number(item.id ?? 0n);
  const delayed = state.delayed.get(id);
  if (delayed !== undefined) delayed.place = place;
  const { topics = [], everyone = false } = item.published ?? {};
  if (topics.length > 0 || everyone) {
    const channel = state.channelOf(everyone ? [] : topics);
    const priority = item.published?.notification?.priority ?? 0;
    channel.lines[priority]?.setPlace(Number(item.sequence ?? 0n), place);
  }
  for (const { userId = "" } of item.holders ?? []) {
    const user = state.users.find(userId);
    const row = user === NONE ? NONE : state.users.findById(user, id);
    if (row !== NONE) state.items.setPlace(row, place);
  }
}

/** Everybody who may hang on this record. */
export function usersOf({ kind }: Pick<AppliedRecord, "kind">): readonly string[] {
  switch (kind?.case) {
    case "published":
      return kind.value.userIds ?? [];
    case "due":
    case "state":
    case "removed":
    case "touched":
    case "topics":
    case "device":
    case "policy":
    case "user":
      return kind.value.userId ? [kind.value.userId] : [];
    case "item":
      // Of one that was not due there are no holders yet.
      return [
        ...(kind.value.published?.userIds ?? []),
        ...(kind.value.holders ?? []).map(({ userId }) => userId ?? ""),
      ];
    default:
      return [];
  }
}

interface ItemToCarry {
  readonly published: KindOf<"published">;
  readonly id: number;
  readonly holders: readonly string[];
  readonly place: number;
  readonly nowMs: number;
  /** Unix ms; undefined: see `published`. */
  readonly deliveredMs?: number;
}

function carryItem(state: InboxState, records: NewNotificationRecord[], item: ItemToCarry): void {
  const { published, id, place } = item;
  const carried = state.delayed.has(id)
    ? state.delayed.get(id)!.place === place && { id: BigInt(id), sequence: 0n, published }
    : carriedOf(state, item);
  if (carried) records.push({ kind: { case: "item", value: carried } });
  else if (published.idempotencyKey) carryKey(state, records, published.idempotencyKey, item.nowMs);
}

/** undefined: nobody has it any more. */
function carriedOf(state: InboxState, item: ItemToCarry): MessageInitShape<typeof CarriedItemSchema> | undefined {
  const { published, id, place } = item;
  const { users, items } = state;
  const names = new Set(item.holders);
  for (const user of state.moved.get(id) ?? []) names.add(users.name(user));
  const shared = sharedOf(state, published, id);
  const isShared = shared !== undefined && shared.place === place;
  let sequence = shared?.sequence ?? state.delayedSequences.get(id) ?? 0;
  let deliveredAt = shared?.deliveredAt ?? 0;
  const holders = [];
  for (const name of names) {
    const user = users.find(name);
    const row = user === NONE ? NONE : users.findById(user, id);
    if (row === NONE || items.place(row) !== place) continue;
    if (sequence === 0) sequence = items.sequence(row);
    if (deliveredAt === 0) deliveredAt = items.deliveredAt(row);
    holders.push({
      userId: name,
      state: stateOf(state, row),
      changed: BigInt(items.changed(row)),
      sequence: BigInt(items.sequence(row)),
    });
  }
  if (!isShared && holders.length === 0) return undefined;
  const { userIds = [], ttlMsByUser = [] } = published;
  const living = new Set(holders.map(({ userId }) => userId));
  const made = isShared ? sharedHoldersOf(state, id) : [];
  const kept = [...new Set(userIds)].filter((name) => living.has(name));
  return {
    id: BigInt(id),
    sequence: BigInt(sequence),
    deliveredAt: nsOf(item.deliveredMs || firstDeliveryMs(published, deliveredAt * 1000)),
    published: {
      ...published,
      userIds: kept,
      ttlMsByUser: ttlMsByUser.length === 0 ? [] : kept.map((name) => ttlMsByUser[userIds.indexOf(name)]!),
      topics: isShared ? (published.topics ?? []) : [],
      everyone: isShared && (published.everyone ?? false),
    },
    holders: [...holders, ...made],
  };
}

/** What expires counts from it. Of what was delayed it is not in the record. */
function firstDeliveryMs({ at, deliverAt }: KindOf<"published">, lastMs: number): number {
  return msOf(deliverAt) > msOf(at) ? lastMs : msOf(at);
}

function sharedHoldersOf(state: InboxState, id: number): MessageInitShape<typeof ItemHolderSchema>[] {
  return [...(state.sharedHolders.get(id) ?? [])].map((user) => {
    const known = state.users.extra(user)!.states.get(id)!;
    return {
      userId: state.users.name(user),
      state: sharedStateOf(known),
      changed: BigInt(known.changed),
      isShared: true,
      hidden: known.isHidden,
    };
  });
}

function sharedStateOf({ flags, revision }: SharedState): NewState {
  return {
    seen: (flags & ItemFlag.SEEN) !== 0,
    read: (flags & ItemFlag.READ) !== 0,
    archived: (flags & ItemFlag.ARCHIVED) !== 0,
    revision: BigInt(revision),
  };
}

function sharedOf(state: InboxState, { topics = [], everyone = false, notification }: KindOf<"published">, id: number) {
  if (topics.length === 0 && !everyone) return undefined;
  const line = state.channelOf(everyone ? [] : topics).lines[notification?.priority ?? 0];
  const index = line?.find(state.delayedSequences.get(id) ?? id) ?? NONE;
  return index === NONE ? undefined : line!.entry(index);
}

function stateOf(state: InboxState, row: number): NewState {
  const { items } = state;
  return {
    seen: items.has(row, ItemFlag.SEEN),
    read: items.has(row, ItemFlag.READ),
    archived: items.has(row, ItemFlag.ARCHIVED),
    snoozedUntil: nsOf(state.snoozedUntil.get(row) ?? 0),
    revision: BigInt(items.revision(row)),
  };
}

function snapshotOf(state: InboxState, user: number): NewNotificationRecord {
  const { users } = state;
  const extra = users.extra(user);
  const value: MessageInitShape<typeof UserSnapshotSchema> = {
    userId: users.name(user),
    since: BigInt(users.since(user)),
  };
  if (extra === undefined) return { kind: { case: "user", value } };
  const numbers = (list: ArrayLike<number> | undefined) => Array.from(list ?? [], BigInt);
  value.memberships = [...extra.memberships].flatMap(([topic, stretches]) =>
    stretches.map(({ since, until }) => ({
      topic,
      since: BigInt(since),
      until: Number.isFinite(until) ? BigInt(until) : 0n,
    })),
  );
  value.devices = [...extra.devices].map(([deviceId, { ack, webPush, lastSeenMs, missed }]) => {
    // What the log of events still has is in no later record, either.
    const all = [...missed];
    countMissed(extra.log?.after(0) ?? [], ack?.[7] ?? 0, all);
    return {
      deviceId,
      ack: numbers(ack),
      ...(webPush === undefined ? {} : { webPush }),
      lastSeen: nsOf(lastSeenMs),
      missed: numbers(all.slice(1)),
    };
  });
  if (extra.policy !== undefined) value.policy = extra.policy;
  value.readThrough = numbers(extra.marks?.read);
  value.seenThrough = numbers(extra.marks?.seen);
  value.archivedThrough = numbers(extra.marks?.archived);
  value.states = [...extra.states].map(([id, known]) => ({
    id: BigInt(id),
    state: sharedStateOf(known),
    changed: BigInt(known.changed),
    hidden: known.isHidden,
    sequence: BigInt(known.sequence),
    priority: known.priority,
    topics: [...known.channel.topics],
  }));
  return { kind: { case: "user", value } };
}

function carryServer(
  state: InboxState,
  records: NewNotificationRecord[],
  { server, place, nowMs }: { server: KindOf<"server">; place: number; nowMs: number },
): void {
  if (server.era && state.serverAnchor === place) records.push(serverSnapshot(state));
  for (const { key = "" } of server.keys ?? []) carryKey(state, records, key, nowMs);
}

export function serverSnapshot(state: InboxState): NewNotificationRecord {
  const { topics, defaultPolicy, era } = state;
  const value = { topics: [...topics.keys()], era, ...(defaultPolicy === undefined ? {} : { policy: defaultPolicy }) };
  return { kind: { case: "server", value } };
}

function carryKey(state: InboxState, records: NewNotificationRecord[], key: string, nowMs: number): void {
  const known = state.keys.get(key);
  if (known === undefined || known.untilMs <= nowMs || nowMs + DAY_MS < known.untilMs) return;
  const remembered = { key, id: BigInt(known.id), until: nsOf(known.untilMs) };
  records.push({ kind: { case: "server", value: { keys: [remembered] } } });
}
