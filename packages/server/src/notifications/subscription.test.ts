import { fromBinary } from "@bufbuild/protobuf";
import { WatchPresenceResponseSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameSource } from "@sluice/rpc";
import { describe, expect, test } from "vitest";
import type { SluiceError } from "../errors.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";
import { ServiceFixture, StreamReader } from "./testing/service-fixture.ts";

const BEGIN = ["[opened]", "[counts]", "[sync]"];

/** The cursor of what came last. */
const lastCursor = (reader: StreamReader): string => {
  const last = reader.read().at(-1);
  const kind = last?.control?.kind;
  return kind?.case === "sync" ? kind.value.cursor : (last?.cursor ?? "");
};
/** Who is told to be there, or not. */
const presenceOf = (watch: StreamReader): [string, boolean][] =>
  watch.frames().map((frame) => {
    const { deviceId, connected } = fromBinary(WatchPresenceResponseSchema, frame.subarray(FRAME_HEADER_BYTES));
    return [deviceId, connected];
  });
const reasonOf = (error: unknown): string => (error as SluiceError).facts.reason;

describe("a subscription", () => {
  test("begins with what is unread, oldest first, then counts and sync, then what comes", async () => {
    const fixture = new ServiceFixture();
    await fixture.publish({ userIds: ["ann"], title: "one", priority: 2 }, { userIds: ["ann"], title: "two" });
    await fixture.call("setState", { userId: "ann", ids: ["1"], read: true });
    const reader = await fixture.subscribe({ userId: "ann" });
    const messages = reader.read();
    expect(messages.map(({ title }) => title)).toEqual(["", "two", "", ""]);
    expect(messages[0]?.control?.kind.case).toBe("opened");
    expect(messages[2]?.control?.kind.value).toMatchObject({
      unread: 1n,
      unreadByPriority: [1n, 0n, 0n, 0n, 0n, 0n, 0n, 0n],
    });
    await fixture.publish({ userIds: ["ann"], title: "three" }, { userIds: ["bob"], title: "not hers" });
    expect(reader.told()).toEqual(["three"]);
  });

  test("of the unversioned service has no controls, unless they are asked for", async () => {
    const fixture = new ServiceFixture();
    await fixture.publish({ userIds: ["ann"], title: "one" });
    const plain = await fixture.subscribe({ userId: "ann" }, { isSeed: true });
    const asking = await fixture.subscribe({ userId: "ann", controlFrames: true }, { isSeed: true });
    expect(plain.told()).toEqual(["one"]);
    expect(asking.told()).toEqual(["[opened]", "one", "[counts]", "[sync]"]);
    await fixture.call("setState", { userId: "ann", ids: ["1"], read: true });
    fixture.store.evict("ann", [1]);
    fixture.clock.advance(60_000);
    await fixture.publish({ userIds: ["ann"], title: "two" });
    expect(plain.told()).toEqual(["two"]);
    expect(plain.error).toBeUndefined();
  });

  test("is each user's own, on any number of devices", async () => {
    const fixture = new ServiceFixture();
    const readers = await Promise.all(["ann", "ann", "bob"].map((userId) => fixture.subscribe({ userId })));
    for (const reader of readers) expect(reader.told()).toEqual(BEGIN);
    await fixture.publish({ userIds: ["ann"], title: "ann's" }, { userIds: ["bob", "ann"], title: "both" });
    expect(readers.map((reader) => reader.told())).toEqual([["ann's", "both"], ["ann's", "both"], ["both"]]);
  });

  test("has types and priorities that are wanted; what is left out is still counted", async () => {
    const fixture = new ServiceFixture();
    const reader = await fixture.subscribe({ userId: "ann", eventTypes: ["order.*", "x?"], priorityLevel: 3 });
    reader.read();
    const wanted = { userIds: ["ann"], priority: 3 };
    await fixture.publish(
      { ...wanted, type: "order.paid", title: "paid" },
      { ...wanted, type: "order", title: "no" },
      { ...wanted, type: "xy", title: "xy", priority: 7 },
      { ...wanted, type: "order.paid", title: "low", priority: 2 },
    );
    const messages = reader.read();
    expect(messages.map(({ title }) => title)).toEqual(["paid", "xy", ""]);
    expect(messages.at(-1)?.control?.kind.value).toMatchObject({ unread: 4n });
  });

  test("gets the same bytes as all others of what is for everyone", async () => {
    const fixture = new ServiceFixture();
    const [one, two] = [await fixture.subscribe({ userId: "ann" }), await fixture.subscribe({ userId: "bob" })];
    for (const reader of [one, two]) reader.read();
    await fixture.publish({ everyone: true, title: "all" });
    const [[first], [second]] = [one.frames(), two.frames()];
    expect(first).toBeDefined();
    expect(second).toBe(first);
    await fixture.publish({ userIds: ["ann", "bob"], title: "each" });
    const [mine, other] = [one.frames(), two.frames()].map((frames) => Buffer.concat(frames));
    expect(mine?.equals(other!)).toBe(false);
  });

  test("goes on behind the cursor that it is given", async () => {
    const fixture = new ServiceFixture();
    const reader = await fixture.subscribe({ userId: "ann" });
    reader.read();
    await fixture.publish({ userIds: ["ann"], title: "one" }, { everyone: true, title: "two" });
    const [one, two] = reader.read();
    await fixture.publish({ userIds: ["ann"], title: "three" });
    const resume = async (cursor = "") => (await fixture.subscribe({ userId: "ann", resumeAfter: cursor })).told();
    expect(await resume(one?.cursor)).toEqual(["[opened]", "two", "three", "[counts]", "[sync]"]);
    expect(await resume(two?.cursor)).toEqual(["[opened]", "three", "[counts]", "[sync]"]);
    expect(await resume(lastCursor(reader))).toEqual(BEGIN);
    expect((await fixture.subscribe({ userId: "ann", onlyNew: true })).told()).toEqual(BEGIN);
    // What is for everyone has a cursor that everyone may use; what is for one, only they.
    await expect(fixture.subscribe({ userId: "bob", resumeAfter: two!.cursor })).resolves.toBeDefined();
    await expect(fixture.subscribe({ userId: "bob", resumeAfter: one!.cursor })).rejects.toSatisfy(
      (error) => reasonOf(error) === "CURSOR_OF_ANOTHER_USER",
    );
  });

  test("goes on behind what its device has acknowledged", async () => {
    const fixture = new ServiceFixture();
    const reader = await fixture.subscribe({ userId: "ann", deviceId: "phone" });
    const [opened] = reader.read();
    const subscriptionId = opened?.control?.kind.case === "opened" ? opened.control.kind.value.subscriptionId : "";
    await fixture.publish({ userIds: ["ann"], title: "one" }, { userIds: ["ann"], title: "two" });
    const [one] = reader.read();
    await fixture.call("updateSubscription", { subscriptionId, ackCursor: one!.cursor });
    const again = await fixture.subscribe({ userId: "ann", deviceId: "phone" });
    expect(again.told()).toEqual(["[opened]", "two", "[counts]", "[sync]"]);
    expect((await fixture.subscribe({ userId: "ann", deviceId: "other" })).told()).toContain("one");
  });

  test("tells what happened on another device, with new counts", async () => {
    const fixture = new ServiceFixture();
    await fixture.publish({ userIds: ["ann"], title: "one" }, { userIds: ["ann"], title: "two", priority: 4 });
    const reader = await fixture.subscribe({ userId: "ann" });
    const sync = lastCursor(reader);
    await fixture.call("setState", { userId: "ann", ids: ["1", "2"], read: true });
    const changes = reader.read();
    expect(changes.map(({ control }) => control?.kind.case)).toEqual(["stateChange", "counts"]);
    expect(changes[0]?.control?.kind.value).toMatchObject({
      ids: ["1", "2"],
      state: { read: true, seen: false, revision: 1n },
    });
    expect(changes.at(-1)?.control?.kind.value).toMatchObject({ unread: 0n });
    await fixture.call("setState", { userId: "ann", throughCursor: sync, archived: true });
    expect(reader.read()[0]?.control?.kind.value).toMatchObject({
      ids: [],
      throughCursor: expect.stringMatching(/./u) as string,
      state: { archived: true },
    });
    fixture.store.evict("ann", [1], "evicted");
    expect(reader.read()[0]?.control?.kind.value).toMatchObject({ reason: 1, ids: ["1"], count: 1n });
  });

  test("sends within the device's window and no more; heartbeats come all the same", async () => {
    const fixture = new ServiceFixture();
    await fixture.publish(...["a", "b", "c", "d"].map((title) => ({ userIds: ["ann"], title })));
    const reader = await fixture.subscribe({ userId: "ann", flow: { window: 2 } });
    const [opened, ...rest] = reader.read();
    const subscriptionId = opened?.control?.kind.case === "opened" ? opened.control.kind.value.subscriptionId : "";
    expect(rest.map(({ title }) => title)).toEqual(["a", "b"]);
    fixture.clock.advance(30_000);
    expect(reader.read()[0]?.control?.kind.value).toMatchObject({
      lagEntries: expect.not.toSatisfy((lag: bigint) => lag === 0n) as bigint,
    });
    await fixture.call("updateSubscription", { subscriptionId, flow: { seen: 1n, window: 2 } });
    expect(reader.told()).toEqual(["c"]);
    await expect(fixture.call("updateSubscription", { subscriptionId, flow: { seen: 9n, window: 2 } })).rejects.toThrow(
      "flow.seen",
    );
    await fixture.call("updateSubscription", { subscriptionId, flow: { seen: 3n, window: 9 } });
    expect(reader.told()).toEqual(["d", "[counts]", "[sync]"]);
    fixture.clock.advance(30_000);
    expect(reader.read()[0]?.control?.kind.value).toMatchObject({ lagEntries: 0n });
  });

  test("of a slow device holds nothing: an urgent one that comes goes ahead of the backlog", async () => {
    const fixture = new ServiceFixture();
    await fixture.publish(...["a", "b", "c"].map((title) => ({ userIds: ["ann"], title })));
    const reader = await fixture.subscribe({ userId: "ann", flow: { window: 1 } });
    const [opened] = reader.read();
    const subscriptionId = opened?.control?.kind.case === "opened" ? opened.control.kind.value.subscriptionId : "";
    await fixture.publish({ userIds: ["ann"], title: "urgent", priority: 7 });
    await fixture.call("updateSubscription", { subscriptionId, flow: { seen: 1n, window: 1 } });
    const [urgent] = reader.read();
    expect(urgent?.title).toBe("urgent");
    // Its cursor says of each priority how far it is: what was overtaken comes again after it, the urgent one does not.
    const resumed = await fixture.subscribe({ userId: "ann", resumeAfter: urgent!.cursor });
    expect(resumed.told()).toEqual(["[opened]", "b", "c", "[counts]", "[sync]"]);
  });

  test("keeps the order while bodies are read from disk, in pieces of any size", async () => {
    const fixture = new ServiceFixture();
    fixture.store.readsFromDisk = true;
    const titles = Array.from({ length: 200 }, (_, i) => `t${i}`);
    await fixture.publish(...titles.map((title) => ({ userIds: ["ann"], title })));
    const reader = await fixture.subscribe({ userId: "ann" });
    const told: string[] = [];
    await expect
      .poll(() => {
        told.push(...reader.told(100));
        return told.at(-1);
      })
      .toBe("[sync]");
    expect(told).toEqual(["[opened]", ...titles, "[counts]", "[sync]"]);
  });

  test("ends with its call, and leaves nothing", async () => {
    const fixture = new ServiceFixture();
    const reader = await fixture.subscribe({ userId: "ann", deviceId: "phone" });
    const other = await fixture.subscribe({ userId: "ann" });
    expect(fixture.service.devices).toBe(2);
    reader.call.end();
    other.call.end();
    expect(fixture.service.devices).toBe(0);
    await fixture.publish({ userIds: ["ann"], title: "later" });
    expect(reader.told()).toEqual([]);
    expect(await fixture.call("listDevices", { userId: "ann" })).toEqual({ devices: [] });
    // No timer of a heartbeat is left.
    expect(fixture.clock.timers).toBe(0);
  });

  test("ends when the server stops, with the place to go on; no new one is taken", async () => {
    const fixture = new ServiceFixture();
    await fixture.publish({ userIds: ["ann"], title: "one" });
    const reader = await fixture.subscribe({ userId: "ann" });
    reader.read();
    fixture.service.drain();
    expect(reasonOf(reader.error)).toBe("STREAM_INTERRUPTED");
    const { cursor } = (reader.error as SluiceError).facts.metadata ?? {};
    expect(fixture.service.devices).toBe(0);
    await expect(fixture.subscribe({ userId: "ann" })).rejects.toSatisfy((error) => reasonOf(error) === "DRAINING");
    expect(cursor).toMatch(/^[\w-]+$/u);
  });

  test("ends when its device or its user is removed, each with its reason", async () => {
    const fixture = new ServiceFixture();
    const [phone, tablet] = [
      await fixture.subscribe({ userId: "ann", deviceId: "phone" }),
      await fixture.subscribe({ userId: "ann", deviceId: "tablet" }),
    ];
    await fixture.call("removeDevice", { userId: "ann", deviceId: "phone" });
    expect(reasonOf(phone.error)).toBe("DEVICE_REMOVED");
    expect(tablet.error).toBeUndefined();
    await fixture.call("deleteUser", { userId: "ann" });
    expect(reasonOf(tablet.error)).toBe("NOT_FOUND");
    expect(fixture.service.devices).toBe(0);
  });

  test("beyond the server's limit is refused", async () => {
    const fixture = new ServiceFixture({ limits: { devicesMax: 1 } });
    const reader = await fixture.subscribe({ userId: "ann" });
    await expect(fixture.subscribe({ userId: "ann" })).rejects.toSatisfy(
      (error) => reasonOf(error) === "LIMIT_EXCEEDED",
    );
    await expect(fixture.call("watchPresence", { userId: "ann" })).rejects.toThrow("limit");
    reader.call.end();
    await expect(fixture.call("watchPresence", { userId: "ann" })).resolves.toBeDefined();
  });
});

describe("a watch of presence", () => {
  const open = async (fixture: ServiceFixture, graceMs?: number) => {
    const call = new FakeCall();
    const request = { userId: "ann", ...(graceMs === undefined ? {} : { graceMs }) };
    return new StreamReader((await fixture.call("watchPresence", request, call)) as FrameSource, call);
  };

  test("tells who is connected, who comes, and who has been away for the grace", async () => {
    const fixture = new ServiceFixture();
    const phone = await fixture.subscribe({ userId: "ann", deviceId: "phone" });
    const watch = await open(fixture, 5000);
    expect(presenceOf(watch)).toEqual([["phone", true]]);
    const laptop = await fixture.subscribe({ userId: "ann", deviceId: "laptop" });
    await fixture.subscribe({ userId: "bob", deviceId: "bob's" });
    expect(presenceOf(watch)).toEqual([["laptop", true]]);
    phone.call.end();
    laptop.call.end();
    fixture.clock.advance(4999);
    const back = await fixture.subscribe({ userId: "ann", deviceId: "laptop" });
    fixture.clock.advance(2);
    expect(presenceOf(watch)).toEqual([["phone", false]]);
    // A second stream of a device is no second device.
    const second = await fixture.subscribe({ userId: "ann", deviceId: "laptop" });
    back.call.end();
    fixture.clock.advance(10_000);
    expect(presenceOf(watch)).toEqual([]);
    second.call.end();
    watch.call.end();
    expect(fixture.service.devices).toBe(1);
  });

  test("without grace tells at once, and of a reader that is behind only the last state", async () => {
    const fixture = new ServiceFixture();
    const watch = await open(fixture, 0);
    for (let i = 0; i < 3; i++) (await fixture.subscribe({ userId: "ann", deviceId: "phone" })).call.end();
    expect(presenceOf(watch)).toEqual([["phone", false]]);
    fixture.service.drain();
    expect(reasonOf(watch.error)).toBe("STREAM_INTERRUPTED");
    expect(fixture.service.devices).toBe(0);
  });
});
