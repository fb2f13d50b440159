import { createHmac, createPublicKey, verify } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { NotificationSchema, type Policy, PolicySchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import webPush from "web-push";
import type { DeviceView, InboxItem, ItemState, PublishDraft, WebPushTarget } from "../contract.ts";
import { Browser, PostReceiver } from "../testing/push-service.ts";
import type { SinkOutcome } from "./outcome.ts";
import { type SinkSettings, Sinks, type SinkStore } from "./sinks.ts";

const MINUTE_MS = 60_000;
const AWAY_MS = 5 * MINUTE_MS;
const DONE = { kind: "done" };
const SECRET = Buffer.from("a secret of both sides");
const KEYS = webPush.generateVAPIDKeys();
const SIGNAL = new AbortController().signal;

const NEW: ItemState = { seen: false, read: false, archived: false, snoozedUntilMs: 0, revision: 0 };
const DRAFT: PublishDraft = {
  userIds: ["ada"],
  topics: [],
  everyone: false,
  type: "order.paid",
  title: "Paid",
  message: "Order 7 is paid",
  priority: 5,
  metadata: {},
  idempotencyKey: "",
  ttlMs: 0,
  collapseKey: "",
  deliverAt: 0n,
  actionUrl: "https://shop.example/7",
};

let clock: ManualClock;
let receiver: PostReceiver;
let jobs: { id: string; body: Uint8Array; notBeforeMs: number }[];
let items: Map<number, InboxItem>;
let bodies: Map<number, MessageInitShape<typeof NotificationSchema>>;
let devices: Map<string, DeviceView[]>;
let policy: Policy;
let away: Map<string, number | "connected">;
let sinks: Sinks;

beforeEach(async () => {
  clock = new ManualClock();
  receiver = await PostReceiver.open();
  jobs = [];
  items = new Map();
  bodies = new Map();
  devices = new Map();
  policy = create(PolicySchema);
  away = new Map();
  sinks = open();
});
afterEach(() => receiver[Symbol.asyncDispose]());

const now = (): number => Number(clock.nowNs() / 1_000_000n);

function open(more: Partial<SinkSettings> = {}): Sinks {
  const store: SinkStore = {
    find: (_user, id) => items.get(id),
    body: ({ place }) => toBinary(NotificationSchema, create(NotificationSchema, bodies.get(place))),
    devices: (user) => devices.get(user) ?? [],
    policy: () => ({ policy, isDefault: true }),
    async putWebPush(user, deviceId, webPushTarget) {
      const rows = devices
        .get(user)!
        .map((row) => (row.deviceId === deviceId ? { ...row, webPush: webPushTarget } : row));
      devices.set(user, rows);
    },
    *webPushDevices(route) {
      for (const [userId, rows] of devices) {
        if (!route.everyone && !route.userIds.includes(userId)) continue;
        for (const { deviceId, webPush: target } of rows) if (target !== undefined) yield { userId, deviceId, target };
      }
    },
  };
  return new Sinks({
    settings: {
      webhooks: [
        {
          target: { name: "pager", url: new URL("/pager", receiver.origin) },
          secret: SECRET,
          types: ["order.*"],
          minPriority: 4,
        },
      ],
      webPush: { subject: "mailto:ops@example.org", keys: KEYS, hosts: [receiver.origin, "*.push.example"] },
      awayMs: AWAY_MS,
      ...more,
    },
    queue: {
      async add(added) {
        for (const job of added) if (!jobs.some(({ id }) => id === job.id)) jobs.push(job);
      },
    },
    store: () => store,
    presence: { awaySinceMs: (user) => away.get(user) },
    clock,
  });
}

/** Publishes it as number 7, so that it is in the inbox. */
async function publish(draft: Partial<PublishDraft> = {}): Promise<void> {
  const whole = { ...DRAFT, ...draft };
  const { type, title, message, priority, metadata, collapseKey, actionUrl } = whole;
  bodies.set(7, { type, title, message, priority, metadata, collapseKey, actionUrl });
  items.set(7, {
    id: 7,
    sequence: 7,
    priority,
    type,
    topic: "",
    isShared: false,
    deliveredAtMs: now(),
    expiresAtMs: 0,
    state: NEW,
    silent: false,
    place: 7,
  });
  await sinks.published([whole], [{ kind: "published", id: 7, duplicate: false }]);
}

/** Does what is due, the oldest first; jobs that they add come with the next call. */
async function work(): Promise<SinkOutcome[]> {
  const due = jobs.filter(({ notBeforeMs }) => notBeforeMs <= now());
  jobs = jobs.filter((job) => !due.includes(job));
  const outcomes: SinkOutcome[] = [];
  for (const { body } of due) outcomes.push(await sinks.handle(body, SIGNAL));
  return outcomes;
}

function addBrowser(user: string, deviceId = "phone"): Browser {
  const browser = new Browser();
  const row: DeviceView = {
    deviceId,
    ack: undefined,
    webPush: browser.subscription(`${receiver.origin}/push/${user}`),
    lastSeenMs: 0,
  };
  devices.set(user, [...(devices.get(user) ?? []), row]);
  return browser;
}

describe("who is told", () => {
  test("somebody who has been away for long enough, and nobody sooner", async () => {
    await publish();
    expect(jobs.map(({ notBeforeMs }) => notBeforeMs - now())).toEqual([AWAY_MS]);
    clock.advance(AWAY_MS);
    expect(await work()).toEqual([DONE]);
    expect(receiver.posted).toHaveLength(1);
  });

  test("not who is connected, nor whose device has it, nor of what was seen or is gone", async () => {
    await publish();
    clock.advance(AWAY_MS);
    const [job] = jobs;
    const tell = () => sinks.handle(job!.body, SIGNAL);
    away.set("ada", "connected");
    expect(await tell()).toEqual(DONE);
    away.delete("ada");
    devices.set("ada", [{ deviceId: "desk", ack: Array<number>(8).fill(7), webPush: undefined, lastSeenMs: 0 }]);
    expect(await tell()).toEqual(DONE);
    devices.clear();
    for (const state of [{ seen: true }, { read: true }, { archived: true }, { snoozedUntilMs: 1 }]) {
      items.set(7, { ...items.get(7)!, state: { ...NEW, ...state } });
      expect(await tell()).toEqual(DONE);
    }
    items.clear();
    expect(await tell()).toEqual(DONE);
    expect(receiver.posted).toEqual([]);
  });

  test("who has left only now is given the whole time to come back", async () => {
    await publish();
    clock.advance(AWAY_MS);
    away.set("ada", now() - MINUTE_MS);
    expect(await work()).toEqual([DONE]);
    expect(receiver.posted).toEqual([]);
    expect(jobs.map(({ notBeforeMs }) => notBeforeMs - now())).toEqual([4 * MINUTE_MS]);
    clock.advance(4 * MINUTE_MS);
    await work();
    expect(receiver.posted).toHaveLength(1);
  });

  test("after a start, everybody is given the whole time to come back", async () => {
    await publish();
    clock.advance(AWAY_MS);
    sinks = open();
    await work();
    expect(receiver.posted).toEqual([]);
    clock.advance(AWAY_MS);
    await work();
    expect(receiver.posted).toHaveLength(1);
  });

  test("not in quiet hours, but behind them; what is urgent enough breaks them", async () => {
    const at = new Date(now());
    const time = (ms: number) => new Date(at.getTime() + ms).toISOString().slice(11, 16);
    policy = create(PolicySchema, {
      quietHours: { timeZone: "UTC", start: time(0), end: time(30 * MINUTE_MS), breakingPriority: 6 },
    });
    await publish();
    clock.advance(AWAY_MS);
    for (let i = 0; i < 4; i++) {
      await work();
      expect(receiver.posted).toEqual([]);
      clock.advance(5 * MINUTE_MS);
    }
    clock.advance(10 * MINUTE_MS);
    await work();
    expect(receiver.posted).toHaveLength(1);
    policy = create(PolicySchema, {
      quietHours: { timeZone: "UTC", start: time(0), end: time(600 * MINUTE_MS), breakingPriority: 6 },
    });
    await publish({ priority: 6 });
    clock.advance(AWAY_MS);
    await work();
    expect(receiver.posted).toHaveLength(2);
  });

  test("of what comes later, from then on; of what was refused or nobody wants, nothing", async () => {
    await publish({ deliverAt: BigInt(now() + MINUTE_MS) * 1_000_000n });
    expect(jobs.map(({ notBeforeMs }) => notBeforeMs - now())).toEqual([MINUTE_MS + AWAY_MS]);
    jobs = [];
    expect(sinks.published([DRAFT], [{ kind: "refused", reason: "INBOX_FULL", text: "" }])).toBeUndefined();
    await publish({ type: "mail.new" });
    await publish({ priority: 3 });
    expect(jobs).toEqual([]);
  });
});

describe("a webhook", () => {
  test("has the notification and its user, signed so that both can be proven", async () => {
    await publish({ metadata: { order: "7" } });
    clock.advance(AWAY_MS);
    await work();
    const [{ path, headers, body }] = receiver.posted as [(typeof receiver.posted)[0]];
    expect(path).toBe("/pager");
    expect(JSON.parse(body.toString())).toMatchObject({
      user_id: "ada",
      notification: { id: "7", type: "order.paid", title: "Paid", priority: 5, metadata: { order: "7" } },
    });
    const text = `${headers["webhook-id"] as string}.${headers["webhook-timestamp"] as string}.${body.toString()}`;
    expect(headers["webhook-signature"]).toBe(`v1,${createHmac("sha256", SECRET).update(text).digest("base64")}`);
    expect(Number(headers["webhook-timestamp"])).toBe(Math.floor(now() / 1000));
  });

  test("that fails says why, and when to come again; one that is gone is not tried again", async () => {
    await publish();
    clock.advance(AWAY_MS);
    const tell = () => sinks.handle(jobs[0]!.body, SIGNAL);
    receiver.answers.push({ status: 500, body: "no disk\nstack" });
    expect(await tell()).toEqual({ kind: "failed", reason: "HTTP 500: no disk", atMs: 0 });
    receiver.answers.push({ status: 503, headers: { "retry-after": "90" } });
    expect(await tell()).toEqual({ kind: "failed", reason: "HTTP 503", atMs: now() + 90_000 });
    receiver.answers.push({ status: 302, headers: { location: "/elsewhere" } });
    expect(await tell()).toMatchObject({ kind: "failed", reason: "HTTP 302" });
    receiver.answers.push({ status: 410 });
    expect(await tell()).toEqual({ kind: "rejected", reason: "HTTP 410" });
    sinks = open({ webhooks: [] });
    clock.advance(AWAY_MS);
    expect(await tell()).toMatchObject({ kind: "rejected" });
    expect(receiver.posted).toHaveLength(4);
  });
});

describe("a browser", () => {
  test("reads what nobody else can, from a server that proves who it is", async () => {
    const browser = addBrowser("ada");
    await publish({ type: "mail.new", collapseKey: "mail" });
    clock.advance(AWAY_MS);
    expect(await work()).toEqual([DONE]);
    const [{ path, headers, body }] = receiver.posted as [(typeof receiver.posted)[0]];
    expect(path).toBe("/push/ada");
    expect(JSON.parse(browser.decrypt(body))).toMatchObject({
      id: "7",
      type: "mail.new",
      title: "Paid",
      message: "Order 7 is paid",
      action_url: "https://shop.example/7",
      silent: false,
    });
    expect(headers).toMatchObject({ "content-encoding": "aes128gcm", urgency: "high" });
    expect(headers["topic"]).toMatch(/^[\w-]{32}$/u);
    expect(Number(headers["ttl"])).toBeGreaterThan(0);
    expectProof(headers.authorization!, receiver.origin);
  });

  test("gets what fits: without metadata, then with less of the message", async () => {
    const browser = addBrowser("ada");
    await publish({ type: "mail.new", metadata: { much: "x".repeat(5000) } });
    clock.advance(AWAY_MS);
    await work();
    await publish({ type: "mail.new", message: "é".repeat(10_000) });
    clock.advance(AWAY_MS);
    await work();
    const [first, second] = receiver.posted.map(({ body }) => JSON.parse(browser.decrypt(body)) as { message: string });
    expect(first).toMatchObject({ message: "Order 7 is paid", truncated: true });
    expect(second!.message.length).toBeGreaterThan(1500);
    expect(receiver.posted.every(({ body }) => body.length <= 4096)).toBe(true);
  });

  test.each([404, 410])("whose subscription is no more (%i) is forgotten", async (status) => {
    addBrowser("ada");
    addBrowser("ada", "tablet");
    await publish({ type: "mail.new" });
    clock.advance(AWAY_MS);
    receiver.answers.push({ status });
    expect(await work()).toEqual([DONE, DONE]);
    expect(devices.get("ada")!.map(({ webPush: target }) => target !== undefined)).toEqual([false, true]);
  });

  test("of everyone is told of what goes to everyone, each by a job of its own", async () => {
    const people = ["ada", "bob", "eve"].map((user) => addBrowser(user));
    await publish({ userIds: [], everyone: true, type: "news" });
    expect(jobs).toHaveLength(1);
    clock.advance(AWAY_MS);
    expect(await work()).toEqual([DONE]);
    expect(jobs).toHaveLength(3);
    receiver.answers.push({ status: 429, headers: { "retry-after": "10" } });
    expect(await work()).toMatchObject([{ kind: "failed", atMs: now() + 10_000 }, DONE, DONE]);
    expect(people[2]!.decrypt(receiver.posted[2]!.body)).toContain('"type":"news"');
  });

  test("is told only by push services that the configuration lists", async () => {
    const { p256dh, auth } = new Browser().subscription("");
    const refuse = (endpoint: string, keys: Partial<WebPushTarget> = {}) =>
      sinks.refuse({ endpoint, p256dh, auth, ...keys })?.field;
    expect(refuse("https://eu.push.example/x")).toBeUndefined();
    expect(refuse(`${receiver.origin}/x`)).toBeUndefined();
    for (const endpoint of [
      "",
      "http://eu.push.example/x",
      "https://push.example.evil.example/x",
      "https://169.254.169.254/latest",
      "https://user:word@eu.push.example/x",
      `${receiver.origin.replace("127.0.0.1", "localhost")}/x`,
    ]) {
      expect(refuse(endpoint), endpoint).toBe("endpoint");
    }
    expect(refuse("https://eu.push.example/x", { p256dh: "AAAA" })).toBe("p256dh");
    expect(refuse("https://eu.push.example/x", { auth: "AAAA" })).toBe("auth");
    addBrowser("ada");
    await publish({ type: "mail.new" });
    clock.advance(AWAY_MS);
    sinks = open({ webPush: { subject: "mailto:ops@example.org", keys: KEYS, hosts: ["*.push.example"] } });
    clock.advance(AWAY_MS);
    expect(await work()).toMatchObject([{ kind: "rejected" }]);
    expect(receiver.posted).toEqual([]);
    expect(open({ webPush: undefined }).refuse({ endpoint: receiver.origin, p256dh, auth })?.field).toBe("endpoint");
  });
});

/** RFC 8292: a token that says for whom and by whom, signed with the key that the browser was given. */
function expectProof(authorization: string, audience: string): void {
  const [, token = "", key = ""] = /^vapid t=(\S+), ?k=(\S+)$/u.exec(authorization) ?? [];
  expect(key).toBe(KEYS.publicKey);
  const [head = "", claims = "", signature = ""] = token.split(".");
  expect(JSON.parse(Buffer.from(claims, "base64url").toString())).toMatchObject({
    aud: audience,
    sub: "mailto:ops@example.org",
  });
  const point = Buffer.from(key, "base64url");
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString("base64url"));
  const publicKey = createPublicKey({ key: { kty: "EC", crv: "P-256", x: x!, y: y! }, format: "jwk" });
  const proof = Buffer.from(signature, "base64url");
  const data = Buffer.from(`${head}.${claims}`);
  expect(verify("sha256", data, { key: publicKey, dsaEncoding: "ieee-p1363" }, proof)).toBe(true);
}
