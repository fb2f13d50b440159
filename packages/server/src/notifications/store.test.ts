import { create } from "@bufbuild/protobuf";
import { Overflow, type Policy, PolicySchema } from "@sluice/api";
import { describe, expect, test } from "vitest";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { openFilesIn } from "../store/testing/open-files.ts";
import { DEAF, draft, idOf, idsOf, publish, publishTo, readAll, settled, StorePlace } from "./testing/store-place.ts";

const policy = (changes: Partial<Policy>): Policy => create(PolicySchema, changes as Policy);
const HOUR_MS = 3_600_000;

describe("an inbox", () => {
  test("has what was published to it, newest first, also when the store is opened again", async () => {
    await using place = await StorePlace.make();
    const ids: number[] = [];
    {
      await using store = await place.open();
      for (let i = 0; i < 5; i++) ids.push(await publishTo(store, "ann", { priority: i % 3 }));
      expect(store.list("ann", { max: 10 }).items.map(({ id }) => id)).toEqual(ids.toReversed());
      expect(store.counts("ann")).toEqual({ unread: 5, unreadByPriority: [2, 2, 1, 0, 0, 0, 0, 0] });
    }
    await using again = await place.open();
    expect(again.list("ann", { max: 10 }).items.map(({ id }) => id)).toEqual(ids.toReversed());
    expect(again.counts("ann").unread).toBe(5);
    expect(again.counts("bob").unread).toBe(0);
  });

  test("is listed in pages", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const ids: number[] = [];
    for (let i = 0; i < 7; i++)
      ids.push(await publish(store, i % 2 ? { userIds: ["ann"] } : { everyone: true, userIds: ["ann"] }));
    const listed: number[] = [];
    for (let before: number | undefined; ;) {
      const page = store.list("ann", { max: 3, ...(before === undefined ? {} : { before }) });
      listed.push(...page.items.map(({ id }) => id));
      if (page.before === 0) break;
      before = page.before;
    }
    expect(listed).toEqual(ids.toReversed());
  });

  test("shows one Publish once, whatever routes match", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    await store.changeTopics("ann", { join: ["red", "blue"] });
    await store.changeTopics("bob", { join: ["blue"] });
    const topical = await publish(store, { topics: ["red", "blue"], userIds: ["ann", "eve"] });
    const general = await publish(store, { topics: ["red"], userIds: ["ann"], everyone: true });
    for (const user of ["ann", "bob", "eve"]) {
      expect(store.list(user, { max: 10 }).items.map(({ id }) => id)).toEqual([general, topical]);
      expect(store.counts(user).unread).toBe(2);
    }
    expect(store.find("ann", topical)?.topic).toBe("");
    expect(store.find("bob", topical)?.topic).toBe("blue");
  });

  test("sees of topics what comes between joining and leaving, of everyone what comes after the first contact", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    await store.changeTopics("ann", { join: ["red"] });
    const early = await publish(store, { everyone: true });
    await store.touch("bob");
    const before = await publish(store, { topics: ["red"] });
    await store.changeTopics("bob", { join: ["red"] });
    const within = await publish(store, { topics: ["red"] });
    await store.changeTopics("bob", { leave: ["red"] });
    const after = await publish(store, { topics: ["red"] });
    expect(store.list("bob", { max: 10 }).items.map(({ id }) => id)).toEqual([within]);
    expect(store.list("ann", { max: 10 }).items.map(({ id }) => id)).toEqual([after, within, before, early]);
    expect(store.topics("", { after: "", max: 10 })).toEqual([{ name: "red", members: 1 }]);
  });
});

describe("publishing", () => {
  test("the same key again answers the first id and changes nothing, for a day", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const keyed = draft({ userIds: ["ann"], idempotencyKey: "k1" });
    const [[first], [second]] = await Promise.all([store.publish([keyed]), store.publish([keyed])]);
    expect(second).toEqual({ kind: "published", id: idOf(first), duplicate: true });
    expect(store.counts("ann").unread).toBe(1);
    await place.pass(store, 25 * HOUR_MS);
    const [later] = await store.publish([keyed]);
    expect(later).toMatchObject({ kind: "published", duplicate: false });
  });

  test("is refused where the policy rejects what does not fit, what is on its way included", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    await store.setPolicy("ann", policy({ maxItems: 2, overflow: Overflow.REJECT }));
    const verdicts = await store.publish([1, 2, 3].map(() => draft({ userIds: ["ann"] })));
    expect(verdicts.map(({ kind }) => kind)).toEqual(["published", "published", "refused"]);
    expect(verdicts[2]).toMatchObject({ reason: "INBOX_FULL" });
    expect(store.counts("ann").unread).toBe(2);
  });

  test("to a topic that nobody ever joined is refused", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const [verdict] = await store.publish([draft({ topics: ["red"] })]);
    expect(verdict).toMatchObject({ kind: "refused", reason: "UNKNOWN_TOPIC" });
  });

  test("beyond the bounds of the server is refused", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open({ limits: { usersMax: 3, inboxItemsTotalMax: 4 } });
    expect(await store.publish([draft({ userIds: ["a", "b", "c", "d"] })])).toMatchObject([
      { reason: "LIMIT_EXCEEDED" },
    ]);
    await publish(store, { userIds: ["a", "b", "c"] });
    expect(await store.publish([draft({ userIds: ["a", "b"] })])).toMatchObject([{ reason: "LIMIT_EXCEEDED" }]);
    await expect(store.changeTopics("d", { join: ["red"] })).rejects.toThrow("Cannot make the user");
  });
});

describe("the policy of an inbox", () => {
  test("drops the oldest of the lowest priority, and says so", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    await store.setPolicy("ann", policy({ maxItems: 3 }));
    const reader = store.openReader("ann", { from: "new" }, DEAF);
    const urgent = await publishTo(store, "ann", { priority: 5 });
    const first = await publishTo(store, "ann", { priority: 1 });
    const second = await publishTo(store, "ann", { priority: 1 });
    const third = await publishTo(store, "ann", { priority: 3 });
    await settled(store);
    expect(store.list("ann", { max: 10 }).items.map(({ id }) => id)).toEqual([third, second, urgent]);
    expect(readAll(reader)).toContainEqual({
      kind: "removal",
      reason: "evicted",
      ids: [first],
      count: 1,
      replacedBy: 0,
    });
    reader.close();
  });

  test("lets items go when their time is over, their own or that of their priority", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    await store.setPolicy("ann", policy({ ttlMsByPriority: [0n, 60_000n] }));
    const reader = store.openReader("ann", { from: "new" }, DEAF);
    const own = await publishTo(store, "ann", { ttlMs: 5000 });
    const byPolicy = await publishTo(store, "ann", { priority: 1 });
    const kept = await publishTo(store, "ann");
    await place.pass(store, 10_000);
    expect(store.list("ann", { max: 10 }).items.map(({ id }) => id)).toEqual([kept, byPolicy]);
    await place.pass(store, 60_000);
    expect(store.list("ann", { max: 10 }).items.map(({ id }) => id)).toEqual([kept]);
    const removed = readAll(reader).flatMap((event) => (event.kind === "removal" ? [[event.reason, event.ids]] : []));
    expect(removed).toEqual([
      ["expired", [own]],
      ["expired", [byPolicy]],
    ]);
    reader.close();
  });

  test("a newer one of the same collapse key replaces an unread one", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const first = await publishTo(store, "ann", { collapseKey: "build" });
    const second = await publishTo(store, "ann", { collapseKey: "build" });
    await settled(store);
    expect(store.find("ann", first)).toBeUndefined();
    await store.setState({ userId: "ann", ids: [second], read: true, requestId: "" });
    await publishTo(store, "ann", { collapseKey: "build" });
    await settled(store);
    expect(store.find("ann", second)?.state.read).toBe(true);
    await store.setPolicy("ann", policy({ keepCollapsed: true }));
    await publishTo(store, "ann", { collapseKey: "build" });
    await settled(store);
    expect(store.counts("ann").unread).toBe(2);
    const shared = await publish(store, { everyone: true, collapseKey: "build" });
    await publish(store, { everyone: true, collapseKey: "build" });
    await settled(store);
    expect(store.find("ann", shared)).toBeUndefined();
  });

  test("says which items came within quiet hours; more urgent ones break them", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const clockOf = (ms: number) => new Date(place.nowMs + ms).toISOString().slice(11, 16);
    const quietHours = { timeZone: "UTC", start: clockOf(-HOUR_MS), end: clockOf(HOUR_MS), breakingPriority: 5 };
    await store.setPolicy("ann", policy({ quietHours: quietHours as never }));
    const silent = await publishTo(store, "ann", { priority: 4 });
    const loud = await publishTo(store, "ann", { priority: 5 });
    const general = await publish(store, { everyone: true });
    expect([silent, loud, general].map((id) => store.find("ann", id)?.silent)).toEqual([true, false, true]);
  });
});

describe("states", () => {
  test("of an id that is another user's, or none: it is not known", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const id = await publishTo(store, "ann");
    await store.touch("bob");
    const read = { read: true, requestId: "" };
    expect(await store.setState({ userId: "bob", ids: [id], ...read })).toEqual({ kind: "unknown", id });
    expect(await store.remove("bob", [id])).toEqual({ unknown: id });
    expect(await store.setState({ userId: "eve", ids: [id], ...read })).toEqual({ kind: "unknown", id });
    expect(store.find("bob", id)).toBeUndefined();
    expect(store.counts("ann").unread).toBe(1);
  });

  test("are set once by request id, and only from the revision that was seen", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    for (const route of [{ userIds: ["ann"] }, { everyone: true, userIds: ["ann"] }]) {
      const id = await publish(store, route);
      const set = { userId: "ann", ids: [id], requestId: `r${id}`, read: true };
      const twice = await Promise.all([store.setState(set), store.setState(set)]);
      expect(twice).toEqual([
        { kind: "changed", changed: 1 },
        { kind: "changed", changed: 1 },
      ]);
      expect(await store.setState({ ...set, read: false })).toEqual({ kind: "changed", changed: 0 });
      expect(store.find("ann", id)?.state).toMatchObject({ read: true, seen: true, revision: 1 });
      const stale = { userId: "ann", ids: [id], requestId: "", archived: true, ifRevision: 0 };
      expect(await store.setState(stale)).toEqual({ kind: "revision", revision: 1 });
      const races = [true, false].map((read) => store.setState({ ...stale, read, archived: read, ifRevision: 1 }));
      expect((await Promise.all(races)).map(({ kind }) => kind)).toEqual(["changed", "revision"]);
    }
  });

  test("all up to a cursor, of what is shared without a scan", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    await store.touch("ann");
    for (let i = 0; i < 6; i++) await publish(store, i % 2 ? { everyone: true } : { userIds: ["ann"] });
    const through = Array.from({ length: 8 }, () => store.head);
    const late = await publish(store, { everyone: true });
    expect(await store.setState({ userId: "ann", ids: [], through, read: true, requestId: "" })).toEqual({
      kind: "changed",
      changed: 6,
    });
    expect(store.counts("ann").unread).toBe(1);
    expect(store.list("ann", { max: 10, unreadOnly: true }).items.map(({ id }) => id)).toEqual([late]);
  });

  test("what was snoozed comes again when it is time, with a new sequence, from a topic as well", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    await store.changeTopics("ann", { join: ["red"] });
    for (const route of [{ userIds: ["ann"] }, { topics: ["red"] }]) {
      const id = await publish(store, route);
      const later = await publishTo(store, "ann");
      const reader = store.openReader("ann", { from: "new" }, DEAF);
      const before = store.counts("ann").unread;
      await store.setState({ userId: "ann", ids: [id], snoozedUntilMs: place.nowMs + 60_000, requestId: "" });
      expect(store.counts("ann").unread).toBe(before - 1);
      await place.pass(store, 61_000);
      expect(store.counts("ann").unread).toBe(before);
      expect(store.list("ann", { max: 2 }).items.map((each) => each.id)).toEqual([id, later]);
      expect(store.find("ann", id)!.sequence).toBeGreaterThan(later);
      expect(idsOf(readAll(reader))).toEqual([id]);
      reader.close();
    }
  });

  test("a delayed one is seen by nobody until it is due, also after a restart", async () => {
    await using place = await StorePlace.make();
    let id: number;
    {
      await using store = await place.open();
      await store.touch("ann");
      id = await publish(store, { everyone: true, deliverAt: place.clock.nowNs() + 60_000_000_000n });
      expect(store.find("ann", id)).toBeUndefined();
    }
    await using store = await place.open();
    expect(store.counts("ann").unread).toBe(0);
    await place.pass(store, 61_000);
    expect(store.find("ann", id)).toMatchObject({ id, topic: "" });
    expect(store.counts("ann").unread).toBe(1);
  });
});

describe("a reader", () => {
  test("an urgent one goes ahead of the backlog; the cursor knows", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const old: number[] = [];
    for (let i = 0; i < 4; i++) old.push(await publishTo(store, "ann", { priority: i === 2 ? 6 : 0 }));
    const reader = store.openReader("ann", { from: "unread" }, DEAF);
    expect(idsOf([reader.next()!])).toEqual([old[0]]);
    const urgent = await publish(store, { everyone: true, priority: 6 });
    // Behind what there is of its own priority.
    expect(idsOf([reader.next()!, reader.next()!])).toEqual([old[2], urgent]);
    const resumed = store.openReader("ann", { from: reader.position }, DEAF);
    expect(idsOf(readAll(reader))).toEqual([old[1], old[3]]);
    expect(idsOf(readAll(resumed))).toEqual([old[1], old[3]]);
    expect(new Set(reader.position)).toEqual(new Set([store.head]));
    reader.close();
    resumed.close();
  });

  test("the most urgent of the backlog first, when it asks for that", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const ids: number[] = [];
    for (let i = 0; i < 6; i++) ids.push(await publishTo(store, "ann", { priority: i % 3 }));
    const reader = store.openReader("ann", { from: "unread", byPriority: true, minPriority: 1 }, DEAF);
    const events = readAll(reader);
    expect(idsOf(events)).toEqual([ids[2], ids[5], ids[1], ids[4]]);
    expect(events.at(-1)).toEqual({ kind: "live" });
    reader.close();
  });

  test("hears once that there is something, of a broadcast, a topic, a state; and of its end", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    await store.changeTopics("ann", { join: ["red"] });
    let changes = 0;
    const ends: string[] = [];
    const listener = { changed: () => void changes++, ended: (why: string) => void ends.push(why) };
    const reader = store.openReader("ann", { from: "new", deviceId: "phone" }, listener);
    readAll(reader);
    const id = await publish(store, { everyone: true });
    await publish(store, { topics: ["red"] });
    expect(changes).toBe(1);
    expect(idsOf(readAll(reader))).toHaveLength(2);
    await store.setState({ userId: "ann", ids: [id], read: true, requestId: "" });
    expect(changes).toBe(2);
    expect(readAll(reader)).toMatchObject([{ kind: "state", changes: [{ id, state: { read: true } }] }]);
    await store.removeDevice("ann", "phone");
    expect(ends).toEqual(["device-removed"]);
  });

  test("all who see a broadcast alike get the same object", async () => {
    await using place = await StorePlace.make();
    await using store = await place.open();
    const readers = [];
    for (let i = 0; i < 5; i++) {
      await store.touch(`user-${i}`);
      readers.push(store.openReader(`user-${i}`, { from: "new" }, DEAF));
    }
    for (const reader of readers) readAll(reader);
    await publish(store, { everyone: true });
    const items = readers.map((reader) => {
      const event = reader.next();
      return event?.kind === "item" ? event.item : undefined;
    });
    expect(new Set(items).size).toBe(1);
    for (const reader of readers) reader.close();
  });
});

test("one that cannot begin for want of room leaves no file open, and begins when there is room", async () => {
  await using place = await StorePlace.make();
  const full = { ...nodeFileSystem, freeBytes: () => Promise.resolve(0) };
  await expect(place.open({ fileSystem: full })).rejects.toThrow("free space");
  expect(openFilesIn(place.folder)).toEqual([]);
  await using store = await place.open();
  expect(await publish(store, { userIds: ["ada"] })).toBeGreaterThan(0);
});

test("what comes to a reader that had everything: broadcasts alone, one behind another, and with something else", async () => {
  await using place = await StorePlace.make();
  await using store = await place.open();
  await store.touch("ann");
  const reader = store.openReader("ann", { from: "new" }, DEAF);
  readAll(reader);
  const idsRead = () => idsOf(readAll(reader));
  const all = () => publish(store, { everyone: true });
  const ann = () => publish(store, { userIds: ["ann"] });
  for (const kinds of [[all], [ann], [all, all], [all], [all, ann], [ann, all], [all], [ann, all, all, ann]]) {
    const ids: number[] = [];
    for (const kind of kinds) ids.push(await kind());
    expect(idsRead()).toEqual(ids);
    expect(idsRead()).toEqual([]);
  }
  // More than are remembered for whoever does not come; and an urgent one that goes ahead of those that wait.
  const many: number[] = [];
  for (let i = 0; i < 100; i++) many.push(await all());
  expect(idsRead()).toEqual(many);
  const waiting = [await all(), await all()];
  const ahead = await publish(store, { everyone: true, priority: 3 });
  expect(idsRead()).toEqual([ahead, ...waiting]);
  const handed = [await all(), await all()];
  expect(reader.next()).toMatchObject({ item: { id: handed[0] } });
  handed.push(await all());
  expect(idsRead()).toEqual(handed.slice(1));
  // Urgent ones only: what is below is passed over, also when it comes alone.
  const urgent = store.openReader("ann", { from: "new", minPriority: 5 }, DEAF);
  readAll(urgent);
  await all();
  expect(idsOf(readAll(urgent))).toEqual([]);
  const wanted = await publish(store, { everyone: true, priority: 6 });
  expect(idsOf(readAll(urgent))).toEqual([wanted]);
  // One that is deleted before it was read is not handed out.
  readAll(reader);
  const gone = await all();
  await store.remove("ann", [gone]);
  expect(idsRead()).toEqual([]);
  for (const each of [reader, urgent]) each.close();
});
