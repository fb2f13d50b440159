// What stands beside the columns of a user, in a checkpoint: topics, devices, policy, and what they made of what is shared.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Policy, PolicySchema } from "@sluice/api";
import { newMarks } from "./apply-states.ts";
import type { Channel } from "./channel.ts";
import { EventLog } from "./event-log.ts";
import type { InboxState } from "./state.ts";
import { type DeviceState, type Marks, PRIORITIES, type SharedState, type UserExtra } from "./user-table.ts";
import { ValueReader, ValueWriter } from "./values.ts";

/** Writes users one after the other. @param numbers of all channels there are */
export function extraEncoder(numbers: ReadonlyMap<Channel, number>): (extra: UserExtra) => Uint8Array {
  const out = new ValueWriter();
  return (extra) => {
    out.list(extra.memberships, ([topic, stretches]) => {
      out.text(topic);
      out.list(stretches, ({ since, until }) => (out.number(since), out.number(until)));
    });
    out.list(extra.devices, ([deviceId, device]) => writeDevice(out, deviceId, device));
    out.list(extra.states, ([id, state]) => {
      for (const each of [id, numbers.get(state.channel)!, state.priority, state.sequence, state.flags])
        out.number(each);
      out.flag(state.isHidden);
      out.number(state.revision);
      out.number(state.changed);
    });
    writePolicy(out, extra.policy);
    out.flag(extra.marks !== undefined);
    if (extra.marks !== undefined) writeMarks(out, extra.marks);
    out.flag(extra.log !== undefined);
    extra.log?.write(out);
    out.number(extra.statesKept);
    return out.take();
  };
}

/** Gives a user what was written, and the state what follows from it. */
export function readExtra(
  state: InboxState,
  user: number,
  from: { bytes: Uint8Array; channels: readonly Channel[] },
): void {
  const values = new ValueReader(from.bytes);
  const extra = state.users.needExtra(user);
  values.list(() => {
    const topic = values.text();
    const stretches = values.list(() => ({ since: values.number(), until: values.number() }));
    extra.memberships.set(topic, stretches);
  });
  values.list(() => {
    const deviceId = values.text();
    extra.devices.set(deviceId, readDevice(values));
  });
  values.list(() => {
    const id = values.number();
    state.putShared(user, id, readState(values, from.channels));
  });
  extra.policy = readPolicy(values);
  if (values.flag()) extra.marks = readMarks(values);
  if (values.flag()) state.putLog(user, EventLog.read(values));
  extra.statesKept = values.number();
  state.devicesChanged(user);
}

/** undefined: there is none. */
export function writePolicy(out: ValueWriter, policy: Policy | undefined): void {
  out.flag(policy !== undefined);
  if (policy !== undefined) out.bytes(toBinary(PolicySchema, policy));
}

export function readPolicy(values: ValueReader): Policy | undefined {
  return values.flag() ? fromBinary(PolicySchema, values.bytes()) : undefined;
}

function writeDevice(out: ValueWriter, deviceId: string, { ack, webPush, lastSeenMs, missed }: DeviceState): void {
  out.text(deviceId);
  out.list(ack ?? [], (sequence) => out.number(sequence));
  out.flag(webPush !== undefined);
  if (webPush !== undefined) for (const each of [webPush.endpoint, webPush.p256dh, webPush.auth]) out.text(each);
  out.number(lastSeenMs);
  out.list(missed, (count) => out.number(count));
}

function readDevice(values: ValueReader): DeviceState {
  const ack = values.list(() => values.number());
  const webPush = values.flag() ? { endpoint: values.text(), p256dh: values.text(), auth: values.text() } : undefined;
  const lastSeenMs = values.number();
  const missed = values.list(() => values.number());
  return { ack: ack.length === 0 ? undefined : ack, webPush, lastSeenMs, missed };
}

function readState(values: ValueReader, channels: readonly Channel[]): SharedState {
  const channel = channels[values.number()];
  if (channel === undefined) throw new RangeError("Cannot read a state: there is no such channel");
  return {
    channel,
    priority: values.number(),
    sequence: values.number(),
    flags: values.number(),
    isHidden: values.flag(),
    revision: values.number(),
    changed: values.number(),
  };
}

function writeMarks(out: ValueWriter, { read, seen, archived, changed }: Marks): void {
  for (const mark of [read, seen, archived]) for (const sequence of mark) out.number(sequence);
  out.number(changed);
}

function readMarks(values: ValueReader): Marks {
  const marks = newMarks();
  for (const mark of [marks.read, marks.seen, marks.archived]) {
    for (let priority = 0; priority < PRIORITIES; priority++) mark[priority] = values.number();
  }
  marks.changed = values.number();
  return marks;
}
