import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  ListNotificationsResponseSchema,
  type Notification,
  type NotificationControlSchema,
  NotificationSchema,
} from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { Inbox, type InboxEvent } from "./inbox.ts";
import { STREAM_RETRY } from "./retry.ts";

const item = (id: string, extra: MessageInitShape<typeof NotificationSchema> = {}): Notification =>
  create(NotificationSchema, { id, cursor: `c${id}`, title: `t${id}`, ...extra });
const control = (kind: MessageInitShape<typeof NotificationControlSchema>["kind"]): Notification =>
  create(NotificationSchema, { control: kind === undefined ? {} : { kind } });
const sync = (cursor: string) => control({ case: "sync", value: { cursor } });
const counts = (unread: number) => ({
  unread: BigInt(unread),
  unreadByPriority: [BigInt(unread), 0n, 0n, 0n, 0n, 0n, 0n, 0n],
});

/** One answer to each call: a stream ends as its script ends, by an error or, at the end of the test, never. */
class Script {
  readonly clock = new ManualClock();
  readonly asked: object[] = [];
  lists: MessageInitShape<typeof ListNotificationsResponseSchema>[] = [];
  streams: (Notification | RpcError)[][] = [];

  open(options: ConstructorParameters<typeof Inbox>[2] = {}): Inbox {
    const calls = {
      listNotifications: (request: object) => {
        this.asked.push(request);
        return Promise.resolve(create(ListNotificationsResponseSchema, this.lists.shift()));
      },
      subscribeToNotifications: (request: object, { signal }: { signal: AbortSignal }) => {
        this.asked.push(request);
        return this.#play(this.streams.shift() ?? [], signal);
      },
      updateSubscription: (request: object) => {
        this.asked.push(request);
        return Promise.resolve();
      },
    };
    const random = { bytes: (count: number) => new Uint8Array(count) };
    const context = { calls, clock: this.clock, random, retry: STREAM_RETRY, closed: new AbortController().signal };
    return new Inbox("ann", context, { heartbeatMs: 0, ...options });
  }

  async *#play(messages: (Notification | RpcError)[], signal: AbortSignal): AsyncGenerator<Notification> {
    for (const message of messages) {
      if (message instanceof RpcError) throw message;
      yield message;
    }
    await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
  }
}

/** The next events; a pause before a new attempt passes at once. */
async function take(events: AsyncIterator<InboxEvent>, count: number, { clock }: Script): Promise<InboxEvent[]> {
  const all: InboxEvent[] = [];
  while (all.length < count) {
    const next = events.next();
    if (all.at(-1)?.kind === "disconnected") await clock.advanceInTurns(60_000);
    all.push((await next).value as InboxEvent);
  }
  return all;
}

test("a snapshot, then what comes, what becomes of it, and the counts", async () => {
  const script = new Script();
  script.lists = [{ notifications: [item("2"), item("1")], counts: counts(2), cursor: "c2" }];
  script.streams = [
    [
      control({ case: "opened", value: { subscriptionId: "s" } }),
      sync("c2"),
      item("3", { priority: 1 }),
      control({ case: "stateChange", value: { ids: ["1", "9"], state: { read: true, revision: 2n }, cursor: "c4" } }),
      control({ case: "stateChange", value: { ids: ["1"], state: { read: false, revision: 1n }, cursor: "c4" } }),
      control({ case: "counts", value: counts(7) }),
      control({ case: "removal", value: { reason: 1, ids: ["2"], count: 5n, cursor: "c5" } }),
      control({ case: "stateChange", value: { ids: ["3"], state: { archived: true, revision: 1n }, cursor: "c6" } }),
      sync("c6"),
    ],
  ];
  const inbox = script.open({ eventTypes: ["a.*"], priority: 1, deviceId: "phone" });
  const events = inbox[Symbol.asyncIterator]();
  const ids = () => inbox.items.map(({ id }) => id);
  expect(await take(events, 2, script)).toMatchObject([{ kind: "snapshot" }, { kind: "sync" }]);
  expect([ids(), inbox.counts.unread]).toEqual([["2", "1"], 2]);
  expect(await take(events, 1, script)).toMatchObject([{ kind: "notification", notification: { title: "t3" } }]);
  expect([ids(), inbox.counts]).toEqual([["3", "2", "1"], { unread: 3, unreadByPriority: [2, 1, 0, 0, 0, 0, 0, 0] }]);
  // An older revision changes nothing, and says nothing.
  expect(await take(events, 2, script)).toMatchObject([{ kind: "changed", items: [{ id: "1" }] }, { kind: "counts" }]);
  expect([inbox.items.at(-1)?.state?.read, inbox.counts.unread]).toEqual([true, 7]);
  expect(await take(events, 1, script)).toMatchObject([{ kind: "removed", reason: 1, ids: ["2"], count: 5 }]);
  expect(ids()).toEqual(["3", "1"]);
  expect(await take(events, 2, script)).toMatchObject([{ kind: "changed" }, { kind: "sync" }]);
  expect(ids()).toEqual(["1"]);
  await events.return?.();
  const selection = { userId: "ann", eventTypes: ["a.*"], priorityLevel: 1 };
  expect(script.asked).toEqual([
    { ...selection, pageSize: 100 },
    { ...selection, deviceId: "phone", resumeAfter: "c2", heartbeatMs: 0 },
  ]);
});

test("after a lost connection it goes on behind the last cursor, whatever carried it", async () => {
  const lost = new RpcError(Code.UNAVAILABLE, "lost");
  const script = new Script();
  script.lists = [{ notifications: [], counts: counts(0), cursor: "c0" }];
  script.streams = [
    [item("1"), lost],
    [control({ case: "heartbeat", value: { headCursor: "c8", lagEntries: 3n } }), sync("c2"), lost],
    [control({ case: "heartbeat", value: { headCursor: "c9", lagEntries: 0n } }), item("2", { cursor: "" }), lost],
    [item("3")],
  ];
  const events = script.open()[Symbol.asyncIterator]();
  const kinds = (await take(events, 11, script)).map(({ kind }) => kind);
  expect(kinds).toEqual([
    "snapshot",
    "notification",
    "disconnected",
    "resumed",
    "sync",
    "disconnected",
    "resumed",
    "notification",
    "disconnected",
    "resumed",
    "notification",
  ]);
  await events.return?.();
  const resumes = script.asked.slice(1).map((request) => (request as { resumeAfter: string }).resumeAfter);
  expect(resumes).toEqual(["c0", "c1", "c2", "c9"]);
});

test("all up to a cursor, and a cursor that is void: the snapshot is taken anew", async () => {
  const script = new Script();
  script.lists = [
    { notifications: [item("1")], counts: counts(1), cursor: "c1" },
    { notifications: [item("1", { state: { read: true, revision: 1n } })], counts: counts(0), cursor: "c2" },
    { notifications: [], counts: counts(0), cursor: "c3" },
  ];
  script.streams = [
    [
      control({ case: "stateChange", value: { throughCursor: "c1", state: { read: true }, cursor: "c2" } }),
      item("never"),
    ],
    [new RpcError(Code.OUT_OF_RANGE, "void")],
    [sync("c3")],
  ];
  const inbox = script.open();
  const events = inbox[Symbol.asyncIterator]();
  expect(await take(events, 2, script)).toMatchObject([
    { kind: "snapshot" },
    { kind: "snapshot", counts: { unread: 0 } },
  ]);
  expect(await take(events, 2, script)).toMatchObject([{ kind: "snapshot", items: [] }, { kind: "sync" }]);
  await events.return?.();
  expect(() => inbox[Symbol.asyncIterator]()).toThrow(TypeError);
});

test("it keeps so many of the newest; one that comes again is on top, once", async () => {
  const script = new Script();
  script.lists = [{ notifications: [item("2"), item("1")], counts: counts(2), cursor: "c2" }];
  script.streams = [
    [
      item("1", { state: { seen: true, revision: 3n } }),
      item("4", { state: { archived: true, revision: 1n } }),
      item("3"),
    ],
  ];
  const inbox = script.open({ itemsMax: 2 });
  const events = inbox[Symbol.asyncIterator]();
  await take(events, 2, script);
  expect([inbox.items.map(({ id }) => id), inbox.counts.unread]).toEqual([["1", "2"], 2]);
  await take(events, 1, script);
  expect([inbox.items.map(({ id }) => id), inbox.counts.unread]).toEqual([["3", "1"], 3]);
  await events.return?.();
});

test("what a more urgent one has overtaken is placed where the server's list has it", async () => {
  const script = new Script();
  script.lists = [{ notifications: [item("2", { priority: 5 })], counts: counts(1), cursor: "c2" }];
  script.streams = [[item("4", { priority: 7 }), item("3", { priority: 1 }), item("5")]];
  const inbox = script.open();
  const events = inbox[Symbol.asyncIterator]();
  await take(events, 4, script);
  expect(inbox.items.map(({ id }) => id)).toEqual(["5", "4", "3", "2"]);
  await events.return?.();
});

test("what was told is acknowledged for the device, on the stream that is open", async () => {
  const script = new Script();
  script.lists = [{ notifications: [], counts: counts(0), cursor: "c0" }];
  script.streams = [
    [control({ case: "opened", value: { subscriptionId: "one" } }), item("1"), item("2"), new RpcError(14, "lost")],
    [control({ case: "opened", value: { subscriptionId: "two" } }), sync("c7")],
  ];
  const inbox = script.open({ deviceId: "phone" });
  const events = inbox[Symbol.asyncIterator]();
  await inbox.acknowledge();
  await take(events, 2, script);
  await inbox.acknowledge();
  expect(await take(events, 4, script)).toMatchObject([
    { kind: "notification" },
    { kind: "disconnected" },
    {},
    { kind: "sync" },
  ]);
  await inbox.acknowledge();
  await events.return?.();
  expect(script.asked.filter((request) => "ackCursor" in request)).toEqual([
    { subscriptionId: "one", ackCursor: "c1" },
    { subscriptionId: "two", ackCursor: "c7" },
  ]);
  await expect(script.open().acknowledge()).rejects.toThrow("give it one");
});
