// Every entrance asks first; whatever is wrong is said with its field; nothing of another user comes out.
import { NotificationService } from "@sluice/api";
import { expect, test } from "vitest";
import { PermissionDenied, type SluiceError } from "../errors.ts";
import type { Resource } from "../security/authorize.ts";
import { formatInboxCursor, positionAt } from "./cursor.ts";
import { ServiceFixture } from "./testing/service-fixture.ts";

type Name = keyof typeof NotificationService.method;

const push = {
  endpoint: "https://push.example/1",
  p256dh: Buffer.alloc(65, 4).toString("base64url"),
  auth: Buffer.alloc(16).toString("base64url"),
};
/** A request of each method that is right, and what is asked for it. */
const calls: Readonly<Record<Exclude<Name, "updateSubscription">, readonly [object, string, ...string[]]>> = {
  subscribeToNotifications: [{ userId: "ann" }, "read inbox ann"],
  publish: [
    { notifications: [{ userIds: ["ann", "bob"] }, { topics: ["news"] }, { everyone: true }] },
    "write inbox ann",
    "write inbox bob",
    "write topic news",
    "write inbox *",
  ],
  subscribeTopics: [{ userId: "ann", topics: ["news"] }, "administer inbox ann", "read topic news"],
  unsubscribeTopics: [{ userId: "ann", topics: ["news"] }, "administer inbox ann"],
  listTopics: [{ userId: "" }, "describe inbox *"],
  listNotifications: [{ userId: "ann" }, "read inbox ann"],
  setState: [{ userId: "ann", ids: ["1"], read: true }, "consume inbox ann"],
  getCounts: [{ userId: "ann" }, "read inbox ann"],
  deleteNotifications: [{ userId: "ann", ids: ["1"] }, "administer inbox ann"],
  getPolicy: [{ userId: "ann" }, "describe inbox ann"],
  setPolicy: [{ userId: "", policy: {} }, "administer inbox *"],
  listDevices: [{ userId: "ann" }, "describe inbox ann"],
  removeDevice: [{ userId: "ann", deviceId: "phone" }, "administer inbox ann"],
  watchPresence: [{ userId: "ann" }, "describe inbox ann"],
  putWebPush: [{ userId: "ann", deviceId: "phone", ...push }, "administer inbox ann"],
  getWebPushKey: [{ userId: "ann" }, "describe inbox ann"],
  deleteUser: [{ userId: "ann" }, "administer inbox ann"],
};

test("every method asks for what it touches before it touches it", async () => {
  const asked: string[] = [];
  let denied = "";
  const authorize = (_subject: unknown, action: string, { type, name }: Resource): void => {
    const question = `${action} ${type} ${name}`;
    asked.push(question);
    if (question === denied) throw new PermissionDenied();
  };
  const fixture = new ServiceFixture({ authorize });
  await fixture.store.changeTopics("ann", { join: ["news"] });
  await fixture.publish({ userIds: ["ann"] });
  asked.length = 0;
  for (const [name, [request, ...wanted]] of Object.entries(calls)) {
    const { head } = fixture.store;
    for (denied of wanted) await expect(fixture.call(name as Name, request)).rejects.toBeInstanceOf(PermissionDenied);
    expect(fixture.store.head).toBe(head);
    denied = "";
    asked.length = 0;
    await fixture.call(name as Name, request);
    expect(asked).toEqual(wanted);
  }
  // Whose subscription it is, the subscription says.
  const [opened] = (await fixture.subscribe({ userId: "ann" })).read();
  const subscriptionId = opened?.control?.kind.case === "opened" ? opened.control.kind.value.subscriptionId : "";
  denied = "consume inbox ann";
  await expect(fixture.call("updateSubscription", { subscriptionId })).rejects.toBeInstanceOf(PermissionDenied);
  denied = "read inbox ann";
  await expect(fixture.subscribe({ userId: "ann" }, { isSeed: true })).rejects.toBeInstanceOf(PermissionDenied);
  expect([...Object.keys(calls), "updateSubscription"].toSorted()).toEqual(
    Object.keys(NotificationService.method).toSorted(),
  );
});

const long = "x".repeat(257);
/** Method, request, reason, fields. */
const wrong: readonly (readonly [Name, object, string, ...string[]])[] = [
  ["subscribeToNotifications", { userId: "" }, "BAD_SUBSCRIPTION", "user_id"],
  ["subscribeToNotifications", { userId: "a\nb", deviceId: long }, "BAD_SUBSCRIPTION", "user_id", "device_id"],
  ["subscribeToNotifications", { userId: "ann", priorityLevel: -1 }, "BAD_SUBSCRIPTION", "priority_level"],
  [
    "subscribeToNotifications",
    { userId: "ann", priorityLevel: 8, heartbeatMs: 5, order: 9 },
    "BAD_SUBSCRIPTION",
    "heartbeat_ms",
    "order",
    "priority_level",
  ],
  [
    "subscribeToNotifications",
    { userId: "ann", eventTypes: ["", "x".repeat(5000)] },
    "BAD_SUBSCRIPTION",
    "event_types[0]",
    "event_types[1]",
  ],
  ["subscribeToNotifications", { userId: "ann", resumeAfter: "nonsense!" }, "MALFORMED_CURSOR", "resume_after"],
  ["updateSubscription", { subscriptionId: "none" }, "NOT_FOUND"],
  ["listNotifications", { userId: "", pageSize: 1 }, "BAD_LIST", "user_id"],
  ["listNotifications", { userId: "ann", pageSize: 1001 }, "BAD_FIELD", "page_size"],
  ["listNotifications", { userId: "ann", pageToken: "?" }, "MALFORMED_CURSOR", "page_token"],
  ["setState", { userId: "", ids: [], seen: true }, "BAD_STATE", "user_id", "ids"],
  ["setState", { userId: "ann", ids: ["1"] }, "BAD_STATE", "seen"],
  [
    "setState",
    { userId: "ann", ids: ["1"], throughCursor: "x", read: false, snoozedUntil: 5n },
    "BAD_STATE",
    "ids",
    "read",
    "snoozed_until",
  ],
  [
    "setState",
    { userId: "ann", ids: ["1", "2"], read: true, ifRevision: 1n, snoozedUntil: -1n },
    "BAD_STATE",
    "snoozed_until",
    "if_revision",
  ],
  ["setState", { userId: "ann", ids: ["99"], read: true }, "NOT_FOUND"],
  ["setState", { userId: "ann", ids: ["01"], read: true }, "NOT_FOUND"],
  ["setState", { userId: "ann", ids: ["1"], read: true, ifRevision: 7n }, "STALE_REVISION"],
  ["deleteNotifications", { userId: "ann" }, "BAD_FIELD", "ids"],
  ["deleteNotifications", { userId: "ann", ids: ["1e3"] }, "NOT_FOUND"],
  ["deleteNotifications", { userId: "ann", ids: Array.from({ length: 10_001 }, () => "1") }, "LIMIT_EXCEEDED"],
  ["getCounts", { userId: "" }, "BAD_NAME", "user_id"],
  ["subscribeTopics", { userId: "ann" }, "BAD_NAME", "topics"],
  ["subscribeTopics", { userId: "ann", topics: ["ok", ""] }, "BAD_NAME", "topics[1]"],
  ["unsubscribeTopics", { userId: "ann", topics: Array.from({ length: 1001 }, String) }, "BAD_NAME", "topics"],
  ["listTopics", { pageSize: -1 }, "BAD_FIELD", "page_size"],
  [
    "setPolicy",
    { userId: "ann", policy: { quietHours: { timeZone: "Mars/Olympus", start: "1", end: "2" } } },
    "BAD_POLICY",
    "policy.quiet_hours.time_zone",
    "policy.quiet_hours.start",
    "policy.quiet_hours.end",
  ],
  ["removeDevice", { userId: "ann", deviceId: "" }, "BAD_NAME", "device_id"],
  ["watchPresence", { userId: "ann", graceMs: 90_000_000 }, "BAD_FIELD", "grace_ms"],
  ["putWebPush", { userId: "ann", deviceId: "d", ...push, endpoint: "http://push.example" }, "BAD_FIELD", "endpoint"],
  ["putWebPush", { userId: "ann", deviceId: "d", ...push, p256dh: "short" }, "BAD_FIELD", "p256dh"],
  ["putWebPush", { userId: "ann", deviceId: "d", ...push, auth: "x" }, "BAD_FIELD", "auth"],
  ["deleteUser", { userId: "" }, "BAD_NAME", "user_id"],
  ["publish", { notifications: Array.from({ length: 10_001 }, () => ({})) }, "LIMIT_EXCEEDED"],
];

test.for(wrong.map((row, i) => [i, ...row] as const))(
  "%i: %s is refused",
  async ([, name, request, reason, ...fields]) => {
    const fixture = new ServiceFixture();
    await fixture.publish({ userIds: ["ann"] }, { userIds: ["ann"] });
    const error = (await fixture.call(name, request).then(
      () => undefined,
      (error: unknown) => error,
    )) as SluiceError | undefined;
    expect(error?.facts.reason).toBe(reason);
    expect((error?.facts.violations ?? []).map(({ field }) => field)).toEqual(fields);
    expect(fixture.service.devices).toBe(0);
  },
);

test("of a batch each notification is judged by itself", async () => {
  const fixture = new ServiceFixture();
  const { outcomes } = await fixture.publish(
    { userIds: ["ann"], title: "good", idempotencyKey: "k" },
    { title: "for nobody" },
    { userIds: [""], priority: 8, ttlMs: -1n, deliverAt: -1n },
    { userIds: ["ann"], priority: -1, collapseKey: long },
    { userIds: ["ann"], message: "x".repeat(65_537) },
    { userIds: Array.from({ length: 10_001 }, String) },
    { topics: ["unknown"] },
    { userIds: ["ann"], idempotencyKey: "k" },
  );
  expect(outcomes.map(({ id, duplicate, code, reason }) => [id, duplicate, code, reason])).toEqual([
    ["1", false, 0, ""],
    ["", false, 3, "BAD_NOTIFICATION"],
    ["", false, 3, "BAD_NOTIFICATION"],
    ["", false, 3, "BAD_NOTIFICATION"],
    ["", false, 8, "LIMIT_EXCEEDED"],
    ["", false, 8, "LIMIT_EXCEEDED"],
    ["", false, 5, "UNKNOWN_TOPIC"],
    ["1", true, 0, ""],
  ]);
  expect(outcomes[2]?.error).toMatch(/user_ids\[0\].*priority.*ttl_ms.*deliver_at/u);
});

test("another user's ids and cursors get nothing out, and change nothing", async () => {
  const fixture = new ServiceFixture();
  await fixture.publish({ userIds: ["ann"], title: "secret" }, { userIds: ["bob"], title: "bob's" });
  const list = (await fixture.call("listNotifications", { userId: "ann" })) as {
    cursor: string;
    nextPageToken: string;
  };
  const foreign = "CURSOR_OF_ANOTHER_USER";
  for (const [name, request, reason] of [
    ["setState", { userId: "bob", ids: ["1"], read: true }, "NOT_FOUND"],
    ["setState", { userId: "bob", ids: ["2", "1"], read: true }, "NOT_FOUND"],
    ["deleteNotifications", { userId: "bob", ids: ["1"] }, "NOT_FOUND"],
    ["setState", { userId: "bob", throughCursor: list.cursor, read: true }, foreign],
    ["listNotifications", { userId: "bob", pageToken: list.cursor }, foreign],
    ["subscribeToNotifications", { userId: "bob", resumeAfter: list.cursor }, foreign],
  ] as readonly (readonly [Name, object, string])[]) {
    await expect(fixture.call(name, request)).rejects.toMatchObject({ facts: { reason } });
  }
  expect(fixture.store.counts("ann").unread).toBe(1);
  expect(fixture.store.counts("bob").unread).toBe(1);
  // Without the tag, whatever sequence it says, it is a place in one's own inbox.
  const reader = await fixture.subscribe({
    userId: "bob",
    resumeAfter: formatInboxCursor(positionAt(7, 0), undefined),
  });
  expect(reader.told()).toEqual(["[opened]", "bob's", "[counts]", "[sync]"]);
});

test("a cursor of a history that is gone, or that lies ahead, is out of range", async () => {
  const [before, after] = [new ServiceFixture({ epoch: 1 }), new ServiceFixture({ epoch: 2 })];
  await before.publish({ userIds: ["ann"] });
  const { cursor } = (await before.call("listNotifications", { userId: "ann" })) as { cursor: string };
  await expect(after.subscribe({ userId: "ann", resumeAfter: cursor })).rejects.toMatchObject({
    facts: { reason: "CURSOR_EXPIRED" },
  });
  const empty = new ServiceFixture({ epoch: 1 });
  await expect(empty.subscribe({ userId: "ann", resumeAfter: cursor })).rejects.toMatchObject({
    kind: "out-of-range",
    facts: { reason: "CURSOR_AHEAD" },
  });
});

test("a list is newest first, a page at a time, with filters, and goes on as a subscription", async () => {
  const fixture = new ServiceFixture();
  for (let i = 1; i <= 25; i++) {
    await fixture.publish({ userIds: ["ann"], title: `t${i}`, type: i % 2 === 0 ? "even" : "odd", priority: i % 8 });
  }
  await fixture.call("setState", { userId: "ann", ids: ["25"], read: true });
  await fixture.call("setState", { userId: "ann", ids: ["24"], archived: true });
  interface Page {
    readonly notifications: { readonly title: string }[];
    readonly nextPageToken: string;
    readonly cursor: string;
    readonly counts: { readonly unread: bigint };
  }
  const list = async (request: object): Promise<string[]> => {
    const titles: string[] = [];
    let pageToken = "";
    do {
      const page = (await fixture.call("listNotifications", { userId: "ann", pageToken, ...request })) as Page;
      expect(page.notifications.length).toBeLessThanOrEqual(4);
      titles.push(...page.notifications.map(({ title }) => title));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return titles;
  };
  const titles = Array.from({ length: 25 }, (_, i) => `t${25 - i}`);
  expect(await list({ pageSize: 4, includeArchived: true })).toEqual(titles);
  expect(await list({ pageSize: 4 })).toEqual(titles.filter((title) => title !== "t24"));
  expect(await list({ pageSize: 3, unreadOnly: true, eventTypes: ["odd"] })).toEqual(
    titles.filter((title) => Number(title.slice(1)) % 2 === 1 && title !== "t25"),
  );
  expect(await list({ pageSize: 4, priorityLevel: 7 })).toEqual(["t23", "t15", "t7"]);
  const page = (await fixture.call("listNotifications", { userId: "ann", pageSize: 2 })) as Page;
  expect(page.counts.unread).toBe(23n);
  await fixture.publish({ userIds: ["ann"], title: "new" });
  const reader = await fixture.subscribe({ userId: "ann", resumeAfter: page.cursor });
  expect(reader.told()).toEqual(["[opened]", "new", "[counts]", "[sync]"]);
});
