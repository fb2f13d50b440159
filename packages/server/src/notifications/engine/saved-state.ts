// What is known beside items and users, in a checkpoint. It is written in one turn, so that all of it is of one moment: items and
// users, which are many, are frozen in that turn and follow in slices.
//
// W1. What follows from the rest is not written: what is due and when, who is pushed to, who holds a state of what is shared.
// W2. What is doomed is not: its removal is a record behind the checkpoint, or it never got to the disk. So `spareDoomed` makes
//     it wanted again.
import { Channel } from "./channel.ts";
import { ItemFlag } from "./direct-items.ts";
import { noteMoved, snooze } from "./apply-states.ts";
import { delay, remember } from "./records.ts";
import { NONE } from "./rows.ts";
import { readPolicy, writePolicy } from "./saved-user.ts";
import { type Delayed, InboxState } from "./state.ts";
import { PRIORITIES } from "./user-table.ts";
import type { ValueReader, ValueWriter } from "./values.ts";

/** All channels, by the number that they have in a checkpoint. */
export function channelsOf(state: InboxState): Channel[] {
  return [state.everyone, ...state.channels.values()];
}

/** @param staleThrough what lies here and before must leave the disk */
export function writeState(state: InboxState, out: ValueWriter, staleThrough: number): void {
  for (const each of [state.head, state.era, state.serverAnchor, state.liveBytes, staleThrough]) out.number(each);
  state.types.write(out);
  writePolicy(out, state.defaultPolicy);
  const channels = channelsOf(state);
  const numbers = new Map(channels.map((channel, i) => [channel, i]));
  out.list(channels, (channel) => {
    out.list(channel.topics, (topic) => out.text(topic));
    channel.write(out);
  });
  out.list(state.topics, ([name, { members }]) => (out.text(name), out.number(members)));
  out.list(state.delayed, ([, delayed]) => writeDelayed(out, delayed));
  out.list(state.delayedSequences, ([id, sequence]) => (out.number(id), out.number(sequence)));
  out.list(state.snoozedUntil, ([row, untilMs]) => (out.number(row), out.number(untilMs)));
  out.list(state.movedFrom, ([row, channel]) => (out.number(row), out.number(numbers.get(channel)!)));
  state.collapsing.write(out);
  out.list(state.bodies, ([id, { holders, bytes }]) => [id, holders, bytes].forEach((each) => out.number(each)));
  out.list(state.keys, ([, { key, id, untilMs }]) => (out.text(key), out.number(id), out.number(untilMs)));
  out.list(state.deaths, ({ hourMs, place }) => (out.number(hourMs), out.number(place)));
  out.list(state.crowded, (user) => out.number(user));
  out.list(state.replaced, ({ user, priority, sequence, by }) =>
    [user, priority, sequence, by].forEach((each) => out.number(each)),
  );
}

/** Into one that is empty. What needs items and users is done by the answer, when they are there. */
export function readState(
  state: InboxState,
  values: ValueReader,
): { readonly channels: Channel[]; readonly finish: () => void } {
  state.head = values.number();
  state.era = values.number();
  state.serverAnchor = values.number();
  const liveBytes = values.number();
  const staleThrough = values.number();
  // As if it had died long ago.
  if (staleThrough > 0) state.deaths.push({ hourMs: 0, place: staleThrough });
  state.types.read(values);
  state.defaultPolicy = readPolicy(values);
  const channels = values.list(() => {
    const channel = state.channelOf(values.list(() => values.text()));
    channel.read(values);
    return channel;
  });
  for (const channel of channels) countShared(state, channel);
  values.list(() => (state.needTopic(values.text()).members = values.number()));
  values.list(() => delay(state, readDelayed(values)));
  const pairs = () => values.list(() => [values.number(), values.number()] as const);
  for (const [id, sequence] of pairs()) state.delayedSequences.set(id, sequence);
  const snoozed = pairs();
  const moved = pairs();
  state.collapsing.read(values);
  values.list(() => state.bodies.set(values.number(), { holders: values.number(), bytes: values.number() }));
  values.list(() => remember(state, { key: values.text(), id: values.number(), untilMs: values.number() }));
  values.list(() => state.deaths.push({ hourMs: values.number(), place: values.number() }));
  values.list(() => state.crowded.add(values.number()));
  values.list(() =>
    state.replaced.push({
      user: values.number(),
      priority: values.number(),
      sequence: values.number(),
      by: values.number(),
    }),
  );
  const finish = () => {
    for (const [row, untilMs] of snoozed) snooze(state, row, untilMs);
    for (const [row, channel] of moved) noteMoved(state, row, channels[channel]!);
    state.liveBytes = liveBytes;
  };
  return { channels, finish };
}

/** W2. Nothing of channels is doomed any more; what has expired, been replaced or is too much is looked at again. */
function countShared(state: InboxState, channel: Channel): void {
  state.sharedCount += channel.size;
  state.crowdedChannels.add(channel);
  for (let priority = 0; priority < PRIORITIES; priority++) {
    for (const { id, sequence, expiresAt } of channel.lines[priority]?.entries() ?? []) {
      if (expiresAt > 0) state.sharedExpiring.push(expiresAt * 1000, { channel, priority, sequence });
      const by = channel.successor(id)?.id;
      if (by !== undefined) state.replacedShared.push({ channel, priority, sequence, by });
    }
  }
}

/** W2. @param rows that were doomed when they were saved */
export function spareDoomed(state: InboxState, rows: readonly number[]): void {
  const { items } = state;
  for (const row of rows) {
    items.set(row, ItemFlag.DOOMED, false);
    if (items.expiresAt(row) > 0) items.expiring.push(row);
    const [user, priority, sequence] = [items.user(row), items.priority(row), items.sequence(row)];
    state.crowded.add(user);
    const by = state.collapsing.successor(row);
    if (by !== NONE) state.replaced.push({ user, priority, sequence, by: items.id(by) });
  }
}

function writeDelayed(out: ValueWriter, delayed: Delayed): void {
  const { id, place, bytes, priority, type, ttlMs, deliverAtMs } = delayed;
  for (const each of [id, place, bytes, priority, type, ttlMs, deliverAtMs]) out.number(each);
  out.text(delayed.collapseKey);
  out.list(delayed.userIds, (name) => out.text(name));
  out.list(delayed.topics, (topic) => out.text(topic));
  out.flag(delayed.everyone);
  out.list(delayed.ttlMsByUser, (ms) => out.number(ms));
}

function readDelayed(values: ValueReader): Delayed {
  return {
    id: values.number(),
    place: values.number(),
    bytes: values.number(),
    priority: values.number(),
    type: values.number(),
    ttlMs: values.number(),
    deliverAtMs: values.number(),
    collapseKey: values.text(),
    userIds: values.list(() => values.text()),
    topics: values.list(() => values.text()),
    everyone: values.flag(),
    ttlMsByUser: values.list(() => values.number()),
  };
}
